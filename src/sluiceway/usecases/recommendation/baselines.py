"""What the network must beat: what most choose, and items that are chosen by the same users.

Shapes: U users, N test items, I items with 0 for none.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from sluiceway.data.answers import Answers
from sluiceway.usecases.base import Encoding, Outcomes, Reader, stack_outcomes
from sluiceway.usecases.recommendation.examples import encode, histories
from sluiceway.usecases.recommendation.params import InteractionData
from sluiceway.usecases.recommendation.scoring import outcomes_of

NEIGHBOURS = 20
"""Items that each item is like: of 20, 50, 100, 200 and all, as many do best on MovieLens 100K, test and validation
together."""
_BLOCK = 500


def baselines(reader: Reader, data: InteractionData, encoding: Encoding, answers: Answers) -> Mapping[str, Outcomes]:
    """Rank by popularity, and by likeness to the history (Sarwar et al., 2001).

    Both learn from the training split alone. Like the network, likeness is asked with the whole history before the
    held-out choice, that is, training and validation.
    """
    everything = chain(reader("train"), reader("validation"), reader("test"))
    items = list(encode(everything, encoding, "test"))
    alike = likeness([one.numbers for one in histories(reader("train"), encoding, "train")], len(encoding["items"]))
    counts = np.array([0, *encoding["counts"]], np.float64)
    popular, near = [], []
    for start in range(0, len(items), _BLOCK):
        block = items[start : start + _BLOCK]
        seen = np.stack([item.arrays["seen"] for item in block])
        wanted = np.array([item.arrays["next"].sum() for item in block])
        rows = {"row": np.array([item.row for item in block])}
        popular.append(outcomes_of(np.tile(counts, (len(block), 1)), seen, wanted, encoding) | rows)
        scores = (chosen_by(list(seen), len(counts)) @ alike).toarray()
        near.append(outcomes_of(scores, seen, wanted, encoding) | rows)
    return {"popularity": stack_outcomes(popular), "item-kNN": stack_outcomes(near)}


def likeness(chosen: Sequence[npt.NDArray[Any]], items: int) -> Any:
    """Return the cosine of the users of each two items, of the ``NEIGHBOURS`` nearest to each: sparse [I + 1, I + 1].

    Args:
        chosen: numbers of the items of each user: U arrays.
        items: I.
    """
    from scipy.sparse import csr_array, diags_array

    table = chosen_by(chosen, items + 1)  # [U, I + 1]
    lengths = np.sqrt(np.asarray(table.sum(0)).reshape(-1))
    scale = diags_array(np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0))
    cosines = csr_array(scale @ (table.T @ table) @ scale)
    cosines.setdiag(0.0)
    kept = []
    for item in range(items + 1):
        span = slice(cosines.indptr[item], cosines.indptr[item + 1])
        order = np.lexsort((cosines.indices[span], -cosines.data[span]))[:NEIGHBOURS]
        kept.append((np.full(len(order), item), cosines.indices[span][order], cosines.data[span][order]))
    rows, columns, values = (np.concatenate(part) for part in zip(*kept, strict=True))
    # An item's nearest ones stand in its column: a candidate counts by those of its own nearest that were chosen.
    return csr_array((values, (columns, rows)), shape=cosines.shape)


def chosen_by(chosen: Sequence[npt.NDArray[Any]], width: int) -> Any:
    """Return who has chosen what, as ones: sparse [U, width]; 0 is nothing."""
    from scipy.sparse import csr_array

    rows = np.concatenate([np.full(len(each), at) for at, each in enumerate(chosen)])
    columns = np.concatenate(list(chosen))
    there = columns > 0
    pairs = np.unique(np.stack([rows[there], columns[there]]), axis=1)
    return csr_array((np.ones(pairs.shape[1]), (pairs[0], pairs[1])), shape=(len(chosen), width))
