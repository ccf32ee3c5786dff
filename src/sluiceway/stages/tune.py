"""``sluiceway tune``: better parameters, searched for under the cost budget; an interrupted search goes on."""

import json
import math
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from sluiceway.data.documents import write_json, write_whole
from sluiceway.data.places import locked
from sluiceway.errors import TrainingError, UsageError
from sluiceway.evaluation import text
from sluiceway.evaluation.search_page import SearchResult, Tried, headline, search_page
from sluiceway.gates.cost import cost
from sluiceway.stages import tune_edit
from sluiceway.stages.console import Meter, console, progress, warn
from sluiceway.stages.frame import done, stage
from sluiceway.training.job import seal, set_aside, unsealed
from sluiceway.training.search import Candidate, Search, better, budget, score, search
from sluiceway.training.trials import Record, Trial, trial_of
from sluiceway.usecases.pipeline import Pipeline, params_file

if TYPE_CHECKING:
    from sluiceway.tracking.run import Run

_TUNING = "sluiceway.tuning"
"""Tag of a run: which search it is of."""
_SHOWN = 10
"""Trials that the terminal shows."""


def tune(pipeline: Pipeline, *, apply: bool = False) -> None:
    """Search for better parameters, or go on with a search that was interrupted, and say what should change.

    Args:
        pipeline: whose.
        apply: whether to write what won into ``params.yaml``.

    Raises:
        ConfigError: the space names what cannot be searched, or a value that an option cannot have.
        UsageError: the shards are of older data.
        TrainingError: every trial failed.
    """
    from sluiceway.tracking.lineage import shards_are_older

    with stage("tune", pipeline) as clock:
        if shards_are_older(pipeline):
            raise UsageError(
                f"the shards of {pipeline.name} are of older data than was validated",
                hint=f"dvc repro preprocess@{pipeline.name}",
            )
        found = search(pipeline)
        folder = pipeline.state / "tuning" / found.key
        if found.impossible:
            warn(f"{found.impossible} of {found.tune.trials} trials are left out: their values do not fit each other")
        with locked(folder.with_name(f"{found.key}.lock"), f"search {found.key}"), _run_of(pipeline, folder) as run:
            seal(folder / "run.json", {"run_id": run.id})
            with clock("learning"):
                _train(found, folder, lambda each, record: _track(pipeline, run, folder, each, record))
            with clock("tracking"):
                for candidate in found.candidates:
                    _track(pipeline, run, folder, candidate, trial_of(folder, candidate).now())
            with clock("reports"):
                result = _result(pipeline, found, folder, run.id)
                _write(pipeline, result)
            with clock("tracking"):
                _summarise(run, pipeline, result)
        _refuse_if_all_failed(result)
        console.print(_table(result))
        if result.diff:
            console.print(result.diff, markup=False)
        if apply and result.diff:
            write_whole(pipeline.params_file, _edited(pipeline, result))
        done("tune", pipeline, clock, f"{headline(result)}; {_costs(result)}")
        _say_next(pipeline, result, applied=apply)


def _train(found: Search, folder: Path, track: Any) -> None:
    """Run the trials that have not ended."""
    trials = [trial_of(folder, candidate) for candidate in found.candidates]
    for trial in trials:
        for said in trial.mended():
            warn(f"trial {trial.folder.name}: {said}")
    records = [trial.begin(candidate) for trial, candidate in zip(trials, found.candidates, strict=True)]
    if all(record.end for record in records):
        return
    from sluiceway.training import tuning

    with progress("tune", "trials", len(trials)) as meter:

        def changed(candidate: Candidate, record: Record) -> None:
            _show(meter, found, trials, candidate, record)
            track(candidate, record)

        tuning.run(found, folder, changed, warn)


def _show(meter: Meter, found: Search, trials: list[Trial], candidate: Candidate, record: Record) -> None:
    ended = sum(bool(known.end) for trial in trials if (known := trial.read()))
    values = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in candidate.values.items())
    reached = f"{found.tune.metric} {record.rungs[-1]:.4f}" if record.rungs else record.why
    meter.update(ended, f"trial {candidate.number} ({values}): {reached} {record.end}".rstrip())


