"""The figures of the reports: each function takes plain figures and returns an inline SVG."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sluiceway.evaluation import text
from sluiceway.evaluation.calibration import Calibration
from sluiceway.evaluation.canvas import (
    BAR,
    BLUE,
    GROUND,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    TEXT,
    WIDTH,
    drawing,
    legend,
    series_colour,
    series_dashes,
    shorten,
    ticks,
    words_figure,
)
from sluiceway.evaluation.confusion import Confusion
from sluiceway.evaluation.parity import Parity
from sluiceway.evaluation.scores import Score
from sluiceway.usecases.base import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

Points = Sequence[tuple[float, float]]
Curves = Mapping[str, Mapping[str, Points]]
"""Training curves: by figure, then by split or other series, the points (step, value)."""

MOST_POINTS = 240
"""Points of one curve; longer ones are drawn as means of neighbours."""
MOST_CELLS_WITH_COUNTS = 12
"""Classes up to which a confusion matrix writes its counts into the cells."""
_LEAST_TEXT = 7  # a matrix whose class names would be lower than this names none
_FEW_POINTS = 12  # of a curve: each one is marked
LOGARITHMIC_FROM = 30.0
"""Largest over smallest value from which a curve of positive values is drawn on a log scale."""
_SIDES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}


def training_curves(history: Iterable[Mapping[str, float]]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Sort a metric history into figures: ``train/loss`` and ``validation/loss`` make the two curves of ``loss``.

    What a phase of pre-training left, ``train/machines.0/free_energy``, is the curve ``machines.0`` of ``free_energy``.

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
            phase, within, figure = rest.partition("/")
            return (figure, phase) if within else (rest, _SIDES[side])
    return name, name


def curve_figure(title: str, series: Mapping[str, Points]) -> str:
    """Draw values against the global step; a loss that falls by more than a factor of thirty on a log scale."""
    drawn = {name: _thinned(points) for name, points in series.items()}
    xs = [x for points in drawn.values() for x, y in points if math.isfinite(y)]
    ys = [y for points in drawn.values() for _, y in points if math.isfinite(y)]
    if not ys:
        return words_figure(title, "no finite value")

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        # A learning rate falls far too, but its shape is known on a linear scale.
        if "loss" in title.lower() and min(ys) > 0 and max(ys) / min(ys) > LOGARITHMIC_FROM:
            log_scale(axes, max(ys) / min(ys))
        lines = {}
        for index, (name, points) in enumerate(drawn.items()):
            # What is not finite breaks the line; the points of a short one are marked, so that a lone one is seen.
            values = [y if math.isfinite(y) else math.nan for _, y in points]
            marker = "o" if len(points) <= _FEW_POINTS else ""
            colour, dashes = series_colour(index), series_dashes(index)
            (lines[name],) = axes.plot(
                [x for x, _ in points], values, color=colour, ls=dashes, marker=marker, markersize=5
            )
        axes.set_xlim(min(0, *xs), max(xs) or 1)
        axes.set_xlabel("step")
        ticks(axes.xaxis)
        ticks(axes.yaxis)
        if [title] != list(lines):
            legend(figure, lines)

    ends = ", ".join(f"{name} ends at {text.number(points[-1][1])}" for name, points in series.items() if points)
    return drawing(f"{title} against the training step: {ends}", 240, draw)


def whisker_figure(metric: Metric, scores: Mapping[str, Score], best: str | None = None) -> str:
    """Draw each learner's value as a dot on its 95 % interval.

    Args:
        metric: what is compared.
        scores: by learner, in the order of drawing.
        best: the learner to bring out: the model among its baselines.
    """
    factor, unit = (100, " in %") if metric.percent else (1, "")

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        for row, (name, score) in enumerate(scores.items()):
            colour, weight = (BLUE, "bold") if name == best else (MUTED, "normal")
            above, place = row - 0.25, axes.get_yaxis_transform()
            value = text.figure(metric, score.value)
            axes.text(0, above, shorten(name, 28), weight=weight, transform=place)
            axes.text(1, above, value, weight="bold", color=colour, ha="right", transform=place)
            if math.isfinite(score.value):
                _whisker(axes, score, row, colour)
        axes.set_ylim(len(scores) - 0.5, -0.8)
        axes.set_yticks([])
        axes.grid(axis="x")
        axes.set_xlabel(shorten(f"{metric.title}{unit if '%' not in metric.title else ''}", 44))
        ticks(axes.xaxis, factor=factor)

    said = "; ".join(
        f"{name}: {text.figure(metric, score.value)} ({text.interval(metric, score)})" for name, score in scores.items()
    )
    return drawing(f"{metric.title}. {said}", 54 + 44 * len(scores), draw)


def whisker_cell(score: Score, overall: float, span: tuple[float, float], *, worse: bool) -> str:
    """Draw one slice's value and interval beside the overall value, as HTML for a table's cell.

    Args:
        score: the slice's.
        overall: value over all test items, as an upright line.
        span: least and largest value of all cells of the table, so that they compare by eye.
        worse: whether to draw it in the colour of a warning.
    """
    low, high = span

    def place(value: float) -> str:
        return f"{100 * (value - low) / ((high - low) or 1.0):.2f}%"

    marks = [f'<span class="all" style="left:{place(overall)}"></span>']
    if math.isfinite(score.value) and score.known:
        ends = f"left:{place(score.low)};right:calc(100% - {place(score.high)})"
        marks.append(f'<span class="range" style="{ends}"></span>')
    if math.isfinite(score.value):
        marks.append(f'<span class="dot" style="left:{place(score.value)}"></span>')
    label = "worse than overall" if worse else "not clearly worse than overall"
    return f'<div class="whisker{" bad" if worse else ""}" role="img" aria-label="{label}">{"".join(marks)}</div>'


def reliability_figure(calibration: Calibration) -> str:
    """Draw the share of right answers against confidence, with Wilson intervals, over the number of items per bin."""
    most = max(each.count for each in calibration.bins)

    def draw(figure: "Figure") -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        upper.plot([0, 1], [0, 1], color=MUTED, ls=(0, (4, 3)), lw=1)
        for each in calibration.bins:
            upper.vlines(each.confidence, each.accuracy.low, each.accuracy.high, color=BLUE, lw=1.6)
            upper.plot(each.confidence, each.accuracy.value, "o", color=BLUE)
            lower.bar(each.low, each.count, 0.95 * (each.high - each.low), align="edge", color=BAR)
        upper.spines["bottom"].set_visible(False)
        upper.set(xlim=(0, 1), ylim=(0, 1))
        lower.set_yticks([0, most], ["0", text.number(most)])
        lower.grid(visible=False)
        lower.set(xlabel="confidence in %", ylabel="items", ylim=(0, most))
        ticks(lower.xaxis, factor=100)
        ticks(upper.yaxis, factor=100, unit=" %")

    return drawing(f"Reliability diagram; expected calibration error {100 * calibration.ece:.1f} %", 320, draw)


def confusion_figure(confusion: Confusion) -> str:
    """Draw a confusion matrix: right answers blue, errors orange, as shares of each true class."""
    size = len(confusion.labels)
    labels = [shorten(label, 12) for label in confusion.labels]
    longest = max(map(len, labels))
    cell = 0.85 * WIDTH / size  # about
    height = min(TEXT, 0.8 * cell)
    strengths = _strengths(confusion)

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.imshow(_cell_colours(strengths), interpolation="none")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.xaxis.set_label_position("top")
        axes.set(xlabel="predicted", ylabel="true")
        axes.tick_params(labeltop=True, labelbottom=False, labelsize=height)
        named = labels if height >= _LEAST_TEXT else []
        axes.set_xticks(range(len(named)), named, rotation=90 if longest * 0.8 * height > cell else 0)
        axes.set_yticks(range(len(named)), named)
        if size > MOST_CELLS_WITH_COUNTS:
            return
        of_counts = min(TEXT, 1.4 * cell / len(str(confusion.counts.max())))
        for row, column in zip(*confusion.counts.nonzero(), strict=True):
            ink = PAPER if strengths[row, column] > 0.6 else INK
            count = str(confusion.counts[row, column])
            axes.text(column, row, count, color=ink, size=of_counts, ha="center", va="center")

    said = ", ".join(f"{count} of {truth} taken for {taken}" for truth, taken, count in confusion.worst())
    return drawing(f"Confusion matrix of {size} classes; {said or 'no error'}", WIDTH, draw)


def parity_figure(parity: Parity) -> str:
    """Draw each test item's answer against its number, and the line on which both are equal."""
    low, high = min(parity.target.min(), parity.predicted.min()), max(parity.target.max(), parity.predicted.max())
    room = 0.04 * (high - low) or 0.5

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        ends = (low - room, high + room)
        axes.plot(ends, ends, color=MUTED, ls=(0, (4, 3)), lw=1)
        faint = max(0.15, min(0.7, 60 / len(parity.target)))
        axes.plot(parity.target, parity.predicted, "o", color=BLUE, markersize=4, markeredgewidth=0, alpha=faint)
        axes.set(xlim=ends, ylim=ends, xlabel="true", ylabel="answered")
        ticks(axes.xaxis)
        ticks(axes.yaxis)

    return drawing(f"Answers against true numbers; mean error {text.number(parity.bias)}", 320, draw)


