"""MinHash (Broder, 1997): a signature of a set, of which the share of equal places estimates the Jaccard index.

Shapes: n parts, P permutations.
"""

import numpy as np
import numpy.typing as npt

from sluiceway.data.sketches import SIGNATURE

Parts = npt.NDArray[np.uint64]

EMPTY = np.iinfo(np.uint32).max
"""What stands at every place of the signature of a content without parts: it is like nothing but another such."""
_SLICE = 4096
"""Parts that are hashed at once: 4 MiB."""


def _constants() -> tuple[Parts, Parts]:
    """Return the multipliers and summands of the P hash functions: part of the format of signatures, never changed."""
    draws = _mix(np.arange(1, 2 * SIGNATURE + 1, dtype=np.uint64))
    return draws[:SIGNATURE] | np.uint64(1), draws[SIGNATURE:]


def signature(parts: Parts) -> npt.NDArray[np.uint32]:
    """Return the signature [P] of hashes of parts [n]; repeated parts count once.

    Each place is the least value of a hash function of the multiply-shift family (Dietzfelbinger et al., 1997) over
    the parts, which are mixed first, so that hashes need not be spread evenly.
    """
    lowest = np.full(SIGNATURE, EMPTY, np.uint32)
    mixed = _mix(np.asarray(parts, np.uint64).reshape(-1))
    for start in range(0, len(mixed), _SLICE):
        values = mixed[start : start + _SLICE, None] * _FACTORS + _SUMMANDS  # [slice, P], modulo 2**64
        np.minimum(lowest, (values.min(0) >> np.uint64(32)).astype(np.uint32), out=lowest)
    return lowest


def _mix(values: Parts) -> Parts:
    """Spread 64-bit numbers evenly (the finaliser of SplitMix64; Steele et al., 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)), np.uint64)


_FACTORS, _SUMMANDS = _constants()
