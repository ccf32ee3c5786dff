"""An interpolated byte n-gram model: the classical language model that a neural one must beat.

Modified Kneser-Ney smoothing (Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling",
1999), interpolated down to the uniform distribution over bytes. An n-gram is a 64-bit number, newest byte lowest, so
counting is sorting and looking up is a binary search.

Shapes: N bytes of the texts; O = the order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]

_BYTE = np.uint64(8)
MOST_BYTES = 8
"""Longest n-gram that fits a 64-bit key."""


@dataclass(frozen=True, slots=True)
class _Level:
    """One order: probabilities of seen n-grams, and the weight that each context leaves to the order below."""

    grams: Keys
    probability: Floats
    contexts: Keys
    backoff: Floats


class ByteNGram:
    """Predicts each byte of a text from those before it.

    Args:
        texts: what to learn from; a text's start is a context of its own.
        order: bytes per n-gram, the predicted one included; at most 8.
    """

    def __init__(self, texts: Sequence[bytes], order: int = 5) -> None:
        if not 1 <= order <= MOST_BYTES:
            raise ValueError(f"order {order} is not in 1..{MOST_BYTES}")
        self.order = order
        keys = _keys(texts, order)
        levels: list[_Level] = []
        longer: Keys | None = None
        for size in range(order, 0, -1):
            if longer is None:
                grams, counts = np.unique(keys[size - 1], return_counts=True)
            else:  # below the top, a gram counts once for each different byte seen before it
                grams, counts = np.unique(longer & np.uint64((1 << 8 * size) - 1), return_counts=True)
            levels.append(_level(grams, counts))
            longer = grams
        self._levels = levels[::-1]

    def bits(self, texts: Sequence[bytes]) -> Floats:
        """Return the bits each text costs: [number of texts]."""
        keys = _keys(texts, self.order)
        probability = np.full(keys.shape[1], 1 / 256)
        for level, key in zip(self._levels, keys, strict=True):
            context, known = _find(level.contexts, key >> _BYTE)
            probability *= np.where(known, level.backoff[context], 1.0)
            gram, seen = _find(level.grams, key)
            probability += np.where(seen, level.probability[gram], 0.0)
        ends = np.cumsum([len(text) for text in texts])
        totals = np.concatenate([[0.0], np.cumsum(-np.log2(probability))])
        bounds = np.concatenate([[0], ends])
        return np.asarray(totals[bounds[1:]] - totals[bounds[:-1]], np.float64)


def _keys(texts: Sequence[bytes], order: int) -> Keys:
    """Return the grams of 1..O bytes that end at each byte: [O, N]. Zeros stand before a text's start."""
    joined = np.frombuffer(b"".join(bytes(order - 1) + text for text in texts), np.uint8).astype(np.uint64)
    lengths = np.array([len(text) for text in texts])
    starts = np.cumsum(lengths + order - 1) - lengths
    ends = np.concatenate([np.arange(start, start + length) for start, length in zip(starts, lengths, strict=True)])
    keys = np.zeros((order, len(ends)), np.uint64)
    key = np.zeros(len(ends), np.uint64)
    for back in range(order):
        key = key | (joined[ends - back] << np.uint64(8 * back))
        keys[back] = key
    return keys


def _level(grams: Keys, counts: npt.NDArray[Any]) -> _Level:
    contexts, start = np.unique(grams >> _BYTE, return_index=True)  # grams are sorted, so contexts are runs
    sizes = np.diff(np.append(start, len(grams)))
    totals = np.add.reduceat(counts, start).astype(np.float64)
    cuts = _discounts(counts)[np.minimum(counts, 3)]
    return _Level(
        grams=grams,
        probability=(counts - cuts) / np.repeat(totals, sizes),
        contexts=contexts,
        backoff=np.add.reduceat(cuts, start) / totals,
    )


def _discounts(counts: npt.NDArray[Any]) -> Floats:
    """Return what is taken off a count of 0, 1, 2, and 3 or more."""
    of = np.bincount(np.minimum(counts, 5), minlength=6).astype(np.float64)
    if not of[1]:
        return np.array([0.0, 0.5, 0.5, 0.5])
    share = of[1] / (of[1] + 2 * of[2])
    cuts = [count - (count + 1) * share * of[count + 1] / of[count] if of[count] else 0.5 for count in (1, 2, 3)]
    # Nothing may be cut below a small rest: a context that leaves nothing to the order below would rule bytes out.
    least, most = np.array([0.0, 0.05, 0.05, 0.05]), np.array([0.0, 1.0, 2.0, 3.0])
    return np.asarray(np.clip([0.0, *cuts], least, most), np.float64)


def _find(table: Keys, wanted: Keys) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Return the row of each key in a sorted table, and whether it is there."""
    row = np.minimum(np.searchsorted(table, wanted), len(table) - 1)
    return row, table[row] == wanted
