"""The files of shards, opened: those of a folder stay mapped, those of a store are mapped for one gather each."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sluiceway.data.cache import Cache
from sluiceway.data.seals import Seals, boot, local_folder
from sluiceway.data.store import File
from sluiceway.errors import CorruptShard

Array = npt.NDArray[Any]


class Files(Protocol):
    """Where the files of a split are."""

    @property
    def reach(self) -> int:
        """Bytes that may be made ready ahead of their use; 0: all of it is."""

    def admit(self, files: Iterable[File]) -> None:
        """Say which files there are, and refuse what can be seen to be wrong without reading them."""

    def strain(self, near: int) -> str:
        """Say that so many bytes cannot be kept near, if so; nothing: an empty text."""

    def ready(self, file: File) -> None:
        """Let the next use of a file wait for nothing."""

    def opened(self, file: File) -> AbstractContextManager[Array]:
        """Map a file for as long as the block runs; it is whole."""


class LocalFiles:
    """Files in the folder of the stage: each is hashed once on a host, and stays mapped.

    Args:
        folder: where.
        hint: what makes a broken one whole again.
    """

    def __init__(self, folder: Path, hint: str) -> None:
        self._folder = folder
        self._hint = hint
        self._seals = Seals(local_folder() / f"seals-{boot()}")
        self._maps: dict[File, Array] = {}
        self._admitted: list[File] = []

    @property
    def reach(self) -> int:
        """All of it, until all is hashed: it is here."""
        done = len(self._maps) == len(self._admitted)
        return 0 if done else sum(file.size for file in self._admitted)

    def admit(self, files: Iterable[File]) -> None:
        """Look for the files, and at their sizes."""
        for file in files:
            path = self._folder / file.name
            if not path.exists():
                raise CorruptShard(f"shard {path} is missing", hint=self._hint)
            if (size := path.stat().st_size) != file.size:
                raise CorruptShard(
                    f"shard {path} was altered: it has {size:,} bytes, and {file.size:,} were written", hint=self._hint
                )
            self._admitted.append(file)

    def strain(self, near: int) -> str:
        """Nothing: all of it is here."""
        return ""

    def ready(self, file: File) -> None:
        """Hash and map a file."""
        if file in self._maps:
            return
        path = self._folder / file.name
        try:
            found = self._seals.fault(file.sha256, path, file.sha256)
            if not found:
                self._maps[file] = np.load(path, mmap_mode="r", allow_pickle=False)
                return
        except FileNotFoundError:
            raise CorruptShard(f"shard {path} is missing", hint=self._hint) from None
        raise CorruptShard(
            f"shard {path} was altered: its SHA-256 is {found[:12]}... and not {file.sha256[:12]}...",
            hint=self._hint,
        )

    def opened(self, file: File) -> AbstractContextManager[Array]:
        """Return what is mapped already."""
        self.ready(file)
        return nullcontext(self._maps[file])


class CachedFiles:
    """Files of a store, read through the cache of the host.

    Args:
        cache: fetches what it does not have.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._layouts: dict[str, tuple[np.dtype[Any], tuple[int, ...], int]] = {}

    @property
    def reach(self) -> int:
        """Half of the cache: the other half is for what is being read."""
        return self._cache.limit // 2

    def admit(self, files: Iterable[File]) -> None:
        """Compare the largest file with the cache."""
        for file in files:
            self._cache.refuse_if_too_large(file)

    def strain(self, near: int) -> str:
        """Compare with the cache."""
        if near <= self._cache.limit:
            return ""
        return f"{near:,} bytes of shards are wanted near, and the cache of this host takes {self._cache.limit:,}"

    def ready(self, file: File) -> None:
        """Fetch a file."""
        self._cache.ensure(file)

    @contextmanager
    def opened(self, file: File) -> Iterator[Array]:
        """Map a file, which cannot make room for others meanwhile."""
        with self._cache.held(file) as path:
            layout = self._layouts.get(file.sha256)
            if layout is None:  # a head is read once
                array = np.load(path, mmap_mode="r", allow_pickle=False)
                self._layouts[file.sha256] = array.dtype, array.shape, array.offset
            else:
                dtype, shape, offset = layout
                array = np.memmap(path, dtype, "r", offset, shape)
            yield array
