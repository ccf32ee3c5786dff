"""What an attempt has taken so far, in a file: it counts from its first moment on, and up to its last sign of life."""

import time
from contextlib import suppress
from typing import Self

from sluiceway.training.job import Places, seal, spent_earlier


class Attempt:
    """The attempt that begins now, as rank 0 writes it down; use it as a context.

    Whoever is killed says nothing any more: so the file is there from the beginning, and at signs of life it is written
    anew, every ``PERIOD`` seconds at most.

    Args:
        places: the job's files.
        workers: that train.
        started: when this worker began, on the monotonic clock.
    """

    PERIOD = 1.0
    """Seconds before the last sign of life that may be missing of an attempt that is killed."""

    def __init__(self, places: Places, workers: int, started: float) -> None:
        self.earlier = spent_earlier(places)
        """Seconds and device-seconds of the attempts before."""
        self._path = places.next_attempt()
        self._workers = workers
        self._started = started
        self._noted = 0.0
        self.note()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.note()

    def lives(self) -> None:
        """Take a sign of life."""
        if time.monotonic() - self._noted > self.PERIOD:
            self.note()

    def note(self) -> None:
        """Write down what this attempt has taken."""
        self._noted = time.monotonic()
        with suppress(OSError):  # of a full disk: the next sign of life says it again
            seal(self._path, {"seconds": self._noted - self._started, "workers": self._workers})
