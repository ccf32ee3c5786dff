"""The page of a search for better parameters: which trials went on, what they cost, and what their values did."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluiceway.evaluation import plots, text
from sluiceway.evaluation.canvas import BAR, BLUE, MUTED, ORANGE, drawing, legend, shorten, ticks, words_figure
from sluiceway.evaluation.report import template

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_NAMES = 8
"""Values of a choice up to which each has its name below the axis."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial, for people."""

    number: int
    """0 has the parameters as they are."""
    values: Mapping[str, Any]
    """By option."""
    end: str
    """``finished``, ``pruned``, ``failed``, or nothing: it has not ended."""
    why: str
    score: float
    """The best one so far, or the last one; NaN: none."""
    curve: plots.Points
    """(share of the training, figure) of each validation."""
    cost: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """All that the page shows."""

    pipeline: str
    metric: str
    lowest: bool
    """Whether the lowest value is the best."""
    trials: Sequence[Tried]
    """In the order of their numbers."""
    winner: Tried | None
    """None: no trial is finished."""
    logarithmic: frozenset[str]
    """Options whose values are drawn on a log scale."""
    currency: str
    budget: str
    """In words."""
    diff: str
    """What would change in params.yaml; nothing: the parameters as they are won."""
    next: str
    """What to type."""
    run_id: str = ""

    @property
    def ranked(self) -> list[Tried]:
        """Return the trials, the winner first, then the finished, the stopped and the rest, best first."""
        order = {"finished": 0, "pruned": 1, "": 2, "failed": 3}
        sign = 1 if self.lowest else -1

        def place(trial: Tried) -> tuple[int, float, int]:
            return order[trial.end], math.inf if math.isnan(trial.score) else sign * trial.score, trial.number

        return sorted(self.trials, key=place)

    def count(self, end: str) -> int:
        """Return how many trials ended so."""
        return sum(trial.end == end for trial in self.trials)

    def cost(self, end: str | None = None) -> float:
        """Return what the trials that ended so have cost, or all of them."""
        return sum(trial.cost for trial in self.trials if end in (None, trial.end))


def search_page(result: SearchResult) -> str:
    """Render ``reports/<pipeline>/tune/index.html``."""
    options = list(result.trials[0].values)
    return template("tune.html").render(
        result=result,
        headline=headline(result),
        options=options,
        curves=curves_figure(result),
        effects={option: effect_figure(result, option) for option in options},
        words={"finished": ("good", "finished"), "pruned": ("care", "stopped"), "failed": ("bad", "failed")},
    )


def headline(result: SearchResult) -> str:
    """Say in a sentence what came of it."""
    if result.winner is None:
        return "No trial is finished"
    if not result.diff:
        return "The parameters as they are were the best"
    before = result.trials[0]
    known = before.end == "finished" and not math.isnan(before.score)
    beside = f", {text.number(before.score)} as it is now" if known else ""
    return f"{result.metric} {text.number(result.winner.score)} with trial {result.winner.number}{beside}"


def curves_figure(result: SearchResult) -> str:
    """Draw the figure that decides against the share of the training, a line for each trial, the winner's on top."""
    title = f"validation {result.metric}"
    values = [y for trial in result.trials for _, y in trial.curve if math.isfinite(y)]
    if not values:
        return words_figure(title, "no trial has been validated")

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        lines: dict[str, Artist] = {}
        for trial in sorted(result.trials, key=lambda trial: trial is result.winner):
            name, colour, width = _look(result, trial)
            xs, ys = [x for x, _ in trial.curve], [y if math.isfinite(y) else math.nan for _, y in trial.curve]
            (line,) = axes.plot(xs, ys, color=colour, lw=width, marker="o", markersize=2 + width, clip_on=False)
            lines.setdefault(name, line)
        if min(values) > 0 and max(values) / min(values) > plots.LOGARITHMIC_FROM:
            plots.log_scale(axes, max(values) / min(values))
        axes.set_xlim(0, 1)
        axes.set_xlabel("share of the training in %")
        ticks(axes.xaxis, factor=100)
        ticks(axes.yaxis)
        legend(figure, lines)

    said = f"{title} by trial" + (f"; trial {result.winner.number} wins" if result.winner else "")
    return drawing(said, 280, draw)


def effect_figure(result: SearchResult, option: str) -> str:
    """Draw each trial's score against its value of an option."""
    shown = [trial for trial in result.trials if math.isfinite(trial.score)]
    if not shown:
        return words_figure(option, "no trial has a score")
    numbers = all(_is_number(trial.values[option]) for trial in result.trials)

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        marks: dict[str, Artist] = {}
        places = _places(result, option)
        for trial in sorted(shown, key=lambda trial: trial is result.winner):
            name, colour, width = _look(result, trial)
            x = trial.values[option] if numbers else places[repr(trial.values[option])]
            (mark,) = axes.plot(x, trial.score, "o", color=colour, markersize=4 + 2 * width, clip_on=False)
            marks.setdefault(name, mark)
        _axis(axes, option, places, numbers=numbers, logarithmic=option in result.logarithmic)
        axes.set_ylabel(shorten(f"validation {result.metric}", 24))
        ticks(axes.yaxis)
        legend(figure, marks)

    return drawing(f"{option} against the score of each trial", 240, draw)


def _axis(axes: "Axes", option: str, places: Mapping[str, int], *, numbers: bool, logarithmic: bool) -> None:
    axes.set_xlabel(shorten(option, 40))
    if not numbers:
        few = len(places) <= _MOST_NAMES
        names = [shorten(name.strip("'"), 40 // len(places)) if few else "" for name in places]
        axes.set_xticks(list(places.values()), names)
        axes.set_xlim(-0.5, len(places) - 0.5)
        return
    if logarithmic:
        from matplotlib.ticker import LogLocator, NullLocator

        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=5))
        axes.xaxis.set_minor_locator(NullLocator())
    ticks(axes.xaxis)


def _places(result: SearchResult, option: str) -> dict[str, int]:
    return {name: place for place, name in enumerate(dict.fromkeys(repr(t.values[option]) for t in result.trials))}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _look(result: SearchResult, trial: Tried) -> tuple[str, str, float]:
    """Return name, colour and width of a trial's marks."""
    if trial is result.winner:
        return "winner", BLUE, 2.4
    if trial.number == 0:
        return "as it is now", ORANGE, 1.8
    return ("finished", MUTED, 1.2) if trial.end == "finished" else ("stopped or failed", BAR, 1.0)
