"""The figures of the reports: each function takes plain figures and returns an inline SVG."""

import math
from collections.abc import Iterable, Mapping, Sequence

from sluiceway.evaluation.axes import Scale, level_axis, padded, upright_axis, upright_axis_room
from sluiceway.evaluation.calibration import Calibration
from sluiceway.evaluation.confusion import Confusion
from sluiceway.evaluation.scores import Score
from sluiceway.evaluation.svg import (
    BAR,
    BLUE,
    GROUND,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    RED,
    WIDTH,
    drawing,
    element,
    legend,
    line,
    path,
    series_style,
    shorten,
    text,
    width_of,
)
from sluiceway.evaluation.text import figure, interval, number
from sluiceway.usecases.base import Metric

Points = Sequence[tuple[float, float]]
Curves = Mapping[str, Mapping[str, Points]]
"""Training curves: by figure, then by split or other series, the points (step, value)."""

MOST_POINTS = 240
"""Points of one curve; longer ones are drawn as means of neighbours."""
MOST_CELLS_WITH_COUNTS = 12
"""Classes up to which a confusion matrix writes its counts into the cells."""
_LOGARITHMIC_FROM = 30.0  # largest over smallest value from which a curve of positive values is drawn on a log scale
_SIDES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}


def training_curves(history: Iterable[Mapping[str, float]]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Sort a metric history into figures: ``train/loss`` and ``validation/loss`` make the two curves of ``loss``.

    Args:
        history: records with a ``step`` and any of the metrics; ``epoch`` is left out.
    """
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for record in history:
        for name, value in record.items():
            if name not in ("step", "epoch"):
                chart, series = _chart_of(name)
                curves.setdefault(chart, {}).setdefault(series, []).append((record["step"], value))
    return curves


def _chart_of(name: str) -> tuple[str, str]:
    for separator in "/._":
        side, found, rest = name.partition(separator)
        if found and side in _SIDES:
            return rest, _SIDES[side]
    return name, name


def curve_figure(title: str, series: Mapping[str, Points]) -> str:
    """Draw values against the global step; a loss that falls by more than a factor of thirty on a log scale."""
    drawn = {name: _thinned(points) for name, points in series.items()}
    xs = [x for points in drawn.values() for x, y in points if math.isfinite(y)]
    ys = [y for points in drawn.values() for _, y in points if math.isfinite(y)]
    if not ys:
        return drawing(40, f"{title}: no finite value", [text(WIDTH / 2, 24, "no finite value", text_anchor="middle")])
    # A learning rate falls far too, but its shape is known on a linear scale.
    logarithmic = "loss" in title.lower() and min(ys) > 0 and max(ys) / min(ys) > _LOGARITHMIC_FROM
    y_scale = Scale(*padded(min(ys), max(ys), logarithmic=logarithmic), 200, 28, logarithmic)
    left = max(46.0, upright_axis_room(y_scale))
    x_scale = Scale(min(0.0, *xs), max(xs), left, WIDTH - 10)
    parts = [
        upright_axis(y_scale, left, WIDTH - 10),
        level_axis(x_scale, 200, "step"),
        legend([name for name in drawn if name != title], left, 14),
    ]
    for index, points in enumerate(drawn.values()):
        places = [(x_scale(x), y_scale(y)) for x, y in points]
        parts.append(path(places, **series_style(index), stroke_width=1.8))
    ends = ", ".join(f"{name} ends at {number(points[-1][1])}" for name, points in series.items() if points)
    return drawing(238, f"{title} against the training step: {ends}", parts)


def whisker_figure(metric: Metric, scores: Mapping[str, Score], best: str | None = None) -> str:
    """Draw each learner's value as a dot on its 95 % interval.

    Args:
        metric: what is compared.
        scores: by learner, in the order of drawing.
        best: the learner to bring out: the model among its baselines.
    """
    shown = {name: score for name, score in scores.items() if math.isfinite(score.value)}
    ends = [end for score in shown.values() for end in (score.low, score.value, score.high) if math.isfinite(end)]
    scale = Scale(*padded(min(ends, default=0.0), max(ends, default=1.0), share=0.06), 14, WIDTH - 14)
    bottom = 8 + 42 * len(scores)
    factor, unit = (100, " in %") if metric.percent else (1, "")
    title = shorten(f"{metric.title}{unit if '%' not in metric.title else ''}", 56)
    parts = [level_axis(scale, bottom, title, factor=factor, grid_from=4)]
    for index, (name, score) in enumerate(scores.items()):
        colour, y = (BLUE if name == best else MUTED), 22 + 42 * index
        parts.append(text(14, y, shorten(name, 34), font_weight=600 if name == best else 400))
        parts.append(text(WIDTH - 14, y, figure(metric, score.value), text_anchor="end", font_weight=600, fill=colour))
        parts.append(_whisker(scale, score, y + 13, colour))
    said = "; ".join(
        f"{name}: {figure(metric, score.value)} ({interval(metric, score)})" for name, score in scores.items()
    )
    return drawing(bottom + 38, f"{metric.title}. {said}", parts)


def whisker_cell(score: Score, overall: float, span: tuple[float, float], *, worse: bool) -> str:
    """Draw one slice's value and interval beside the overall value, small enough for a table's cell.

    Args:
        score: the slice's.
        overall: value over all test items, as an upright line.
        span: least and largest value of all cells of the table, so that they compare by eye.
        worse: whether to draw it in the colour of a warning.
    """
    scale = Scale(*padded(*span, share=0.04), 5, 135)
    parts = [line(scale(overall), 0, scale(overall), 20, MUTED, stroke_dasharray="2 2")]
    parts.append(_whisker(scale, score, 10, RED if worse else BLUE))
    return drawing(20, "worse than overall" if worse else "not clearly worse than overall", parts, width=140)


def reliability_figure(calibration: Calibration) -> str:
    """Draw the share of right answers against confidence, with Wilson intervals, over the number of items per bin."""
    left, right, top, base, floor = 52, WIDTH - 10, 10, 216, 276
    x_scale, y_scale = Scale(0, 1, left, right), Scale(0, 1, base, top)
    most = max(each.count for each in calibration.bins)
    heights = Scale(0, most, floor, base + 12)
    parts = [
        upright_axis(y_scale, left, right, factor=100, unit=" %"),
        level_axis(x_scale, floor, "confidence in %", factor=100),
        line(x_scale(0), y_scale(0), x_scale(1), y_scale(1), MUTED, stroke_dasharray="4 3"),
        text(left - 6, base + 20, number(most), text_anchor="end", fill=MUTED),
        text(left - 6, floor, "items", text_anchor="end", fill=MUTED),
    ]
    for each in calibration.bins:
        x, y, place = x_scale(each.low), heights(each.count), x_scale(each.confidence)
        wide, high = x_scale(each.high) - x, max(floor - y, 0.8)
        parts.append(element("rect", x=x + 1, y=y, width=wide - 2, height=high, fill=BAR))
        parts.append(
            line(place, y_scale(each.accuracy.low), place, y_scale(each.accuracy.high), BLUE, stroke_width=1.6)
        )
        parts.append(_dot(place, y_scale(each.accuracy.value), BLUE))
    return drawing(floor + 38, f"Reliability diagram; expected calibration error {100 * calibration.ece:.1f} %", parts)


def confusion_figure(confusion: Confusion) -> str:
    """Draw a confusion matrix: right answers blue, errors orange, as shares of each true class."""
    size = len(confusion.labels)
    labels = [shorten(label, 12) for label in confusion.labels]
    margin = max(map(width_of, labels)) + 10
    left, upright = max(margin, 46.0), margin > 30
    top = (margin if upright else 16) + 20
    cell = (WIDTH - 4 - left) / size
    parts = [text(left, 12, "predicted →", fill=MUTED), text(0, top - 6, "true ↓", fill=MUTED)]
    for index, label in enumerate(labels if cell >= 9 else []):
        middle = cell * (index + 0.5)
        parts.append(text(left - 6, top + middle + 4, label, text_anchor="end"))
        parts.append(_column_label(left + middle, top - 6, label, upright=upright or cell < 16))
    for row, counts in enumerate(confusion.counts):
        for column, count in enumerate(counts):
            share = float(count) / max(1, int(counts.sum()))
            place = (left + cell * column, top + cell * row, cell)
            parts.append(_cell(*place, share, right=row == column))
            if count and size <= MOST_CELLS_WITH_COUNTS:
                parts.append(_cell_count(*place, int(count), share, right=row == column))
    said = ", ".join(f"{count} of {truth} taken for {taken}" for truth, taken, count in confusion.worst())
    return drawing(top + cell * size + 4, f"Confusion matrix of {size} classes; {said or 'no error'}", parts)


def _thinned(points: Points) -> Points:
    if len(points) <= MOST_POINTS:
        return points
    size = math.ceil(len(points) / MOST_POINTS)
    runs = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]


def _whisker(scale: Scale, score: Score, y: float, colour: str) -> str:
    if not math.isfinite(score.value):
        return ""
    parts = []
    if score.known:
        low, high = scale(score.low), scale(score.high)
        parts = [line(low, y, high, y, colour, stroke_width=2)]
        parts += [line(x, y - 4, x, y + 4, colour, stroke_width=2) for x in (low, high)]
    return "".join([*parts, _dot(scale(score.value), y, colour)])


def _dot(x: float, y: float, colour: str) -> str:
    return element("circle", cx=x, cy=y, r=4, fill=colour, stroke=PAPER, stroke_width=1)


def _column_label(x: float, y: float, label: str, *, upright: bool) -> str:
    if upright:
        return text(0, 0, label, transform=f"translate({x + 4:.2f} {y:.2f}) rotate(-90)")
    return text(x, y, label, text_anchor="middle")


def _cell(x: float, y: float, size: float, share: float, *, right: bool) -> str:
    ground = element("rect", x=x, y=y, width=size - 1, height=size - 1, fill=GROUND)
    if not share:
        return ground
    colour, strength = (BLUE if right else ORANGE), _strength(share, right=right)
    return ground + element("rect", x=x, y=y, width=size - 1, height=size - 1, fill=colour, fill_opacity=strength)


def _cell_count(x: float, y: float, size: float, count: int, share: float, *, right: bool) -> str:
    ink = PAPER if _strength(share, right=right) > 0.6 else INK
    return text(x + size / 2 - 0.5, y + size / 2 + 4, str(count), text_anchor="middle", fill=ink)


def _strength(share: float, *, right: bool) -> float:
    # Errors are rare: the square root lets a share of one in a hundred be seen.
    return share if right else math.sqrt(share)
