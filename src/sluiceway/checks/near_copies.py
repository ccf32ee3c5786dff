"""Pairs of contents that are nearly the same: by their vectors, or by their signatures.

Shapes: M contents, F features, P permutations, K neighbours, L pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sluiceway.checks.neighbours import Places, nearest
from sluiceway.data.sketches import Signature, Vector

Floats = npt.NDArray[np.float32]

NEIGHBOURS = 48
_MOST_COPIES = 38
"""Copies of one thing that are told from a dense region by what lies beyond them."""
_BEYOND = (5, 10)
"""Beyond its copies, the distances to these neighbours say how far apart things usually lie there."""
_BY_CHANCE = 1e-3
"""Share of examples that would have a near copy among things that are spread evenly."""
_CLOSEST, _FARTHEST = 0.35, 0.5
"""A near copy is closer than the first share of the usual distance there, and than the second of that of all."""
_DENSE = 0.15
"""Where more copies than can be told so lie within this share of the usual distance, all neighbours are copies."""

LEAST_JACCARD = 0.6
"""Share of their parts, of all that either has, that near copies share."""
_BANDS = 32
"""Signatures are compared where all rows of one of so many bands agree: of pairs at 0.6, 99 in 100 do."""
_REACH = 16
"""In a crowd of equal bands, each is compared with so many others, chosen anew for every band, until it has as many
copies."""
_LEAST_PARTS = 6
"""Contents of fewer parts are alike by chance."""
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Pairs:
    """Near copies, each pair once."""

    one: Places
    """Places of the first [L], below those of the other."""
    other: Places
    """Places of the other [L]."""
    alike: Floats
    """How alike they are [L]: 1 is the same."""


def alike_vectors(vectors: Vector, same: Places) -> Pairs:
    """Find vectors that lie much closer to each other than things usually do around them.

    Among things spread evenly in D dimensions the nearest of k neighbours lies within a share r of the distance of the
    k-th with probability k r^D. D is estimated from the vectors (as Levina and Bickel do, 2004), and r is chosen so
    that chance makes few pairs. So 1s, of which many are alike, are not taken for copies of each other. Copies of one
    thing lie together: the usual distance is taken beyond them.

    Args:
        vectors: [M, F].
        same: numbers [M] that are equal for equal contents: those are no near copies.
    """
    distances, places = nearest(vectors, NEIGHBOURS + 2)
    equal = (places >= 0) & (same[places] == same[:, None])
    distances = np.where(equal, np.inf, distances)
    ranks = np.argsort(distances, axis=1, kind="stable")[:, :NEIGHBOURS]
    distances, places = np.take_along_axis(distances, ranks, 1), np.take_along_axis(places, ranks, 1)
    known = np.isfinite(distances).all(0)
    distances, places = distances[:, known], places[:, known]  # few vectors have fewer neighbours
    if distances.shape[1] <= _BEYOND[1] or not distances.any():
        return _pairs([], [], [])
    usual = np.median(distances[:, _BEYOND[0] : _BEYOND[1]])
    share = _share(distances)
    copies, scale = _copies(distances, share, float(usual))
    one, rank = np.nonzero(np.arange(distances.shape[1]) < copies[:, None])
    other, gap = places[one, rank], distances[one, rank]
    least = np.minimum(scale[one], scale[other])
    close = (gap < share * least) & (gap < _FARTHEST * usual)
    return _pairs(one[close], other[close], 1 - gap[close] / least[close])


def _share(distances: Floats) -> float:
    """Return the share of the usual distance within which chance puts few neighbours."""
    first, last = min(_BEYOND[1], distances.shape[1] // 2), distances.shape[1]
    growth = float(np.median(np.log(np.maximum(distances[:, -1], 1e-30) / np.maximum(distances[:, first - 1], 1e-30))))
    expected = float((1 / np.arange(first, last)).sum())
    if growth <= 0:
        return _CLOSEST
    dimensions = expected / growth
    middle = (_BEYOND[0] + _BEYOND[1]) / 2
    return min(_CLOSEST, float((_BY_CHANCE / middle) ** (1 / dimensions)))


def _copies(distances: Floats, share: float, usual: float) -> tuple[Places, Floats]:
    """Return how many of its nearest neighbours are copies of each [M], and the usual distance beyond them [M]."""
    first, last = _BEYOND
    copies = np.zeros(len(distances), np.int64)
    scale = np.median(distances[:, first:last], axis=1)
    for count in range(1, min(_MOST_COPIES, distances.shape[1] - last) + 1):
        beyond = np.median(distances[:, count + first : count + last], axis=1)
        found = distances[:, count - 1] < share * beyond
        copies, scale = np.where(found, count, copies), np.where(found, beyond, scale)
    crowd = distances[:, min(_MOST_COPIES, distances.shape[1] - 1)] < _DENSE * usual
    return np.where(crowd, distances.shape[1], copies), np.where(crowd, usual, scale)


def alike_signatures(signatures: Signature, same: Places) -> Pairs:
    """Find signatures that agree in most places, by locality-sensitive hashing (Indyk and Motwani, 1998).

    Args:
        signatures: [M, P].
        same: numbers [M] that are equal for equal contents: those are no near copies.
    """
    # The mean of the least of n even numbers says what n was.
    parts = 2.0**32 / (signatures.mean(1) + 1.0) - 1
    usable = np.flatnonzero(parts > _LEAST_PARTS - 0.5)
    found = np.zeros(0, np.int64)  # numbers of pairs: low x M + high, ascending
    partners = np.zeros(len(signatures), np.int64)
    for one, other in _candidates(signatures[usable]):
        low, high = usable[np.minimum(one, other)], usable[np.maximum(one, other)]
        wanted = (same[low] != same[high]) & (np.minimum(partners[low], partners[high]) < _REACH)
        fresh = np.sort(low[wanted] * len(signatures) + high[wanted])
        fresh = fresh[~_among(fresh, found)]
        fresh = fresh[_likeness(signatures, fresh) >= LEAST_JACCARD]
        partners += np.bincount(np.concatenate(np.divmod(fresh, len(signatures))), minlength=len(signatures))
        found = np.sort(np.concatenate([found, fresh]), kind="stable")
    one, other = np.divmod(found, len(signatures))
    return Pairs(one, other, _likeness(signatures, found))


def _among(numbers: Places, known: Places) -> npt.NDArray[np.bool_]:
    """Tell which numbers are among the known ones; both ascend."""
    if not len(known):
        return np.zeros(len(numbers), np.bool_)
    return np.asarray(known[np.minimum(np.searchsorted(known, numbers), len(known) - 1)] == numbers)


def _candidates(signatures: Signature) -> Iterator[tuple[Places, Places]]:
    """Yield, band by band, pairs of places whose band agrees."""
    rows = signatures.shape[1] // _BANDS
    rng = np.random.default_rng(0)
    for band in range(_BANDS):
        part = signatures[:, band * rows : (band + 1) * rows]
        shuffled = rng.permutation(len(signatures))
        order = shuffled[np.lexsort(part[shuffled].T)]
        agree = (part[order[1:]] == part[order[:-1]]).all(1)
        run = np.concatenate([[0], np.cumsum(~agree)]) if len(order) else np.zeros(0, np.int64)
        ones, others = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for reach in range(1, min(_REACH, len(order) - 1) + 1):
            close = np.flatnonzero(run[reach:] == run[:-reach])
            if not len(close):
                break
            ones.append(order[close])
            others.append(order[close + reach])
        yield np.concatenate(ones), np.concatenate(others)


def _likeness(signatures: Signature, pairs: Places) -> Floats:
    """Return the share of places that agree, an estimate of the Jaccard index: [L]."""
    likeness = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), _BLOCK):
        one, other = np.divmod(pairs[start : start + _BLOCK], len(signatures))
        likeness[start : start + _BLOCK] = (signatures[one] == signatures[other]).mean(1)
    return likeness


def _pairs(one: npt.ArrayLike, other: npt.ArrayLike, alike: npt.ArrayLike) -> Pairs:
    """Put the lower place first, and give each pair once."""
    first, second = np.asarray(one, np.int64), np.asarray(other, np.int64)
    low, high = np.minimum(first, second), np.maximum(first, second)
    _, kept = np.unique(np.stack([low, high]), axis=1, return_index=True)
    return Pairs(low[kept], high[kept], np.asarray(alike, np.float32)[kept])
