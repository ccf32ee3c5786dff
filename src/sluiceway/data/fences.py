"""Fences: how far a distribution's own tail may reach, and what lies beyond it.

The tail is judged by the inner 90 %: up to 8 or 9 in 100 odd values do not move it. It is taken to fall off like an
exponential one beyond the 90th percentile, at the pace seen between the 75th and the 90th. A normal distribution's
fence is then 7 deviations away; data of any tail that falls off at least exponentially has no value beyond.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
BEYOND = 1e-5
"""Probability of a value beyond a fence."""
ASIDE = 1e-3
"""Probability of a value beyond the first fence: those are set aside before the tail is looked at again."""


def reach(middle: float, quarter: float, tenth: float, beyond: float = BEYOND) -> float:
    """Return where the upper tail has this probability, from the 50th, 75th and 90th percentile.

    For a lower tail give the 50th, 25th and 10th: all signs turn round.
    """
    pace = (tenth - quarter) / math.log(2.5)
    overall = (tenth - middle) / math.log(5)
    # Percentiles of few or rounded values may coincide: then half the overall pace counts.
    pace = max(pace, overall / 2) if tenth >= middle else min(pace, overall / 2)
    return tenth + pace * math.log(0.1 / beyond)


@dataclass(frozen=True, slots=True)
class Fences:
    """Where a distribution ends."""

    low: float
    high: float
    quartiles: tuple[float, float]
    """The middle half lies between them."""
    shoulders: tuple[float, float]
    """Half way from the 10th and the 90th percentile to the fences."""

    @classmethod
    def of(cls, quantiles: Sequence[float], beyond: float = BEYOND, *, scaled: bool = True) -> Self:
        """Return the fences of a distribution with these ``QUANTILES``.

        Args:
            quantiles: five.
            beyond: probability of a value beyond a fence.
            scaled: whether positive values may be looked at by their logarithm, where that is the more even one.
        """
        q10, q25, q50, q75, q90 = quantiles
        if scaled and q10 > 0 and _skew(math.log(q10), math.log(q50), math.log(q90)) < _skew(q10, q50, q90):
            l10, l25, l50, l75, l90 = (math.log(each) for each in quantiles)
            low, high = reach(l50, l25, l10, beyond), reach(l50, l75, l90, beyond)
            return cls(_exp(low), _exp(high), (q25, q75), (_exp((l10 + low) / 2), _exp((l90 + high) / 2)))
        low, high = reach(q50, q25, q10, beyond), reach(q50, q75, q90, beyond)
        return cls(low, high, (q25, q75), ((q10 + low) / 2, (q90 + high) / 2))


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _skew(low: float, middle: float, high: float) -> float:
    """Return how uneven the sides are: 0 is even, 1 is one-sided."""
    return abs((high - middle) - (middle - low)) / max(high - low, 1e-300)


def plain_fences(values: Floats, beyond: float = BEYOND) -> Fences:
    """Return the fences of values on their own scale: those far out are set aside, and the rest is looked at again."""
    inside = values
    for least in (ASIDE, beyond):
        found = Fences.of([float(each) for each in np.quantile(inside, QUANTILES)], least, scaled=False)
        inside = values[(values >= found.low) & (values <= found.high)]
    return found
