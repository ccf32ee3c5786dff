"""Stage ``train``: shards become a model, by Ray Train and Lightning, under the cost gate and in an MLflow run."""

import csv
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sluiceway.data.cache import LIMIT
from sluiceway.data.documents import write_json
from sluiceway.data.places import emptied
from sluiceway.data.shards import ShardedSplit, digest, read_encoding
from sluiceway.errors import GateClosed
from sluiceway.gates.cost import cost
from sluiceway.gates.overrides import overridden
from sluiceway.gates.verdict import Verdict
from sluiceway.stages.console import Meter, console, progress, warn
from sluiceway.stages.frame import Clock, done, stage
from sluiceway.stages.train_folder import folder_of
from sluiceway.training import driver, memory
from sluiceway.training.failures import Failure
from sluiceway.training.job import Job, Places, seal, set_aside, unsealed
from sluiceway.training.notice import heard
from sluiceway.training.prepare import prepare
from sluiceway.training.spool import Point, parse
from sluiceway.usecases import saved
from sluiceway.usecases.pipeline import Pipeline

if TYPE_CHECKING:
    from sluiceway.tracking.run import MetricPoint, Run


def train(pipeline: Pipeline) -> None:
    """Train the network, or go on with a training that was interrupted.

    Raises:
        GateClosed: the training is not worth its price.
        TrainingError: it cannot go on.
    """
    from sluiceway.evaluation.report import write_verdict
    from sluiceway.tracking.shipper import Shipper

    with stage("train", pipeline) as clock:
        job = prepare(pipeline)
        _warn_of_strain(pipeline)
        with folder_of(pipeline, job) as places, _Notes(places) as notes, _run_of(pipeline, job, clock) as run:
            with clock("tracking"):
                _log_inputs(pipeline, run, places)
            shipper = Shipper(run, places.metrics, parse=_metric_points)
            with progress("train", "steps", job.plan.steps) as meter, shipper, heard(places.notice):
                try:
                    trained = _trained_before(pipeline, places) or memory.run(
                        job, lambda point: _show(meter, point, notes), warn, _tell
                    )
                except GateClosed:
                    verdict = Verdict.read(places.verdict)
                    write_verdict(verdict, pipeline.reports / "verdicts", run.id)
                    run.log_verdict(verdict)
                    raise
            _count(clock, trained.result)
            with clock("reports"):
                report = _report(pipeline, trained)
                write_verdict(trained.verdict, pipeline.reports / "verdicts", run.id)
                _write_model(pipeline, trained, run.id)
                _write_curves(pipeline.reports / "curves", trained.curve)
            with clock("tracking"):
                run.log_verdict(trained.verdict)
                if trained.failures:
                    run.log_artifact(places.failures, "training")
                run.log_figures({f"training/{name}": value for name, value in report.items() if name != "currency"})
                if left := shipper.left and shipper.close():  # the store answers now
                    warn(f"{len(left)} points of the curves did not reach MLflow: {shipper.problem}")
        for note in trained.result["notes"]:
            warn(note.replace(f"{pipeline.root}/", ""))  # workers know folders in full
        done(
            "train",
            pipeline,
            clock,
            f"{_size(report)}, {report['steps']:,} steps in {report['seconds']:.0f} s "
            f"for {report['cost']:.2g} {report['currency']}; "
            f"best validation loss {report['best_validation_loss']:.4f} after step {report['best_step']:,}",
        )


def _warn_of_strain(pipeline: Pipeline) -> None:
    strain = ShardedSplit(pipeline.shards, "train").strain(pipeline.params.train.shuffle_shards)
    if strain:
        warn(f"{strain}: they will be fetched again and again. Set a lower train.shuffle_shards, or a higher {LIMIT}")


def _trained_before(pipeline: Pipeline, places: Places) -> driver.Trained | None:
    """Return the outcome of a training that ended before its model was written, or before DVC had recorded that."""
    trained = driver.finished(places)
    if trained:
        console.print(f"[bold]train[/] {pipeline.name}: was trained to the end before; its model is written again")
    return trained


def _run_of(pipeline: Pipeline, job: Job, clock: Clock) -> "AbstractContextManager[Run]":
    """Return the run of an interrupted training, or a new one; runs that a dead process left open are closed first."""
    with clock("tracking"):
        from sluiceway.tracking.runs import attach_run, close_abandoned, open_run, unfinished

        for name, status in close_abandoned(pipeline):
            warn(f"run {name} was left open by a process that is gone: it is {status} now")
        places = Places(Path(job.folder))
        begun, known = places.folder.exists(), unsealed(places.run)
        if known is None and places.run.exists():
            warn(f"{set_aside(places.run)}; its run is looked for in MLflow")
        places.folder.mkdir(parents=True, exist_ok=True)  # ahead of the run: who is killed between them finds it again
        if known is None and begun and (found := unfinished(pipeline, _TRAINING, job.subject)):
            known = {"run_id": found}
        if known:
            return attach_run(pipeline, known["run_id"])
        return open_run(pipeline, f"{pipeline.params.model.name}-{job.subject[:8]}", {_TRAINING: job.subject})


