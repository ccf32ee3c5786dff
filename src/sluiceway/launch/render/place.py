"""Where a job finds its project, and what it is started with."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from sluiceway.data.places import STATE
from sluiceway.errors import ConfigError
from sluiceway.launch.jobs import Job, Schedule


@dataclass(frozen=True, slots=True)
class Place:
    """A project on a machine."""

    root: str
    """Folder of the project."""
    program: str
    """The ``sluiceway`` command."""

    @classmethod
    def here(cls, root: Path) -> "Place":
        """Return the project as this process sees it."""
        beside = Path(sys.executable).with_name("sluiceway")
        return cls(str(root.absolute()), str(beside) if beside.exists() else "sluiceway")

    def folder(self, name: str) -> str:
        """Return the folder of a job's lock, records, logs and working tree."""
        return f"{self.root}/{STATE}/jobs/{name}"

    def command(self, name: str, *options: str) -> str:
        """Return the command that runs a job, for a shell."""
        return shlex.join([self.program, "job", "run", name, *options])


def schedule_of(name: str, job: Job) -> Schedule:
    """Return when the job starts by itself.

    Raises:
        ConfigError: it never does.
    """
    if job.schedule is None:
        raise ConfigError(
            f"job {name!r} has no schedule",
            hint=f"write jobs.{name}.schedule: {{cron: '30 2 * * *'}} in infra/jobs.yaml",
        )
    return job.schedule
