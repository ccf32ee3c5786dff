"""Being told to leave: SIGTERM of Slurm, Kubernetes or a spot machine, and the draining of a node by Ray.

The driver hears SIGTERM and leaves a file in the job's folder, where workers on any machine see it. Workers take a vote
after each step, so that all of them stop after the same one, whoever heard it first.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from types import FrameType

_LEAVE = b"leave"


class Wish(IntEnum):
    """What a worker wants to happen after a step; the strongest wish of all workers counts."""

    NOTHING = 0
    SAVE = 1
    """Save now: a node will be taken away, and the others go on without it."""
    LEAVE = 2
    """Save now, and end."""


@contextmanager
def heard(path: Path) -> Iterator[None]:
    """Turn SIGTERM into a file while the block runs; a second one interrupts at once.

    Args:
        path: the file. It is there from the beginning, and empty: of a file that was opened, a network file system
            asks the server; that one is missing it may remember for a minute.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)

    def hear(signum: int, frame: FrameType | None) -> None:
        if path.read_bytes():
            raise KeyboardInterrupt
        path.write_bytes(_LEAVE)

    signal.signal(signal.SIGTERM, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
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
        with suppress(OSError):
            self._told = bool(self._path.read_bytes())
        if self._told:
            return Wish.LEAVE
        if self._drained or not _draining():
            return Wish.NOTHING
        self._drained = True
        return Wish.SAVE


def _draining() -> bool:
    """Whether Ray is about to lose a node that a worker runs on.

    Ray's public ``get_preemption_info`` makes workers wait for each other at each call; ours vote by themselves.
    """
    with suppress(Exception):
        from ray.train.v2._internal.execution.context import get_train_context

        return get_train_context().preemption_context.preemption_info is not None
    return False
