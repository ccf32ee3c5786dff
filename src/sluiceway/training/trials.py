"""What is known of a search's trials: one small sealed file each, and its copy, beside the trial's checkpoints.

A trial's worker writes what it reached, the driver which one is stopped. When a trial has ended, its checkpoints are
deleted and this stays: it is what a later ``sluiceway tune`` goes on from. All that was paid for stands in it, so there
are two of it.
"""

import math
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sluiceway.training.job import Job, Places, seal, set_aside, spent_earlier, unsealed
from sluiceway.training.search import Candidate
from sluiceway.training.spool import Point, read

End = Literal["", "finished", "pruned", "failed"]
"""How a trial ended; nothing: it has not."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a trial."""

    values: dict[str, Any]
    """Of the options that are searched."""
    subject: str
    """Digest of the training."""
    rungs: list[float] = field(default_factory=list)
    """Scores at the decisions that it came to; one that is no number is None in the file."""
    points: list[Point] = field(default_factory=list)
    """Of the validations."""
    seconds: float = 0.0
    """Of training, all attempts."""
    device_seconds: float = 0.0
    end: End = ""
    why: str = ""
    """It failed; or where it has not ended, what kept it from going on, and is none of its own fault."""
    run_id: str = ""
    """MLflow's, when it has been told of the trial."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The files of a trial."""

    folder: Path

    @property
    def job(self) -> Path:
        """Folder of the training: checkpoints and curves."""
        return self.folder / "job"

    @property
    def lock(self) -> Path:
        """Held by who trains."""
        return self.folder / "lock"

    @property
    def _record(self) -> Path:
        return self.folder / "record.json"

    @property
    def _copy(self) -> Path:
        return self.folder / "record.copy.json"

    def mended(self) -> list[str]:
        """Set aside what is broken, put its copy in its place, remove what a killed process left, and say what it was.

        Whoever calls holds the search's lock.
        """
        spare = "there is a copy of it" if self.read() else "nothing else is known of it"
        said = [
            f"{set_aside(path)}; {spare}"
            for path in (self._record, self._copy)
            if unsealed(path) is None and (path.exists() or path.is_symlink())
        ]
        if found := self.read():
            self.write(found)
        for draft in self.folder.glob(".*"):
            draft.unlink()
        if found and found.end:  # it may have been killed before it had removed that
            self._drop_job()
        return said

    def begin(self, candidate: Candidate) -> Record:
        """Return what is known; where that is nothing, the trial goes on from its checkpoints, if it has any."""
        found = self.read()
        if found and found.subject == candidate.job.subject:
            return found
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.write(Record(candidate.values, candidate.job.subject))

    def read(self) -> Record | None:
        """Return what is known; None: nothing, or nothing that can be read."""
        document = unsealed(self._record) or unsealed(self._copy)
        if document is None:
            return None
        rungs = [math.nan if value is None else value for value in document["rungs"]]
        points = [Point(**each) for each in document["points"]]
        return Record(**(document | {"rungs": rungs, "points": points}))

    def write(self, record: Record) -> Record:
        """Keep what is known."""
        rungs = [value if math.isfinite(value) else None for value in record.rungs]
        document = asdict(record) | {"rungs": rungs, "points": [asdict(each) for each in record.points]}
        for path in (self._record, self._copy):
            seal(path, document)
        return record

    def now(self) -> Record:
        """Return what is known, with what was trained since it was written.

        Raises:
            FileNotFoundError: the trial was not begun, or its file is broken.
        """
        places = Places(self.job)
        seconds, device_seconds = spent_earlier(places)
        points = [point for point in read(places.metrics) if _is_validation(point)]
        under_way = self.job.exists()  # asked last: another process may end the trial at any moment
        record = self.read()
        if record is None:
            raise FileNotFoundError(self._record)
        return replace(record, seconds=seconds, device_seconds=device_seconds, points=points) if under_way else record

    def end(self, end: End, why: str = "", *, rungs: list[float] | None = None) -> Record:
        """Say how the trial ended, in one step with its last scores; nothing of it can be gone on with."""
        now = self.now()
        record = self.write(replace(now, end=end, why=why, rungs=now.rungs if rungs is None else rungs))
        self._drop_job()
        return record

    def _drop_job(self) -> None:
        ended = self.folder / "ended"
        shutil.rmtree(ended, ignore_errors=True)
        with suppress(FileNotFoundError):
            self.job.rename(ended)  # whoever adds up meanwhile what trials have spent sees the whole folder, or none
        shutil.rmtree(ended, ignore_errors=True)

    def placed(self, job: Job) -> Job:
        """Return a job that trains here."""
        return replace(job, folder=str(self.job))


def trial_of(folder: Path, candidate: Candidate) -> Trial:
    """Return the place of a candidate in the folder of a search."""
    return Trial(folder / "trials" / candidate.job.subject)


def spent(folder: Path) -> tuple[float, float]:
    """Add up the seconds and device-seconds of all trials of a search, those under way included."""
    records = [Trial(path).now() for path in sorted((folder / "trials").glob("*")) if Trial(path).read()]
    return sum(each.seconds for each in records), sum(each.device_seconds for each in records)


def _is_validation(point: Point) -> bool:
    return any(name.startswith("validation/") for name in point.metrics)