def _log_inputs(pipeline: Pipeline, run: "Run", places: Places) -> None:
    """Write what is known before training: the data sets, the data gate's verdict and its report."""
    seal(places.run, {"run_id": run.id})
    verdict = overridden(Verdict.read(pipeline.validated / "verdict.json"), pipeline.overrides)
    run.log_verdict(verdict)
    run.log_artifact(pipeline.reports / "data", "reports")
    run.log_dataset(f"{pipeline.name} examples", pipeline.validated / "examples.parquet", verdict.subject, "validation")
    run.log_dataset(f"{pipeline.name} shards", pipeline.shards, digest(pipeline.shards), "training")


_TRAINING = "sluiceway.training"
"""Tag of a run: which training writes to it."""


class _Notes:
    """Passes on what workers want a person to read, once."""

    def __init__(self, places: Places) -> None:
        self._path = places.notes
        self._seen = 0

    def __enter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.look()

    def look(self) -> None:
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        for line in lines[self._seen :]:
            warn(line)
        self._seen = len(lines)


def _metric_points(line: bytes) -> "Iterator[MetricPoint]":
    from sluiceway.tracking.run import MetricPoint

    if point := parse(line):
        yield from (MetricPoint(name, point.step, value, point.time) for name, value in point.metrics.items())


def _show(meter: Meter, point: Point, notes: _Notes) -> None:
    notes.look()
    said = [name for name in point.metrics if name.startswith("train/") and name != "train/lr"]
    if said:
        name = "train/loss" if "train/loss" in said else said[0]
        meter.update(point.step, f"{name.removeprefix('train/')} {point.metrics[name]:.4f}")


def _tell(failure: Failure) -> None:
    if failure.retried:
        warn(f"{failure.message}; training goes on from step {failure.step:,}")


def _count(clock: Clock, result: dict[str, Any]) -> None:
    seconds = result["seconds_of"]
    clock.add("learning", seconds["training"] + seconds["validation"])
    clock.add("start-up", seconds["setup"])
    clock.add("reports", seconds["checkpoints"])


def _report(pipeline: Pipeline, trained: driver.Trained) -> dict[str, Any]:
    """Write ``training.json``, which ``dvc metrics`` shows."""
    limits, result = pipeline.params.gates.cost, trained.result
    device_seconds = result["device_seconds"]
    report = {
        "steps": result["steps"],
        "best_step": result["best_step"],
        "best_validation_loss": result["best_validation_loss"],
        "parameters": result["parameters"],
        "trained_parameters": result["trained_parameters"],
        "seconds": result["seconds"],
        "attempts": result["attempts"],
        "checkpoints": result["checkpoints"],
        "checkpoint_stall_seconds": result["seconds_of"]["checkpoints"],
        "failures": len(trained.failures),
        "device_hours": device_seconds / 3600,
        "cost": cost(device_seconds, limits),
        "currency": limits.currency,
    }
    pipeline.reports.mkdir(parents=True, exist_ok=True)
    write_json(pipeline.reports / "training.json", report)
    return report


def _size(report: dict[str, Any]) -> str:
    """Say how large the network is, and how much of it was learned where that is not all."""
    whole, learned = report["parameters"], report["trained_parameters"]
    return f"{whole:,} parameters" if learned == whole else f"{learned:,} of {whole:,} parameters"


def _write_model(pipeline: Pipeline, trained: driver.Trained, run_id: str) -> None:
    write_json(emptied(pipeline.model) / "run.json", {"run_id": run_id})
    saved.save(  # ends with the manifest, without which it is no model
        pipeline.model,
        weights=trained.weights,
        usecase=pipeline.params.usecase,
        target=pipeline.params.target,
        model=type(pipeline.params.model).model_validate(trained.result["architecture"]),
        encoding=read_encoding(pipeline.shards),
    )


def _write_curves(folder: Path, curve: list[Point]) -> None:
    """Write the curves as tables: ``train.csv`` and ``validation.csv``, for ``dvc plots``, and ``pretraining.csv``.

    Pre-training has a table of its own, since a loss that a step does not have would be drawn as zero. Where there was
    none, the table is its head.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for table in ("pretraining", "train", "validation"):
        points = [
            (point.step, {name.partition("/")[2]: value for name, value in point.metrics.items()})
            for point in curve
            if _table_of(point) == table
        ]
        names = sorted({name for _, figures in points for name in figures})
        with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["step", *names])
            writer.writeheader()
            writer.writerows({"step": step, **figures} for step, figures in points)


def _table_of(point: Point) -> str:
    """Say where a point belongs; names of pre-training have their phase in them: ``train/machines.0/...``."""
    if any(name.count("/") > 1 for name in point.metrics):
        return "pretraining"
    return next(iter(point.metrics)).partition("/")[0]
