"""Shards from elsewhere on a host's own disk: never more bytes than allowed, shared by all processes of the host.

What was not used for longest makes room. A file that is being read is locked against that; none is mapped for longer
than one gather takes, so the bound is one of the disk too. A download has a promise of room: an empty file, named with
its final size and locked meanwhile. When its hash is right it is renamed. After a crash at any moment the cache is
whole, and what a dead process was promised is dropped, with its bytes, by the next one that needs room. The bytes
themselves cannot carry the lock: Google's library removes a file that came half, and writes another one.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sluiceway.data.places import allowed_bytes
from sluiceway.data.seals import Seals, local_folder, locked
from sluiceway.data.store import File
from sluiceway.errors import ConfigError

LIMIT = "SLUICEWAY_SHARDS_GB"
"""Names the environment variable with the gigabytes that the cache may take."""
_LIMIT_GB = 20.0
_TURN = 0.005
"""Seconds between two looks for room, where all that is there is being read or written."""

Get = Callable[[File, Path], None]


class Cache:
    """Files by their SHA-256.

    Args:
        get: fetches a file to a path, and leaves it there only if it is the right one.
        folder: where; default: the folder of this host.
        limit: bytes; default: of the environment variable ``SLUICEWAY_SHARDS_GB``, else 20 GB.
    """

    def __init__(self, get: Get, folder: Path | None = None, limit: int | None = None) -> None:
        folder = folder or local_folder()
        self._get = get
        self._contents, self._drafts, self._promises, self._locks = (
            folder / name for name in ("contents", "drafts", "promises", "locks")
        )
        self._seals = Seals(folder / "seals")
        self.limit = limit if limit is not None else allowed_bytes(LIMIT, _LIMIT_GB)

    def refuse_if_too_large(self, file: File) -> None:
        """Raise ``ConfigError`` for a file that is larger than the cache may be."""
        if file.size > self.limit:
            raise ConfigError(
                f"shard {file.name} has {file.size:,} bytes, and the cache may take {self.limit:,}",
                hint=f"raise the environment's {LIMIT} (gigabytes), or write smaller shards: encode.shard_bytes",
            )

    def ensure(self, file: File) -> None:
        """Fetch a file, unless it is there."""
        if not (self._contents / file.sha256).exists():
            self._fetch(file)

    @contextmanager
    def held(self, file: File) -> Iterator[Path]:
        """Give the path of a file, which stays as long as the block runs.

        Hold one at a time: who held one and waited for room for another could wait for ever.

        Raises:
            ConfigError: it is larger than the cache may be.
            CorruptShard, DataError: it cannot be had.
        """
        path = self._contents / file.sha256
        while True:
            self.ensure(file)
            try:
                handle = path.open("rb")
            except FileNotFoundError:
                continue  # it made room for another one
            with handle, locked(handle.fileno(), fcntl.LOCK_SH):
                if not os.fstat(handle.fileno()).st_nlink:
                    continue
                if self._is_whole(file, path, handle.fileno()):
                    self._seals.use(file.sha256)
                    yield path
                    return
            path.unlink(missing_ok=True)

    def _is_whole(self, file: File, path: Path, descriptor: int) -> bool:
        """Whether it is what was fetched, or what another start of this host has left is still right."""
        return self._seals.holds(file.sha256, descriptor) or not self._seals.fault(file.sha256, path, file.sha256)

    def _fetch(self, file: File) -> None:
        for folder in (self._contents, self._drafts, self._promises, self._locks):
            folder.mkdir(parents=True, exist_ok=True)
        content = self._contents / file.sha256
        with (self._locks / file.sha256[:3]).open("wb") as lock, locked(lock.fileno(), fcntl.LOCK_EX):
            if content.exists():  # another process has fetched it meanwhile
                return
            with self._draft(file) as draft:
                self._get(file, draft)
                draft.replace(content)
            with suppress(FileNotFoundError), content.open("rb") as handle:  # or it made room already
                self._seals.put(file.sha256, handle.fileno())

    @contextmanager
    def _draft(self, file: File) -> Iterator[Path]:
        """Give a path to write to, for which there is room."""
        promise, path = self._promises / f"{file.sha256}.{file.size}", self._drafts / file.sha256
        while True:
            with self._counting():
                if self._make_room(file):
                    handle = promise.open("wb")
                    fcntl.flock(handle, fcntl.LOCK_EX)
                    break
            time.sleep(_TURN)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
            promise.unlink(missing_ok=True)
            fcntl.flock(handle, fcntl.LOCK_UN)
            handle.close()

    @contextmanager
    def _counting(self) -> Iterator[None]:
        with (self._locks / "count").open("wb") as lock, locked(lock.fileno(), fcntl.LOCK_EX):
            yield

    def _make_room(self, file: File) -> bool:
        """Drop what was not used for longest; False: what is left is in use."""
        self.refuse_if_too_large(file)
        promised = dict(self._promised())  # ahead of what is there: a draft may become a content meanwhile
        total = file.size + sum(promised.values())
        found = []
        for path in self._contents.iterdir():
            with suppress(FileNotFoundError):
                size = path.stat().st_size
                found.append((self._used(path), size, path))
                total += 0 if path.name in promised else size
        for _, size, path in sorted(found):
            if total <= self.limit:
                break
            if _dropped(path):
                self._seals.path(path.name).unlink(missing_ok=True)
                total -= size
        return total <= self.limit

    def _promised(self) -> Iterator[tuple[str, int]]:
        """Yield name and size of drafts that are being written, and drop those that a dead process left."""
        for promise in self._promises.iterdir():
            name, _, size = promise.name.partition(".")
            if not _dropped(promise, self._drafts / name):
                yield name, int(size)

    def _used(self, path: Path) -> int:
        try:
            return self._seals.path(path.name).stat().st_mtime_ns
        except FileNotFoundError:
            return path.stat().st_mtime_ns


def _dropped(path: Path, *with_it: Path) -> bool:
    """Remove a file that nobody reads or writes, and ahead of it what goes with it."""
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return True
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        for each in (*with_it, path):
            each.unlink(missing_ok=True)
        fcntl.flock(handle, fcntl.LOCK_UN)
        return True
