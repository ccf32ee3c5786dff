"""Runs commands of a job one after the other: all that they say is kept, and the present one can be ended kindly."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

import psutil

from sluiceway.errors import LaunchError

Why = Literal["preempted", "budget"]
_NOTICES = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SHELLS = {"sh", "dash", "bash", "zsh", "ksh"}
MARK = "SLUICEWAY_JOB_TREE"
"""Environment variable by which processes of a job are known: its working tree."""
_COMPLAINT = re.compile(r"(ERROR|error|fatal)\b")
"""How the line begins in which DVC and git say why; what follows it is advice."""
_IGNORING = 'trap "" TERM; exec "$@"'
"""DVC would fall at SIGTERM and leave its stage alone. So it ignores it; a stage takes it up again by itself."""


class Stopped(Exception):
    """The job was told to end."""

    def __init__(self, why: Why, output: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.output = output
        """Of the command that ran then."""


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended."""

    command: tuple[str, ...]
    code: int
    output: str

    def checked(self) -> "Done":
        """Return itself.

        Raises:
            LaunchError: the command failed.
        """
        if self.code:
            lines = [line.strip() for line in self.output.splitlines() if line.strip()]
            why = next((line for line in lines if _COMPLAINT.match(line)), " | ".join(lines[-3:]))
            raise LaunchError(
                f"`{' '.join(self.command)}` ended with {self.code}: {why or 'it said nothing'}",
                hint="the job's log has all of it: sluiceway job attach JOB",
            )
        return self


class Commands:
    """Runs commands in a folder.

    Args:
        folder: where.
        environment: for them.
        log: told all that they say, as is the terminal.
        grace: seconds that a stage is given to end by itself.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], log: TextIO, grace: float) -> None:
        self.folder = folder
        self._environment = dict(environment)
        self._log = log
        self._grace = grace
        self._why: Why | None = None
        self._ends_at = 0.0
        self._told: set[int] = set()

    def say(self, line: str) -> None:
        """Write a line of our own."""
        self._write(f"{line}\n")

    def run(self, *command: str, quiet: bool = False) -> Done:
        """Run a command to its end.

        Args:
            *command: program and arguments.
            quiet: whether what it says is only returned.

        Raises:
            Stopped: the job was told to end.
        """
        if self._why:
            raise Stopped(self._why)
        process = subprocess.Popen(  # noqa: S603
            ["sh", "-c", _IGNORING, "sh", *command],  # noqa: S607
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if quiet else subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # what is sent to our group must not reach a stage beside what we tell it
        )
        watcher = threading.Thread(target=self._watch, args=(process,), daemon=True)
        watcher.start()
        if quiet:
            output, complaints = process.communicate()
            self._write(complaints)
            output += complaints if process.returncode else ""
        else:
            output = "".join(self._heard(process.stdout or ()))
        process.wait()
        watcher.join()
        if self._why:
            raise Stopped(self._why, output)
        return Done(command, process.returncode, output)

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            Stopped: the job was told to end.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._why:
                raise Stopped(self._why)
            time.sleep(0.1)

    def stop(self, why: Why) -> None:
        """Tell the present command, and so the job, to end."""
        if self._why is None:
            self._why = why
            self._ends_at = time.monotonic() + self._grace

    @contextmanager
    def stoppable(self, seconds: float | None) -> Iterator[None]:
        """End at SIGTERM, Ctrl-C and the loss of the terminal, and when so many seconds are over."""
        timer = threading.Timer(seconds or 0, self.stop, ("budget",))
        timer.daemon = True
        before = {each: signal.signal(each, lambda signum, frame: self.stop("preempted")) for each in _NOTICES}
        if seconds:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            for each, handler in before.items():
                signal.signal(each, handler)

    def _heard(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self._write(line)
            yield line

    def _write(self, text: str) -> None:
        self._log.write(text)
        self._log.flush()
        with suppress(OSError):  # a terminal that was closed must not end the job
            sys.stdout.write(text)
            sys.stdout.flush()

    def _watch(self, process: "subprocess.Popen[str]") -> None:
        """Tell each stage once, as soon as it listens; end everything when the grace is over."""
        while process.poll() is None:
            if self._why:
                for each in stages_of(process.pid):
                    if each.pid not in self._told and not ignores_term(each.pid):
                        self._told.add(each.pid)
                        _signal(each, signal.SIGTERM)
                if time.monotonic() > self._ends_at:
                    _kill(process.pid)
            time.sleep(0.1)


def stages_of(pid: int) -> list[psutil.Process]:
    """Return the processes that a command runs for us: its children, or theirs where those are shells."""
    try:
        children = psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []
    found: list[psutil.Process] = []
    for child in children:
        with suppress(psutil.NoSuchProcess):
            inner = stages_of(child.pid) if child.name() in _SHELLS else []
            found += inner or [child]
    return found


def ignores_term(pid: int) -> bool:
    """Whether a process would not hear SIGTERM, because it is still starting."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("SigIgn:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def _kill(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):
        whole = psutil.Process(pid)
        for each in [*whole.children(recursive=True), whole]:
            _signal(each, signal.SIGKILL)


def _signal(process: psutil.Process, signum: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signum)


def environment(tree: Path) -> dict[str, str]:
    """Return the environment of a job's commands: this interpreter's tools, and the code of the working tree."""
    path = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    code = [str(tree / "src")] * (tree / "src" / "sluiceway").is_dir()
    code += filter(None, [os.environ.get("PYTHONPATH")])
    made = {**os.environ, "PATH": os.pathsep.join(path), "DVC_NO_ANALYTICS": "true", "NO_COLOR": "1", MARK: str(tree)}
    return {**made, "PYTHONPATH": os.pathsep.join(code)} if code else made
