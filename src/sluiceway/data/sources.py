"""Where an example's bytes lie, and how they are fetched.

A source is a path below the raw folder, with byte ranges where it is not the whole file: ``3/00012.png``,
``genesis.txt#bytes=0-4096``. Several ranges are read one behind the other, so that a line of a table comes with the
header that says what it means: ``ratings.csv#bytes=0-31,8231-8253``. A row of a Parquet file has a number instead:
``pairs.parquet#row=17``, and is read as a JSON object.

One field of a record can be meant, by its key in an object, or by its place, the number of fields and the mark between
them in a line: ``pairs.jsonl#bytes=0-90&field=translation.en``, ``pairs.csv#bytes=0-90&field=1/3,``. Several sources
are joined by ``//``, which no path has, and are read with ``BETWEEN`` between:
``genesis.en#bytes=0-54//genesis.es#bytes=0-49``.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from sluiceway.data.table import BadExample, SplitName
from sluiceway.errors import NoRawData

if TYPE_CHECKING:
    import pyarrow as pa

BETWEEN = b"\x1f"
"""Stands between what was read from several files: the unit separator of ASCII, which no text has."""
_RANGE, _ROW, _FIELD, _JOINT = "#bytes=", "#row=", "&field=", "//"
_MOST_OPEN = 4
_SIDES: dict[str, SplitName] = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SIDES |= {"validation": "validation", "valid": "validation", "val": "validation", "dev": "validation"}


def byte_range(path: str, start: int, end: int) -> str:
    """Name the bytes ``start`` (included) to ``end`` (excluded) of a file."""
    return byte_ranges(path, [(start, end)])


def byte_ranges(path: str, ranges: Iterable[tuple[int, int]]) -> str:
    """Name several ranges of a file's bytes, in the order in which they are read."""
    return f"{path}{_RANGE}{','.join(f'{start}-{end}' for start, end in ranges)}"


def table_row(path: str, row: int) -> str:
    """Name a row of a Parquet file."""
    return f"{path}{_ROW}{row}"


def field_of(source: str, key: str) -> str:
    """Name a field of a record: see :func:`pick`."""
    return f"{source}{_FIELD}{key}"


def joined(sources: Iterable[str]) -> str:
    """Name what lies in several places."""
    return _JOINT.join(sources)


def load(raw: Path, source: str) -> bytes:
    """Fetch the bytes of one example.

    Raises:
        BadExample: the file cannot be read, is empty, or ends before its range.
    """
    with Shelf(raw) as shelf:
        return shelf.load(source)


