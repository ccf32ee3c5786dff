"""Runs of a job on this machine: begun apart from the terminal, followed from any, ended with their work saved."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sluiceway.errors import LaunchError
from sluiceway.launch.records import JobPlaces, Record

_POLL = 0.2


def submit(root: Path, name: str, patience: float = 60) -> Record:
    """Begin a run that outlives the terminal, and return its record.

    Args:
        root: the project.
        name: the job.
        patience: seconds until its record must be there.

    Raises:
        LaunchError: it ended before it began; the message says why.
    """
    places = JobPlaces.of(root, name)
    places.folder.mkdir(parents=True, exist_ok=True)
    log = places.folder / "submitted.log"
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "sluiceway", "job", "run", name],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        found = places.last()
        if found and found.pid == process.pid:
            return found
        if process.poll() is not None:
            raise LaunchError(f"job {name!r} did not begin:\n{log.read_text(encoding='utf-8').strip()}")
        time.sleep(_POLL)
    raise LaunchError(f"job {name!r} did not begin within {patience:g} s", hint=f"{log} has what it said")


def follow(places: JobPlaces, record: Record, write: Callable[[str], None]) -> Record:
    """Write what a run says until it ends, and return what it came to.

    Args:
        places: the job's.
        record: the run.
        write: told each new piece of text.
    """
    with places.log(record).open(encoding="utf-8", errors="replace") as log:
        while True:
            now = next((each for each in places.records() if each.id == record.id), record)
            over = now.state != "running"
            while text := log.read(1 << 16):
                write(text)
            if over:
                return now
            time.sleep(_POLL)


def cancel(places: JobPlaces, record: Record, patience: float, *, requeue: bool = False) -> Record:
    """Tell a run to end with its work saved, wait for that, and return what it came to.

    Args:
        places: the job's.
        record: the run; one that has ended is left alone.
        patience: seconds to wait.
        requeue: whether its scheduler may begin it again.

    Raises:
        LaunchError: it goes on after that time, or runs on another machine, out of reach.
    """
    if record.state == "running":
        if not requeue:
            places.cancelled(record).touch()
        _tell(record)
    deadline = time.monotonic() + patience
    while True:
        now = next((each for each in places.records() if each.id == record.id), record)
        if now.state != "running":
            return now
        if time.monotonic() > deadline:
            raise LaunchError(f"process {record.pid} goes on after {patience:g} s", hint=f"kill -9 {record.pid}")
        time.sleep(_POLL)


def _tell(record: Record) -> None:
    """Let a run know that it is to end.

    Raises:
        LaunchError: it is on another machine, and in no batch job that could be told.
    """
    if record.here:
        with suppress(ProcessLookupError):  # it has ended this very moment
            os.kill(record.pid, signal.SIGTERM)
        return
    if not record.slurm or not shutil.which("scancel"):
        there = f"it runs on {record.machine}, as process {record.pid}"
        raise LaunchError(there, hint="give the same command there")
    # To the script alone, which passes it on: the notice of a preemption comes in the same way.
    command = ["scancel", "--signal=TERM", "--batch", record.slurm]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    if done.returncode:
        raise LaunchError(f"`{' '.join(command)}` ended with {done.returncode}: {' '.join(done.stderr.split())}")
