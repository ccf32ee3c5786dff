"""Starts the workers through Ray Train, watches them, and turns what they leave into an answer.

One worker on this machine runs inside this process (Ray Train's local mode): no cluster is started. More workers, or
a cluster named by ``RAY_ADDRESS``, run as Ray actors. The worker's code is the same.
"""

import json
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from sluiceway.data.tail import Tail
from sluiceway.errors import TrainingError
from sluiceway.gates.verdict import Verdict
from sluiceway.launch.cluster import connected, settle
from sluiceway.launch.storage import check_shared
from sluiceway.training.checkpoints import fault_of
from sluiceway.training.failures import Failure, noted
from sluiceway.training.failures import parse as parse_failure
from sluiceway.training.job import WEIGHTS_DIGEST, Job, Places, unsealed
from sluiceway.training.spool import Point, read
from sluiceway.training.spool import parse as parse_point

Line = TypeVar("Line")


@dataclass(frozen=True, slots=True)
class Trained:
    """The outcome of a training."""

    weights: Path
    result: dict[str, Any]
    verdict: Verdict
    curve: list[Point]
    failures: list[Failure]
    """That were mended on the way, those of earlier attempts included."""


def run(job: Job, on_point: Callable[[Point], None], on_failure: Callable[[Failure], None] = lambda _: None) -> Trained:
    """Train, and call ``on_point`` with each point of the curve, and ``on_failure`` with each failure, as they come.

    Raises:
        GateClosed: the cost gate refused.
        LaunchError: the nodes of the cluster do not see one folder.
        TrainingError: a worker failed; the message is its last words.
        KeyboardInterrupt: somebody stopped it.
    """
    places = Places(Path(job.folder))
    places.folder.mkdir(parents=True, exist_ok=True)
    with _Watch(places.metrics, parse_point, on_point), _Watch(places.failures, parse_failure, on_failure):
        if job.alone and "RAY_ADDRESS" not in os.environ:
            _run_here(job)
        else:
            _run_on_cluster(job)
    return _outcome(places)


def finished(places: Places) -> Trained | None:
    """Return the outcome of a training that has ended, and of which nothing was altered since; None: there is none."""
    result = unsealed(places.result)
    if result is None:
        return None
    if fault := fault_of(places.weights, result.get(WEIGHTS_DIGEST, "")):
        places.note(f"the outcome of the training that ended here cannot be used: {fault}")
        return None
    with suppress(OSError, ValueError, TypeError):
        return _outcome(places)
    return None


def _outcome(places: Places) -> Trained:
    return Trained(
        weights=places.weights,
        result=json.loads(places.result.read_text(encoding="utf-8")),
        verdict=Verdict.read(places.verdict),
        curve=list(read(places.metrics)),
        failures=[failure for failure in noted(places.failures) if failure.retried],
    )


def _run_here(job: Job) -> None:
    settle()
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from sluiceway.training.worker import train_worker

    logging.getLogger("ray").setLevel(logging.ERROR)
    TorchTrainer(
        train_worker,
        train_loop_config=job.packed(),
        scaling_config=ScalingConfig(num_workers=0),
        run_config=RunConfig(name=job.subject, storage_path=job.folder),
    ).fit()


def _run_on_cluster(job: Job) -> None:
    places = Places(Path(job.folder))
    earlier = len(list(noted(places.failures)))
    settle()
    with connected() as private:
        if not private:
            check_shared(places.folder, [Path(job.shards)])
        from sluiceway.training.supervision import Trainer, last_words

        try:
            Trainer(job, fixed=private).fit()
        except Exception as error:
            failures = list(noted(places.failures))[earlier:]
            raise _given_up(job, failures) or last_words(error) from error


def _given_up(job: Job, failures: list[Failure]) -> TrainingError | None:
    """Return the error of a training that failed too often, if it did."""
    if not failures or failures[-1].retried or "fault" in failures[-1].ends.values():
        return None
    last = failures[-1]
    times = f" for the {job.retries + 1}. time without a new checkpoint" if job.retries else ""
    stacks = "".join(f"\nworker {rank} stood here:\n{text}" for rank, text in last.stacks.items())
    return TrainingError(
        f"{last.message}{times}; the newest checkpoint is that of step {last.step}{stacks}",
        hint="the system's log says what ended it; where memory ran out, a larger train.accumulate makes micro-batches "
        "smaller. `dvc repro` goes on from that checkpoint",
    )


class _Watch(Generic[Line]):
    """Reads a growing file in the background and passes on what is added.

    Args:
        path: the file; it need not be there yet.
        parse: reads a line; None: it means nothing.
        on_line: told what each new line means.
    """

    PERIOD = 0.5
    """Seconds between two looks: fast enough for eyes, slow enough to cost nothing."""

    def __init__(self, path: Path, parse: Callable[[bytes], Line | None], on_line: Callable[[Line], None]) -> None:
        self._tail = Tail(path)
        self._parse = parse
        self._on_line = on_line
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _loop(self) -> None:
        while not self._stop.wait(self.PERIOD):
            self._look()

    def _look(self) -> None:
        for line in self._tail.lines():
            if (meant := self._parse(line)) is not None:
                self._on_line(meant)
