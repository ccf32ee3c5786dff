"""Shards: what training reads.

A split is a list of shards; a shard is one ``.npy`` file per field, all with the same number of rows. They are mapped,
not loaded, and a batch is one gather per field, so memory stays flat and the page cache does the rest.
``shards.json`` names each file with its rows and SHA-256; a file that does not match is a :class:`CorruptShard`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sluiceway.data.order import Ints
from sluiceway.data.table import SPLITS, SplitName
from sluiceway.errors import CorruptShard, DataError, room_for

Arrays = Mapping[str, npt.NDArray[Any]]

MANIFEST = "shards.json"
ENCODING = "encoding.json"
SHARD_BYTES = 128 << 20
"""A shard is closed when it has grown to this size: large enough to read fast, small enough to fetch and hash alone."""

_HINT = "`dvc checkout --force` or `dvc repro --force preprocess@...` makes it whole again"


def write_shards(
    items: Iterable[Arrays], folder: Path, split: SplitName, shard_bytes: int = SHARD_BYTES
) -> list[dict[str, Any]]:
    """Write the items of one split.

    Args:
        items: per item one array of fixed shape and type for each field.
        folder: where the files go.
        split: which split this is.
        shard_bytes: size at which a shard is closed.

    Returns:
        The manifest's entries, one per shard.

    Raises:
        DiskFull: there is no room. Without the manifest, which comes last, nothing reads what was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _write_shard(rows, folder, f"{split}-{number:05d}")
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


def _write_shard(rows: list[Arrays], folder: Path, name: str) -> dict[str, Any]:
    files = {}
    for field in sorted(rows[0]):
        path = folder / f"{name}.{field}.npy"
        array = np.stack([row[field] for row in rows])
        with room_for(path.name, folder, array.nbytes):
            np.save(path, array)
        files[field] = {"file": path.name, "sha256": _sha256(path)}
    return {"rows": len(rows), "fields": files}


def write_manifest(folder: Path, splits: Mapping[SplitName, list[dict[str, Any]]], encoding: Mapping[str, Any]) -> None:
    """Write ``shards.json`` and ``encoding.json``: sorted keys, so equal content is equal bytes."""
    for name, document in ((MANIFEST, dict(splits)), (ENCODING, encoding)):
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

    Args:
        folder: a folder written by ``preprocess``.
        split: which split to open.
        verify: whether to compare each file with its SHA-256 on opening it.

    Raises:
        CorruptShard: a file is missing or altered, the manifest itself included.
        DataError: the folder holds no shards.
    """

    def __init__(self, folder: Path, split: SplitName, *, verify: bool = True) -> None:
        if split not in SPLITS:
            raise ValueError(f"{split!r} is not one of {', '.join(SPLITS)}")
        try:
            entries = json.loads(_text(folder / MANIFEST))[split]
            self._shards = [_open_shard(folder, entry, verify) for entry in entries]
            self._starts = np.cumsum([0, *(entry["rows"] for entry in entries)])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            fault = f"{type(error).__name__}: {error}"
            raise CorruptShard(f"{folder / MANIFEST} does not describe its shards ({fault})", hint=_HINT) from None

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def fields(self) -> list[str]:
        """Names of the fields."""
        return sorted(self._shards[0]) if self._shards else []

    def fetch(self, items: Ints) -> dict[str, npt.NDArray[Any]]:
        """Gather items in the given order: per field an array [B, ...]."""
        if len(self._shards) == 1:
            return {field: array[items] for field, array in self._shards[0].items()}
        owners = np.searchsorted(self._starts, items, side="right") - 1
        batch = {
            field: np.empty((len(items), *array.shape[1:]), array.dtype) for field, array in self._shards[0].items()
        }
        for owner in np.unique(owners):
            mine = owners == owner
            rows = items[mine] - self._starts[owner]
            for field, array in self._shards[owner].items():
                batch[field][mine] = array[rows]
        return batch

    def column(self, field: str) -> npt.NDArray[Any]:
        """Return one whole field: for small ones, such as the row of the example table."""
        return np.concatenate([shard[field] for shard in self._shards])


def _open_shard(folder: Path, entry: Mapping[str, Any], verify: bool) -> dict[str, npt.NDArray[Any]]:
    arrays = {}
    for field, file in entry["fields"].items():
        path = folder / file["file"]
        if not path.exists():
            raise CorruptShard(f"shard {path} is missing", hint=_HINT)
        if verify and _sha256(path) != file["sha256"]:
            raise CorruptShard(f"shard {path} was altered: its SHA-256 is not the one in {MANIFEST}", hint=_HINT)
        arrays[field] = np.load(path, mmap_mode="r", allow_pickle=False)
        if len(arrays[field]) != entry["rows"] or not path.name.endswith(f".{field}.npy"):
            raise CorruptShard(f"shard {path} is not the {field!r} of {entry['rows']} rows", hint=_HINT)
    return arrays


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path.parent} holds no shards: {path.name} is missing", hint="run `dvc repro`") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
