"""How figures are written for people."""

import math

from sluiceway.evaluation.scores import Score
from sluiceway.usecases.base import Metric

UNKNOWN = "unknown"


def number(value: float) -> str:
    """Write a number with at most four significant digits; whole ones in full, with separators of thousands."""
    if math.isnan(value):
        return UNKNOWN
    if not math.isfinite(value) or abs(value) >= 1e9:
        return f"{value:.4g}"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def figure(metric: Metric, value: float) -> str:
    """Write a value of a metric."""
    return UNKNOWN if math.isnan(value) else metric.text(value)


def interval(metric: Metric, score: Score) -> str:
    """Write the 95 % interval of a score: ``97.80 to 99.20 %``."""
    if not score.known:
        return "no interval"
    # The unit once, after the second figure.
    return f"{metric.text(score.low).removesuffix(' %')} to {metric.text(score.high)}"


def difference(metric: Metric, value: float) -> str:
    """Write a difference of two values with its sign; of percentages in points, so that nobody reads it as a ratio."""
    if math.isnan(value):
        return UNKNOWN
    return f"{100 * value:+.2f} points" if metric.percent else f"{value:+.4g}"
