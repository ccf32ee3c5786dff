"""Checkpoints in parts: each worker writes what it has of the tensors, and rank 0 commits when all parts are there.

First every worker writes its part into the draft, waits until it is on the disk, and leaves a word with its SHA-256.
Then rank 0 writes the manifest with all of them, and renames the draft. A crash of any worker at any moment leaves a
draft, which nothing reads. Workers say nothing to each other but through the folder, so training is not held up.
"""

import json
import shutil
import threading
import time
from pathlib import Path

from sluiceway.data.documents import write_json
from sluiceway.errors import DiskFull, room_for
from sluiceway.training.checkpoints import (
    DRAFT,
    Checkpoint,
    Cut,
    drop_old,
    flush,
    seal_folder,
    size_of,
    write_part,
)

_PATIENCE = 120.0
"""Seconds for which rank 0 waits for the parts of the others."""
_GRACE = 10.0
"""The same, when training has ended: who has not written by then may never."""
_LOOK = 0.02
"""Seconds between two looks."""


class Incomplete(Exception):
    """A part did not come: the checkpoint is dropped, and training goes on."""


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
    if cut.rank:
        _leave_part(draft, checkpoint, cut)
        return False
    try:
        _leave_part(draft, checkpoint, cut)
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


def _leave_part(draft: Path, checkpoint: Checkpoint, cut: Cut) -> None:
    path = draft / cut.name(cut.rank)
    what = f"a part of the checkpoint of step {checkpoint.step}"
    try:
        with room_for(what, draft.parent, size_of(checkpoint.tensors)):
            digest = write_part(path, checkpoint.tensors, cut.rows)
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


def _sweep(folder: Path, step: int, token: int) -> None:
    """Remove drafts that will not become checkpoints: of other attempts, and of ours up to this step."""
    for left in folder.glob(f"{DRAFT}*"):
        at, _, whose = left.name.removeprefix(DRAFT).partition("-")
        if whose != str(token) or int(at) <= step:
            shutil.rmtree(left, ignore_errors=True)
