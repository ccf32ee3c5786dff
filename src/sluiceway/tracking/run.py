"""A run: what stages may write to it. In few requests, and every refusal is a :class:`TrackingError`."""

import json
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from sluiceway.errors import Preempted
from sluiceway.gates.verdict import Verdict
from sluiceway.tracking.store import client, one_line, patient, refusals
from sluiceway.usecases.pipeline import Pipeline

MOST_METRICS = 1000
"""Metrics per request; MLflow refuses more."""
_LONGEST = {"param": 6000, "tag": 8000, "digest": 36}
_SIGTERM_EXITS = (signal.SIGTERM, 128 + signal.SIGTERM)
"""Exit codes that mean SIGTERM: Ray's driver exits with the first, a shell and this package with the second."""


class MetricPoint(NamedTuple):
    """One figure of a training curve."""

    name: str
    step: int
    """Optimizer steps done."""
    value: float
    time: int
    """Milliseconds since 1970."""


class Run:
    """A run of MLflow.

    Args:
        pipeline: whose run it is.
        id: MLflow's id.
    """

    def __init__(self, pipeline: Pipeline, id: str) -> None:
        self.id = id
        self.pipeline = pipeline
        self._client = client(pipeline.root)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log nested parameters under dotted names, with values as in ``params.yaml``."""
        from mlflow.entities import Param

        flat = [Param(name, text[: _LONGEST["param"]]) for name, text in flatten(params).items()]
        with self._asking("take parameters"):
            self._client.log_batch(self.id, params=flat)

    def log_metrics(self, points: Iterable[MetricPoint]) -> None:
        """Log points of training curves, in as few requests as MLflow allows."""
        from mlflow.entities import Metric

        with self._asking("take metrics"):
            for some in _batches(points, MOST_METRICS):
                self._client.log_batch(
                    self.id, metrics=[Metric(point.name, point.value, point.time, point.step) for point in some]
                )

    def log_figures(self, figures: Mapping[str, float]) -> None:
        """Log final figures, which belong to no step; those that the run has already are not repeated."""
        now = int(time.time() * 1000)
        with self._asking("tell its figures"):
            there = self._client.get_run(self.id).data.metrics
        self.log_metrics(
            MetricPoint(name, 0, value, now) for name, value in figures.items() if there.get(name) != value
        )

    def log_curve(self, points: Iterable[MetricPoint]) -> None:
        """Log the points of whole curves; those that the run has already, with the same values, are not repeated."""
        wanted = list(points)
        with self._asking("tell its curves"):
            there = {
                (name, point.step, point.value)
                for name in {point.name for point in wanted}
                for point in self._client.get_metric_history(self.id, name)
            }
        self.log_metrics(point for point in wanted if (point.name, point.step, point.value) not in there)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; a tag that is there already is overwritten."""
        from mlflow.entities import RunTag

        with self._asking("take tags"):
            self._client.log_batch(
                self.id, tags=[RunTag(name, value[: _LONGEST["tag"]]) for name, value in tags.items()]
            )

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or a folder with all that is in it, into a folder of the run's artifacts."""
        with patient(), self._asking(f"keep {path}"):
            self._client.log_artifact(self.id, str(path), folder)

    def log_dataset(
        self, name: str, source: Path | str, digest: str, context: str, profile: Mapping[str, Any] | None = None
    ) -> None:
        """Log a data set that the run used. Nothing of it is read.

        Args:
            name: what it is called.
            source: where it lies: a path, or a URI.
            digest: what tells its versions apart; MLflow keeps 36 characters, the source all.
            context: what it was used for: ``training``, ``evaluation`` ...
            profile: facts about it, such as its number of rows.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        where = source if isinstance(source, str) else self._below_root(source)
        dataset = Dataset(
            name=name,
            digest=digest[: _LONGEST["digest"]],
            source_type="local" if isinstance(source, Path) else "uri",
            source=json.dumps({"uri": where, "digest": digest}),
            profile=json.dumps(dict(profile)) if profile else None,
        )
        with self._asking(f"take the data set {name}"):
            self._client.log_inputs(self.id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])

    def log_verdict(self, verdict: Verdict) -> None:
        """Log a gate's verdict: state and reason as tags, the whole as ``verdicts/<gate>.json``."""
        tag = f"sluiceway.verdict.{verdict.gate}"
        self.set_tags({tag: verdict.state, f"{tag}.reason": verdict.reason, f"{tag}.subject": verdict.subject})
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"{verdict.gate}.json"
            verdict.write(path)
            self.log_artifact(path, "verdicts")

    def sent_steps(self, name: str) -> set[int]:
        """Return the steps at which the store holds a value of the metric."""
        with self._asking(f"tell the history of {name}"):
            return {metric.step for metric in self._client.get_metric_history(self.id, name)}

    def start(self) -> None:
        """Mark the run as running (again)."""
        with self._asking("go on with the run"):
            self._client.update_run(self.id, status="RUNNING")

    def end(self, error: BaseException | None) -> None:
        """Mark the run as ended, with or without an error."""
        status = ending(error)
        if error is not None and status != "FINISHED":
            self.set_tags({"sluiceway.error": f"{type(error).__name__}: {one_line(error)}"})
        with patient(), self._asking(f"mark the run {status}"):
            if status == "FINISHED" and "sluiceway.error" in self._client.get_run(self.id).data.tags:
                self._client.delete_tag(self.id, "sluiceway.error")
            self._client.set_terminated(self.id, status)

    def _below_root(self, path: Path) -> str:
        root = self.pipeline.root
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)

    def _asking(self, what: str) -> AbstractContextManager[None]:
        return refusals(self.pipeline.root, what)


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Write nested parameters under dotted names; what is no text is written as JSON, so ``None`` is ``null``."""
    flat: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def ending(error: BaseException | None) -> str:
    """Return MLflow's status for a block that ended with this error, or with none."""
    match error:
        case None:
            return "FINISHED"
        case KeyboardInterrupt() | Preempted():
            return "KILLED"
        case SystemExit(code=code) if code in _SIGTERM_EXITS:
            return "KILLED"
        case SystemExit(code=None | 0):
            return "FINISHED"
        case _:
            return "FAILED"


def _batches(points: Iterable[MetricPoint], size: int) -> Iterator[list[MetricPoint]]:
    rest = iter(points)
    while some := list(islice(rest, size)):
        yield some
