"""Being told to leave: SIGTERM of Slurm, Kubernetes or a spot machine, a terminal that closes, Ray that drains a node.

The driver hears SIGTERM and SIGHUP, and leaves a file in the job's folder, where workers on any machine see it. Workers
take a vote after each step, so that all of them stop after the same one, whoever heard it first.
"""

import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from types import FrameType

_STAY, _LEAVE = b"stay.", b"leave"
"""Of one length: what is told takes no room, so that it can be told on a full disk too."""

PREEMPTED_HINT = "run the same command again: it goes on from there"


class Wish(IntEnum):
    """What a worker wants to happen after a step; the strongest wish of all workers counts."""

    NOTHING = 0
    SAVE = 1
    """Save now: a node will be taken away, and the others go on without it."""
    LEAVE = 2
    """Save now, and end."""


def orders() -> tuple[signal.Signals, ...]:
    """Return the signals that tell this process to leave: under ``nohup``, a terminal that closes is none."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM,) if ignored else (signal.SIGTERM, signal.SIGHUP)


def let_go_of_terminal(signum: int) -> None:
    """After SIGHUP: write to nowhere what would have been written to the terminal, which would be an error."""
    if signum != signal.SIGHUP:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(nowhere, descriptor)
    os.close(nowhere)


def is_told(path: Path) -> bool:
    """Whether workers are to save and leave, by the file of :func:`heard`."""
    with suppress(OSError):
        return path.read_bytes() == _LEAVE
    return False


@contextmanager
def heard(path: Path) -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into a file while the block runs; a second one interrupts at once.

    Args:
        path: the file. It is there from the beginning: of a file that was opened, a network file system asks the
            server; that one is missing it may remember for a minute.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_STAY)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told: list[int] = []

    def hear(signum: int, frame: FrameType | None) -> None:
        let_go_of_terminal(signum)
        told.append(signum)
        if len(told) == 1:
            with suppress(OSError), path.open("r+b") as file:  # else nobody can be told
                file.write(_LEAVE)
                return
        earlier = before[signal.Signals(signum)]
        if callable(earlier):  # so that whoever takes the interruption knows what it was
            earlier(signum, frame)
        raise KeyboardInterrupt

    before = {each: signal.getsignal(each) for each in orders()}
    for each in before:
        signal.signal(each, hear)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        path.unlink(missing_ok=True)


class Ear:
    """A worker's side.

    Args:
        path: the file that the driver leaves.
    """

    PERIOD = 0.2
    """Seconds between two looks at the file: it may lie on a shared disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = 0.0
        self._told = False
        self._drained = False

    def wish(self) -> Wish:
        """Return what this worker has heard; a draining node is told once."""
        if self._told:
            return Wish.LEAVE
        if time.monotonic() < self._next:
            return Wish.NOTHING
        self._next = time.monotonic() + self.PERIOD
        self._told = is_told(self._path)
        if self._told:
            return Wish.LEAVE
        if self._drained or not _draining():
            return Wish.NOTHING
        self._drained = True
        return Wish.SAVE

    def settle(self) -> None:
        """Take it that all save for a drain, whoever heard of it first: the others hear of it some steps later."""
        self._drained = True


def _draining() -> bool:
    """Whether Ray is about to lose a node that a worker runs on.

    Ray's public ``get_preemption_info`` makes workers wait for each other at each call; ours vote by themselves.
    """
    with suppress(Exception):
        from ray.train.v2._internal.execution.context import get_train_context

        return get_train_context().preemption_context.preemption_info is not None
    return False
