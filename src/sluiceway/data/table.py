"""The example table: the contract between the stages.

One row per example: who it is (``id``, ``group``), which side it is on (``split``), where it lies (``source``), when it
was taken (``time``), what is to be learned of it (``target``), what it is made of (``checksum``), and what was
measured. Because every use case becomes one table, one data gate serves images, sound, text, driving logs and
interactions alike.

``examples.parquet`` holds the accepted rows, ``quarantine.parquet`` the rest with a ``reason``:
raw = accepted + quarantined, always.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq

from sluiceway.errors import DataError

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

TargetKind = Literal["class", "classes", "number", "text", "none"]
"""What the column ``target`` holds: a class, any number of labels (:mod:`sluiceway.data.labels`), a number, a text."""

Measures = Mapping[str, float | int | str | None]
MeasureKind = Literal["integer", "number", "text"]

ROW_GROUP = 65_536
"""Rows of a row group: what a reader holds in memory at least."""

_ARROW = {"integer": pa.int64(), "number": pa.float64(), "text": pa.string()}
_IDENTITY = [("id", pa.string()), ("split", pa.string()), ("group", pa.string()), ("source", pa.string())]
_IDENTITY += [("time", pa.float64()), ("target", pa.string()), ("checksum", pa.string())]


@dataclass(frozen=True, slots=True)
class Example:
    """A raw example, as a reader lists it. Its content is fetched by ``source`` when it is needed."""

    id: str
    """Unique and stable: the same example has the same id in the next version of the data."""
    source: str
    """Path below the raw folder, or ``path#bytes=start-end``."""
    target: str | None = None
    """What is to be predicted, as it stands in the raw data."""
    group: str | None = None
    """Speaker, document, drive, user: examples of one group stay on one side."""
    split: SplitName | None = None
    """Given when the raw data is split already."""
    time: float | None = None
    """When it was taken: seconds since 1970, or any number that grows with time."""
    fault: str | None = None
    """Why it cannot be learned from, where the list itself says so, as in ``no_steering: 'nan' is no number``: it is
    set aside with this reason."""


LEFT_OUT = "left_out"
"""The reason of an example that a person took out by a correction."""


class BadExample(Exception):
    """An example that cannot be learned from: it goes into quarantine with this reason.

    Args:
        reason: the kind of fault, one word of snake case, such as ``unreadable``.
        detail: what was found, for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")


def schema(measures: Mapping[str, MeasureKind], *, quarantine: bool = False) -> pa.Schema:
    """Return the schema of ``examples.parquet``, or of ``quarantine.parquet``."""
    columns = [*_IDENTITY, *measure_schema(measures)]
    return pa.schema([*columns, ("reason", pa.string())] if quarantine else columns)


def measure_schema(measures: Mapping[str, MeasureKind]) -> pa.Schema:
    """Return the schema of what was measured."""
    return pa.schema([(name, _ARROW[kind]) for name, kind in measures.items()])


def write_table(rows: Iterable[Mapping[str, object]] | pa.Table, columns: pa.Schema, path: Path) -> pa.Table:
    """Write rows in the given schema; equal rows give equal bytes."""
    table = rows.select(columns.names) if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")
    return table


class TableWriter:
    """Writes a table as it comes, in bounded memory; equal rows give equal bytes, in whatever pieces they came.

    The file appears under its name when it is whole. Leaving the block with an exception leaves no file.

    Args:
        columns: the schema.
        path: the Parquet file.
    """

    def __init__(self, columns: pa.Schema, path: Path) -> None:
        self.columns = columns
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._part, columns, compression="zstd")
        self._waiting: list[pa.Table] = []
        self.rows = 0
        """Rows taken so far."""

    def write(self, rows: pa.Table) -> None:
        """Take rows in the given schema."""
        self.rows += rows.num_rows
        self._waiting.append(rows)
        if sum(table.num_rows for table in self._waiting) >= ROW_GROUP:
            held = pa.concat_tables(self._waiting)
            whole = held.num_rows - held.num_rows % ROW_GROUP
            for start in range(0, whole, ROW_GROUP):
                self._write_group(held.slice(start, ROW_GROUP))
            # A copy: a slice would keep all that was held in memory.
            self._waiting = [pa.concat_tables([held.slice(whole)]).combine_chunks()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None and (left := sum(table.num_rows for table in self._waiting)):
            self._write_group(pa.concat_tables(self._waiting).slice(0, left))
        self._writer.close()
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)

    def _write_group(self, rows: pa.Table) -> None:
        # In one piece: pages are cut where pieces end.
        self._writer.write_table(rows.combine_chunks(), row_group_size=ROW_GROUP)


def read_table(path: Path) -> pa.Table:
    """Read a table written by :func:`write_table`.

    Raises:
        DataError: the file is missing or not Parquet.
    """
    try:
        return pq.read_table(path)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="`dvc repro` makes it again") from None