def _run_of(pipeline: Pipeline, folder: Path) -> "AbstractContextManager[Run]":
    """Return the search's run: that of an interrupted search, or a new one."""
    from sluiceway.tracking.runs import attach_run, close_abandoned, open_run, tagged

    for name, status in close_abandoned(pipeline):
        warn(f"run {name} was left open by a process that is gone: it is {status} now")
    path = folder / "run.json"
    begun, known = folder.exists(), unsealed(path)
    if known is None and path.exists():
        warn(f"{set_aside(path)}; its run is looked for in MLflow")
    folder.mkdir(parents=True, exist_ok=True)  # ahead of the run: who is killed between them finds it again
    if known is None and begun and (run_id := tagged(pipeline, _TUNING, folder.name)):
        known = {"run_id": run_id}
    if known:
        return attach_run(pipeline, known["run_id"])
    return open_run(pipeline, f"tune-{folder.name[:8]}", {_TUNING: folder.name})


def _track(pipeline: Pipeline, run: "Run", folder: Path, candidate: Candidate, record: Record) -> None:
    """Tell MLflow of a trial that has ended, once."""
    if not record.end or record.run_id:
        return
    from sluiceway.tracking.run import MetricPoint
    from sluiceway.tracking.runs import record_trial

    limits = pipeline.params.gates.cost
    points: list[MetricPoint] = [
        MetricPoint(name, point.step, value, point.time)
        for point in record.points
        for name, value in point.metrics.items()
    ]
    figures = {"tuning/cost": cost(record.device_seconds, limits), "tuning/hours": record.seconds / 3600}
    if record.rungs and math.isfinite(record.rungs[-1]):
        figures["tuning/score"] = record.rungs[-1]
    made = record_trial(
        run,
        candidate.pipeline,
        f"trial-{candidate.number}",
        points=points,
        figures=figures,
        tags={f"{_TUNING}.trial": candidate.job.subject, f"{_TUNING}.end": record.end, f"{_TUNING}.why": record.why},
        status={"finished": "FINISHED", "pruned": "KILLED"}.get(record.end, "FAILED"),
    )
    trial_of(folder, candidate).write(replace(record, run_id=made))


def _result(pipeline: Pipeline, found: Search, folder: Path, run_id: str) -> SearchResult:
    settings, limits = found.tune, pipeline.params.gates.cost
    tried = [_tried(pipeline, found, candidate, trial_of(folder, candidate).now()) for candidate in found.candidates]
    winner: Tried | None = None
    for each in tried:
        known = each.end == "finished" and math.isfinite(each.score)
        if known and (winner is None or better(settings, each.score, winner.score)):
            winner = each
    hours, money = budget(settings, limits)
    diff = ""
    if winner and winner.number:
        before = pipeline.params_file.read_text(encoding="utf-8")
        path = params_file(pipeline.name)
        diff = tune_edit.difference(before, tune_edit.edited(before, winner.values), path)
    return SearchResult(
        pipeline=pipeline.name,
        metric=settings.metric,
        lowest=settings.best == "lowest",
        trials=tried,
        winner=winner,
        logarithmic=frozenset(name for name, domain in settings.space.items() if domain.loguniform),
        currency=limits.currency,
        budget=f"{hours:g} hours, {money:g} {limits.currency}",
        diff=diff,
        next=f"sluiceway tune {pipeline.name} --apply",
        run_id=run_id,
    )


def _tried(pipeline: Pipeline, found: Search, candidate: Candidate, record: Record) -> Tried:
    name, steps = f"validation/{found.tune.metric}", candidate.job.plan.steps
    curve = [(point.step / steps, point.metrics[name]) for point in record.points if name in point.metrics]
    return Tried(
        number=candidate.number,
        values=candidate.values,
        end=record.end,
        why=record.why,
        score=score(found.tune, [value for _, value in curve], keep=candidate.pipeline.params.train.keep),
        curve=curve,
        cost=cost(record.device_seconds, pipeline.params.gates.cost),
        seconds=record.seconds,
    )


