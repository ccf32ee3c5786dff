"""How pairs of sentences may lie in a raw folder: aligned text files, or tables with a column for each language.

However they lie, the content of an example is the same: source, ``BETWEEN``, target.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sluiceway.data.folders import files_below
from sluiceway.data.records import pick
from sluiceway.data.sides import split_names
from sluiceway.data.sources import BETWEEN, byte_range, field_of, joined, table_row
from sluiceway.data.table import BadExample, SplitName
from sluiceway.errors import UnknownLayout, nearest
from sluiceway.usecases.translation.params import PairData

_TABLES = frozenset({".tsv", ".csv", ".jsonl", ".ndjson", ".parquet"})
_OBJECT = "translation"
"""Key under which the Hugging Face hub keeps the languages of a pair."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One content."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pair lies."""

    name: str
    """Of its file or files, without the ending."""
    source: str
    """As :func:`sluiceway.data.sources.load` understands it."""
    split: SplitName | None
    group: str | None = None


def expected(data: PairData) -> str:
    """Say which layouts are understood."""
    one, other = data.source, data.target
    return (
        f"expected two aligned files, data/raw/<pipeline>/<name>.{one} and <name>.{other}, or a table with the columns "
        f"{one} and {other}: <name>.tsv, .csv, .jsonl or .parquet; called train, validation and test, or in folders of "
        "these names, where the data is split already"
    )


def pair_of(payload: bytes) -> Pair:
    """Read one content.

    Raises:
        BadExample: a side is not UTF-8.
    """
    one, _, other = payload.partition(BETWEEN)
    return Pair(_text(one, "source"), _text(other, "target"))


def amended(payload: bytes, target: str) -> bytes:
    """Return a content with another target; as it is, where it has this one."""
    one, _, other = payload.partition(BETWEEN)
    try:
        same = _text(other, "target") == target
    except BadExample:
        same = False
    return payload if same else one + BETWEEN + target.encode()


def _text(content: bytes, side: str) -> str:
    try:
        return content.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        shown = content[error.start : error.start + 4]
        raise BadExample("unreadable", f"{side} is not UTF-8 at byte {error.start}: {shown!r}") from None


# Files.


def places_below(raw: Path, data: PairData) -> Iterator[Place]:
    """List where pairs lie.

    Raises:
        NoRawData: the folder is missing or empty.
        UnknownLayout: no layout fits, a file has no partner, or partners have not as many lines.
    """
    ends = (f".{data.source}", f".{data.target}")
    every = files_below(raw, None)
    tables = [path for path in every if path.suffix.lower() in _TABLES]
    aligned = [path for path in every if path.name.endswith(ends)]
    if not tables and not aligned:
        raise _unknown(raw, every, data)
    if tables and aligned:
        raise UnknownLayout(
            f"{raw} has aligned files and tables: {aligned[0].name} and {tables[0].name}",
            hint=f"keep one of the two; {expected(data)}",
        )
    chosen = aligned or tables
    sides = split_names(raw, chosen)
    if aligned:
        for one, other in _partners(aligned, ends, data):
            yield from _aligned(raw, one, other, ends, sides.get(one))
    for path in tables:
        yield from _rows(raw, path, data, sides.get(path))


def _partners(files: Sequence[Path], ends: tuple[str, str], data: PairData) -> Iterator[tuple[Path, Path]]:
    there = set(files)
    for path in files:
        own, missing = ends if path.name.endswith(ends[0]) else ends[::-1]
        partner = path.with_name(path.name.removesuffix(own) + missing)
        if partner not in there:
            raise UnknownLayout(f"{path} has no partner {partner.name} beside it", hint=expected(data))
        if own == ends[0]:
            yield path, partner


def _aligned(raw: Path, one: Path, other: Path, ends: tuple[str, str], split: SplitName | None) -> Iterator[Place]:
    lines = [list(_lines(path.read_bytes())) for path in (one, other)]
    if len(lines[0]) != len(lines[1]):
        raise UnknownLayout(
            f"{one} has {len(lines[0]):,} lines and {other.name} has {len(lines[1]):,}: they are not aligned",
            hint="line n of one must say what line n of the other says: an empty line stands for what is missing",
        )
    names = [path.relative_to(raw).as_posix() for path in (one, other)]
    for spans in zip(*lines, strict=True):
        yield Place(
            names[0].removesuffix(ends[0]),
            joined(byte_range(name, *span) for name, span in zip(names, spans, strict=True)),
            split,
        )


def _lines(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each line, its end of line left out."""
    start = 0
    while start < len(content):
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        yield start, end
        start = end + 1


@dataclass(frozen=True, slots=True)
class _Fields:
    """Where a record has source, target and, where one is named, group: see :func:`sluiceway.data.records.pick`."""

    source: str
    target: str
    group: str | None

    def place(self, stem: str, record: str, split: SplitName | None, content: bytes | None) -> Place:
        """Say where the pair of a record lies; its group is read from the record's content."""
        group = None
        if self.group is not None and content is not None:
            try:
                group = pick(content, self.group).decode("utf-8", "replace").strip() or None
            except BadExample:  # the pair will say why
                group = None
        return Place(stem, joined(field_of(record, key) for key in (self.source, self.target)), split, group)


