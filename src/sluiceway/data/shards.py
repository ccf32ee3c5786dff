"""Shards: what training reads.

A split is a list of shards; a shard is one ``.npy`` file per field, all with the same number of rows. They are mapped,
not loaded, and a batch is one gather per field, so memory stays flat and the page cache does the rest.
``shards.json`` names each file with its rows and SHA-256; a file that does not match is a :class:`CorruptShard`, which
is found when the file is first read on a host. Where ``store.json`` names a URL, the files lie there, under their
SHA-256 for a name, and are read through a bounded cache on the host's own disk.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sluiceway.data.cache import Cache
from sluiceway.data.files import CachedFiles, Files, LocalFiles
from sluiceway.data.order import Ints
from sluiceway.data.store import File, Store
from sluiceway.data.table import SPLITS, SplitName
from sluiceway.errors import CorruptShard, DataError, room_for

Arrays = Mapping[str, npt.NDArray[Any]]

MANIFEST = "shards.json"
ENCODING = "encoding.json"
STORE = "store.json"
SHARD_BYTES = 128 << 20
"""A shard is closed when it has grown to this size: large enough to read fast, small enough to fetch and hash alone."""
_SHA256 = re.compile(r"[0-9a-f]{64}")

HINT = "`dvc checkout --force` or `dvc repro --force preprocess@...` makes it whole again"


def write_shards(
    items: Iterable[Arrays], folder: Path, split: SplitName, shard_bytes: int = SHARD_BYTES, store: Store | None = None
) -> list[dict[str, Any]]:
    """Write the items of one split.

    Args:
        items: per item one array of fixed shape and type for each field.
        folder: where the files go; those that go to a store are here until they are there.
        split: which split this is.
        shard_bytes: size at which a shard is closed.
        store: where the files go instead, if not to the folder.

    Returns:
        The manifest's entries, one per shard.

    Raises:
        DiskFull: there is no room. Without the manifest, which comes last, nothing reads what was written.
        DataError: the store refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _write_shard(rows, folder, f"{split}-{number:05d}", store)
        for number, rows in enumerate(_batches_of_bytes(items, shard_bytes))
    ]


def _batches_of_bytes(items: Iterable[Arrays], limit: int) -> Iterator[list[Arrays]]:
    rows: list[Arrays] = []
    size = 0
    for item in items:
        rows.append(item)
        size += sum(array.nbytes for array in item.values())
        if size >= limit:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _write_shard(rows: list[Arrays], folder: Path, name: str, store: Store | None) -> dict[str, Any]:
    files = {}
    for field in sorted(rows[0]):
        path = folder / f"{name}.{field}.npy"
        array = np.stack([row[field] for row in rows])
        with room_for(path.name, folder, array.nbytes):
            np.save(path, array)
        file = File(path.name, _sha256(path), path.stat().st_size)
        files[field] = {"file": file.name, "sha256": file.sha256, "bytes": file.size}
        if store:
            store.put(path, file)
            path.unlink()
    return {"rows": len(rows), "fields": files}


def write_manifest(
    folder: Path,
    splits: Mapping[SplitName, list[dict[str, Any]]],
    encoding: Mapping[str, Any],
    store: Store | None = None,
) -> None:
    """Write ``shards.json`` and ``encoding.json``: sorted keys, so equal content is equal bytes.

    The store has a file of its own: where shards lie is no part of what they are, and of their digest.
    """
    documents = {MANIFEST: dict(splits), ENCODING: encoding}
    if store:
        documents[STORE] = {"url": store.url}
    for name, document in documents.items():
        text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")


def read_encoding(folder: Path) -> dict[str, Any]:
    """Read what ``fit`` learned from the training split."""
    encoding: dict[str, Any] = json.loads(_text(folder / ENCODING))
    return encoding


def digest(folder: Path) -> str:
    """Digest of all shards and the encoding: the manifest names every file's hash, so hashing the two is enough."""
    return hashlib.sha256((_text(folder / MANIFEST) + _text(folder / ENCODING)).encode()).hexdigest()


