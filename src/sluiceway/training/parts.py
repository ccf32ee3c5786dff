"""Checkpoints and weights in parts: each worker writes what it has of the tensors, and rank 0 makes the whole of it.

First every worker writes its part into the draft, waits until it is on the disk, and leaves a word with its SHA-256.
Then rank 0 writes the manifest of a checkpoint with all of them, and renames the draft; parts of weights it puts
together into one file. A crash of any worker at any moment leaves a draft, which nothing reads. Workers say nothing to
each other but through the folder, so training is not held up.
"""

import json
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.data.documents import write_json
from sluiceway.errors import DiskFull, room_for
from sluiceway.training.checkpoints import (
    DRAFT,
    Checkpoint,
    Cut,
    drop_old,
    fault_of,
    flush,
    seal_folder,
    size_of,
    write_part,
)
from sluiceway.training.joining import join

if TYPE_CHECKING:
    from torch import Tensor

_PATIENCE = 120.0
"""Seconds for which rank 0 waits for the parts of the others."""
_GRACE = 10.0
"""The same, when training has ended: who has not written by then may never."""
_LOOK = 0.02
"""Seconds between two looks."""


class Incomplete(Exception):
    """A part did not come: a checkpoint is dropped, best weights are tried again, and training goes on."""


def commit_part(
    folder: Path,
    checkpoint: Checkpoint,
    cut: Cut,
    ended: threading.Event,
    *,
    keep: int = 2,
    every: int | None = None,
    most: int = 0,
) -> bool:
    """Write a worker's part; as rank 0, commit the whole, and drop what :func:`checkpoints.spared` does not name.

    Args:
        folder: of all checkpoints.
        checkpoint: this worker's part of it.
        cut: which part.
        ended: set when training is over.
        keep: how many of the newest stay.
        every: steps between checkpoints that stay besides.
        most: how many of those there may be.

    Returns:
        Whether the checkpoint is committed, as far as this worker knows: rank 0 alone does.

    Raises:
        DiskFull: there is no room. Nothing of it is left.
        Incomplete: another worker's part did not come.
    """
    draft = folder / f"{DRAFT}{checkpoint.step:08d}-{cut.token}"
    draft.mkdir(parents=True, exist_ok=True)
    what = f"a part of the checkpoint of step {checkpoint.step}"
    if cut.rank:
        _leave_part(draft, what, checkpoint.tensors, cut)
        return False
    try:
        _leave_part(draft, what, checkpoint.tensors, cut)
        digests = _all(draft, cut, ended)
        for word in draft.glob("*.json"):
            word.unlink()
        with room_for(f"the checkpoint of step {checkpoint.step}", folder):
            seal_folder(draft, checkpoint, digests)
        place = folder / f"step-{checkpoint.step:08d}"
        shutil.rmtree(place, ignore_errors=True)
        draft.rename(place)
    finally:
        _sweep(folder, checkpoint.step, cut.token)
    flush(folder)
    drop_old(folder, keep=keep, every=every, most=most)
    return True


def write_whole(path: Path, tensors: Mapping[str, "Tensor"], cut: Cut, ended: threading.Event) -> str:
    """Write a worker's part of named tensors; as rank 0, put the parts together into one file, whole or absent.

    A part that was written stays until the file is there, so a worker that has written its own has done with it, and
    only those try again who could not. Rank 0 has a bounded piece in memory at a time, whatever the size of the whole.

    Args:
        path: the file.
        tensors: what this worker has of it.
        cut: which part.
        ended: set when training is over.

    Returns:
        The SHA-256 of the file, which is that of :func:`checkpoints.write_tensors`; for other workers than rank 0
        nothing.

    Raises:
        DiskFull: there is no room.
        Incomplete: another worker's part did not come, or is not what it wrote.
    """
    parts = path.with_name(f".{path.name}-{cut.token}")
    parts.mkdir(parents=True, exist_ok=True)
    if not _is_left(parts / cut.name(cut.rank)):
        _leave_part(parts, f"a part of {path.name}", tensors, cut)
    if cut.rank:
        return ""
    digests = _all(parts, cut, ended)
    for name, digest in digests.items():
        if fault := fault_of(parts / name, digest):
            raise Incomplete(f"{path.name} could not be put together: {fault}")
    draft = path.with_name(f".{path.name}")
    files = [parts / name for name in sorted(digests)]
    with room_for(path.name, path.parent, sum(each.stat().st_size for each in files)):
        try:
            digest = join(files, draft)
            flush(draft)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    flush(path.parent)
    _sweep_parts(path, cut.token)
    return digest


def _leave_part(draft: Path, what: str, tensors: Mapping[str, "Tensor"], cut: Cut) -> None:
    path = draft / cut.name(cut.rank)
    try:
        with room_for(what, draft.parent, size_of(tensors)):
            digest = write_part(path, tensors, cut.rows)
            flush(path)
            write_json(_word(path), {"sha256": digest})
    except DiskFull as error:
        path.unlink(missing_ok=True)
        _tell(_word(path), error.message)
        raise
    except FileNotFoundError:  # rank 0 has given up this checkpoint
        if draft.exists():
            raise


def _tell(word: Path, fault: str) -> None:
    """Let rank 0 know; a full disk may take no word, and then it waits in vain for a while."""
    try:
        write_json(word, {"fault": fault})
    except OSError:
        return


def _all(draft: Path, cut: Cut, ended: threading.Event) -> dict[str, str]:
    """Wait for the words of all workers, and return the SHA-256 of their parts by name."""
    missing = {cut.name(rank) for rank in range(cut.world)}
    digests: dict[str, str] = {}
    until = time.monotonic() + _PATIENCE
    hurried = False
    while missing:
        for name in sorted(missing):
            word = _word(draft / name)
            if word.exists():
                said = json.loads(word.read_text(encoding="utf-8"))
                if "fault" in said:
                    word.unlink(missing_ok=True)  # whoever tries again says another one
                    raise Incomplete(said["fault"])
                digests[name] = said["sha256"]
        missing -= digests.keys()
        if ended.is_set() and not hurried:
            hurried, until = True, min(until, time.monotonic() + _GRACE)
        if missing and time.monotonic() > until:
            raise Incomplete(f"{', '.join(sorted(missing))} of {draft.name.removeprefix(DRAFT)} did not come")
        if missing:
            time.sleep(_LOOK)
    return digests


def _word(part: Path) -> Path:
    return part.with_suffix(".json")


def _is_left(part: Path) -> bool:
    """Whether a worker has written its part; one that had no room for it has only said so."""
    try:
        return "sha256" in json.loads(_word(part).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False


def _sweep(folder: Path, step: int, token: int) -> None:
    """Remove drafts that will not become checkpoints: of other attempts, and of ours up to this step."""
    for left in folder.glob(f"{DRAFT}*"):
        at, _, whose = left.name.removeprefix(DRAFT).partition("-")
        if whose != str(token) or int(at) <= step:
            shutil.rmtree(left, ignore_errors=True)


def _sweep_parts(path: Path, token: int) -> None:
    """Remove parts that will not be put together: of other attempts, of this file, and of older ones of ours."""
    for left in path.parent.glob(f".*{path.suffix}-*"):
        name, _, whose = left.name.removeprefix(".").rpartition("-")
        if whose != str(token) or name <= path.name:
            shutil.rmtree(left, ignore_errors=True)