def _rows(raw: Path, path: Path, data: PairData, split: SplitName | None) -> Iterator[Place]:
    name = path.relative_to(raw).as_posix()
    stem = name[: -len(path.suffix)]
    if path.suffix.lower() == ".parquet":
        fields, groups = _parquet(path, data)
        for row, group in enumerate(groups):
            yield Place(stem, joined(field_of(table_row(name, row), key) for key in fields), split, group)
        return
    content = path.read_bytes()
    records = [span for span in _records(content, path) if content[slice(*span)].strip()]
    if not records:
        return
    first = content[slice(*records[0])].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").strip()
    if path.suffix.lower() in {".jsonl", ".ndjson"}:
        found = _keys(path, first, data)
    else:
        found, headed = _cells(path, first, data)
        records = records[1:] if headed else records
    for start, end in records:
        yield found.place(stem, byte_range(name, start, end), split, content[start:end])


def _keys(path: Path, first: str, data: PairData) -> _Fields:
    """Find the keys of objects by the first one."""
    try:
        record = json.loads(first)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise UnknownLayout(f"{path} does not begin with a JSON object: {first[:60]!r}", hint=expected(data))
    inner = record.get(_OBJECT)
    names = {name: name for name in record} | (
        {name: f"{_OBJECT}.{name}" for name in inner} if isinstance(inner, dict) else {}
    )
    return _fields(path, names, data)


def _cells(path: Path, first: str, data: PairData) -> tuple[_Fields, bool]:
    """Find the columns of a table by its first line, and tell whether that is a header."""
    mark = "\t" if path.suffix.lower() == ".tsv" else next((mark for mark in "\t;," if mark in first), ",")
    try:
        names = next(csv.reader(io.StringIO(first), delimiter=mark), []) if mark != "\t" else first.split(mark)
    except csv.Error as error:
        raise UnknownLayout(f"the first line of {path} is no header: {error}", hint=expected(data)) from None
    keys = {name.strip(): f"{place}/{len(names)}{mark}" for place, name in enumerate(names)}
    try:
        return _fields(path, keys, data), True
    except UnknownLayout:
        named = data.source_column or data.target_column or data.group_column
        if path.suffix.lower() != ".tsv" or named or len(names) != 2:
            raise
        return _Fields(f"0/2{mark}", f"1/2{mark}", None), False


def _parquet(path: Path, data: PairData) -> tuple[tuple[str, str], Iterable[str | None]]:
    """Return the keys of both sides, and the group of each row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise UnknownLayout(f"{path} is no Parquet file: {error}", hint=expected(data)) from None
    names = {name: name for name in file.schema_arrow.names}
    if _OBJECT in names and pa.types.is_struct(kind := file.schema_arrow.field(_OBJECT).type):
        names |= {field.name: f"{_OBJECT}.{field.name}" for field in kind}
    found = _fields(path, names, data)
    groups: Iterable[str | None] = [None] * file.metadata.num_rows
    if found.group is not None:
        column = file.read([found.group.partition(".")[0]])
        groups = [None if (said := row.get(found.group)) is None else str(said) for row in column.to_pylist()]
    return (found.source, found.target), groups


def _fields(path: Path, keys: dict[str, str], data: PairData) -> _Fields:
    """Find both sides, and the group where one is named, among columns by name.

    Raises:
        UnknownLayout: one is missing.
    """
    plain = {name.lower(): key for name, key in reversed(keys.items())}
    wanted: list[tuple[str, str | None, tuple[str, ...]]] = [
        ("source_column", data.source_column, (data.source, "source")),
        ("target_column", data.target_column, (data.target, "target")),
    ]
    wanted += [("group_column", data.group_column, ())] if data.group_column else []
    found: list[str] = []
    for option, own, usual in wanted:
        options = [own] if own is not None else list(usual)
        key = next((plain[each.lower()] for each in options if each.lower() in plain), None)
        if key is None:
            shown = ", ".join(repr(name[:40]) for name in list(keys)[:6])
            raise UnknownLayout(
                f"{path} has no column {' or '.join(options)}: found {shown}",
                hint=f"{nearest(options[0], list(keys))}; `data.{option}` in the pipeline's parameters names another; "
                f"{expected(data)}",
            )
        found.append(key)
    return _Fields(found[0], found[1], found[2] if len(found) > 2 else None)


def _records(content: bytes, path: Path) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each record with its line feed; in a CSV a quoted field may hold some more."""
    quotes = path.suffix.lower() == ".csv"
    begin, within = None, False
    for start, end in _lines(content):
        begin = start if begin is None else begin
        within ^= quotes and content.count(b'"', start, end) % 2 == 1
        if within:
            continue
        yield begin, min(end + 1, len(content))
        begin = None
    if begin is not None:
        yield begin, len(content)


def _unknown(raw: Path, files: Iterable[Path], data: PairData) -> UnknownLayout:
    names = [path.relative_to(raw).as_posix() for path in files]
    near = ""
    ends = sorted({Path(name).suffix for name in names})
    if len(ends) == 2 and len({name.removesuffix(Path(name).suffix) for name in names}) * 2 == len(names):
        one, other = (end.lstrip(".") for end in ends)
        near = f"nearest: data.source: {one} and data.target: {other} (or the other way round) in the parameters; "
    elif [end for end in ends if end in {".json", ".xlsx", ".tmx", ".xml", ".zip", ".gz"}]:
        near = f"nearest: unpack or convert {names[0]} to .tsv or .jsonl; "
    elif ".txt" in ends:
        near = f"nearest: name {names[0]} {Path(names[0]).with_suffix('')}.{data.source}, and its partner likewise; "
    return UnknownLayout(
        f"no pairs of {data.source} and {data.target} below {raw}: found {', '.join(names[:3])} ...",
        hint=near + expected(data),
    )
