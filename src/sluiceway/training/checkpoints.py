"""Checkpoints: committed or not there.

A checkpoint is a folder ``step-00001200/`` with ``tensors.safetensors``, ``state.json`` and ``manifest.json``. It is
written beside its place, flushed to the disk, sealed with the SHA-256 of its files and renamed: a crash at any moment
leaves the last one whole. Reading takes the newest that verifies and sets a broken one aside. Nothing is unpickled.

Where workers share out the parameters, each writes a part of its own, ``part-00001-of-00004.safetensors``, and rank 0
seals and renames when all are there (:mod:`sluiceway.training.parts`). Reading makes no difference between the two.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.errors import room_for
from sluiceway.training.stored import Rows, Stored, metadata_of

if TYPE_CHECKING:
    from torch import Tensor

_TENSORS, _STATE, _MANIFEST = "tensors.safetensors", "state.json", "manifest.json"
_PART = re.compile(r"part-(\d{5})-of-(\d{5})\.safetensors")
DRAFT = ".draft-"


@dataclass(frozen=True, slots=True)
class Cut:
    """Which part of a checkpoint a worker writes."""

    rank: int
    world: int
    rows: Rows
    """Of the tensors in it; one that is not named is whole."""
    token: int
    """The same for all workers of an attempt, and no other attempt's."""

    def name(self, rank: int) -> str:
        """Return the name of a worker's part."""
        return f"part-{rank:05d}-of-{self.world:05d}.safetensors"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that is needed to go on after ``step`` optimizer steps."""

    step: int
    tensors: Mapping[str, "Tensor"]
    state: Mapping[str, Any]
    """Plain JSON."""
    cut: Cut | None = None
    """Which part this is; None: the whole."""


def commit(folder: Path, checkpoint: Checkpoint, *, keep: int = 2, every: int | None = None, most: int = 0) -> Path:
    """Write a checkpoint so that it is either whole or absent, then drop those that :func:`spared` does not name.

    Args:
        folder: of all checkpoints.
        checkpoint: what is written.
        keep: how many of the newest stay.
        every: steps between checkpoints that stay besides.
        most: how many of those there may be.

    Raises:
        DiskFull: there is no room. Nothing of it is left.
    """
    place = folder / f"step-{checkpoint.step:08d}"
    draft = folder / f"{DRAFT}{checkpoint.step:08d}-{os.getpid()}"
    with room_for(f"the checkpoint of step {checkpoint.step}", folder, size_of(checkpoint.tensors)):
        try:
            _write(draft, checkpoint)
            shutil.rmtree(place, ignore_errors=True)
            draft.rename(place)
        finally:
            for left in folder.glob(f"{DRAFT}*"):  # ours, and what a crash left
                shutil.rmtree(left, ignore_errors=True)
        flush(folder)
    drop_old(folder, keep=keep, every=every, most=most)
    return place


def drop_old(folder: Path, *, keep: int, every: int | None, most: int) -> None:
    """Drop the checkpoints that :func:`spared` does not name."""
    found = _steps(folder)
    stay = spared([_step_of(each) for each in found], keep=keep, every=every, most=most)
    for each in found:
        if _step_of(each) not in stay:
            shutil.rmtree(each, ignore_errors=True)


def spared(steps: Sequence[int], *, keep: int, every: int | None, most: int) -> set[int]:
    """Return the checkpoints that stay: the newest, and the first at or after each multiple of ``every`` steps.

    Args:
        steps: of the checkpoints that there are.
        keep: how many of the newest stay.
        every: steps between those that stay besides; None: none do.
        most: of those that stay besides, how many there may be; the newest of them stay.
    """
    ordered = sorted(steps)
    firsts: dict[int, int] = {}
    for step in ordered:
        if every and step >= every:
            firsts.setdefault(step // every, step)
    return {*ordered[-keep:], *sorted(firsts.values())[len(firsts) - min(most, len(firsts)) :]}


def newest(
    folder: Path, fault_beside: Callable[[Checkpoint], str] = lambda _: ""
) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint that verifies, and a warning for each one that does not.

    A broken checkpoint is renamed to ``broken-...`` and kept for whoever wants to look.

    Args:
        folder: of all checkpoints.
        fault_beside: says what is wrong with what a checkpoint refers to and does not hold. An older checkpoint whose
            references are whole is better; where there is none, the newest is returned without them: the caller finds
            the fault again.
    """
    warnings: list[str] = []
    alone: list[tuple[Path, Checkpoint, str]] = []
    for place in _steps(folder):
        fault = _fault(place)
        if fault:
            warnings.append(_set_aside(place, fault))
            continue
        checkpoint = _read(place)
        missing = fault_beside(checkpoint)
        if not missing:
            return checkpoint, warnings + [_set_aside(newer, why) for newer, _, why in alone]
        alone.append((place, checkpoint, missing))
    if not alone:
        return None, warnings
    _, checkpoint, missing = alone[0]
    return checkpoint, [
        *warnings,
        f"checkpoint step-{checkpoint.step:08d} is taken without the best weights so far: {missing}",
    ]


