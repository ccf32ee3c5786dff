"""What the driver tells the workers, and what they leave for it: plain data and files, so it crosses any boundary."""

import hashlib
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from sluiceway.data.documents import write_json
from sluiceway.training.plan import Hardware, Plan, Stretch

_DIGEST = "digest"
WEIGHTS_DIGEST = "weights_sha256"
"""In the result: of the weights that become the model."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training, in words that pickle, JSON and a shared disk all understand."""

    pipeline: str
    root: str
    """The project's folder: a user's own use case is imported from it."""
    params: dict[str, Any]
    """The pipeline's parameters, as in YAML."""
    shards: str
    folder: str
    """Where workers leave checkpoints, curves and the result; shared by all nodes, and outliving the attempt."""
    subject: str
    """Digest of everything that decides the result."""
    worlds: tuple[int, ...]
    """Numbers of workers that may train, rising: one, unless training is elastic."""
    retries: int
    """Crashes without progress that are put up with."""
    stall_limit: float | None
    """Seconds without a sign of life after which a worker counts as hung; None: by what was measured."""
    threads: int
    """CPU threads of a worker."""
    plan: Plan
    hardware: Hardware

    def packed(self) -> dict[str, Any]:
        """Return this as nested plain values."""
        return asdict(self)

    @classmethod
    def unpacked(cls, values: dict[str, Any]) -> Self:
        """Undo :meth:`packed`."""
        plan = values["plan"] | {
            "boundaries": tuple(values["plan"]["boundaries"]),
            "phases": tuple(Stretch(**phase) for phase in values["plan"]["phases"]),
        }
        inner = {"plan": Plan(**plan), "hardware": Hardware(**values["hardware"]), "worlds": tuple(values["worlds"])}
        return cls(**(values | inner))

    @property
    def alone(self) -> bool:
        """Whether one worker is all there will be."""
        return self.worlds == (1,)


@dataclass(frozen=True, slots=True)
class Places:
    """The files of a job's folder."""

    folder: Path

    @property
    def checkpoints(self) -> Path:
        """Committed checkpoints."""
        return self.folder / "checkpoints"

    @property
    def lock(self) -> Path:
        """Held by the driver of the attempt under way."""
        return self.folder.with_name(f"{self.folder.name}.lock")

    @property
    def metrics(self) -> Path:
        """The spool of the training curves."""
        return self.folder / "metrics.jsonl"

    @property
    def run(self) -> Path:
        """Which MLflow run this training writes to."""
        return self.folder / "run.json"

    @property
    def verdict(self) -> Path:
        """The cost gate's verdict."""
        return self.folder / "cost.json"

    @property
    def notice(self) -> Path:
        """Not empty: workers are to save and leave."""
        return self.folder / "notice"

    @property
    def result(self) -> Path:
        """What rank 0 says at the end."""
        return self.folder / "result.json"

    @property
    def memory(self) -> Path:
        """What was found to fit into memory."""
        return self.folder / "memory.json"

    @property
    def notes(self) -> Path:
        """Lines that workers want a person to read."""
        return self.folder / "notes.txt"

    @property
    def weights(self) -> Path:
        """The weights that become the model."""
        return self.folder / "weights.safetensors"

    @property
    def failures(self) -> Path:
        """What went wrong on the way and was mended, one JSON document a line."""
        return self.folder / "failures.jsonl"

    def worker(self, rank: int) -> Path:
        """Which process a worker is."""
        return self.folder / "workers" / f"rank-{rank:04d}.json"

    def stack(self, rank: int) -> Path:
        """Where a worker stood when it showed no sign of life; empty as long as it shows them."""
        return self.folder / "workers" / f"rank-{rank:04d}.stack"

    def best(self, step: int) -> Path:
        """Weights after the validation at ``step``, which was the best so far."""
        return self.folder / f"best-{step:08d}.safetensors"

    def attempts(self) -> list[Path]:
        """One file per attempt, holding the seconds it took."""
        return sorted(self.folder.glob("attempt-*.json"))

    def next_attempt(self) -> Path:
        """File of the attempt that begins now."""
        numbers = (path.stem.rpartition("-")[2] for path in self.attempts())
        last = max((int(number) for number in numbers if number.isdigit()), default=0)
        return self.folder / f"attempt-{last + 1:04d}.json"

    def note(self, text: str) -> None:
        """Leave a line for a person; the driver passes it on. A full disk takes none: then it is only said."""
        try:
            with self.notes.open("a", encoding="utf-8") as file:
                file.write(f"{text}\n")
        except OSError:
            print(text, file=sys.stderr, flush=True)  # noqa: T201 - a worker has no other voice


def fingerprint(parts: Iterable[object]) -> str:
    """Digest of plain values: the key under which checkpoints are kept."""
    return hashlib.sha256(json.dumps(list(parts), sort_keys=True).encode()).hexdigest()[:16]


def digest_of_code(paths: Iterable[Path]) -> str:
    """Digest of Python files and of those below folders: other code must not take up a checkpoint."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def seal(path: Path, document: dict[str, Any]) -> None:
    """Write a small file with a digest of what it says."""
    write_json(path, document | {_DIGEST: fingerprint([document])})


def unsealed(path: Path) -> dict[str, Any] | None:
    """Read a sealed file; None: it is not there, or does not say what was written."""
    try:
        document = json.loads(path.read_bytes())
        digest = document.pop(_DIGEST)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return document if digest == fingerprint([document]) else None


def spent_earlier(places: Places) -> tuple[float, float]:
    """Add up what earlier attempts took, in seconds and in device-seconds.

    A file that is broken is set aside, and a person is told; one that is removed meanwhile is not counted.
    """
    seconds = device_seconds = 0.0
    for path in places.attempts():
        found = unsealed(path)
        if found is None and not path.exists():
            continue
        if found is None:
            places.note(f"{set_aside(path)}: the seconds of that attempt are not counted")
        else:
            seconds += float(found["seconds"])
            device_seconds += float(found["seconds"]) * int(found["workers"])
    return seconds, device_seconds


def set_aside(path: Path) -> str:
    """Rename a broken file to ``broken-...``, and say so."""
    aside = path.with_name(f"broken-{path.name}-{time.time_ns()}")
    path.rename(aside)
    return f"{path.name} is broken: set aside as {aside.name}"