def _write(pipeline: Pipeline, result: SearchResult) -> None:
    """Write the page, and the same for programs."""
    folder = _reports(pipeline)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(search_page(result), encoding="utf-8")
    trials = [asdict(each) | {"score": each.score if math.isfinite(each.score) else None} for each in result.ranked]
    winner = result.winner.number if result.winner else None
    write_json(
        folder / "search.json",
        {"metric": result.metric, "currency": result.currency, "winner": winner, "trials": trials},
    )


def _summarise(run: "Run", pipeline: Pipeline, result: SearchResult) -> None:
    figures = {f"tuning/{end}": float(result.count(end)) for end in ("finished", "pruned", "failed")}
    figures |= {"tuning/cost": result.cost(), "tuning/cost_of_pruned": result.cost("pruned")}
    if result.winner:
        figures["tuning/score"] = result.winner.score
        run.set_tags({f"{_TUNING}.winner": json.dumps(dict(result.winner.values))})
    run.log_figures(figures)
    run.log_artifact(_reports(pipeline), "reports")


def _refuse_if_all_failed(result: SearchResult) -> None:
    if result.count("failed") == len(result.trials):
        raise TrainingError(
            f"all {len(result.trials)} trials failed, the first of them: {result.trials[0].why}",
            hint="narrow tune.space; `sluiceway train` tells more of the parameters as they are",
        )


def _table(result: SearchResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2))
    options = list(result.trials[0].values)
    leaves = [option.rpartition(".")[2] for option in options]
    short = leaves if len(set(leaves)) == len(leaves) else options
    table.add_column("  trial", no_wrap=True)
    table.add_column("end", no_wrap=True)
    for title in (result.metric, *short, "seconds", f"cost, {result.currency}"):
        table.add_column(title, justify="right", overflow="fold")
    for trial in result.ranked[:_SHOWN]:
        name = f"  {trial.number}{' (now)' if trial.number == 0 else ''}"
        values = [str(trial.values[option]) for option in options]
        end = {"": "not ended", "pruned": "stopped"}.get(trial.end, trial.end)
        cells = [name, end, text.number(trial.score), *values, f"{trial.seconds:.1f}", f"{trial.cost:.2g}"]
        table.add_row(*cells, style="bold" if trial is result.winner else "")
    if len(result.trials) > _SHOWN:
        table.caption = f"  the best {_SHOWN} of {len(result.trials)}"
        table.caption_justify = "left"
    return table


def _costs(result: SearchResult) -> str:
    return (
        f"{len(result.trials)} trials for {result.cost():.2g} {result.currency}, of it {result.cost('pruned'):.2g} for "
        f"{result.count('pruned')} that were stopped early"
    )


def _say_next(pipeline: Pipeline, result: SearchResult, *, applied: bool) -> None:
    lines = []
    if result.count(""):
        left = result.count("")
        held_up = next((trial.why for trial in result.trials if trial.why and not trial.end), "")
        warn(
            f"{left} trials have not ended: {held_up}. The same command goes on with them"
            if held_up
            else f"the budget of {result.budget} is spent: {left} trials have not ended; raise tune.max_hours or "
            "tune.max_cost, and the same command goes on with them"
        )
    limits = pipeline.params.gates.cost
    if result.winner and (result.winner.cost > limits.max_cost or result.winner.seconds > 3600 * limits.max_hours):
        warn("what won takes more than gates.cost allows a training: `sluiceway train` will refuse it")
    if result.diff and applied:
        lines.append((f"dvc repro register@{pipeline.name}", "train with the new parameters"))
    elif result.diff:
        lines.append((result.next, "write them into params.yaml"))
    lines.append((f"reports/{pipeline.name}/tune/index.html", "the search as a picture; open it in a browser"))
    for command, what in lines:
        console.print(f"  [cyan]{command}[/]  {what}")


def _edited(pipeline: Pipeline, result: SearchResult) -> str:
    assert result.winner  # noqa: S101 - there is a difference
    return tune_edit.edited(pipeline.params_file.read_text(encoding="utf-8"), result.winner.values)


def _reports(pipeline: Pipeline) -> Path:
    return pipeline.reports / "tune"
