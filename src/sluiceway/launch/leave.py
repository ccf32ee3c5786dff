"""Announces to Ray that this node will be taken away, so that trainings on it save their work while there is time."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from sluiceway.errors import LaunchError

_SECONDS = 30.0
"""That the head may take to answer."""


@dataclass(frozen=True, slots=True)
class Here:
    """The node of a Ray cluster that this machine, or this pod, is."""

    id: str
    cluster: str
    """Address of the head."""
    raylet: psutil.Process

    @property
    def alive(self) -> bool:
        """Whether the node is still there."""
        try:
            return self.raylet.is_running() and self.raylet.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    @property
    def working(self) -> bool:
        """Whether a process of a task or an actor runs on the node; Ray keeps idle ones, too, and names them so."""
        return any(title.startswith("ray::") and not title.startswith("ray::IDLE") for title in self._titles())

    def announce(self, seconds: int) -> None:
        """Tell the head that this node has so many seconds left.

        Raises:
            LaunchError: the head does not answer, or refuses.
        """
        command = [str(Path(sys.executable).with_name("ray")), "drain-node", f"--address={self.cluster}"]
        command += [f"--node-id={self.id}", "--reason=DRAIN_NODE_REASON_PREEMPTION"]
        command += ["--reason-message=sluiceway job leave", f"--deadline-remaining-seconds={seconds}"]
        try:
            done = subprocess.run(  # noqa: S603
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise LaunchError(f"the head at {self.cluster} did not answer within {_SECONDS:g} s") from None
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).splitlines()[-1:])
            raise LaunchError(f"the head at {self.cluster} did not take the notice: {said}")

    def _titles(self) -> Iterator[str]:
        with suppress(psutil.Error):  # the node has gone
            for process in self.raylet.children():
                with suppress(psutil.Error):
                    yield " ".join(process.cmdline())


def here() -> Here:
    """Return the node that this machine is.

    Raises:
        LaunchError: it is none, or several.
    """
    found = list(raylets())
    if len(found) != 1:
        hint = "run it on the node that will be taken away"
        raise LaunchError(f"{len(found) or 'no'} Ray nodes run on this machine, and not one", hint=hint)
    return found[0]


def raylets() -> Iterator[Here]:
    """Yield the nodes that this machine is: one, but in tests."""
    for process in psutil.process_iter(["name", "cmdline"]):
        words = process.info["cmdline"] or []
        flags = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--") and "=" in word)
        if process.info["name"] == "raylet" and {"node_id", "gcs-address"} <= flags.keys():
            yield Here(flags["node_id"], flags["gcs-address"], process)
