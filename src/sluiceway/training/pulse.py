"""A worker's signs of life. One that shows none leaves word of where it stands, and ends: so a hang becomes a crash."""

import faulthandler
import os
import socket
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import pytorch_lightning as pl

from sluiceway.data.documents import write_json
from sluiceway.errors import room_for
from sluiceway.training.attempt import Attempt
from sluiceway.training.job import Places


class Pulse(pl.Callback):
    """Lightning's callback that winds up an alarm at each step; use it as a context.

    The alarm is a thread of ``faulthandler`` that needs no interpreter, so it goes off in a worker that is stuck in a
    library too. It writes the stacks of all threads and ends the process at once. A process that does not run at all,
    as after SIGSTOP, leaves nothing: then those who wait for it go off, and the group is started anew.

    Args:
        places: where the worker leaves word.
        rank: of the worker.
        limit: seconds without a sign of life; None: ``FACTOR`` times the longest wait so far, ``FLOOR`` at least.
        attempt: is told of signs of life; None on all ranks but the first.
    """

    FIRST = 900.0
    """Seconds to the first step: networks are built and compiled ahead of it."""
    FLOOR = 300.0
    FACTOR = 30.0

    def __init__(self, places: Places, rank: int, limit: float | None, attempt: Attempt | None = None) -> None:
        path = places.stack(rank)
        with room_for("where a worker leaves word", path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8")
        self._limit = limit
        self._attempt = attempt
        self._longest = 0.0
        self._last: float | None = None
        self._wound_up = 0.0
        with suppress(OSError):  # on a full disk nobody can look it up; training does not need it
            write_json(places.worker(rank), {"pid": os.getpid(), "host": socket.gethostname(), "started": time.time()})

    def __enter__(self) -> Self:
        self._wind_up(self.FIRST)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._file.close()

    def beat(self) -> None:
        """Show that this worker lives."""
        if self._attempt:
            self._attempt.lives()
        now = time.monotonic()
        if self._last is not None:
            self._longest = max(self._longest, now - self._last)
        self._last = now
        limit = self._limit or max(self.FLOOR, self.FACTOR * self._longest)
        slack = min(1.0, limit / 10)  # winding up at each of a thousand steps a second would cost more than they do
        if now - self._wound_up > slack:
            self._wind_up(limit + slack)

    def _wind_up(self, seconds: float) -> None:
        self._wound_up = time.monotonic()
        faulthandler.dump_traceback_later(seconds, file=self._file, exit=True)

    # Lightning's hooks.

    def on_train_start(self, *_: Any) -> None:
        """Ahead of the first batch; the alarm of the first step stays."""
        if self._attempt:
            self._attempt.lives()

    def on_train_batch_end(self, *_: Any) -> None:
        """After each micro-batch, and whatever was saved after it."""
        self.beat()

    def on_validation_batch_end(self, *_: Any) -> None:
        """After each batch of a validation."""
        self.beat()

    def on_validation_end(self, *_: Any) -> None:
        """After the best weights were kept."""
        self.beat()

    def on_train_epoch_end(self, *_: Any) -> None:
        """After a checkpoint at a boundary."""
        self.beat()
