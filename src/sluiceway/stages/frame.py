"""What every stage stands in: a lock on the pipeline, a clock, and one line at the end."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Literal, get_args

import psutil

from sluiceway.data.documents import read_json
from sluiceway.data.places import STATE, locked
from sluiceway.errors import Preempted, room_for
from sluiceway.stages.console import console
from sluiceway.training.notice import let_go_of_terminal, orders
from sluiceway.usecases.pipeline import Pipeline

Work = Literal["start-up", "data", "learning", "checks", "reports", "tracking"]
"""What time is spent on. ``data`` and ``learning`` are what a pipeline is for; the rest is overhead."""

STAGES = ("sample", "validate", "gate", "preprocess", "train", "evaluate", "register")


@dataclass
class Clock:
    """Adds up seconds by kind of work."""

    seconds: dict[Work, float] = field(default_factory=dict)
    _started: float = field(default_factory=lambda: time.monotonic() - _age())

    @contextmanager
    def __call__(self, work: Work) -> Iterator[None]:
        """Count the time of a block."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.add(work, time.monotonic() - began)

    def add(self, work: Work, seconds: float) -> None:
        """Count time that was measured elsewhere."""
        self.seconds[work] = self.seconds.get(work, 0.0) + seconds

    def move(self, seconds: float, source: Work, target: Work) -> None:
        """Count some time of one kind as another."""
        self.add(source, -seconds)
        self.add(target, seconds)

    @property
    def total(self) -> float:
        """Seconds since the process was started."""
        return time.monotonic() - self._started


def _age() -> float:
    """Return the seconds since this process was started, as far as the machine's clock was not set meanwhile."""
    return max(0.0, time.time() - psutil.Process().create_time())


@contextmanager
def stage(name: str, pipeline: Pipeline) -> Iterator[Clock]:
    """Run a stage alone on its pipeline, turn SIGTERM into an interruption, and note where its time went.

    Raises:
        Preempted: SIGTERM ended it.
        Busy: another process works on the pipeline.
        DiskFull: there is no room for what it writes.
    """
    clock = Clock()
    clock.add("start-up", clock.total)
    lock = pipeline.root / STATE / f"{pipeline.name}.lock"
    room = room_for(f"what {name} writes", pipeline.root)
    with room, locked(lock, f"pipeline {pipeline.name!r}"), _sigterm_interrupts(name):
        yield clock
    total = clock.total
    clock.add("start-up", max(0.0, total - sum(clock.seconds.values())))
    _write_timings(pipeline, name, clock.seconds)


def done(name: str, pipeline: Pipeline, clock: Clock, summary: str) -> None:
    """Say in one line what a stage did."""
    console.print(f"[bold]{name}[/] {pipeline.name}: {summary} [dim]({clock.total:.1f} s)[/]")


def timings(pipeline: Pipeline) -> dict[str, dict[str, float]]:
    """Return the seconds by kind of work of each stage's last run."""
    folder = _timings_folder(pipeline)
    paths = {name: folder / f"{name}.json" for name in STAGES}
    return {name: read_json(path) for name, path in paths.items() if path.exists()}


def _write_timings(pipeline: Pipeline, name: str, seconds: dict[Work, float]) -> None:
    path = _timings_folder(pipeline) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = {work: round(seconds[work], 2) for work in get_args(Work) if work in seconds}
    path.write_text(json.dumps(ordered) + "\n", encoding="utf-8")


def _timings_folder(pipeline: Pipeline) -> Path:
    # Not an output of DVC's: seconds differ from run to run, and outputs of equal inputs must be equal.
    return pipeline.state / "timings"


@contextmanager
def _sigterm_interrupts(name: str) -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind a block as Ctrl-C does, which nothing swallows, and say afterwards what it was."""
    heard: list[int] = []

    def interrupt(signum: int, frame: FrameType | None) -> None:
        let_go_of_terminal(signum)
        heard.append(signum)
        raise KeyboardInterrupt

    for each in orders():
        signal.signal(each, interrupt)
    _leave_with_dvc()
    try:
        yield
    except KeyboardInterrupt:
        if not heard:
            raise
        raise Preempted(f"told to leave during {name}", hint="run the same command again") from None


def _leave_with_dvc() -> None:
    """Send SIGTERM to this process when DVC dies: the next ``dvc repro`` would begin while it still works.

    DVC may have put a shell between, which outlives it: so it is DVC that is watched, and not the parent. Whoever runs
    a stage without DVC may close the terminal.
    """
    if "DVC_ROOT" not in os.environ:
        return
    above = psutil.Process().parents()[:_ABOVE]
    dvc = next((each for each in above if "dvc" in _words(each)[:3]), None)  # `dvc`, `python dvc`, `python -m dvc`
    if dvc is not None:
        threading.Thread(target=_watch, args=(dvc,), name="dvc", daemon=True).start()


def _words(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return [Path(word).name for word in process.cmdline()]
    return []


def _watch(dvc: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        while dvc.is_running() and dvc.status() != psutil.STATUS_ZOMBIE:
            time.sleep(_LOOK)
    os.kill(os.getpid(), signal.SIGTERM)


_ABOVE = 3
"""Ancestors among which DVC is looked for: a shell or two may stand between."""
_LOOK = 0.5
"""Seconds between two looks."""
