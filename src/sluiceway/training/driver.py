"""Starts the workers through Ray Train, watches them, and turns what they leave into an answer.

One worker on this machine runs inside this process (Ray Train's local mode): no cluster is started. More workers, or
a cluster named by ``RAY_ADDRESS``, run as Ray actors. The worker's code is the same.
"""

import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluiceway.errors import SluicewayError, TrainingError
from sluiceway.gates.verdict import Verdict
from sluiceway.launch.cluster import connected, settle
from sluiceway.training.job import Job, Places
from sluiceway.training.spool import Point, read


@dataclass(frozen=True, slots=True)
class Trained:
    """The outcome of a training."""

    weights: Path
    result: dict[str, Any]
    verdict: Verdict
    curve: list[Point]


def run(job: Job, on_point: Callable[[Point], None]) -> Trained:
    """Train, and call ``on_point`` with each point of the curve as it comes.

    Raises:
        GateClosed: the cost gate refused.
        TrainingError: a worker failed; the message is its last words.
        KeyboardInterrupt: somebody stopped it.
    """
    places = Places(Path(job.folder))
    places.folder.mkdir(parents=True, exist_ok=True)
    with _Watch(places.metrics, on_point):
        if job.workers == 1 and "RAY_ADDRESS" not in os.environ:
            _run_here(job)
        else:
            _run_on_cluster(job)
    return Trained(
        weights=places.weights,
        result=json.loads(places.result.read_text(encoding="utf-8")),
        verdict=Verdict.read(places.verdict),
        curve=list(read(places.metrics)),
    )


def visible_gpus() -> tuple[int, bool]:
    """Return how many GPUs this machine has, and whether they compute in bfloat16."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return count, bool(count and torch.cuda.is_bf16_supported())


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
    settle()
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from sluiceway.training.worker import train_worker

    with connected():
        try:
            TorchTrainer(
                train_worker,
                train_loop_config=job.packed(),
                torch_config=TorchConfig(backend=job.hardware.backend),
                scaling_config=ScalingConfig(
                    num_workers=job.workers,
                    use_gpu=job.hardware.accelerator == "gpu",
                    resources_per_worker={"CPU": job.threads, "GPU": int(job.hardware.accelerator == "gpu")},
                ),
                run_config=RunConfig(
                    name=job.subject, storage_path=job.folder, failure_config=FailureConfig(max_failures=0)
                ),
            ).fit()
        except Exception as error:
            raise _last_words(error) from error


def _last_words(error: Exception) -> Exception:
    """Find what a worker wanted to say below Ray's wrapping."""
    failures = getattr(error, "worker_failures", None) or {}
    for failure in failures.values():
        cause = getattr(failure, "cause", None) or failure
        if isinstance(cause, SluicewayError):
            return cause
    for rank, failure in failures.items():
        return TrainingError(
            f"worker {rank} failed: {type(failure).__name__}: {str(failure).strip().splitlines()[-1]}",
            hint="--debug shows the whole trace; `dvc repro` goes on from the last checkpoint",
        )
    return error


class _Watch:
    """Reads the spool in the background and passes its points on."""

    PERIOD = 0.5
    """Seconds between two looks: fast enough for eyes, slow enough to cost nothing."""

    def __init__(self, path: Path, on_point: Callable[[Point], None]) -> None:
        self._path = path
        self._on_point = on_point
        self._seen = 0
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
        points = list(read(self._path))
        for point in points[self._seen :]:
            self._on_point(point)
        self._seen = len(points)
