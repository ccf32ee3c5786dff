"""How far the values of a column may reach in later honest data, told by how its farthest values lie apart.

By the pace at which a tail's farthest values follow one another; of a long tail, the pace of their logarithms (Hill,
1975). Ends are rounded outward, for people to read.
"""

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import TYPE_CHECKING

import numpy as np

from sluiceway.data.fences import Floats

if TYPE_CHECKING:
    import polars as pl

ENOUGH, PLENTY = 30, 500
"""Values that tell a level and a width, and values that tell what the tails are like."""
_CROWD, _CROWDED = 0.2, 100
"""Share of the values at an end, and number of values, that show it to be a bound."""
_FAR, _TWENTIETH = 10, 20
"""The 10 farthest values tell a tail's pace, and so does the farthest twentieth; the wider pace counts."""
_PACES = 7
"""How many paces a tail may go on: one that is exponential, or whose logarithm is, goes farther in 1 of 1,000 cases."""
_WIDEST = 20
"""Times the spread that are added at most: a wider range says nothing."""
_LONG = 0.1
"""Index of a tail, with two standard errors, above which it is long: 0 is exponential, 1 has no mean any more."""
_EXACT = Context(prec=60)

Number = int | float
Bounds = dict[str, Number]
End = tuple[Number | None, str]
"""How far values may reach, None: any far, and why."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """The finite values of a column."""

    values: Floats
    """Ascending."""
    least: Number
    most: Number
    whole: bool
    endless: bool
    """Whether infinite ones are left out."""

    @classmethod
    def of(cls, column: "pl.LazyFrame") -> "Numbers | None":
        """Fetch a column; None where it has no finite value."""
        series = column.fill_nan(None).drop_nulls().collect(engine="streaming").to_series()
        finite = series.filter(series.is_finite()).sort()
        if not len(finite):
            return None
        values = finite.to_numpy().astype(np.float64, copy=False)
        return cls(values, finite[0], finite[-1], finite.dtype.is_integer(), len(finite) < len(series))

    def say(self, value: Number) -> str:
        """Write a value with as many digits as tell it from the others."""
        if self.whole and value == int(value):
            return f"{int(value):,}"
        spread = float(self.most - self.least)
        known = value and 0 < spread < math.inf
        shift = math.ceil(math.log10(abs(value)) - math.log10(spread)) if known else 3
        return f"{float(f'{value:.{min(max(shift + 2, 3), 15)}g}'):,.15g}"

    def quantiles(self, *shares: float) -> list[float]:
        """Return quantiles, interpolated."""
        return [float(each) for each in np.quantile(self.values, shares)]


def reach(seen: Numbers, *, down: bool) -> End:
    """Return how far values may reach on one side, and why."""
    end = seen.least if down else seen.most
    if seen.endless:
        return None, "no limit, as infinite ones were there"
    if seen.least == seen.most:
        return outward(end, 0, down=down), "nothing added"
    if len(seen.values) >= _CROWDED and float(np.mean(seen.values == end)) >= _CROWD:
        return outward(end, 0, down=down), "nothing added, as so many lie at the end"
    room, why = _room(seen, down=down)
    limit = outward(end, room / 4, room=room, down=down, whole=seen.whole)
    if limit is None:
        return None, "no limit, as it would not be finite"
    if down and limit < 0 <= seen.least:
        return 0, "none may be negative"
    if not down and not seen.whole and seen.least >= 0 and seen.most <= 1 < limit:
        return 1, "none may be more than 1, as it may be a share"
    return limit, why


def _room(seen: Numbers, *, down: bool) -> tuple[float, str]:
    """Return by how much values may go beyond what was seen on one side, and why."""
    values = seen.values
    spread, middle = float(values[-1] - values[0]), float(np.median(values))
    count = max(_FAR, len(values) // 10) + 1
    far = middle - values[:count] if down else values[::-1][:count] - middle
    far = far[far > 0]
    if len(far) <= _FAR:
        return spread, "the whole spread added"
    long = len(values) < PLENTY or _is_long(far)
    scaled = np.log(far) if long else far
    levels = (_FAR, min(max(_FAR, len(values) // _TWENTIETH), len(far) - 1))
    pace = max(float(np.mean(scaled[:most] - scaled[most])) for most in levels)
    tail = float(far[0]) * math.expm1(min(_PACES * pace, 700)) if long else _PACES * pace
    least, why = (2.0, "two added") if seen.whole and spread < 10 else (spread / 5, "a fifth of the spread added")
    if tail <= least:
        return least, why
    return min(tail, _WIDEST * spread), f"room for a {'long' if long else 'short'} tail"


def _is_long(far: Floats) -> bool:
    """Whether a tail is longer than an exponential one, or may well be, by its index (Dekkers et al., 1989)."""
    logs = np.log(far[:-1] / far[-1])
    first, second = float(np.mean(logs)), float(np.mean(logs**2))
    index = first + 1 - 0.5 / (1 - first**2 / second) if first**2 < second else 0.0
    return index + 2 / math.sqrt(len(logs)) > _LONG


def outward(value: Number, step: float, *, down: bool, room: float = 0.0, whole: bool = False) -> Number | None:
    """Add room to a limit and round it outward to a power of ten below a step, for people; None: it is not finite."""
    if not math.isfinite(value) or not math.isfinite(step) or not math.isfinite(room):
        return None
    limit = _EXACT.add(Decimal(value), Decimal(-room if down else room))
    if step > 0:
        place = math.floor(math.log10(step))
        unit = Decimal(1).scaleb(max(place, 0) if whole else place)
        limit = limit.quantize(unit, ROUND_FLOOR if down else ROUND_CEILING, _EXACT)
    if limit == limit.to_integral_value() and abs(limit) < 1 << 63:
        return int(limit)
    return float(limit) if math.isfinite(float(limit)) else None


def between(low: Number | None, high: Number | None) -> Bounds:
    """Return the arguments of an expectation; a bound that is None is left out."""
    return {name: bound for name, bound in (("min_value", low), ("max_value", high)) if bound is not None}
