"""Figures of the data: how a property is distributed, by split.

Shares are of each split, so that splits of unequal size lie on each other where they are alike.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sluiceway.evaluation.axes import Scale, level_axis, upright_axis
from sluiceway.evaluation.svg import MUTED, WIDTH, drawing, legend, line, path, series_style, shorten, text, width_of
from sluiceway.evaluation.text import number

MOST_VALUES = 20
"""Values of a property that are drawn; the rarer ones are not."""
_LEFT, _RIGHT = 52, WIDTH - 12
_ROW = 19  # height of the bars of one value


def distribution_figure(name: str, distribution: Mapping[str, Any]) -> str:
    """Draw one distribution of :func:`sluiceway.data.profile.profile`."""
    field = "histogram" if distribution["kind"] == "number" else "counts"
    parts = {split: part for split, part in distribution["splits"].items() if part["count"]}
    shares = {split: [count / part["count"] for count in part[field]] for split, part in parts.items()}
    only = only_value(distribution)
    if not shares or only is not None:
        words = "no value at all" if only is None else f"always {only}"
        return drawing(34, f"{name}: {words}", [text(0, 22, shorten(words, 50), fill=MUTED)])
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


def _histogram(name: str, edges: Sequence[float], shares: Mapping[str, Sequence[float]], unit: str) -> str:
    x_scale = Scale(edges[0], edges[-1], _LEFT, _RIGHT)
    y_scale = Scale(0, max(max(heights) for heights in shares.values()), 140, 28)
    marks = [upright_axis(y_scale, _LEFT, _RIGHT, factor=100, unit=" %", most=3), level_axis(x_scale, 140, unit)]
    marks.append(legend(list(shares), _LEFT, 14))
    for index, heights in enumerate(shares.values()):
        # Each bin gives the two ends of its roof; the outline begins and ends on the ground.
        roof = [(x, height) for place, height in enumerate(heights) for x in edges[place : place + 2]]
        outline = [(edges[0], 0.0), *roof, (edges[-1], 0.0)]
        marks.append(path([(x_scale(x), y_scale(y)) for x, y in outline], **series_style(index), stroke_width=1.6))
    return drawing(176 if unit else 162, f"Distribution of {name} by split, in % of the split", marks)


def _bars(name: str, values: Sequence[str], shares: Mapping[str, Sequence[float]]) -> str:
    order = sorted(range(len(values))[:MOST_VALUES], key=lambda index: _natural(values[index]))
    labels = [shorten(values[index], 16) for index in order]
    top = max(each[index] for each in shares.values() for index in order)
    x_scale = Scale(0, top * 1.05, max(map(width_of, labels)) + 14, _RIGHT)
    bottom = 26 + _ROW * len(order)
    marks = [legend(list(shares), 4, 14), level_axis(x_scale, bottom, factor=100, unit=" %", grid_from=24)]
    for row, (index, label) in enumerate(zip(order, labels, strict=True)):
        y = 38 + _ROW * row
        marks.append(text(x_scale.start - 8, y + 4, label, text_anchor="end"))
        for place, each in enumerate(shares.values()):
            middle = y + 4 * (place - (len(shares) - 1) / 2)
            colour = series_style(place)["stroke"]
            marks.append(line(x_scale.start, middle, x_scale(each[index]), middle, colour, stroke_width=3))
    if len(values) > MOST_VALUES:
        said = f"the {MOST_VALUES} most frequent values"
        marks.append(text(_RIGHT, bottom + 30, said, text_anchor="end", fill=MUTED))
    height = bottom + (36 if len(values) > MOST_VALUES else 20)
    return drawing(height, f"Shares of {name} by split, in % of the split", marks)


def _natural(value: str) -> tuple[bool, float, str]:
    """Order numbers as numbers, before words."""
    try:
        return False, float(value), value
    except ValueError:
        return True, 0.0, value