def read(folder: Path, step: int) -> Checkpoint:
    """Read the checkpoint of a step, which another worker has verified."""
    return _read(folder / f"step-{step:08d}")


def newest_step(folder: Path) -> int:
    """Return the step of the newest checkpoint, unread; 0 when there is none."""
    return max(map(_step_of, _steps(folder)), default=0)


def states(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Read the states of all checkpoints, newest first, as far as they can be read."""
    for place in _steps(folder):
        with suppress(OSError, ValueError):
            state = json.loads((place / _STATE).read_text(encoding="utf-8"))
            if isinstance(state, dict):
                yield state


def write_tensors(path: Path, tensors: Mapping[str, "Tensor"]) -> str:
    """Write named tensors so that the file is whole or absent, and return its SHA-256.

    Raises:
        DiskFull: there is no room.
    """
    from safetensors.torch import save_file

    draft = path.with_name(f".{path.name}")
    with room_for(path.name, path.parent, size_of(tensors)):
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, draft)
            flush(draft)
            digest = sha256(draft)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    return digest


def fault_of(path: Path, digest: str) -> str:
    """Say what is wrong with a file that should have this SHA-256; nothing: an empty text."""
    try:
        return "" if sha256(path) == digest else f"{path.name} was altered"
    except OSError as error:
        return f"{type(error).__name__}: {error}"


def size_of(tensors: Mapping[str, "Tensor"]) -> int:
    """Return the bytes of the tensors."""
    return sum(each.numel() * each.element_size() for each in tensors.values())


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_part(path: Path, tensors: Mapping[str, "Tensor"], rows: Rows | None = None) -> str:
    """Write named tensors, with the rows that they are of the whole, and return the file's SHA-256."""
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata_of(rows))
    return sha256(path)


def seal_folder(draft: Path, checkpoint: Checkpoint, digests: Mapping[str, str]) -> None:
    """Write what stands beside the tensors, and wait until all of it is on the disk.

    Args:
        draft: the folder.
        checkpoint: whose state is written.
        digests: SHA-256 of the files of tensors, by name.
    """
    state = {"step": checkpoint.step, **checkpoint.state}
    (draft / _STATE).write_text(json.dumps(state, sort_keys=True), encoding="utf-8")
    manifest = {**digests, _STATE: sha256(draft / _STATE)}
    (draft / _MANIFEST).write_text(json.dumps(manifest, sort_keys=True), encoding="utf-8")
    for path in (*sorted(draft.iterdir()), draft):
        flush(path)


def _write(draft: Path, checkpoint: Checkpoint) -> None:
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    seal_folder(draft, checkpoint, {_TENSORS: write_part(draft / _TENSORS, checkpoint.tensors)})


def _read(place: Path) -> Checkpoint:
    state = json.loads((place / _STATE).read_text(encoding="utf-8"))
    files = [place / name for name in sorted(_manifest(place)) if name != _STATE]
    return Checkpoint(state.pop("step"), Stored(files), state)


def _manifest(place: Path) -> dict[str, str]:
    """Read which files there are, with their SHA-256.

    Raises:
        ValueError: they are not those of a checkpoint.
    """
    digests: dict[str, str] = json.loads((place / _MANIFEST).read_text(encoding="utf-8"))
    names = digests.keys() - {_STATE}
    world = next((int(match[2]) for name in names if (match := _PART.fullmatch(name))), 0)
    expected = {Cut(0, world, {}, 0).name(rank) for rank in range(world)} if world else {_TENSORS}
    if names != expected or _STATE not in digests:
        raise ValueError(f"{_MANIFEST} names {', '.join(sorted(digests)) or 'nothing'}")
    return digests


def _steps(folder: Path) -> list[Path]:
    """Return the checkpoints, newest first."""
    found = folder.glob("step-*") if folder.is_dir() else ()
    return sorted((path for path in found if path.name.removeprefix("step-").isdigit()), reverse=True)


def _step_of(place: Path) -> int:
    return int(place.name.removeprefix("step-"))


def _set_aside(place: Path, fault: str) -> str:
    aside = place.with_name(f"broken-{place.name}-{time.time_ns()}")  # the same step may break again
    place.rename(aside)
    return f"checkpoint {place.name} is broken ({fault}): set aside as {aside.name}"


def _fault(place: Path) -> str:
    try:
        digests = _manifest(place)
        altered = [name for name in digests if sha256(place / name) != digests[name]]
        if not altered:
            _read(place)
    except PermissionError:  # it may be sound: who runs this may not look, and is told so
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return f"{altered[0]} was altered" if altered else ""
