"""A table on disk that is looked up by 16-byte keys, and survives being killed at any moment.

It consists of segments that are only ever added: Arrow files, each written under another name, synced, and put in its
place whole. The name of a segment holds the checksum of its bytes; one that does not fit its name counts as not there.
Several processes may add at once. Values must be functions of their keys: of two equal keys any one answers.

Shapes: n keys.
"""

import mmap
import os
import time
import zlib
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Keys = npt.NDArray[np.uint64]
"""[n, 2]: 16-byte digests as two numbers each, the first byte being the highest."""
Rows = npt.NDArray[np.int64]

_KEY = [pa.field("high", pa.uint64()), pa.field("low", pa.uint64())]
_SEGMENT_BYTES = 64 << 20
_SEGMENT_SECONDS = 30.0
"""What is added goes to disk when it is so much, or so old: what a kill can cost."""
_HELD_BYTES = 16 << 20
"""What is taken from disk before its memory is given back; pages hold some times more than what is taken of them."""
_RUN = 32
"""Rows behind one another, on the average, from which on they are sliced and not gathered."""
_SMALL = 16_384
_MANY_SMALL = 12
"""When there are more segments of fewer than so many rows, they are put together."""
_FRESH = 3600.0
"""Seconds after which an unfinished segment belongs to a process that is gone."""


def keys_of(digests: bytes) -> Keys:
    """Turn digests, one after another, into keys."""
    return np.frombuffer(digests, ">u8").astype(np.uint64).reshape(-1, 2)


class Store:
    """Looks up what earlier runs added, and adds to it. What is added now is found by the next run.

    Args:
        folder: of the segments; made when something is added.
        columns: of the values.
    """

    def __init__(self, folder: Path, columns: pa.Schema) -> None:
        self._folder = folder
        self._columns = pa.schema([*_KEY, *columns])
        self._segments: list[tuple[Path, pa.Table]] = []
        self._maps: list[mmap.mmap] = []
        self._taken = 0
        for path in sorted(folder.glob("*.arrow")):
            table = self._read(path)
            if table is not None and table.num_rows:
                self._segments.append((path, table))
        found = pa.concat_tables([self._columns.empty_table(), *(table for _, table in self._segments)])
        self._values = found.drop_columns(["high", "low"])
        self._starts = np.cumsum([0, *(table.num_rows for _, table in self._segments)])
        high, self._low = self._key_column("high"), self._key_column("low")
        self._order = np.argsort(high, kind="stable").astype(np.uint32 if len(high) < 1 << 32 else np.int64)
        self._high = high[self._order]
        self._let_go()
        self._used = np.zeros(len(high), np.bool_)
        self._waiting: list[pa.Table] = []
        self._bytes = 0
        self._flushed = time.monotonic()

    def __len__(self) -> int:
        """Number of keys that can be found."""
        return len(self._high)

    def find(self, keys: Keys) -> Rows:
        """Return the row of each key, -1 where it is not known: [n]."""
        if not len(self) or not len(keys):
            return np.full(len(keys), -1, np.int64)
        place = np.minimum(np.searchsorted(self._high, keys[:, 0]), len(self) - 1)
        row = self._order[place].astype(np.int64)
        known = (self._high[place] == keys[:, 0]) & (self._low[row] == keys[:, 1])
        self._used[row[known]] = True
        return np.where(known, row, -1)

    def take(self, rows: Rows) -> pa.Table:
        """Return the values in these rows, in their order: [n]."""
        found = sliced(self._values, rows)
        if found is None:
            found = self._gathered(rows)
        self._taken += found.nbytes
        if self._taken > _HELD_BYTES:
            self._let_go()
        return found

    def _gathered(self, rows: Rows) -> pa.Table:
        segment = np.searchsorted(self._starts, rows, side="right") - 1
        order = np.argsort(segment, kind="stable")
        pieces = []
        for number in np.unique(segment):
            table = self._segments[number][1]
            inside = rows[order[segment[order] == number]] - self._starts[number]
            pieces.append(table.take(pa.array(inside)))
        found = pa.concat_tables([self._columns.empty_table(), *pieces]).drop_columns(["high", "low"])
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return found.take(pa.array(back))

    def add(self, keys: Keys, values: pa.Table) -> None:
        """Remember values [n] under their keys."""
        if not len(keys):
            return
        added = _with_keys(keys, values).cast(self._columns)
        self._waiting.append(added)
        self._bytes += added.nbytes
        if self._bytes > _SEGMENT_BYTES or time.monotonic() - self._flushed > _SEGMENT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Put what was added on disk."""
        if self._waiting:
            self._write(pa.concat_tables(self._waiting))
        self._waiting, self._bytes = [], 0
        self._flushed = time.monotonic()

    def tidy(self) -> None:
        """Flush, forget what was not asked for in this run when it is more than the rest, and join small segments."""
        self.flush()
        small: list[tuple[Path, pa.Table]] = []
        for (path, table), start in zip(self._segments, self._starts[:-1], strict=True):
            used = self._used[start : start + table.num_rows]
            if 2 * np.count_nonzero(used) < len(used):
                if self._write(table.filter(pa.array(used))):
                    path.unlink(missing_ok=True)
            elif table.num_rows < _SMALL:
                small.append((path, table))
        if len(small) > _MANY_SMALL and self._write(pa.concat_tables([table for _, table in small])):
            for path, _ in small:
                path.unlink(missing_ok=True)
        for path in self._folder.glob("*.part"):
            if time.time() - path.stat().st_mtime > _FRESH:
                path.unlink(missing_ok=True)

    def _key_column(self, name: str) -> Keys:
        return np.concatenate([np.empty(0, np.uint64), *(table[name].to_numpy() for _, table in self._segments)])

    def _read(self, path: Path) -> pa.Table | None:
        try:
            with path.open("rb") as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if f"{zlib.crc32(content):08x}" != path.name.partition("-")[0]:
                return None
            table = pa.ipc.open_file(pa.py_buffer(content)).read_all()
        except (OSError, ValueError, pa.ArrowException):
            return None  # unfinished, damaged, or just removed by another process: as if it were not there
        if table.schema != self._columns:
            return None
        self._maps.append(content)
        return table

    def _let_go(self) -> None:
        """Give back the memory of what was looked up: it is on disk, and mapped again when it is wanted again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for content in self._maps:
                content.madvise(mmap.MADV_DONTNEED)
        self._taken = 0

    def _write(self, table: pa.Table) -> bool:
        """Write a segment, and say whether that went well: what cannot be remembered is found out again."""
        if not table.num_rows:
            return True
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, self._columns) as writer:
            writer.write_table(table.combine_chunks())
        content = sink.getvalue()
        path = self._folder / f"{zlib.crc32(content):08x}-{uuid4().hex[:8]}.arrow"
        part = path.with_suffix(".part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError:  # the disk is full, or another process has removed the folder
            with suppress(OSError):
                part.unlink()
            return False
        return True


def sliced(table: pa.Table, rows: Rows) -> pa.Table | None:
    """Return rows [n] of a table in their order, without a copy; None where few of them stand behind one another.

    What was remembered in the reader's order is mostly asked for in that order.
    """
    begins = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    if len(begins) * _RUN > len(rows):
        return None
    edges = pairwise([*begins.tolist(), len(rows)])
    return pa.concat_tables([table.slice(0, 0), *(table.slice(rows[start], end - start) for start, end in edges)])


def _with_keys(keys: Keys, values: pa.Table) -> pa.Table:
    return pa.table(
        [pa.array(keys[:, 0]), pa.array(keys[:, 1]), *values.columns], names=["high", "low", *values.column_names]
    )