def _thinned(points: Points) -> Points:
    if len(points) <= MOST_POINTS:
        return points
    size = math.ceil(len(points) / MOST_POINTS)
    runs = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]


def log_scale(axes: "Axes", ratio: float) -> None:
    """Put upright values that span so large a ratio on a log scale, with labels that stay apart."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_yscale("log")
    # A short range gets labels between the powers of ten.
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio < 100 else (1, 3) if ratio < 1000 else (1,)))
    axes.yaxis.set_minor_locator(NullLocator())


def _whisker(axes: "Axes", score: Score, row: float, colour: str) -> None:
    if score.known:
        axes.plot([score.low, score.high], [row, row], "|-", color=colour, markeredgecolor=colour, markeredgewidth=1.8)
    axes.plot(score.value, row, "o", color=colour)


def _strengths(confusion: Confusion) -> Floats:
    """Return how strongly each cell [C true, C predicted] is coloured, 0 to 1."""
    counts = confusion.counts.astype(np.float64)
    shares = counts / np.maximum(1.0, counts.sum(axis=1, keepdims=True))
    # Errors are rare: the square root lets a share of one in a hundred be seen.
    strengths: Floats = np.where(np.eye(len(shares), dtype=bool), shares, np.sqrt(shares))
    return strengths


def _cell_colours(strengths: Floats) -> Floats:
    """Return the colours [C true, C predicted, RGB] of the cells."""
    from matplotlib.colors import to_rgb

    right = np.eye(len(strengths), dtype=bool)[:, :, None]
    full = np.where(right, to_rgb(BLUE), to_rgb(ORANGE))
    return np.asarray(to_rgb(GROUND)) * (1 - strengths[:, :, None]) + full * strengths[:, :, None]
