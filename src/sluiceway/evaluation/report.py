"""The pages for people: what a gate found, and how good the model is; the data gate's own has a module of its own.

Each page is one file that asks nothing of anywhere else: styles and figures are inside it, there are no scripts, and a
content policy forbids what a panel of a use case might try to fetch. Everything that comes from data is escaped.
The same facts give the same bytes: a page carries no date.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.data.contract import wording
from sluiceway.evaluation import plots, text
from sluiceway.evaluation.calibration import Calibration
from sluiceway.evaluation.confusion import Confusion
from sluiceway.evaluation.layers.figures import depth_figure
from sluiceway.evaluation.layers.probes import Told
from sluiceway.evaluation.learned import NothingLearned
from sluiceway.evaluation.parity import Parity
from sluiceway.evaluation.scores import Score, unpaired_difference
from sluiceway.evaluation.slices import Slice
from sluiceway.gates.verdict import Check, GateName, Verdict
from sluiceway.usecases.base import Metric, Panel

if TYPE_CHECKING:
    import jinja2

FIRST_SLICES = 10
"""Slices that are shown at once; the rest is folded away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the evaluation page shows."""

    pipeline: str
    model: str
    """The model for people: its name, and its size."""
    run_id: str
    """MLflow run."""
    cost: str
    """What training cost, with its unit."""
    count: int
    """Test items."""
    metrics: Sequence[Metric]
    """The first one decides."""
    scores: Mapping[str, Mapping[str, Score]]
    """By learner, the model first, then the baselines; by metric name."""
    advantages: Mapping[str, Score]
    """By baseline: the model's paired advantage in the first metric, positive where the model is better. A baseline
    that answered other items has none here, and is compared by the two intervals."""
    nothing: NothingLearned | None = None
    """Where the network shows no sign of having learned."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Further facts for the head of the page, label and text."""
    curves: plots.Curves = field(default_factory=dict)
    slices: Sequence[Slice] = ()
    """Of ``sliced``, worst first."""
    sliced: Metric | None = None
    """A metric on the test items; default: the first. In a trial the first one is on episodes."""
    episodes: int = 0
    """Of the trial; 0: there was none, and the test items decide."""
    calibration: Calibration | None = None
    confusion: Confusion | None = None
    parity: Parity | None = None
    layers: Told | None = None
    """How much each layer of the network tells."""
    pictures: Sequence[Panel] = ()
    """Of its layers."""
    panels: Sequence[Panel] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Nested, as in params.yaml."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Of the data and the model, by name."""

    @property
    def metric(self) -> Metric:
        """The metric that decides."""
        return self.metrics[0]

    @property
    def sliced_score(self) -> Score:
        """The model's score, on all test items, in the metric of the slices."""
        return self.scores[self.learner][(self.sliced or self.metric).name]

    @property
    def learner(self) -> str:
        """The model's name among the scores."""
        return next(iter(self.scores))

    @property
    def score(self) -> Score:
        """The model's score in the metric that decides."""
        return self.scores[self.learner][self.metric.name]


def evaluation_page(evaluation: Evaluation) -> str:
    """Render ``report.html``: how good the model is, beside its baselines, and where it is not."""
    metric, scores = evaluation.metric, evaluation.scores
    state, headline = _headline(evaluation)
    return template("evaluation.html").render(
        evaluation=evaluation,
        metric=metric,
        sliced=evaluation.sliced or metric,
        state=state,
        headline=headline,
        summary=_summary(evaluation),
        comparison=plots.whisker_figure(
            metric, {name: each[metric.name] for name, each in scores.items()}, best=evaluation.learner
        ),
        curves={title: plots.curve_figure(title, series) for title, series in evaluation.curves.items()},
        slices=list(_slice_rows(evaluation)),
        first_slices=FIRST_SLICES,
        flagged=sum(part.worse for part in evaluation.slices),
        reliability=plots.reliability_figure(evaluation.calibration) if evaluation.calibration else "",
        confusion=plots.confusion_figure(evaluation.confusion) if evaluation.confusion else "",
        parity=plots.parity_figure(evaluation.parity) if evaluation.parity else "",
        depths=depth_figure(evaluation.layers) if evaluation.layers else "",
        parameters=dict(_flat(evaluation.parameters)),
    )


def gate_page(verdict: Verdict, *, run_id: str = "") -> str:
    """Render a verdict alone, as for the cost and the model gate: its state, its reason and its checks.

    Args:
        verdict: of any gate.
        run_id: MLflow run, if one is known yet.
    """
    return template("gate.html").render(**said(verdict), run_id=run_id)


def write_verdict(verdict: Verdict, folder: Path, run_id: str = "") -> None:
    """Write a verdict for programs and for people: ``<gate>.json`` and its page ``<gate>.html``."""
    verdict.write(folder / f"{verdict.gate}.json")
    (folder / f"{verdict.gate}.html").write_text(gate_page(verdict, run_id=run_id), encoding="utf-8")


