"""Figures of the data: how a property is distributed, by split.

Shares are of each split, so that splits of unequal size lie on each other where they are alike.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sluiceway.evaluation.canvas import INK, drawing, legend, series_colour, series_dashes, shorten, ticks, words_figure
from sluiceway.evaluation.text import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_VALUES = 20
"""Values of a property that are drawn; the rarer ones are not."""
_ROW = 19  # height of the bars of one value

Shares = Mapping[str, Sequence[float]]
"""By split, the share of each bin or value."""


def distribution_figure(name: str, distribution: Mapping[str, Any]) -> str:
    """Draw one distribution of :func:`sluiceway.data.profile.profile`."""
    field = "histogram" if distribution["kind"] == "number" else "counts"
    parts = {split: part for split, part in distribution["splits"].items() if part["count"]}
    shares = {split: [count / part["count"] for count in part[field]] for split, part in parts.items()}
    only = only_value(distribution)
    if not shares or only is not None:
        return words_figure(name, "no value at all" if only is None else f"always {only}")
    if distribution["kind"] == "number":
        return _histogram(name, distribution["edges"], shares, distribution.get("unit", ""))
    return _bars(name, [str(value) for value in distribution["values"]], shares)


def only_value(distribution: Mapping[str, Any]) -> str | None:
    """Return the one value that every example has, or None where they differ or none has any."""
    if distribution["kind"] == "values":
        values = distribution["values"]
        return str(values[0]) if len(values) == 1 else None
    found = {part[end] for part in distribution["splits"].values() if part["count"] for end in ("min", "max")}
    return number(found.pop()) if len(found) == 1 else None


def _histogram(name: str, edges: Sequence[float], shares: Shares, unit: str) -> str:
    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        outlines = {
            split: axes.stairs(heights, edges, color=series_colour(index), ls=series_dashes(index), lw=1.6)
            for index, (split, heights) in enumerate(shares.items())
        }
        axes.margins(x=0.01)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(unit)
        ticks(axes.xaxis)
        ticks(axes.yaxis, factor=100, unit=" %", most=4)
        legend(figure, outlines)

    return drawing(f"Distribution of {name} by split, in % of the split", 180 if unit else 164, draw)


def _bars(name: str, values: Sequence[str], shares: Shares) -> str:
    order = sorted(range(len(values))[:MOST_VALUES], key=lambda index: _natural(values[index]))

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        thick = 0.66 / len(shares)
        bars = {
            split: axes.barh(
                [row + thick * (place - (len(shares) - 1) / 2) for row in range(len(order))],
                [each[index] for index in order],
                0.75 * thick,
                color=series_colour(place),
            ).patches[0]
            for place, (split, each) in enumerate(shares.items())
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
    return drawing(f"Shares of {name} by split, in % of the split", height, draw)


def _natural(value: str) -> tuple[bool, float, str]:
    """Order numbers as numbers, before words."""
    try:
        return False, float(value), value
    except ValueError:
        return True, 0.0, value
