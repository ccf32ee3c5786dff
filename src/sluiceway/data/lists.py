"""Lists: tables with a record per example, which say where it lies and what is known of it.

CSV and TSV with a header, JSON Lines, Parquet. They are read record by record, so a list may be larger than memory;
each record knows its own source, so that a text in it, or what a URI in it leads to, can be an example's content.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sluiceway.data.sources import PACKED, byte_range, field_of, opened, table_row
from sluiceway.errors import UnknownLayout, nearest

SUFFIXES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})
_JSON = frozenset({".jsonl", ".ndjson"})
_MARKS = "\t;|,"
_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_PEEKED = 100
"""Objects of JSON Lines whose keys are taken for the columns."""
_LONGEST = 1 << 22
"""Bytes of a record in quotes, beyond which its quotation mark was not meant to open one."""


@dataclass(frozen=True, slots=True)
class Record:
    """A line of a list, or a row."""

    place: str
    """For people: ``line 7 of labels.csv``."""
    source: str
    """As :func:`sluiceway.data.sources.load` understands it."""
    values: Mapping[str, object]
    """By column."""
    fault: str | None = None
    """Why it cannot be read, as a reason of the quarantine; its values are then missing."""

    def text(self, column: str | None) -> str | None:
        """Return a value as text, a list as JSON; None where it is missing or blank."""
        value = self.values.get(column) if column is not None else None
        if value is None or value != value:  # NaN is how data frames write what is missing
            return None
        if isinstance(value, list | tuple):
            return json.dumps(list(value), ensure_ascii=False, default=str)
        if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
            value = int(value)  # a column of classes with a gap comes as 3.0
        return str(value).strip() or None


@dataclass(frozen=True, slots=True)
class List:
    """A list whose columns are known.

    Attributes:
        path: its file.
        raw: the raw folder, below which it lies.
        columns: their names, in order.
    """

    path: Path
    raw: Path
    columns: tuple[str, ...]
    mark: str
    """What stands between two fields of a line; empty where records are no lines of fields."""

    @property
    def name(self) -> str:
        """Path below the raw folder."""
        return self.path.relative_to(self.raw).as_posix()

    def records(self) -> Iterator[Record]:
        """Read record after record, blank lines left out."""
        if kind_of(self.path) == ".parquet":
            yield from self._rows()
            return
        read, name = self._line if self.mark else self._object, self.name
        with opened(self.path) as file:
            for at, (number, start, content) in enumerate(_spans(file, quoted=self.mark not in ("", "\t"))):
                if (self.mark and at == 0) or not content.strip():
                    continue
                place = f"line {number} of {name}"
                yield read(place, byte_range(name, start, start + len(content)), content)

    def field(self, record: Record, column: str) -> str:
        """Name one field of a record, as the content of an example."""
        key = f"{self.columns.index(column)}/{len(self.columns)}{self.mark}" if self.mark else column
        return field_of(record.source, key)

    def _line(self, place: str, source: str, content: bytes) -> Record:
        try:
            cells = _cells(content.decode("utf-8"), self.mark)
        except UnicodeDecodeError as error:
            return Record(place, source, {}, f"unreadable: {place} is not UTF-8 at byte {error.start}")
        except csv.Error as error:
            return Record(place, source, {}, f"unreadable: {place}: {error}")
        if len(cells) != len(self.columns):
            reason = "missing_field" if len(cells) < len(self.columns) else "extra_field"
            fault = f"{reason}: {place} has {len(cells)} fields, and the header has {len(self.columns)}"
            return Record(place, source, {}, fault)
        return Record(place, source, dict(zip(self.columns, cells, strict=True)))

    def _object(self, place: str, source: str, content: bytes) -> Record:
        try:
            found = json.loads(content)
        except ValueError as error:
            return Record(place, source, {}, f"unreadable: {place} is not JSON: {error}")
        if not isinstance(found, dict):
            return Record(place, source, {}, f"unreadable: {place} is no JSON object")
        return Record(place, source, found)

    def _rows(self) -> Iterator[Record]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            name, number = self.name, 0
            for batch in file.iter_batches(batch_size=4096):
                for values in batch.to_pylist():
                    yield Record(f"row {number + 1} of {name}", table_row(name, number), values)
                    number += 1


def open_list(path: Path, raw: Path) -> List:
    """Find out the columns of a list.

    Raises:
        UnknownLayout: it is not such a file.
    """
    suffix = kind_of(path)
    if suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return List(path, raw, tuple(pq.read_schema(path).names), "")
        except (pa.ArrowException, OSError) as error:
            raise UnknownLayout(f"{path} is no Parquet file: {error}", hint="write it anew") from None
    if suffix in _JSON:
        table = List(path, raw, (), "")
        columns: dict[str, None] = {}
        for _, record in zip(range(_PEEKED), table.records(), strict=False):
            columns |= dict.fromkeys(record.values)
        return List(path, raw, tuple(columns), "")
    with opened(path) as file:
        _, _, first = next(_spans(file, quoted=suffix != ".tsv"), (1, 0, b""))
    for bom, name in _OTHER_BOMS.items():
        if first.startswith(bom):
            raise UnknownLayout(f"{path} is {name}, not UTF-8", hint="save it as UTF-8")
    try:
        header = first.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnknownLayout(f"{path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from None
    if "\r" in header.rstrip("\r\n").replace("\r\n", ""):
        raise UnknownLayout(f"{path} ends its lines with carriage returns alone", hint="save it with line feeds")
    mark = "\t" if suffix == ".tsv" else max(_MARKS, key=lambda each: (header.count(each), each == ","))
    try:
        return List(path, raw, tuple(cell.strip() for cell in _cells(header, mark)), mark)
    except csv.Error as error:
        raise UnknownLayout(f"{path} cannot be read: {error}", hint="mend its first line") from None


def kind_of(path: Path) -> str:
    """Return the suffix that says what a file is, in small letters, whether or not it is packed."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() == PACKED else path.suffix.lower()


