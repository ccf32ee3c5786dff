"""What the driver tells the workers, and what they leave for it: plain data and files, so it crosses any boundary."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from sluiceway.training.plan import Hardware, Plan, Stretch


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
    workers: int
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
        return cls(**{**values, "plan": Plan(**plan), "hardware": Hardware(**values["hardware"])})


@dataclass(frozen=True, slots=True)
class Places:
    """The files of a job's folder."""

    folder: Path

    @property
    def checkpoints(self) -> Path:
        """Committed checkpoints."""
        return self.folder / "checkpoints"

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
    def weights(self) -> Path:
        """The weights that become the model."""
        return self.folder / "weights.safetensors"

    def best(self, step: int) -> Path:
        """Weights after the validation at ``step``, which was the best so far."""
        return self.folder / f"best-{step:08d}.safetensors"

    def attempts(self) -> list[Path]:
        """One file per attempt, holding the seconds it took."""
        return sorted(self.folder.glob("attempt-*.json"))

    def attempt(self, number: int) -> Path:
        """File of an attempt."""
        return self.folder / f"attempt-{number:04d}.json"


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


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a small file so that a reader sees the old one or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    draft.replace(path)
