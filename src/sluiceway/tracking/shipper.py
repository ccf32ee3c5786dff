"""Carries training curves from the worker's spool to MLflow, in the background, so that training waits for nobody.

MLflow's own asynchronous logging drops data in silence, and its synchronous one blocks while the server is away. Here
the spool is the truth: what could not be sent stays pending, and at the end the store is asked what it really has.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from sluiceway.data.tail import Tail
from sluiceway.tracking.run import MetricPoint, Run
from sluiceway.tracking.store import one_line

Points = dict[tuple[str, int], MetricPoint]
"""Points by metric and step: a later value takes the place of an earlier one."""

Parse = Callable[[bytes], Iterable[MetricPoint]]
"""Turns a line of a spool into points: none, if it is broken."""


class Shipper:
    """Sends a spool's points to a run every few seconds. It never raises: training matters more than its curves.

    No step of a metric is sent twice, whatever an attempt repeats and whichever answer gets lost: before the first
    point of a metric, and after every refusal, the store is asked which steps it has. Of what is not sent yet, the last
    value of a step wins.

    Args:
        run: where the points go.
        spool: a file of JSON lines, ``{"step": 40, "time": 1700000000000, "metrics": {"train/loss": 0.5}}``;
            it need not exist yet.
        interval: seconds between two looks at the spool.
        parse: reads a line of a spool that says more than that, such as a checksum.
    """

    def __init__(self, run: Run, spool: Path, interval: float = 2.0, parse: Parse | None = None) -> None:
        self._run = run
        self._spool = spool
        self._interval = interval
        self._parse = parse or _points
        self._pending: Points = {}
        self._sent: dict[str, set[int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="shipper", daemon=True)
        self.problem = ""
        """The last refusal in one line; empty when everything arrived."""
        self.left: list[MetricPoint] = []
        """After the end: what could not be sent."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.left = self.close()

    def close(self, tries: int = 3, patience: float = 60.0) -> list[MetricPoint]:
        """Compare the whole spool with what the store has, and send what is missing until nothing is.

        Args:
            tries: how often to send.
            patience: seconds to wait for a request that is under way.

        Returns:
            What could not be sent; it stays in the spool.
        """
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(patience)
        wanted = self._read(Tail(self._spool), whole=True)
        left = [point for point in wanted.values() if point.step not in self._sent.get(point.name, ())]
        if self._thread.is_alive():
            self.problem = f"a request is unanswered after {patience:g} s"
            return left
        for attempt in range(tries):
            time.sleep(min(self._interval, attempt))
            try:
                self._run.log_metrics(self._missing(wanted))
                left = self._missing(wanted)
            except Exception as error:  # noqa: BLE001 - whatever it is, the stage goes on
                self.problem = one_line(error)
                continue
            if not left:
                self.problem = ""
                break
        return left

    def _work(self) -> None:
        tail = Tail(self._spool)
        while not self._stop.wait(self._interval):
            self._pending |= self._read(tail)
            self._send()

    def _read(self, tail: Tail, *, whole: bool = False) -> Points:
        try:
            lines = tail.lines(whole=whole)
        except OSError as error:
            self.problem = f"the spool cannot be read: {one_line(error)}"
            return {}
        return {(point.name, point.step): point for line in lines for point in self._parse(line)}

    def _send(self) -> None:
        """Send what is pending; after a refusal it stays pending, and the store is asked anew what it has."""
        names = {name for name, _ in self._pending}
        try:
            for name in names - self._sent.keys():
                self._sent[name] = self._run.sent_steps(name)
            self._run.log_metrics(point for point in self._pending.values() if point.step not in self._sent[point.name])
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
            self.problem = one_line(error)
            for name in names:
                self._sent.pop(name, None)
            return
        self.problem = ""
        for name, step in self._pending:
            self._sent[name].add(step)
        self._pending.clear()

    def _missing(self, wanted: Points) -> list[MetricPoint]:
        """Ask the store which of these points it does not have."""
        there = {name: self._run.sent_steps(name) for name in {name for name, _ in wanted}}
        return [point for (name, step), point in wanted.items() if step not in there[name]]


def _points(line: bytes) -> Iterator[MetricPoint]:
    """Read one line; one that was torn by a crash, and one that means nothing, gives no points."""
    try:
        document = json.loads(line)
        step, when, metrics = int(document["step"]), int(document["time"]), dict(document["metrics"])
        found = [MetricPoint(name, step, float(value), when) for name, value in metrics.items()]
    except (ValueError, TypeError, KeyError):
        return
    yield from found
