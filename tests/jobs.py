"""Trainings for tests: planned from a finished project, run here or in a process of their own that signals end."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
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


Hurt = Callable[["subprocess.Popen[bytes]"], None]
"""What is done to a training."""


def train_until(
    job: Job,
    step: int | None,
    sent: signal.Signals | Hurt = signal.SIGKILL,
    said: list[str] | None = None,
    *,
    group: bool = False,
) -> int:
    """Run a job in a process of its own, do something to it when the curve reaches a step, and return its exit code.

    Args:
        job: the training.
        step: at which it is done; None: it is left alone.
        sent: a signal that is sent, or what is called.
        said: takes what the process writes to stderr.
        group: whether all processes get the signal that the job has begun.
    """
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(json.dumps(job.packed()), encoding="utf-8")
    words = folder.with_name(f"{folder.name}.stderr")
    with words.open("wb") as stderr:  # no pipe: whoever inherited it would be waited for
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(folder / "job.json")],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    while process.poll() is None and step is not None:
        if any(point.step >= step for point in read(folder / "metrics.jsonl")):
            if isinstance(sent, signal.Signals):
                (os.killpg if group else os.kill)(process.pid, sent)
            else:
                sent(process)
            break
        time.sleep(0.01)
    code = process.wait(timeout=300)
    if said is not None:
        said.append(words.read_text(encoding="utf-8", errors="replace"))
    return code
