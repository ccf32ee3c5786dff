"""Checkpoints: committed or not there.

A checkpoint is a folder ``step-00001200/`` with ``tensors.safetensors``, ``state.json`` and ``manifest.json``. It is
written beside its place, flushed to the disk, sealed with the SHA-256 of its files and renamed: a crash at any moment
leaves the last one whole. Reading takes the newest that verifies and sets a broken one aside. Nothing is unpickled.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_TENSORS, _STATE, _MANIFEST = "tensors.safetensors", "state.json", "manifest.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that is needed to go on after ``step`` optimizer steps."""

    step: int
    tensors: Mapping[str, "Tensor"]
    state: Mapping[str, Any]
    """Plain JSON."""


def commit(folder: Path, checkpoint: Checkpoint, *, keep: int = 2) -> Path:
    """Write a checkpoint so that it is either whole or absent, then drop all but the newest ``keep``."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"step-{checkpoint.step:08d}"
    draft = folder / f".draft-{checkpoint.step:08d}-{os.getpid()}"
    for left_by_a_crash in folder.glob(".draft-*"):
        shutil.rmtree(left_by_a_crash, ignore_errors=True)
    draft.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}, draft / _TENSORS)
    state = {"step": checkpoint.step, **checkpoint.state}
    (draft / _STATE).write_text(json.dumps(state, sort_keys=True), encoding="utf-8")
    digests = {name: _sha256(draft / name) for name in (_TENSORS, _STATE)}
    (draft / _MANIFEST).write_text(json.dumps(digests, sort_keys=True), encoding="utf-8")
    for path in (*sorted(draft.iterdir()), draft):
        _flush(path)
    shutil.rmtree(place, ignore_errors=True)
    draft.rename(place)
    _flush(folder)
    for old in _steps(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint that verifies, and a warning for each one that does not.

    A broken checkpoint is renamed to ``broken-...`` and kept for whoever wants to look.
    """
    from safetensors.torch import load_file

    warnings: list[str] = []
    for place in _steps(folder):
        fault = _fault(place)
        if not fault:
            state = json.loads((place / _STATE).read_text(encoding="utf-8"))
            return Checkpoint(state.pop("step"), load_file(place / _TENSORS), state), warnings
        aside = place.with_name(f"broken-{place.name}-{time.time_ns()}")  # the same step may break again
        place.rename(aside)
        warnings.append(f"checkpoint {place.name} is broken ({fault}): set aside as {aside.name}")
    return None, warnings


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True) if folder.is_dir() else []


def _fault(place: Path) -> str:
    try:
        digests = json.loads((place / _MANIFEST).read_text(encoding="utf-8"))
        altered = [name for name in (_TENSORS, _STATE) if _sha256(place / name) != digests[name]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return f"{altered[0]} was altered" if altered else ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