def said(verdict: Verdict) -> dict[str, Any]:
    """Return what every page of a verdict shows; failed checks come first."""
    return {
        "verdict": verdict,
        "headline": _GATE_HEADLINES[verdict.gate][verdict.state],
        "state": _STATES[verdict.state],
        "checks": sorted(verdict.checks, key=urgency),
        "subject": _SUBJECTS[verdict.gate],
    }


def urgency(check: Check) -> tuple[bool, bool]:
    """Order checks: those that close the gate first, then warnings, then what passed."""
    return not check.closes, check.passed


def outcome(check: Check) -> tuple[str, str]:
    """Return the colour and the word of a check."""
    if check.passed:
        return "good", "passed"
    return ("bad", "failed") if check.closes else ("care", "warning")


def template(name: str) -> "jinja2.Template":
    """Return a template of a page."""
    return _environment().get_template(name)


_STATES = {"open": "good", "overridden": "care", "closed": "bad"}
_GATE_HEADLINES: dict[GateName, dict[str, str]] = {
    "data": {
        "open": "Open: this data is fit to learn from",
        "overridden": "Overridden: a person let this data through",
        "closed": "Closed: nothing is trained on this data",
    },
    "cost": {
        "open": "Open: this training is worth its price",
        "overridden": "Overridden: a person let this training go on",
        "closed": "Closed: this training does not go on",
    },
    "model": {
        "open": "Open: this model becomes the champion",
        "overridden": "Overridden: a person lets this model become the champion",
        "closed": "Closed: this model does not become the champion",
    },
}
_SUBJECTS: dict[GateName, str] = {
    "data": "Digest of the example table",
    "cost": "Digest of the training job",
    "model": "Digest of the model",
}


def _headline(evaluation: Evaluation) -> tuple[str, str]:
    """Return the colour and the words of the first line."""
    advantages = _advantages(evaluation)
    behind = [name for name, advantage in advantages.items() if advantage.high < 0]
    unclear = [name for name, advantage in advantages.items() if not (advantage.low > 0 or advantage.high < 0)]
    if not advantages:
        return "care", "Not compared with any baseline"
    if behind:
        return "bad", f"Worse than {_listed(behind)}"
    if unclear:
        return "care", f"Not clearly better than {_listed(unclear)}"
    return "good", "Better than every baseline" if len(advantages) > 1 else "Better than the baseline"


def _summary(evaluation: Evaluation) -> list[str]:
    """Say the comparison in sentences, one per baseline."""
    metric = evaluation.metric
    lines = []
    for name, advantage in _advantages(evaluation).items():
        beside = text.figure(metric, evaluation.scores[name][metric.name].value)
        unpaired = (
            "" if name in evaluation.advantages else "; not compared item by item: it did not answer the same ones"
        )
        apart = _apart(metric, advantage)
        lines.append(f"{apart} against {name} ({beside}): {_clarity(advantage)}{unpaired}")
    return lines


def _apart(metric: Metric, advantage: Score) -> str:
    """Write a difference with its interval, in the metric's own direction: ``-0.28 (-0.3 to -0.26)``."""
    sign = 1 if metric.higher_is_better else -1
    apart = text.difference(metric, sign * advantage.value)
    if not advantage.known:
        return apart
    low, high = (text.difference(metric, end) for end in sorted((sign * advantage.low, sign * advantage.high)))
    return f"{apart} ({low.removesuffix(' points')} to {high.removesuffix(' points')})"


def _advantages(evaluation: Evaluation) -> dict[str, Score]:
    """Return the advantage over every baseline: the paired one, or else that between the ends of the two intervals."""
    name = evaluation.metric.name
    baselines = {learner: each[name] for learner, each in evaluation.scores.items() if learner != evaluation.learner}
    return {
        learner: evaluation.advantages.get(learner) or unpaired_difference(evaluation.score, other, evaluation.metric)
        for learner, other in baselines.items()
    }


def _clarity(advantage: Score) -> str:
    if not advantage.known:
        return "too few test items to tell"
    if advantage.low > 0:
        return "clearly better"
    return "clearly worse" if advantage.high < 0 else "within chance"


def _slice_rows(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    overall = evaluation.sliced_score.value
    scores = [part.score for part in evaluation.slices]
    ends = [end for each in scores for end in (each.low, each.value, each.high) if end == end] + [overall]
    for part in evaluation.slices:
        cell = plots.whisker_cell(part.score, overall, (min(ends), max(ends)), worse=part.worse)
        yield {"slice": part, "cell": cell}


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _flat(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in parameters.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "null" if value is None else str(value)


def _shown(value: float | str | None) -> str:
    """Write what a check found or allowed."""
    if value is None:
        return ""
    return value if isinstance(value, str) else text.number(value)


@cache
def _environment() -> "jinja2.Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("sluiceway.evaluation")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"number": text.number, "shown": _shown, "outcome": outcome, "check_title": wording.title}
    made.globals |= {"figure": text.figure, "interval": text.interval}
    return made
