"""Where a job finds its project, and what it is started with."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sluiceway.data.places import STATE
from sluiceway.errors import ConfigError
from sluiceway.launch.jobs import Job, Schedule

SLACK = 30
"""Seconds between the end of the grace that the job knows of and the kill: it writes down and tells how it ended."""


@dataclass(frozen=True, slots=True)
class Place:
    """A project on a machine."""

    root: str
    """Folder of the project."""
    program: str
    """The ``sluiceway`` command."""
    files: str = ""
    """Folder that what is rendered will lie in; empty: ``slurm`` in the project, as the docs write it."""

    @classmethod
    def here(cls, root: Path, files: Path | None = None) -> "Place":
        """Return the project as this process sees it.

        Args:
            root: its folder.
            files: the folder for what is rendered; None: it is not written.
        """
        beside = Path(sys.executable).with_name("sluiceway")
        program = str(beside) if beside.exists() else "sluiceway"
        return cls(str(root.absolute()), program, str(files.absolute()) if files else "")

    def folder(self, name: str) -> str:
        """Return the folder of a job's lock, records, logs and working tree."""
        return f"{self.root}/{STATE}/jobs/{name}"

    def script(self, name: str, root: str) -> str:
        """Return the path of a file that is rendered, as nodes see it that have the project under ``root``."""
        files = PurePosixPath(self.files or f"{self.root}/slurm")
        there = PurePosixPath(root) / files.relative_to(self.root) if files.is_relative_to(self.root) else files
        return str(there / name)

    def marks(self, name: str) -> tuple[str, str]:
        """Return the lines around what belongs to a job in a table that holds other things too."""
        whose = f"sluiceway job {name} of {self.root}"
        return f"# >>> {whose}", f"# <<< {whose}"

    def command(self, name: str, *options: str) -> str:
        """Return the command that runs a job, for a shell."""
        return shlex.join([self.program, "job", "run", name, *options])

    def check(self, name: str) -> str:
        """Return the command that tells of a run that was lost, for a shell."""
        return shlex.join([self.program, "job", "check", name])


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
