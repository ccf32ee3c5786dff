"""``sluiceway show``: the last run of a pipeline on one screen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from rich import box
from rich.markup import escape
from rich.table import Table

from sluiceway.data.documents import read_json
from sluiceway.errors import UsageError
from sluiceway.gates.overrides import overridden
from sluiceway.gates.verdict import Verdict
from sluiceway.stages.console import asked, console
from sluiceway.stages.frame import Work, timings
from sluiceway.usecases.base import Metric
from sluiceway.usecases.pipeline import Pipeline

_COLOURS = {"open": "green", "overridden": "yellow", "closed": "red"}


def show(pipeline: Pipeline) -> None:
    """Print verdicts, scores, cost, where the time went, and what to type next.

    Raises:
        UsageError: the pipeline has not run yet.
    """
    found = {name: Verdict.read(path) for name, path in _verdicts(pipeline).items() if path.exists()}
    verdicts = {name: overridden(verdict, pipeline.overrides) for name, verdict in found.items()}
    if not verdicts:
        raise UsageError(f"pipeline {pipeline.name!r} has not run yet", hint=f"dvc repro register@{pipeline.name}")
    console.print()
    console.rule(f"[bold]{pipeline.name}[/] [dim]{pipeline.usecase.summary}", align="left", style="dim")
    console.print(_gates(verdicts))
    evaluation = _read(pipeline.reports / "evaluation.json")
    if evaluation:
        console.print(_scores(pipeline, evaluation))
        for line in _nothing_learned(evaluation):
            console.print(line)
    for line in _results(pipeline):
        console.print(line)
    console.print(_times(pipeline))
    for command, why in _next(pipeline, verdicts, rate="nothing_learned" not in evaluation):
        console.print(f"  [cyan]{command}[/]  [dim]{why}[/]")
    console.print()


def _verdicts(pipeline: Pipeline) -> dict[str, Path]:
    return {
        "data": pipeline.validated / "verdict.json",
        "cost": pipeline.reports / "verdicts" / "cost.json",
        "model": pipeline.reports / "verdicts" / "model.json",
    }


def _gates(verdicts: dict[str, Verdict]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2))
    for name, verdict in verdicts.items():
        table.add_row(
            f"{name} gate", f"[bold {_COLOURS[verdict.state]}]{verdict.state}", f"[dim]{escape(verdict.reason)}"
        )
    return table


def _scores(pipeline: Pipeline, evaluation: dict[str, Any]) -> Table:
    metric = pipeline.metrics[0]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2))
    table.add_column(f"  {asked(evaluation)}")
    table.add_column(metric.title, justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_row(f"[bold]  {pipeline.params.model.name}", *_figures(metric, evaluation["model"]), style="bold")
    others = evaluation["baselines"].items()
    for name, scores in sorted(others, key=lambda each: each[1][metric.name]["value"], reverse=metric.higher_is_better):
        table.add_row(f"  {name}", *_figures(metric, scores))
    return table


def _nothing_learned(evaluation: Mapping[str, Any]) -> list[str]:
    """Say that the network shows no sign of having learned, why that may be, and what to do."""
    found = evaluation.get("nothing_learned")
    if not found:
        return []
    said = f"  [bold red]This network seems to have learned nothing.[/] {escape(' '.join(found['signs']))}"
    return [said, *(f"  - {escape(cause)}" for cause in found["causes"]), ""]


def _figures(metric: Metric, scores: dict[str, Any]) -> tuple[str, str]:
    score = scores[metric.name]
    known = score["low"] is not None and score["high"] is not None
    interval = f"{metric.text(score['low'])} to {metric.text(score['high'])}" if known else "-"
    return metric.text(score["value"]), interval


def _results(pipeline: Pipeline) -> list[str]:
    lines = []
    if training := _read(pipeline.reports / "training.json"):
        money = f"{training['cost']:.2g} {training['currency']}"
        lines.append(f"  [dim]cost[/]   {money}, {training['seconds']:.0f} seconds of training")
    if registered := _read(pipeline.reports / "registration.json"):
        alias = ", alias [bold]champion[/]" if registered["champion"] else ", not the champion"
        lines.append(f"  [dim]model[/]  [bold]{registered['name']}[/] version {registered['version']}{alias}")
        lines.append(f"  [dim]run[/]    {registered['run_id']}")
    return lines


def _times(pipeline: Pipeline) -> Table:
    """Say where the time of each stage's last run went."""
    times = timings(pipeline)
    kinds = [kind for kind in get_args(Work) if any(kind in seconds for seconds in times.values())]
    sums = {kind: sum(seconds.get(kind, 0.0) for seconds in times.values()) for kind in kinds}
    total = sum(sums.values()) or 1.0
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_footer=True)
    table.add_column("  seconds", footer="  all", no_wrap=True)
    table.add_column("total", f"{total:.1f}", justify="right")
    for kind in kinds:
        table.add_column(kind, f"{sums[kind]:.1f}", justify="right")
    for name, seconds in times.items():
        cells = [f"{seconds[kind]:.1f}" if seconds.get(kind, 0.0) >= 0.05 else "" for kind in kinds]
        table.add_row(f"  {name}", f"{sum(seconds.values()):.1f}", *cells)
    share = (sums.get("data", 0.0) + sums.get("learning", 0.0)) / total
    table.caption = f"  {share:.0%} of it reading data and learning"
    table.caption_justify = "left"
    return table


def _next(pipeline: Pipeline, verdicts: Mapping[str, Verdict], *, rate: bool) -> list[tuple[str, str]]:
    """Return commands and files, each with what it is for: ways out of a closed gate, or what to do with a model.

    Args:
        pipeline: whose.
        verdicts: of its gates.
        rate: whether another learning rate is worth a try as a next step.
    """
    name = pipeline.name
    again = (f"dvc repro register@{name}", "go on, once that is mended")
    if "data" in verdicts and not verdicts["data"].open:
        return [
            (f"reports/{name}/data/index.html", "what is wrong, with the worst examples; open it in a browser"),
            again,
        ]
    if "cost" in verdicts and not verdicts["cost"].open:
        return [
            (f"reports/{name}/verdicts/cost.html", "what it would take; open it in a browser"),
            (f"sluiceway params {name} gates.cost", "the limits; train.epochs and model make the training smaller"),
            again,
        ]
    evaluated = (pipeline.reports / "report.html").exists()
    lower = f"pipelines/{name}/params.yaml:train.lr={pipeline.params.train.lr / 2:g}"
    return [
        ("make ui", f"MLflow: the runs of {name}, their curves, the registered versions"),
        *([(f"dvc exp run -S {lower} register@{name}", "try another learning rate")] if rate else []),
        ("dvc metrics diff", "compare with the last commit; dvc plots diff draws it"),
        *([(f"reports/{name}/report.html", "the evaluation in full; open it in a browser")] if evaluated else []),
    ]


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}
