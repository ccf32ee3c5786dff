"""The example table: the contract between the stages.

One row per example: who it is (``id``, ``group``), which side it is on (``split``), where it lies (``source``), what is
to be learned of it (``target``), what it is made of (``checksum``), and what was measured of it. Because every use case
becomes one table, one data gate serves images, sound, text, driving logs and interactions alike.

``examples.parquet`` holds the accepted rows, ``quarantine.parquet`` the rest with a ``reason``:
raw = accepted + quarantined, always.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from sluiceway.errors import DataError

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

Measures = Mapping[str, float | int | str | None]
MeasureKind = Literal["integer", "number", "text"]

_ARROW = {"integer": pa.int64(), "number": pa.float64(), "text": pa.string()}
_IDENTITY = [("id", pa.string()), ("split", pa.string()), ("group", pa.string()), ("source", pa.string())]
_IDENTITY += [("target", pa.string()), ("checksum", pa.string())]


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
    columns = [*_IDENTITY, *((name, _ARROW[kind]) for name, kind in measures.items())]
    return pa.schema([*columns, ("reason", pa.string())] if quarantine else columns)


def write_table(rows: Iterable[Mapping[str, object]] | pa.Table, columns: pa.Schema, path: Path) -> pa.Table:
    """Write rows in the given schema; equal rows give equal bytes."""
    table = rows.select(columns.names) if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")
    return table


def read_table(path: Path) -> pa.Table:
    """Read a table written by :func:`write_table`.

    Raises:
        DataError: the file is missing or not Parquet.
    """
    try:
        return pq.read_table(path)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="`dvc repro` makes it again") from None
