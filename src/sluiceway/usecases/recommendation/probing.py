"""What the layers of a recommender are asked: how popular the item is that is chosen next.

Shapes: B histories, T = context, N questions.
"""

import numpy as np

from sluiceway.usecases.base import Batch, Encoding, Probe, Questions
from sluiceway.usecases.recommendation.scoring import PARTS, parts

_PLACES = 8
"""Places of a training window that are asked about, at most."""


def ask(batch: Batch, encoding: Encoding) -> Questions:
    """Ask at some places of each history, evenly chosen, from which part of the catalogue the next item is."""
    following = batch["next"].numpy()  # [B, T]
    part = parts(encoding)
    item, position = [], []
    for number, row in enumerate(following):
        places = np.flatnonzero(row)
        chosen = places[np.unique(np.linspace(0, len(places) - 1, min(_PLACES, len(places))).astype(int))]
        item.append(np.full(len(chosen), number))
        position.append(chosen)
    items, positions = np.concatenate(item).astype(np.int64), np.concatenate(position).astype(np.int64)
    return Questions(items, part[following[items, positions] - 1], positions)


PROBE = Probe(
    f"how popular the next item is (in which of {PARTS} parts of the catalogue with equally many choices)",
    ask,
)
