"""Trainings for tests: planned from a finished project, run here or in a process of their own that signals end."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from projects import ROOT, Project
from sluiceway.config import ModelParams
from sluiceway.training import driver
from sluiceway.training.job import Job
from sluiceway.training.prepare import prepare
from sluiceway.training.spool import read
from sluiceway.usecases.pipeline import Pipeline

_CHILD = """
import json, sys
from pathlib import Path
from sluiceway.errors import SluicewayError
from sluiceway.training import driver
from sluiceway.training.job import Job, Places
from sluiceway.training.notice import heard
job = Job.unpacked(json.load(open(sys.argv[1])))
with heard(Places(Path(job.folder)).notice):
    try:
        driver.run(job, lambda point: None)
    except SluicewayError as error:
        print(error.message, file=sys.stderr)
        sys.exit(error.exit_code)
"""


def job_of(
    project: Project, folder: Path, *, pipeline: str = "digits", model: ModelParams | None = None, **train: object
) -> Job:
    """Plan a training of the project's pipeline with other options, in a folder of its own."""
    loaded = Pipeline.load(pipeline, project.root)
    settings = type(loaded.params.train).model_validate(loaded.params.train.model_dump() | train)
    update = {"train": settings, "model": model or loaded.params.model}
    changed = replace(loaded, params=loaded.params.model_copy(update=update))
    return replace(prepare(changed), folder=str(folder))


def losses(trained: driver.Trained) -> list[float]:
    return [point.metrics["train/loss"] for point in trained.curve if "train/loss" in point.metrics]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights_of(job: Job) -> str:
    return digest(Path(job.folder) / "weights.safetensors")


def curve_of(job: Job) -> list[tuple[object, ...]]:
    return [(point.step, *sorted(point.metrics.items())) for point in read(Path(job.folder) / "metrics.jsonl")]


def train_until(job: Job, step: int | None, sent: signal.Signals = signal.SIGKILL, *, group: bool = False) -> int:
    """Run a job in a process of its own, send it a signal when the curve reaches a step, and return its exit code.

    Args:
        job: the training.
        step: at which the signal is sent; None: it is left alone.
        sent: the signal.
        group: whether all processes get it that the job has begun.
    """
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(json.dumps(job.packed()), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(folder / "job.json")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and step is not None:
        if any(point.step >= step for point in read(folder / "metrics.jsonl")):
            tell = os.killpg if group else os.kill
            tell(process.pid, sent)
            break
        time.sleep(0.01)
    return process.wait(timeout=300)
