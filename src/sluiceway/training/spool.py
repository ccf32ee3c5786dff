"""The training curves' first home: an append-only file of JSON lines beside the checkpoints.

Rank 0 writes it; the driver reads it to show progress, to fill MLflow and to draw the report, so training never waits
for any of them. A line is ``{"step": 40, "time": 1700000000000, "metrics": {"train/loss": 0.5}}``; time is in
milliseconds.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

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
        draft.write_text("".join(map(_line, kept)), encoding="utf-8")
        draft.replace(path)
        self._file = path.open("a", encoding="utf-8")

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one point; a reader sees it at once."""
        self._file.write(_line(Point(step, int(time.time() * 1000), metrics)))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> Iterator[Point]:
    """Read the complete lines of a spool; a missing file is an empty one."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                document = json.loads(line)
                yield Point(document["step"], document["time"], document["metrics"])


def _line(point: Point) -> str:
    return json.dumps({"step": point.step, "time": point.time, "metrics": dict(point.metrics)}) + "\n"
