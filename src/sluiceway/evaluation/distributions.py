"""Figures of the data: how a property is distributed, by split or by version.

Shares are of each part, so that parts of unequal size lie on each other where they are alike.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from sluiceway.evaluation.canvas import INK, drawing, legend, series_colour, series_dashes, shorten, ticks, words_figure
from sluiceway.evaluation.text import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_VALUES = 20
"""Values of a property that are drawn; the rarer ones are not."""
_ROW = 19  # height of the bars of one value

Shares = Mapping[str, Sequence[float]]
"""By part, the share of each bin or value."""


def distribution_figure(name: str, distribution: Mapping[str, Any], *, by: str = "split") -> str:
    """Draw one distribution of :func:`sluiceway.data.profile.profile`.

    Args:
        name: of the property.
        distribution: by part.
        by: what the parts are: ``split`` or ``version``.
    """
    shares = _shares(distribution)
    only = only_value(distribution)
    if not shares or only is not None:
        return words_figure(f"{name} by {by}", "no value at all" if only is None else f"always {only}")
    label = f"{name} by {by}, in % of the {by}"
    if distribution["kind"] == "number":
        return _histogram(label, distribution["edges"], shares, distribution.get("unit", ""))
    return _bars(label, [str(value) for value in distribution["values"]], shares)


def distance(distribution: Mapping[str, Any], one: str, other: str) -> float:
    """Return how far two parts of a distribution are apart: 0 is equal, 1 is apart, or empty beside not empty.

    Of numbers, the largest gap between cumulated shares of the bins; of values, half the sum of differences of shares.
    """
    shares = _shares(distribution)
    if one not in shares or other not in shares:
        return float((one in shares) != (other in shares))
    apart = [share - beside for share, beside in zip(shares[one], shares[other], strict=True)]
    if distribution["kind"] == "number":
        return max(abs(gap) for gap in accumulate(apart))
    return (sum(abs(gap) for gap in apart) + abs(sum(apart))) / 2  # what is not counted by value is one more value


def only_value(distribution: Mapping[str, Any]) -> str | None:
    """Return the one value that every example has, or None where they differ or none has any."""
    if distribution["kind"] == "values":
        values = distribution["values"]
        return str(values[0]) if len(values) == 1 else None
    found = {part[end] for part in distribution["splits"].values() if part["count"] for end in ("min", "max")}
    return number(found.pop()) if len(found) == 1 else None


def _shares(distribution: Mapping[str, Any]) -> Shares:
    """Return the shares of the parts that have any value."""
    field = "histogram" if distribution["kind"] == "number" else "counts"
    parts = {name: part for name, part in distribution["splits"].items() if part["count"]}
    return {name: [count / part["count"] for count in part[field]] for name, part in parts.items()}


def _histogram(label: str, edges: Sequence[float], shares: Shares, unit: str) -> str:
    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        outlines = {
            part: axes.stairs(heights, edges, color=series_colour(index), ls=series_dashes(index), lw=1.6)
            for index, (part, heights) in enumerate(shares.items())
        }
        axes.margins(x=0.01)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(unit)
        ticks(axes.xaxis)
        ticks(axes.yaxis, factor=100, unit=" %", most=4)
        legend(figure, outlines)

    return drawing(f"Distribution of {label}", 180 if unit else 164, draw)


def _bars(label: str, values: Sequence[str], shares: Shares) -> str:
    order = sorted(range(len(values))[:MOST_VALUES], key=lambda index: _natural(values[index]))

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        thick = 0.66 / len(shares)
        bars = {
            part: axes.barh(
                [row + thick * (place - (len(shares) - 1) / 2) for row in range(len(order))],
                [each[index] for index in order],
                0.75 * thick,
                color=series_colour(place),
            ).patches[0]
            for place, (part, each) in enumerate(shares.items())
        }
        axes.set_yticks(range(len(order)), [shorten(values[index], 16) for index in order], color=INK)
        axes.set_ylim(len(order) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.grid(axis="x")
        axes.spines["bottom"].set_visible(False)
        ticks(axes.xaxis, factor=100, unit=" %")
        if len(values) > MOST_VALUES:
            axes.set_xlabel(f"the {MOST_VALUES} most frequent values")
        legend(figure, bars)

    height = 50 + _ROW * len(order) + (18 if len(values) > MOST_VALUES else 0)
    return drawing(f"Shares of {label}", height, draw)


def _natural(value: str) -> tuple[bool, float, str]:
    """Order numbers as numbers, before words."""
    try:
        return False, float(value), value
    except ValueError:
        return True, 0.0, value
