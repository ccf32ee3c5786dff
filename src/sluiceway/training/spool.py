"""The training curves' first home: an append-only file of JSON lines beside the checkpoints.

Rank 0 writes it; the driver reads it to show progress, to fill MLflow and to draw the report, so training never waits
for any of them. A line is ``{"step": 40, "time": 1700000000000, "metrics": {"train/loss": 0.5}, "crc": "8a51c0de"}``;
time is in milliseconds, and the checksum is of what stands before it: a line that was torn or altered is no point.
"""

import json
import os
import re
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sluiceway.errors import disk_full, room_for

FILE = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class Point:
    """Metrics after a step."""

    step: int
    time: int
    metrics: Mapping[str, float]


class Spool:
    """Appends points to the file.

    Args:
        path: the file; it is made when it is missing.
        resume_at: step after which training goes on; later points belong to work that was lost and are dropped.
    """

    def __init__(self, path: Path, resume_at: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [point for point in read(path) if point.step <= resume_at]
        draft = path.with_suffix(".draft")
        with room_for("the training curves", path.parent):
            draft.write_bytes(b"".join(map(_line, kept)))
        draft.replace(path)
        self._file = path.open("ab", buffering=0)
        self._waiting = b""
        self.count = len(kept)
        """Points up to now."""

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one point; a reader sees it at once. What finds no room is written with the next one."""
        self.count += 1
        self._waiting += _line(Point(step, int(time.time() * 1000), metrics))
        self._write()

    def _write(self) -> None:
        with suppress(OSError):
            while self._waiting:
                written = self._file.write(self._waiting) or 0
                self._waiting = self._waiting[written:]

    def close(self) -> None:
        """Write what is still waiting, and close the file.

        Raises:
            DiskFull: there is no room for it.
        """
        self._write()
        self._file.close()
        if self._waiting:
            raise disk_full("the training curves", Path(os.fspath(self._file.name)).parent, len(self._waiting))


def read(path: Path) -> Iterator[Point]:
    """Read the whole lines of a spool; a missing file is an empty one."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return
    for line in lines:
        point = parse(line) if line.endswith(b"\n") else None
        if point:
            yield point


def broken(path: Path) -> int:
    """Count the lines of a spool that are no points; a last one without its end is only torn."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return sum(parse(line) is None for line in lines)


def parse(line: bytes) -> Point | None:
    """Read a line; None: it is not what was written."""
    found = _SEALED.fullmatch(line.rstrip(b"\n"))
    if not found or zlib.crc32(found[1]) != int(found[2], 16):
        return None
    document = json.loads(found[1] + b"}")
    return Point(document["step"], document["time"], document["metrics"])


_SEALED = re.compile(rb'(.*), "crc": "([0-9a-f]{8})"\}', re.DOTALL)


def _line(point: Point) -> bytes:
    head = json.dumps({"step": point.step, "time": point.time, "metrics": dict(point.metrics)})[:-1].encode()
    return head + f', "crc": "{zlib.crc32(head):08x}"}}\n'.encode()
