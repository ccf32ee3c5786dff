"""Where a job keeps its lock, its working tree and what its runs came to; and who is running now."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import psutil

from sluiceway.data.documents import read_json, write_json
from sluiceway.data.places import JOBS, STATE, TREE, home, locked

_KEPT = 50
"""Runs whose logs are kept."""


@dataclass(frozen=True, slots=True)
class Record:
    """One run of a job."""

    id: str
    """Moment of its start, UTC; they sort as they were."""
    pid: int
    born: float
    """When its process began, in seconds: a number may be given to another process later."""
    started: str
    """UTC, ISO 8601."""
    commit: str = ""
    """What was run."""
    ended: str = ""
    event: str = ""
    """What it came to; empty while it runs."""
    sentence: str = ""
    exit_code: int | None = None

    @property
    def alive(self) -> bool:
        """Whether its process is there."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.born) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    @property
    def state(self) -> str:
        """``running``, what it came to, or ``lost`` when it ended without a word."""
        return self.event or ("running" if self.alive else "lost")


@dataclass(frozen=True, slots=True)
class JobPlaces:
    """The folder of a job: ``.sluiceway/jobs/<job>/`` in its project."""

    folder: Path

    @classmethod
    def of(cls, root: Path, name: str) -> Self:
        """Return the places of a project's job."""
        return cls(home(root.absolute()) / STATE / JOBS / name)

    @property
    def tree(self) -> Path:
        """Its git worktree, kept from run to run, cleaned at the start of each."""
        return self.folder / TREE

    @property
    def installed(self) -> Path:
        """Touched when its schedule was installed: what was due before is not missed."""
        return self.folder / "installed"

    def log(self, record: Record) -> Path:
        """What a run said."""
        return self.folder / "runs" / record.id / "log"

    def cancelled(self, record: Record) -> Path:
        """Touched when somebody ends a run for good: no scheduler is to begin it again."""
        return self.folder / "runs" / record.id / "cancelled"

    def records(self) -> list[Record]:
        """Return all runs that are known, oldest first; one that cannot be read is left out."""
        found = []
        for path in sorted(self.folder.glob("runs/*/run.json")):
            try:
                found.append(Record(**read_json(path)))
            except (OSError, ValueError, TypeError):  # unreadable, or forgotten by a run that has just begun
                continue
        return found

    def last(self) -> Record | None:
        """Return the newest run."""
        found = self.records()
        return found[-1] if found else None

    def write(self, record: Record) -> None:
        """Write a run down, whole or not at all."""
        path = self.log(record).with_name("run.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(record))

    def remember(self, **what: Any) -> None:
        """Keep what the next run must know."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "memory.json", {**self.memory(), **what})

    def memory(self) -> dict[str, Any]:
        """Return what the last runs kept."""
        try:
            return read_json(self.folder / "memory.json")
        except (FileNotFoundError, ValueError):
            return {}

    def begin(self) -> Record:
        """Write down that this process runs the job now, and forget the oldest runs."""
        now = datetime.now(UTC)
        record = Record(
            id=now.strftime("%Y%m%dT%H%M%S.%f"),
            pid=os.getpid(),
            born=psutil.Process().create_time(),
            started=now.isoformat(timespec="seconds"),
        )
        self.write(record)
        for old in self.records()[:-_KEPT]:
            shutil.rmtree(self.log(old).parent, ignore_errors=True)
        return record

    def end(self, record: Record, event: str, sentence: str, exit_code: int) -> None:
        """Write down what it came to."""
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        known = next((each for each in self.records() if each.id == record.id), record)
        self.write(replace(known, ended=ended, event=event, sentence=sentence, exit_code=exit_code))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the job's lock: runs never overlap.

        Raises:
            Busy: another process holds it.
        """
        with locked(self.folder / "lock", f"job {self.folder.name!r}"):
            yield