class ShardedSplit:
    """Random access to the items of one split.

    Files of the folder itself must be there, in their size; the hash of each file is compared when it is first read.

    Args:
        folder: a folder written by ``preprocess``.
        split: which split to open.

    Raises:
        CorruptShard: a file is missing or altered, the manifest itself included.
        DataError: the folder holds no shards.
        ConfigError: a shard is larger than the cache may be.
    """

    def __init__(self, folder: Path, split: SplitName) -> None:
        if split not in SPLITS:
            raise ValueError(f"{split!r} is not one of {', '.join(SPLITS)}")
        try:
            entries = json.loads(_text(folder / MANIFEST))[split]
            self._shards = [_files(entry) for entry in entries]
            self._rows = [int(entry["rows"]) for entry in entries]
            url = _store(folder)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            fault = f"{type(error).__name__}: {error}"
            raise CorruptShard(f"{folder / MANIFEST} does not describe its shards ({fault})", hint=HINT) from None
        self.starts: Ints = np.cumsum([0, *self._rows], dtype=np.int64)
        """First item of each shard, and their number behind the last: [S + 1]."""
        self._files: Files = CachedFiles(Cache(Store(url).get)) if url else LocalFiles(folder, HINT)
        self._files.admit([file for shard in self._shards for file in shard.values()])

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def fields(self) -> list[str]:
        """Names of the fields."""
        return sorted(self._shards[0]) if self._shards else []

    @property
    def reach(self) -> int:
        """Bytes that may be made ready ahead of their use; 0: all of it is."""
        return self._files.reach

    def strain(self, shuffle_shards: int | None) -> str:
        """Say that reading in such an order would fetch shards again and again, if so; nothing: an empty text."""
        sizes = [self.size(shard) for shard in range(len(self._shards))]
        near = min(sum(sizes), 2 * shuffle_shards * max(sizes, default=0)) if shuffle_shards else sum(sizes)
        return self._files.strain(near)

    def owners(self, items: Ints) -> Ints:
        """Return the shard of each item: [B]."""
        return np.searchsorted(self.starts, items, side="right") - 1

    def size(self, shard: int) -> int:
        """Return the bytes of a shard."""
        return sum(file.size for file in self._shards[shard].values())

    def ready(self, shard: int) -> None:
        """Fetch and check a shard, unless it was."""
        for file in self._shards[shard].values():
            self._files.ready(file)

    def fetch(self, items: Ints) -> dict[str, npt.NDArray[Any]]:
        """Gather items in the given order: per field an array [B, ...].

        Raises:
            CorruptShard: a file is missing or altered.
            DataError: a store cannot be reached.
        """
        owners = self.owners(items)
        batch: dict[str, npt.NDArray[Any]] = {}
        for shard in np.unique(owners) if len(items) else range(min(1, len(self._shards))):
            mine = owners == shard
            rows = items[mine] - self.starts[shard]
            for field in self._shards[shard]:
                with self._array(int(shard), field) as array:
                    if len(rows) == len(items):
                        batch[field] = array[rows]
                        continue
                    if field not in batch:
                        batch[field] = np.empty((len(items), *array.shape[1:]), array.dtype)
                    batch[field][mine] = array[rows]
        return batch

    def column(self, field: str) -> npt.NDArray[Any]:
        """Return one whole field: for small ones, such as the row of the example table."""
        return np.concatenate([self._whole(shard, field) for shard in range(len(self._shards))])

    def _whole(self, shard: int, field: str) -> npt.NDArray[Any]:
        with self._array(shard, field) as array:
            return np.array(array)

    @contextmanager
    def _array(self, shard: int, field: str) -> Iterator[npt.NDArray[Any]]:
        file, rows = self._shards[shard][field], self._rows[shard]
        with self._files.opened(file) as array:
            if len(array) != rows or not file.name.endswith(f".{field}.npy"):
                raise CorruptShard(f"shard {file.name} is not the {field!r} of {rows} rows", hint=HINT)
            yield array


def _files(entry: Mapping[str, Any]) -> dict[str, File]:
    found = {}
    for field, said in entry["fields"].items():
        name, sha256, size = said["file"], said["sha256"], said["bytes"]
        if not _SHA256.fullmatch(sha256) or Path(name).name != name or type(size) is not int:
            raise ValueError(f"{said} is no file of a shard")
        found[field] = File(name, sha256, size)
    return dict(sorted(found.items()))


def _store(folder: Path) -> str:
    """Return the URL where the files lie; empty: in the folder."""
    path = folder / STORE
    return str(json.loads(_text(path))["url"]) if path.exists() else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path.parent} holds no shards: {path.name} is missing", hint="run `dvc repro`") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