def column_of(table: List, wanted: str | None, usual: Sequence[str], option: str) -> str | None:
    """Return the column of a list that was named, or else the first of the usual ones that is there, whatever its case.

    Args:
        table: the list.
        wanted: what the parameters say.
        usual: names to look for where they say nothing.
        option: what names it in the parameters, for the message.

    Raises:
        UnknownLayout: the column that the parameters name is not there.
    """
    if wanted is None:
        plain = {_plain(name): name for name in reversed(table.columns)}
        return next((plain[each] for each in map(_plain, usual) if each in plain), None)
    if wanted in table.columns:
        return wanted
    raise UnknownLayout(
        f"{table.path} has no column {wanted}, which {option} names: found {', '.join(table.columns) or 'nothing'}",
        hint=nearest(wanted, table.columns),
    )


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _cells(line: str, mark: str) -> list[str]:
    line = line.rstrip("\r\n")
    if '"' not in line or mark == "\t":  # between tabs a quotation mark is one, as Common Voice and WMT have it
        return line.split(mark)
    rows = list(csv.reader(io.StringIO(line, newline=""), delimiter=mark, strict=True))
    if len(rows) != 1:
        raise csv.Error("a carriage return stands alone in it")
    return rows[0]


def _spans(file: BinaryIO, *, quoted: bool) -> Iterator[tuple[int, int, bytes]]:
    """Yield line, first byte and bytes of each record; where fields are quoted, one may have line feeds in it.

    Raises:
        UnknownLayout: a quotation mark is never closed, and would swallow what follows.
    """
    held: list[bytes] = []
    start, size, began, within = 0, 0, 1, False
    for number, line in enumerate(file, start=1):
        if number == 1 and line.startswith(_BOM):
            start, line = len(_BOM), line[len(_BOM) :]
        began = began if held else number
        held.append(line)
        size += len(line)
        within ^= quoted and line.count(b'"') % 2 == 1
        if not within:
            yield began, start, b"".join(held)
            start, size, held = start + size, 0, []
        elif size > _LONGEST:
            break
    if held:
        raise UnknownLayout(
            f"{file.name}: the quotation mark that opens in line {began} is never closed",
            hint='close it, or double it ("") where it is meant as one',
        )
