"""Where a job keeps its lock, its working tree and what its runs came to; and who is running now."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from sluiceway.data.documents import read_json, write_json
from sluiceway.data.places import JOBS, STATE, TREE, home, locked
from sluiceway.launch.processes import boot, born, machine

RAY_CLUSTER = "SLUICEWAY_RAY_CLUSTER"
"""Environment variable with the name of the RayCluster that KubeRay made for a RayJob: the RayJob's and a suffix."""
_KEPT = 50
"""Runs whose logs are kept."""
BEAT = 30.0
"""Seconds between two signs of life."""
_SILENCE = 300.0
"""Seconds without one after which a run on another machine is given up for lost."""


def rayjob() -> str:
    """Return the name of the RayJob that this process belongs to; empty: to none."""
    return os.environ.get(RAY_CLUSTER, "").rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class Record:
    """One run of a job."""

    id: str
    """Moment of its start, UTC; they sort as they were."""
    pid: int
    born: float
    """When its process began, in seconds after its machine did: a number may be given to another process later."""
    started: str
    """UTC, ISO 8601."""
    machine: str = ""
    """Name of the machine it runs on; empty: this one."""
    boot: str = ""
    """Which start of that machine."""
    slurm: str = ""
    """Number of the batch job of Slurm that it runs in."""
    rayjob: str = ""
    """Name of the RayJob of KubeRay that it runs in."""
    commit: str = ""
    """What was run."""
    ended: str = ""
    event: str = ""
    """What it came to; empty while it runs, and where it was lost and nobody has been told yet."""
    sentence: str = ""
    exit_code: int | None = None
    beat: float = 0.0
    """When it last gave a sign of life, in seconds since 1970; not written down."""

    @property
    def here(self) -> bool:
        """Whether it was begun on this machine."""
        return self.machine in ("", machine())

    @property
    def gone(self) -> str:
        """Why it can no longer run, in words; empty where it may."""
        if not self.here:
            silent = time.time() - self.beat > _SILENCE
            return f"nothing is heard from {self.machine}, where it ran as process {self.pid}" * silent
        if self.boot and self.boot != boot():  # records of before 2026-11-30 do not say
            return "the machine was started anew since"
        now = born(self.pid)
        another = self.boot and now is not None and abs(now - self.born) > 1
        return f"its process {self.pid} is gone" * (now is None or bool(another))

    @property
    def state(self) -> str:
        """``running``, what it came to, or ``lost`` when it ended without a word."""
        return self.event or ("lost" if self.gone else "running")


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

    def sign(self, record: Record) -> Path:
        """Touched again and again while a run is alive: other machines cannot see its process."""
        return self.folder / "runs" / record.id / "alive"

    def records(self) -> list[Record]:
        """Return all runs that are known, oldest first; one that cannot be read is left out."""
        found = []
        for path in sorted(self.folder.glob("runs/*/run.json")):
            try:
                found.append(self._with_beat(Record(**read_json(path))))
            except (OSError, ValueError, TypeError):  # unreadable, or forgotten by a run that has just begun
                continue
        return found

    def _with_beat(self, record: Record) -> Record:
        sign = self.sign(record)
        return replace(record, beat=sign.stat().st_mtime) if sign.exists() else record

    def last(self) -> Record | None:
        """Return the newest run."""
        found = self.records()
        return found[-1] if found else None

    def write(self, record: Record) -> None:
        """Write a run down, whole or not at all."""
        path = self.log(record).with_name("run.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {key: value for key, value in asdict(record).items() if key != "beat"})

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
            born=born() or 0.0,
            started=now.isoformat(timespec="seconds"),
            machine=machine(),
            boot=boot(),
            slurm=os.environ.get("SLURM_JOB_ID", ""),
            rayjob=rayjob(),
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
    def beating(self, record: Record) -> Iterator[None]:
        """Give signs of life while the block runs."""
        sign, over = self.sign(record), threading.Event()

        def beat() -> None:
            while not over.wait(BEAT):
                with suppress(OSError):  # a full disk is no reason to end
                    sign.touch()

        sign.touch()
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the job's lock: runs never overlap.

        Raises:
            Busy: another process holds it.
        """
        with locked(self.folder / "lock", f"job {self.folder.name!r}"):
            yield
