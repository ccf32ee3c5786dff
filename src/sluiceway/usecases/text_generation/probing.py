"""What the layers of a language model are asked: which kind of token comes next.

Shapes: B windows, T = context, V vocabulary, N questions.
"""

import numpy as np
import numpy.typing as npt

from sluiceway.data.texts import kind_of_piece
from sluiceway.usecases.base import Batch, Encoding, Probe, Questions
from sluiceway.usecases.text_generation.tokens import token_pieces

_PLACES = 8
"""Places of a window that are asked about."""


def ask(batch: Batch, encoding: Encoding) -> Questions:
    """Ask at some places of each window, evenly chosen, for the kind of the token after."""
    tokens, scored = batch["tokens"].numpy(), batch["scored"].numpy()  # [B, T + 1], [B, T]
    kinds = _kinds(encoding)
    places = np.linspace(0, scored.shape[1] - 1, _PLACES).astype(np.int64)
    item, position = (each.reshape(-1) for each in np.meshgrid(np.arange(len(tokens)), places, indexing="ij"))
    there = scored[item, position] > 0  # behind the last window's end is nothing
    item, position = item[there], position[there]
    return Questions(item, kinds[tokens[item, position + 1]], position)


def _kinds(encoding: Encoding) -> npt.NDArray[np.int64]:
    """Sort the vocabulary: the beginning of a word, the inside of one, a number, or a mark: [V]."""
    return np.array([kind_of_piece(piece) for piece in token_pieces(encoding)], np.int64)


PROBE = Probe(
    "which kind of token comes next (the beginning of a word, the inside of one, a number, a mark)",
    ask,
)
