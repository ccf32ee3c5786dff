"""How the data gate sees whether a text fits the others; its other eyes are those of any text."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sluiceway.usecases.text_generation.ngram import ByteNGram

_ORDER = 5


def surprise(known: Sequence[bytes], asked: Sequence[bytes]) -> npt.NDArray[np.float64]:
    """Bits per byte [asked] of each text under a 5-gram model of the known ones."""
    lengths = np.array([max(1, len(text)) for text in asked])
    return np.asarray(ByteNGram(known, order=_ORDER).bits(asked) / lengths, np.float64)