class Shelf:
    """Fetches the bytes of one example after another: a file that holds several in a row is opened once.

    Args:
        raw: the raw folder.
    """

    def __init__(self, raw: Path) -> None:
        self._raw = raw
        self._files: dict[str, BinaryIO] = {}
        self._table: tuple[str, pa.Table] | None = None

    def load(self, source: str) -> bytes:
        """Fetch the bytes of one example.

        Raises:
            BadExample: a file cannot be read, is empty, or ends before its range or row.
        """
        parts = [self._load(each) for each in source.split(_JOINT)]
        if not any(parts):
            raise BadExample("empty", "0 bytes")
        return BETWEEN.join(parts)

    def _load(self, source: str) -> bytes:
        source, _, key = source.partition(_FIELD)
        record = self._record(source)
        return pick(record, key) if key and record else record

    def _record(self, source: str) -> bytes:
        if _ROW in source:
            name, _, row = source.partition(_ROW)
            return self._row(name, int(row))
        name, _, spans = source.partition(_RANGE)
        ranges = [tuple(map(int, span.split("-"))) for span in spans.split(",")] if spans else []
        try:
            file = self._open(name)
            payload = b"".join(_slice(file, start, end) for start, end in ranges) if ranges else _slice(file, 0, None)
        except OSError as error:
            raise BadExample("unreadable", error.strerror or str(error)) from None
        missing = sum(end - start for start, end in ranges) - len(payload)
        if missing > 0 and payload:
            raise BadExample("truncated", f"{name} ends {missing} bytes too early")
        return payload

    def _row(self, name: str, row: int) -> bytes:
        """Return a row of a table, which is held in memory, as a JSON object."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._table is None or self._table[0] != name:
            try:
                self._table = (name, pq.read_table(Path(self._raw, name)))
            except (OSError, pa.ArrowInvalid) as error:
                raise BadExample("unreadable", str(error)) from None
        table = self._table[1]
        if row >= len(table):
            raise BadExample("truncated", f"{name} has {len(table)} rows")
        return json.dumps(table.slice(row, 1).to_pylist()[0], ensure_ascii=False, default=str).encode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        while self._files:
            self._files.popitem()[1].close()

    def _open(self, name: str) -> BinaryIO:
        if name not in self._files:
            while len(self._files) >= _MOST_OPEN:
                self._files.pop(next(iter(self._files))).close()
            self._files[name] = Path(self._raw, name).open("rb")  # noqa: SIM115  closed with the shelf, or for others
        return self._files[name]


def _slice(file: BinaryIO, start: int, end: int | None) -> bytes:
    file.seek(start)
    return file.read(-1 if end is None else end - start)


def pick(record: bytes, key: str) -> bytes:
    """Return one field of a record, as UTF-8.

    Args:
        record: a JSON object, or a line of a table.
        key: of an object, keys with dots between them; of a line, ``place/fields`` and the mark between fields, such as
            ``0/3,``. Between tabs, a quotation mark is one.

    Raises:
        BadExample: it is no such record, or lacks the field.
    """
    if not record.startswith(b"{"):
        return _cell(record, key)
    try:
        found = json.loads(record)
    except ValueError as error:
        raise BadExample("unreadable", f"not JSON: {error}") from None
    for name in key.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, str | int | float):
        raise BadExample("missing_field", f"no text at {key}")
    return str(found).encode("utf-8", "surrogatepass")


def _cell(line: bytes, key: str) -> bytes:
    place, _, rest = key[:-1].partition("/")
    mark = key[-1].encode()
    line = line.rstrip(b"\r\n")
    cells = line.split(mark)
    if b'"' in line and mark != b"\t":
        try:
            # Bytes that are no text stay what they are, and are told of when the field is read.
            text = line.decode("utf-8", "surrogateescape")
            (row,) = csv.reader(io.StringIO(text, newline=""), delimiter=key[-1], strict=True)
        except (csv.Error, ValueError) as error:
            raise BadExample("unreadable", f"its quotes do not match: {error}") from None
        cells = [cell.encode("utf-8", "surrogateescape") for cell in row]
    if len(cells) != int(rest):
        raise BadExample(
            "missing_field" if len(cells) < int(rest) else "extra_field", f"{len(cells)} fields, not {rest}"
        )
    return cells[int(place)]


def files_of(source: str) -> tuple[str, ...]:
    """Return the paths, below the raw folder, of the files that a source lies in."""
    return tuple(part.partition(_RANGE)[0].partition(_ROW)[0] for part in source.split(_JOINT))


def checksum(payload: bytes) -> str:
    """Digest of an example's content: the first half of its SHA-256, in hexadecimal."""
    return hashlib.sha256(payload).hexdigest()[:32]


def files_below(raw: Path, suffixes: frozenset[str] | None) -> list[Path]:
    """List the files with one of these suffixes, sorted by path; hidden ones, and those in hidden folders, left out.

    Args:
        raw: the raw folder.
        suffixes: in small letters, with their dot; None: all files.

    Raises:
        NoRawData: the folder is missing or holds no file at all.
    """
    found = sorted(_files(raw, ()))
    if not found:
        state = "is empty" if raw.is_dir() else "does not exist"
        raise NoRawData(
            f"no raw data: {raw} {state}",
            hint=f"put your data into {raw}/, or list the pipeline under `samples` in params.yaml and run `dvc repro`",
        )
    paths = [raw.joinpath(*parts) for parts in found]
    return [path for path in paths if suffixes is None or path.suffix.lower() in suffixes]


def split_folders(raw: Path, files: Iterable[Path]) -> dict[str, SplitName]:
    """Tell whether the raw data is split already: by folders at its top that are all named for a side.

    Returns:
        The side by folder name, such as ``{"train": "train", "val": "validation", "test": "test"}``; empty when some
        folder at the top is named otherwise, or when there is no test folder.
    """
    tops = {path.relative_to(raw).parts[0] for path in files if path.parent != raw}
    named = {top: _SIDES[top.lower()] for top in tops if top.lower() in _SIDES}
    return named if len(named) == len(tops) and "test" in named.values() else {}


def split_names(raw: Path, files: Sequence[Path]) -> dict[Path, SplitName]:
    """Tell the side of each file: by the folder that it is in, or by its own name, up to the first dot.

    Returns:
        Empty when there are others at the top, or none for the test: the raw data is not split already.
    """
    if folders := split_folders(raw, files):
        return {path: folders[path.relative_to(raw).parts[0]] for path in files if path.parent != raw}
    named = {path: _SIDES.get(path.name.partition(".")[0].lower()) for path in files}
    sides = {path: side for path, side in named.items() if side is not None}
    return sides if len(sides) == len(files) and "test" in sides.values() else {}


def _files(folder: Path, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the parts of each path; many times faster than ``rglob``."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), (*above, entry.name))
        elif entry.is_file():
            yield (*above, entry.name)
