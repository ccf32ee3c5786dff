"""Scales, ticks and grids of the figures."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from sluiceway.evaluation.svg import MUTED, WIDTH, line, text, width_of
from sluiceway.evaluation.text import number


@dataclass(frozen=True, slots=True)
class Scale:
    """A range of figures laid on a range of the drawing."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        turn: Callable[[float], float] = math.log10 if self.logarithmic else float
        if not math.isfinite(value) or (self.logarithmic and value <= 0):
            return math.nan
        low, high = turn(self.low), turn(self.high)
        return self.start + (turn(value) - low) / ((high - low) or 1.0) * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round figures within the range, ``most`` or about as many."""
        return _log_ticks(self.low, self.high, most) if self.logarithmic else _ticks(self.low, self.high, most)


def _ticks(low: float, high: float, most: int) -> list[float]:
    if high <= low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * multiple for multiple in (1, 2, 2.5, 5, 10) if power * multiple >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for multiples in ((1, 2, 5), (1, 3), (1,)):
        found = [multiple * 10.0**power for power in powers for multiple in multiples]
        kept = [tick for tick in found if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(kept) <= most + 1:
            return kept
    return kept[:: math.ceil(len(kept) / most)]


def padded(low: float, high: float, *, logarithmic: bool = False, share: float = 0.05) -> tuple[float, float]:
    """Widen a range, so that no mark lies on the rim of the figure."""
    if low == high:
        return (low / 2, high * 2) if logarithmic else (low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1)
    if logarithmic:
        return low / (high / low) ** share, high * (high / low) ** share
    return low - share * (high - low), high + share * (high - low)


def upright_axis(scale: Scale, left: float, right: float, *, factor: float = 1, unit: str = "", most: int = 5) -> str:
    """Draw an upright axis: level grid lines with labels on their left."""
    parts = []
    for tick in scale.ticks(most):
        parts.append(line(left, scale(tick), right, scale(tick)))
        parts.append(text(left - 6, scale(tick) + 4, number(factor * tick) + unit, text_anchor="end", fill=MUTED))
    return "".join(parts)


def upright_axis_room(scale: Scale) -> float:
    """Return the width that the labels of an upright axis take."""
    return 10 + max((width_of(number(tick)) for tick in scale.ticks()), default=0.0)


def level_axis(
    scale: Scale, y: float, label: str = "", *, factor: float = 1, unit: str = "", grid_from: float | None = None
) -> str:
    """Draw a level axis with labels, a name and, from the height ``grid_from``, upright grid lines."""
    labels = _fitting_labels(scale, factor, unit)
    parts = [line(scale(tick), grid_from, scale(tick), y) for tick in labels if grid_from is not None]
    parts += [line(scale.start, y, scale.end, y, MUTED)] if grid_from is None else []
    parts += [_inside(scale(tick), y + 15, words) for tick, words in labels.items()]
    return "".join([*parts, _inside((scale.start + scale.end) / 2, y + 32, label) if label else ""])


def _fitting_labels(scale: Scale, factor: float, unit: str) -> dict[float, str]:
    """Return as many ticks with their labels as stand beside each other."""
    for most in (5, 4, 3, 2, 1):
        labels = {tick: number(factor * tick) + unit for tick in scale.ticks(most)}
        if sum(width_of(words) + 8 for words in labels.values()) <= abs(scale.end - scale.start):
            break
    return labels


def _inside(x: float, y: float, words: str) -> str:
    # Words at the rim are drawn inwards, or the view box would cut them.
    half = width_of(words) / 2
    return text(min(max(x, half + 1), WIDTH - half - 1), y, words, text_anchor="middle", fill=MUTED)
