"""Puts a job's schedule where it works, and takes it away again.

That is a user's crontab, a user's timers of systemd, or a user's scrontab of Slurm.
"""

import os
import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from sluiceway.errors import LaunchError
from sluiceway.launch.jobs import Job
from sluiceway.launch.records import JobPlaces
from sluiceway.launch.render import RENDERERS
from sluiceway.launch.render.place import Place, schedule_of
from sluiceway.launch.render.systemd import unit

_NONE = re.compile("no crontab for|can't open .* No such file")
"""What a table's program says where there is none yet; the latter is BusyBox's."""
_PATIENCE = 60
"""Seconds that it may take."""


class Installer(ABC):
    """One kind of schedule of one job. What it would write can be asked first.

    Args:
        name: the job's.
        job: what to install; None: it is only taken away, and may no longer be described.
        root: the project.
    """

    def __init__(self, name: str, job: Job | None, root: Path) -> None:
        self._name = name
        self._job = job
        self._place = Place.here(root)
        self._places = JobPlaces.of(root, name)

    @abstractmethod
    def present(self) -> dict[str, str]:
        """Return what is installed of this job, by the place where it is."""

    @abstractmethod
    def wanted(self) -> dict[str, str]:
        """Return what would be installed, by the place where it would be.

        Raises:
            ConfigError: the job has no schedule.
        """

    def install(self) -> None:
        """Write it. Doing so twice is the same as once; what was due before is not made up for."""
        self._write(self.wanted())
        self._places.folder.mkdir(parents=True, exist_ok=True)
        self._places.installed.touch()

    def uninstall(self) -> None:
        """Take it away; runs and results stay."""
        self._write({})
        self._places.installed.unlink(missing_ok=True)

    def _rendered(self, target: str) -> dict[str, str]:
        return RENDERERS[target](self._name, self._job, self._place) if self._job else {}

    @abstractmethod
    def _write(self, files: Mapping[str, str]) -> None: ...


class Cron(Installer):
    """Lines in the user's crontab, between marks; other lines are left as they are."""

    table = "crontab"
    """The program that shows and replaces it, and its name."""

    def present(self) -> dict[str, str]:
        """Return the job's lines, if there are any."""
        _, own, _ = self._parts()
        return {self.table: own} if own else {}

    def wanted(self) -> dict[str, str]:
        """Return the job's lines."""
        return self._rendered("cron")

    def _write(self, files: Mapping[str, str]) -> None:
        before, _, after = self._parts()
        _run(self.table, "-", text=before + files.get(self.table, "") + after)

    def _parts(self) -> tuple[str, str, str]:
        """Return the crontab ahead of the job's lines, those, and the rest.

        Raises:
            LaunchError: it cannot be read, or the end of the job's lines is missing.
        """
        done = _try(self.table, "-l")
        said = " ".join((done.stderr + done.stdout).split())
        if done.returncode and not _NONE.search(said):  # else all lines of others would be gone
            raise LaunchError(f"`{self.table} -l` ended with {done.returncode}: {said or 'it said nothing'}")
        lines = done.stdout.splitlines(keepends=True) if done.returncode == 0 else []
        begin, end = (f"{mark}\n" for mark in self._place.marks(self._name))
        if begin not in lines:
            whole = "".join(lines)
            return (whole if not whole or whole.endswith("\n") else f"{whole}\n"), "", ""
        first = lines.index(begin)
        if end not in lines[first:]:
            what = f"the {self.table} has {begin.strip()!r} without its end"
            raise LaunchError(what, hint=f"mend it with {self.table} -e")
        last = lines.index(end, first) + 1
        return "".join(lines[:first]), "".join(lines[first:last]), "".join(lines[last:])


