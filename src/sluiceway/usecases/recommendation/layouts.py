"""The tables in which interactions are kept, and what one line of them says.

The content of an example is its line; where the table has a header, the header and the line. So a content says by
itself which of its fields is the user, the item, the rating and the time.
"""

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from sluiceway.data.census import not_understood, unpack
from sluiceway.data.folders import files_below
from sluiceway.data.lists import List, kind_of, open_list
from sluiceway.data.sources import BETWEEN, byte_range, byte_ranges, opened
from sluiceway.data.splits import read_time
from sluiceway.data.table import BadExample
from sluiceway.errors import UnknownLayout
from sluiceway.usecases.recommendation import columns
from sluiceway.usecases.recommendation.columns import NAMES, plain, values_of
from sluiceway.usecases.recommendation.params import InteractionData

_TITLES = ("title", "movietitle", "itemname", "name", "productname", "booktitle", "trackname")
_HEADLESS = ("user", "item", "rating", "time")
"""What the fields of a line without a header are."""
_SUFFIXES = frozenset({".inter", ".data", ".dat", ".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})
_TABLE = r"\.(csv|tsv|jsonl|ndjson|parquet)(\.gz)?"
_KINDS = (r".*\.inter", r"u\.data", r"ratings\.dat", rf"(ratings|interactions|reviews){_TABLE}", rf".*{_TABLE}")
"""Names of files with interactions. The first kind of which there are any is taken: others then lie beside it."""
_CATALOGUES = (r".*\.item", r"u\.item", r"movies\.dat", r"(movies|items|products|books)\.(csv|tsv)")
_MARKS = ("::", "\t", ";", "|", ",")
LAYOUTS = (
    "a table with a user, an item and a time in each line, and a rating where there is one: ml-100k.inter, u.data, "
    "ratings.dat, ratings.csv, or any .csv, .tsv, .jsonl or .parquet with the columns user, item, rating, timestamp"
)


@dataclass(frozen=True, slots=True)
class Interaction:
    """One line."""

    user: str
    item: str
    rating: float | None
    """None where the table has no ratings."""
    time: float
    """Seconds since 1970, or as the data counts."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """How lines of one table are to be read."""

    mark: str
    """What stands between two fields."""
    places: Mapping[str, int]
    """By ``NAMES``, the field's number."""
    count: int | None
    """Fields of a line; None where no header says so: then what follows is left alone."""


# A content.


def interaction_of(payload: bytes) -> Interaction:
    """Read one content.

    Raises:
        BadExample: it is no text, has too few or too many fields, or a rating or a time that is none.
    """
    payload = payload.removeprefix(b"\xef\xbb\xbf")
    if BETWEEN in payload:
        return _interaction(values_of(payload))
    if payload.startswith(b"{"):
        return _of_object(payload)
    try:
        *header, line = payload.decode().splitlines()
    except UnicodeDecodeError as error:
        raise BadExample("unreadable", f"not UTF-8 at byte {error.start}") from None
    except ValueError:
        raise BadExample("empty", "no line") from None
    columns = _columns_of(header[0]) if header else _headless(line)
    fields = _fields(line, columns.mark)
    least = columns.count or max(columns.places.values()) + 1
    if len(fields) < least:
        raise BadExample("missing_field", f"{len(fields)} fields, and {least} are needed")
    if columns.count and len(fields) > columns.count:
        raise BadExample("extra_field", f"{len(fields)} fields, and the header has {columns.count}")
    return _interaction({name: fields[place].strip() for name, place in columns.places.items()})


def _of_object(payload: bytes) -> Interaction:
    """Read a line of JSON Lines, or a row of a Parquet file."""
    try:
        found = json.loads(payload)
    except ValueError as error:
        raise BadExample("unreadable", f"not JSON: {error}") from None
    by_name = {plain(name): value for name, value in reversed(found.items())}
    values = {}
    for meaning, known in NAMES.items():
        name = next((name for name in known if name in by_name), None)
        if name is not None:
            values[meaning] = "" if by_name[name] is None else str(by_name[name]).strip()
    if lost := [name for name in ("user", "item", "time") if name not in values]:
        raise BadExample("missing_field", f"no {lost[0]}")
    return _interaction(values)


def _interaction(values: Mapping[str, str]) -> Interaction:
    lost = [name for name, value in values.items() if not value]
    if lost:
        raise BadExample("missing_field", f"no {lost[0]}")
    rating = _number(values["rating"]) if "rating" in values else None
    time = read_time(values["time"])
    if time is None:
        raise BadExample("bad_time", f"{values['time']!r} is neither ISO 8601 nor a number")
    return Interaction(values["user"], values["item"], rating, time)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not math.isfinite(value):
        raise BadExample("bad_rating", f"{text!r} is not a number")
    return value


def _fields(line: str, mark: str) -> list[str]:
    if '"' not in line:
        return line.split(mark)
    return next(csv.reader([line], delimiter=mark)) if len(mark) == 1 else line.split(mark)


@lru_cache(maxsize=1024)
def _columns_of(header: str) -> _Columns:
    mark = _mark(header)
    names = [plain(field) for field in _fields(header, mark)]
    places = {
        meaning: next(at for at, name in enumerate(names) if name in known)
        for meaning, known in NAMES.items()
        if any(name in known for name in names)
    }
    return _Columns(mark, places, len(names))


def _headless(line: str) -> _Columns:
    return _Columns(_mark(line), {name: place for place, name in enumerate(_HEADLESS)}, None)


def _mark(line: str) -> str:
    return next((mark for mark in _MARKS if mark in line), _MARKS[-1])


# Files.


@dataclass(frozen=True, slots=True)
class Table:
    """A file with interactions."""

    path: Path
    raw: Path
    content: bytes
    """Empty where it has rows instead of lines."""
    header: tuple[int, int] | None
    """The bytes of its header."""
    named: tuple[List, Mapping[str, str]] | None = None
    """Where the parameters name columns: the table as a list, and its columns by what they are for."""

    def entries(self) -> Iterator[tuple[str, str, bytes]]:
        """Yield place, source and content of each interaction: a line with the header, or a row as a JSON object."""
        if self.named:
            yield from columns.entries(*self.named)
            return
        name = self.path.relative_to(self.raw).as_posix()
        if kind_of(self.path) == ".parquet":
            for number, record in enumerate(open_list(self.path, self.raw).records(), start=1):
                said = json.dumps(dict(record.values), ensure_ascii=False, default=str)
                yield f"{name}:{number}", record.source, said.encode()
            return
        header = self.content[slice(*self.header)] if self.header else b""
        for number, start, end in self._lines():
            source = byte_ranges(name, [self.header, (start, end)]) if self.header else byte_range(name, start, end)
            yield f"{name}:{number}", source, header + self.content[start:end]

    def _lines(self) -> Iterator[tuple[int, int, int]]:
        """Yield number, start and end of each line that is not blank, the header left out."""
        start, number = 0, 0
        while start < len(self.content):
            number += 1
            end = self.content.find(b"\n", start) + 1 or len(self.content)
            if (number > 1 or not self.header) and self.content[start:end].strip():
                yield number, start, end
            start = end


def tables_below(raw: Path, data: InteractionData) -> list[Table]:
    """Find the files with interactions.

    Raises:
        UnknownLayout: there are none, or a column is missing.
    """
    files = [path for path in files_below(raw, None) if kind_of(path) in _SUFFIXES]
    chosen = _first_kind(files, _KINDS)
    if not chosen:
        raise not_understood(raw, "interactions", LAYOUTS, (unpack(raw),))
    return [_open(path, raw, data) for path in chosen]


def _first_kind(files: Iterable[Path], kinds: Iterable[str]) -> list[Path]:
    files = list(files)
    found = ([path for path in files if re.fullmatch(kind, path.name.lower())] for kind in kinds)
    return next((each for each in found if each), [])


def _open(path: Path, raw: Path, data: InteractionData) -> Table:
    kind = kind_of(path)
    if data.columns:
        return Table(path, raw, b"", None, columns.named(path, raw, data))
    if kind == ".parquet":
        content = b""
    else:
        with opened(path) as file:
            content = file.read()
    if kind in columns.HEADLESS:
        return Table(path, raw, content, None)
    if kind in {".parquet", ".jsonl", ".ndjson"}:
        names = open_list(path, raw).columns
        _check(path, [plain(name) for name in names], f"its columns are {', '.join(names)[:80]}")
        return Table(path, raw, content, None)
    end = content.find(b"\n") + 1 or len(content)
    header = content[:end].decode("utf-8-sig", "replace").strip()
    _check(path, [plain(field) for field in _fields(header, _mark(header))], f"its header is {header[:80]!r}")
    return Table(path, raw, content, (0, end))


def _check(path: Path, fields: Sequence[str], found: str) -> None:
    """Raise ``UnknownLayout`` when a column is missing."""
    missing = [name for name in ("user", "item", "time") if not set(fields) & set(NAMES[name])]
    if missing:
        wanted = missing[0]
        close = get_close_matches(wanted, fields, n=1, cutoff=0.7)
        options = " and ".join(f"data.{name}_column" for name in missing)
        raise UnknownLayout(
            f"{path} has no column for the {' and the '.join(missing)}: {found}",
            hint=f"set {options}, or name the {wanted} column {' or '.join(NAMES[wanted][:3])}"
            f"{f'; did you mean {close[0]!r}?' if close else ''}; expected {LAYOUTS}",
        )


def titles_below(raw: Path, data: InteractionData) -> dict[str, str]:
    """Return the titles of items, where a catalogue lies beside the interactions."""
    known = (*([plain(data.item_column)] if data.item_column else []), *NAMES["item"])
    titles: dict[str, str] = {}
    for path in _first_kind(sorted(raw.rglob("*")), _CATALOGUES):
        content = path.read_bytes()
        try:
            lines = content.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:  # the files of MovieLens before 2003
            lines = content.decode("latin-1").splitlines()
        titles |= dict(_titles(lines, known))
    return titles


def _titles(lines: list[str], known: Sequence[str]) -> Iterator[tuple[str, str]]:
    if not lines:
        return
    mark = _mark(lines[0])
    names = [plain(field) for field in _fields(lines[0], mark)]
    item = next((at for at, name in enumerate(names) if name in known), None)
    title = next((at for at, name in enumerate(names) if name in _TITLES), None)
    headed = item is not None and title is not None
    at, to = (item, title) if item is not None and title is not None else (0, 1)
    for line in lines[1:] if headed else lines:
        fields = _fields(line, mark)
        if len(fields) > max(at, to) and fields[to].strip():
            yield fields[at].strip(), fields[to].strip()
