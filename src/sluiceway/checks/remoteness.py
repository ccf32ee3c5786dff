"""How far a vector lies outside the cloud that the others form.

A Mahalanobis distance from the bulk alone: what lies far out is found and left out, step by step (Rousseeuw and Van
Driessen's concentration steps, 1999), so that strangers do not hide each other, however alike they are. Directions in
which the bulk hardly varies count no more than a share of the mean: they may be chance.

Shapes: M vectors, F features, S vectors of the sample.
"""

import numpy as np
import numpy.typing as npt

from sluiceway.data.fences import ASIDE, QUANTILES, Floats, reach
from sluiceway.data.sketches import Vector

_SAMPLE = 20_000
"""S, at most: enough for a covariance."""
_START, _CORE = 0.75, 0.94
"""Shares of the sample that the first step rests on, and the next: kinds of more than 6 in 100 belong to it."""
_STEPS = 4
_FLOOR, _DOUBT = 0.3, 1.6
"""Added to the variance of every direction, as a share of the mean: always, and times (F / core)^2. Of few vectors the
core's own directions are known too well: all others would seem far out."""
_BLOCK = 1 << 14


def remoteness(vectors: Vector) -> Floats:
    """Return each vector's distance from the bulk, in deviations: [M]."""
    sample = np.asarray(vectors[:: -(-len(vectors) // _SAMPLE)], np.float64)
    gaps = np.linalg.norm(sample - np.median(sample, axis=0), axis=1)
    core = np.argsort(gaps, kind="stable")[: max(2, int(_START * len(sample)))]
    middle, maps = _shape(sample[core])
    for step in range(_STEPS):
        gaps = _distances(sample, middle, maps)
        if step < _STEPS - 2:
            core = np.argsort(gaps, kind="stable")[: max(2, int(_CORE * len(sample)))]
        else:  # natural tails belong to the bulk
            half, quarter, tenth = (float(each) for each in np.quantile(gaps, QUANTILES[2:]))
            core = np.flatnonzero(gaps <= reach(half, quarter, tenth, ASIDE))
        middle, maps = _shape(sample[core])
    return _distances(vectors, middle, maps)


def _shape(core: Floats) -> tuple[Floats, Floats]:
    """Return the middle [F], and the map [F, F] that gives the bulk one deviation in every direction."""
    middle = core.mean(0)
    centred = core - middle
    covariance = centred.T @ centred / len(core)
    share = _FLOOR + _DOUBT * (core.shape[1] / len(core)) ** 2
    covariance[np.diag_indices_from(covariance)] += max(float(np.trace(covariance)) / len(covariance) * share, 1e-12)
    return middle, np.linalg.inv(np.linalg.cholesky(covariance)).T


def _distances(vectors: npt.NDArray[np.floating], middle: Floats, maps: Floats) -> Floats:
    blocks = range(0, len(vectors), _BLOCK)
    return np.concatenate([np.linalg.norm((vectors[at : at + _BLOCK] - middle) @ maps, axis=1) for at in blocks])