class Scrontab(Cron):
    """The same in Slurm's table; the script that its lines submit lies in the job's folder, as nodes see that."""

    table = "scrontab"

    def __init__(self, name: str, job: Job | None, root: Path) -> None:
        super().__init__(name, job, root)
        self._script = self._places.folder / f"{name}.sbatch"
        self._place = replace(self._place, files=str(self._script.parent))

    def present(self) -> dict[str, str]:
        """Return the job's lines, and its script, if they are there."""
        script = self._script
        return super().present() | ({str(script): script.read_text(encoding="utf-8")} if script.exists() else {})

    def wanted(self) -> dict[str, str]:
        """Return both.

        Raises:
            ConfigError: the job has no schedule, or one with a time zone.
        """
        if self._job:
            schedule_of(self._name, self._job)
        files = self._rendered("slurm")
        return {self.table: files[f"{self._name}.scrontab"], str(self._script): files[self._script.name]}

    def _write(self, files: Mapping[str, str]) -> None:
        script = self._script
        if str(script) in files:
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text(files[str(script)], encoding="utf-8")
            script.chmod(0o755)
        super()._write(files)
        if not files:
            script.unlink(missing_ok=True)


class Systemd(Installer):
    """A service and a timer of the user's own systemd."""

    @property
    def _folder(self) -> Path:
        home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
        return Path(home) / "systemd" / "user"

    @property
    def _paths(self) -> list[Path]:
        return [self._folder / f"{unit(self._name)}.{kind}" for kind in ("service", "timer")]

    def present(self) -> dict[str, str]:
        """Return the units that are there."""
        return {str(path): path.read_text(encoding="utf-8") for path in self._paths if path.exists()}

    def wanted(self) -> dict[str, str]:
        """Return both units."""
        files = self._rendered("systemd")
        return {str(self._folder / name): text for name, text in files.items()}

    def _write(self, files: Mapping[str, str]) -> None:
        timer = f"{unit(self._name)}.timer"
        if files:
            self._reload()  # nothing is written where nobody would read it
        elif self.present():
            _try("systemctl", "--user", "disable", "--now", timer)
            for path in [*self._paths, self._folder / "timers.target.wants" / timer]:
                path.unlink(missing_ok=True)
        for name, text in files.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text, encoding="utf-8")
        self._reload()
        if files:
            _run("systemctl", "--user", "enable", timer)
            _run("systemctl", "--user", "restart", timer)

    def _reload(self) -> None:
        """Let systemd read its units.

        Raises:
            LaunchError: this user's systemd cannot be reached, as in a container or after ``su``.
        """
        _run("systemctl", "--user", "daemon-reload", hint=UNREACHABLE)


UNREACHABLE = (
    "this user's systemd cannot be reached: `loginctl enable-linger` starts it, "
    "`export XDG_RUNTIME_DIR=/run/user/$(id -u)` finds it; or `--to cron`"
)
START_CRON = "`service cron start`, as root, and see that it starts with the machine; or `--to systemd`"
_OTHERWISE = {
    "scrontab": "not every Slurm has it, and not on every machine: the line of `sluiceway job render JOB --to slurm` "
    "works in the crontab of a machine that has `sbatch`, too"
}
INSTALLERS: Mapping[str, Callable[[str, Job | None, Path], Installer]] = {
    "cron": Cron,
    "systemd": Systemd,
    "slurm": Scrontab,
}


def _try(*command: str, text: str | None = None) -> "subprocess.CompletedProcess[str]":
    if not shutil.which(command[0]):
        hint = _OTHERWISE.get(command[0], "`--to` names another scheduler")
        raise LaunchError(f"{command[0]} is not installed here", hint=hint)
    try:
        return subprocess.run(  # noqa: S603
            command,
            input=text,
            env={**os.environ, "LC_MESSAGES": "C"},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:  # as Slurm's, while its controller is down
        raise LaunchError(f"`{' '.join(command)}` gave no answer within {_PATIENCE} s") from None


def _run(*command: str, text: str | None = None, hint: str = "") -> None:
    done = _try(*command, text=text)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise LaunchError(f"`{' '.join(command)}` ended with {done.returncode}: {said}", hint=hint)
