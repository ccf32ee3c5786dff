"""Backups of the team's server: the database with its accounts, and all files, with digests; and the way back."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sluiceway.errors import Busy, TrackingError, UsageError, room_for
from sluiceway.server import database
from sluiceway.server.files import repository, walk
from sluiceway.server.settings import Stores

DUMP, FILES, MANIFEST = "database.dump", "artifacts", "manifest.json"
LAYOUT = 1
_AT_ONCE = 8
"""Files under way between here and the artifact store."""


def backup(stores: Stores, folder: Path, *, files: bool = True) -> dict[str, Any]:
    """Write a backup into a new folder. The server may go on meanwhile.

    The database comes first: what it speaks of is in the store already and is copied after it. What is added meanwhile
    is not spoken of, and does no harm. Only `mlflow gc` must not run beside it.

    It is written beside its place and moved there when it is whole: a failed one leaves nothing in the way of the next.

    Args:
        stores: what to copy.
        folder: where to; it must be empty or missing. Nobody else can read it: password hashes are in it.
        files: whether artifacts are copied too; a bucket may have copies of its own.

    Returns:
        The manifest.

    Raises:
        UsageError: the folder is not empty, or nothing can be written beside it.
        Busy: somebody else is writing it.
        TrackingError: a store cannot be reached, or refuses.
        DiskFull: there is no room for it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty", hint="a backup needs a folder of its own, such as one per day")
    if folder.is_mount():
        raise UsageError(f"{folder} is a file system of its own", hint=f"name a folder inside it: {folder / 'NAME'}")
    with _unfinished(folder) as part, room_for("the backup", part):
        database.dump(stores, part / DUMP)
        if files:
            _download(stores, part / FILES)
        manifest = {
            "layout": LAYOUT,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "mlflow": version("mlflow"),
            "database": stores.kind,
            "files": files,
            "sha256": _digests(part),
        }
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        _close(part)
        part.rename(folder)
    return manifest


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """Make the folder that a backup is written to, beside its place; what stands there of one that was killed goes.

    Raises:
        UsageError: nothing can be written there.
        Busy: somebody else is writing it.
    """
    part = folder.absolute().with_name(f"{folder.absolute().name}.part")
    try:
        part.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UsageError(
            f"{part} cannot be written: {error.strerror}", hint="a backup is written beside its place: name another one"
        ) from None
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = part.stat().st_ino == os.fstat(held).st_ino
        except OSError:
            mine = False
        if not mine:
            raise Busy(f"another process is writing {folder}", hint="wait for it, or name another folder")
        try:
            _clear(part)
            part.chmod(0o700)
            yield part
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    finally:
        os.close(held)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _close(folder: Path) -> None:
    """Take everybody else's rights away, also from what a copy of the folder's inside would have."""
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)


def restore(stores: Stores, folder: Path) -> dict[str, Any]:
    """Fill an empty database and an empty artifact store from a backup. Stopped early, it can be begun again.

    Args:
        stores: what to fill: of the same kind of database, elsewhere if need be.
        folder: the backup.

    Returns:
        The backup's manifest.

    Raises:
        TrackingError: the backup is damaged or of another kind; a store is not empty, cannot be reached, or refuses.
    """
    manifest = _read(folder)
    if manifest["database"] != stores.kind:
        raise TrackingError(f"{folder} is a backup of {manifest['database']}, and the database here is {stores.kind}")
    if changed := _differences(manifest["sha256"], _digests(folder)):
        raise TrackingError(
            f"the backup {folder} is damaged: {len(changed)} files are not what they were, such as {changed[0]}",
            hint="restore an earlier one",
        )
    wanted = {path.partition("/")[2] for path in manifest["sha256"] if path.startswith(f"{FILES}/")}
    if manifest["files"] and (strangers := set(_listed(stores)) - wanted):
        raise TrackingError(
            f"{stores.artifacts} has {len(strangers)} files that are not of this backup, such as {min(strangers)}",
            hint="restore into an empty bucket or folder",
        )
    if wanted:
        _upload(stores, folder / FILES)
        if missing := wanted - set(_listed(stores)):
            raise TrackingError(f"{len(missing)} files did not arrive in {stores.artifacts}, such as {min(missing)}")
    database.restore(stores, folder / DUMP)
    return manifest


def _read(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TrackingError(
            f"{folder} is no backup: it has no {MANIFEST}", hint="that is written last: was the backup interrupted?"
        ) from None
    except ValueError as error:
        raise TrackingError(f"{folder / MANIFEST} cannot be read: {error}") from None
    if manifest.get("layout") != LAYOUT:
        raise TrackingError(f"{folder} is a backup of layout {manifest.get('layout')}, this version reads {LAYOUT}")
    return manifest


def _download(stores: Stores, folder: Path) -> None:
    folder.mkdir()
    with repository(stores) as there, ThreadPoolExecutor(_AT_ONCE) as pool:

        def fetch(path: str) -> None:
            there.download_artifacts(path, str(folder))  # type: ignore[no-untyped-call]

        list(pool.map(fetch, walk(there)))


def _upload(stores: Stores, folder: Path) -> None:
    with repository(stores) as there:
        there.log_artifacts(str(folder))  # type: ignore[no-untyped-call]


def _listed(stores: Stores) -> list[str]:
    with repository(stores) as there:
        return list(walk(there))


def _digests(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST):
        with path.open("rb") as file:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _differences(wanted: dict[str, str], found: dict[str, str]) -> list[str]:
    return sorted(path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path))
