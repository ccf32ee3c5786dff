"""Where the bytes of shards lie when that is not the stage's own folder: a URL that fsspec speaks, or a mounted folder.

An object is named by its SHA-256, so nothing is ever overwritten, and what several versions or pipelines share lies
there once. Keys and passwords come from the environment, as each store's own library finds them.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sluiceway.data.protocols import file_system, is_uri, keys_of, locks_out, words
from sluiceway.errors import CorruptShard, DataError, room_for, says_full
from sluiceway.redaction import address

Answer = TypeVar("Answer")

_PATIENCE, _WAIT, _LONGEST = 60.0, 0.25, 8.0
"""Seconds for which a store that does not answer is asked again; those before the second time, twice as long before
each further one, and at most."""
_LEAST, _SLOWEST = 10.0, 1e6
"""Seconds that one call may take at least, and the bytes a second for which it may take longer: each store's library
asks again by itself, and some for minutes."""
MISSING_HINT = "`dvc repro --force preprocess@...` writes what is missing or broken there anew"


@dataclass(frozen=True, slots=True)
class File:
    """One field of one shard."""

    name: str
    """As in the manifest."""
    sha256: str
    size: int
    """Bytes."""

    @property
    def stored(self) -> str:
        """Its name in a store."""
        return f"{self.sha256[:2]}/{self.sha256}.npy"


class Store:
    """Shards at a URL.

    Args:
        url: as in ``s3://bucket/folder``, or an absolute folder.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._protocol = self.url.partition("://")[0].lower() if is_uri(self.url) else "file"

    def put(self, file: Path, about: File) -> None:
        """Write a file under its content's name, unless it is there.

        Raises:
            DiskFull: a mounted folder has no room.
            DataError: the store cannot be reached, may not be written to, or has no such bucket.
        """
        if self._protocol == "file":
            self._put_here(file, about)
            return
        target = self._path(about)
        try:
            if not self._asked(about, lambda system, **limit: _is_there(system, target, about.size, **limit)):
                self._asked(about, lambda system, **limit: system.put_file(str(file), target, **limit))
        except FileNotFoundError:
            bucket = "/".join(self.url.split("/")[:3])
            raise DataError(
                f"the store of shards has no place for {about.name}: there is no {bucket}",
                hint="make that bucket or container, or name another one in encode.store",
            ) from None

    def get(self, about: File, target: Path) -> None:
        """Fetch a file, and compare its hash.

        Raises:
            CorruptShard: it is not there, or another one came, twice.
            DataError: the store cannot be reached.
            DiskFull: there is no room for it here.
        """
        for _ in range(2):
            with room_for(f"shard {about.name}", target.parent, about.size):
                self._fetch(about, target)
            with target.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found == about.sha256:
                return
        raise CorruptShard(
            f"shard {about.name} was altered: {self._shown(about)} has {target.stat().st_size:,} bytes of SHA-256 "
            f"{found[:12]}... and not {about.size:,} of {about.sha256[:12]}...",
            hint=f"remove that object; then {MISSING_HINT}",
        )

    def _fetch(self, about: File, target: Path) -> None:
        path = self._path(about)
        try:
            self._asked(about, lambda system, **limit: system.get_file(path, str(target), **limit))
        except FileNotFoundError:
            raise CorruptShard(
                f"shard {about.name} is missing: nothing is at {self._shown(about)}", hint=MISSING_HINT
            ) from None

    def _put_here(self, file: Path, about: File) -> None:
        target = Path(self._path(about))
        if target.is_file() and target.stat().st_size == about.size:
            return
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with room_for(about.name, target.parent, about.size), file.open("rb") as source, draft.open("wb") as copy:
                shutil.copyfileobj(source, copy)
                copy.flush()
                os.fsync(copy.fileno())
            draft.replace(target)
        except OSError as error:
            raise self._refused(about, error) from None
        finally:
            draft.unlink(missing_ok=True)

    def _path(self, about: File) -> str:
        url = f"{self.url}/{about.stored}"
        path: Any = file_system(self._protocol)._strip_protocol(url)
        return str(path)

    def _asked(self, about: File, ask: Callable[..., Answer]) -> Answer:
        """Ask the store, again for a while if it does not answer.

        Raises:
            FileNotFoundError: it says that nothing is there.
            DataError: it does not answer, or says no.
        """
        until, wait = time.monotonic() + _PATIENCE, _WAIT
        while True:
            system = file_system(self._protocol)
            limit: dict[str, float] = {}
            if system.async_impl:
                limit["timeout"] = max(until - time.monotonic(), _LEAST) + about.size / _SLOWEST
            try:
                return ask(system, **limit)
            except FileNotFoundError:
                raise
            except Exception as error:  # each store's library has errors of its own
                if says_full(error):
                    raise
                final = isinstance(error, NotImplementedError) or locks_out(error)
                if final or time.monotonic() + wait > until:
                    raise self._refused(about, error) from None
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST)

    def _refused(self, about: File, error: Exception) -> DataError:
        fault = words(error, self.url)
        if isinstance(error, NotImplementedError):
            fault = "it can only be read"
        elif isinstance(error, TimeoutError):
            fault = "no answer came in time"
        keys = keys_of(self._protocol)
        return DataError(
            f"the store of shards refused {about.name}, at {self._shown(about)}: {fault}",
            hint=f"is the network up, and do the environment's credentials{keys and f' ({keys})'} fit encode.store?",
        )

    def _shown(self, about: File) -> str:
        return address(f"{self.url}/{about.stored}")


def _is_there(system: Any, path: str, size: int, **limit: float) -> bool:
    """Whether an object was written, and whole."""
    system.invalidate_cache()
    try:
        return bool(system.info(path, **limit)["size"] == size)
    except FileNotFoundError:
        return False
