"""How files with targets may lie in a raw folder: a folder per class, or lists of files with their targets.

The lists are those of Hugging Face's imagefolder and audiofolder: ``metadata.csv`` or ``metadata.jsonl`` beside the
files, with a column ``file_name``.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sluiceway.config import DataParams
from sluiceway.data.sources import files_below, split_folders
from sluiceway.data.table import Example, SplitName, TargetKind
from sluiceway.errors import UnknownLayout, nearest

FILE = "file_name"
LISTS = frozenset({"metadata.csv", "metadata.jsonl"})
COLUMNS: Mapping[TargetKind, tuple[str, ...]] = {
    "class": ("label", "transcription"),
    "classes": ("labels", "label", "classes"),
    "number": ("number", "value", "label"),
    "text": ("text", "transcription", "sentence", "label"),
}
"""Columns that hold a target, the likeliest first."""
_PACKED = frozenset({".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz"})


class ListedData(DataParams):
    """Files in a folder per class, or listed with their targets."""

    label: str | None = None
    """Column of the list that holds the target; default: ``label``, or ``labels``, ``number``, ``text`` by its kind."""
    group_column: str | None = None
    """Column of the list that names the group of an example: its speaker, patient, camera or document."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file."""

    noun: str
    """Of one, for messages."""
    suffixes: frozenset[str]
    foreign: frozenset[str]
    """Suffixes of what must be converted first."""
    convert: str
    """Into what, and how."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a list."""

    name: str
    """Path below the raw folder."""
    target: str
    group: str | None = None


def layouts(kind: Kind, target: TargetKind) -> str:
    """Say what is understood."""
    column = COLUMNS[target][0]
    listed = f"metadata.csv (or .jsonl) with the columns {FILE} and {column} beside the {kind.noun}s"
    folder = f"a folder per class with {kind.noun}s in it, data/raw/<pipeline>/<class>/<{kind.noun}>, or "
    if target == "classes":
        folder = f"a folder per set of labels, data/raw/<pipeline>/<label>|<label>/<{kind.noun}>, or "
    sides = "; below train/, validation/ and test/ where the data is split already"
    return f"{'' if target == 'text' else folder}{listed}{sides}"


def read_listed(raw: Path, data: ListedData, target: TargetKind, kind: Kind) -> Iterator[Example]:
    """List files by class folder or list. The id is the path.

    Args:
        raw: the raw folder.
        data: the data section.
        target: what is learned: which columns hold it, and whether folders can be its name.
        kind: of the files.

    Raises:
        NoRawData: the folder is missing or empty.
        UnknownLayout: no layout fits; says what was found and what comes nearest.
    """
    files, lists = files_of(raw, kind, target, LISTS)
    if lists:
        yield from examples_of(raw, files, rows_of_lists(raw, lists, data, target, kind), kind)
        return
    for option in ("label", "group_column"):
        if getattr(data, option) is not None:
            raise UnknownLayout(
                f"data.{option} names a column of metadata.csv, and there is no metadata.csv below {raw}",
                hint=f"take data.{option} out, or give the list; expected {layouts(kind, target)}",
            )
    if target == "text":
        raise UnknownLayout(
            f"{len(files)} {kind.noun}s lie below {raw}, and nothing says what is said in them",
            hint=f"nearest: a metadata.csv beside them; expected {layouts(kind, target)}",
        )
    yield from _in_folders(raw, files, kind, target)


def files_of(raw: Path, kind: Kind, target: TargetKind, lists: frozenset[str]) -> tuple[list[Path], list[Path]]:
    """Return the files below a raw folder, and the lists.

    Raises:
        NoRawData: the folder is missing or empty.
        UnknownLayout: there are no files of this kind.
    """
    found = files_below(raw, kind.suffixes | {Path(name).suffix for name in lists})
    files = [path for path in found if path.suffix.lower() in kind.suffixes]
    if not files:
        raise _none(raw, kind, target)
    return files, [path for path in found if path.name in lists]


def _in_folders(raw: Path, files: Sequence[Path], kind: Kind, target: TargetKind) -> Iterator[Example]:
    expected, what = layouts(kind, target), "class" if target == "class" else "target"
    loose = [path.name for path in files if path.parent == raw]
    if loose:
        raise UnknownLayout(
            f"{len(loose)} {kind.noun}s lie in {raw} itself, so their {what} is not known: {loose[0]} ...",
            hint=f"nearest: a metadata.csv beside them that says the {what} of each; expected {expected}",
        )
    sides = split_folders(raw, files)
    for path in files:
        below = path.relative_to(raw)
        *folders, _ = below.parts
        if sides and len(folders) < 2:
            raise UnknownLayout(
                f"{path} lies in a split folder but in no class folder",
                hint=f"nearest: {folders[0]}/metadata.csv that says the {what} of each; expected {expected}",
            )
        name = below.as_posix()
        split, label = (sides[folders[0]], folders[1]) if sides else (None, folders[0])
        yield Example(id=name, source=name, target=label, split=split)


def examples_of(raw: Path, files: Sequence[Path], rows: Sequence[Row], kind: Kind) -> Iterator[Example]:
    """Make an example of each line. Every file must be named, and only once."""
    known = {path.relative_to(raw).as_posix() for path in files}
    named = Counter(row.name for row in rows)
    sides: Mapping[str, SplitName] = split_folders(raw, files)
    twice = sorted(name for name, count in named.items() if count > 1)
    left = sorted(known - named.keys())
    unlisted = "stand in no metadata.csv, so their target is not known"
    for some, what in ((twice, "are listed more than once"), (left, unlisted)):
        if some:
            raise UnknownLayout(f"{len(some)} {kind.noun}s below {raw} {what}: {some[0]} ...", hint="mend the list")
    for row in sorted(rows, key=lambda each: each.name):
        split = sides.get(Path(row.name).parts[0])
        yield Example(id=row.name, source=row.name, target=row.target, group=row.group or None, split=split)


def rows_of_lists(raw: Path, lists: Sequence[Path], data: ListedData, target: TargetKind, kind: Kind) -> list[Row]:
    """Read the lines of lists: each names files below its own folder."""
    found = []
    for path in lists:
        table = read_jsonl(path) if path.suffix == ".jsonl" else read_table(path, ",")
        file_name = column_of(path, table.columns, [FILE], expected=layouts(kind, target))
        label = column_of(path, table.columns, [data.label] if data.label else COLUMNS[target])
        group = column_of(path, table.columns, [data.group_column]) if data.group_column else None
        for line, row in table.rows:
            if not row.get(file_name) or row.get(label) is None or (row[label] == "" and target == "class"):
                raise UnknownLayout(f"line {line} of {path} lacks {file_name} or {label}", hint="mend the list")
            name = file_at(raw, path.parent, str(row[file_name]), path, kind)
            found.append(Row(name, _text(row[label]), _text(row.get(group)) if group else None))
    return found


def file_at(raw: Path, folder: Path, name: str, named_by: Path, kind: Kind) -> str:
    """Return the path below the raw folder of a file that a list names.

    Raises:
        UnknownLayout: there is no such file.
    """
    path = folder / name
    if path.suffix.lower() in kind.suffixes and path.is_file() and ".." not in Path(name).parts:
        return path.relative_to(raw).as_posix()
    beside = [each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.suffix.lower() in kind.suffixes]
    close = get_close_matches(name, beside, n=1)
    raise UnknownLayout(
        f"{named_by} names {name}, which is no {kind.noun} below {folder}",
        hint=f"did you mean {close[0]!r}?" if close else "paths in a list begin at its own folder",
    )


@dataclass(frozen=True, slots=True)
class Table:
    """A list: names of its columns, and its lines with their numbers."""

    columns: list[str]
    rows: list[tuple[int, Mapping[str, Any]]]


def read_table(path: Path, delimiter: str, quotes: bool = True) -> Table:
    """Read a CSV or TSV file with a header; without quotes, a quotation mark is a letter."""
    table = csv.DictReader(_lines(path), delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE)
    return Table(list(table.fieldnames or []), [(table.line_num, row) for row in table])


def read_jsonl(path: Path) -> Table:
    """Read a JSON object from each line."""
    rows: list[tuple[int, Mapping[str, Any]]] = []
    for number, line in enumerate(_lines(path), start=1):
        try:
            row = json.loads(line) if line.strip() else {}
        except ValueError as error:
            raise UnknownLayout(f"line {number} of {path} is not JSON: {error}", hint="mend the list") from None
        if not isinstance(row, dict):
            raise UnknownLayout(f"line {number} of {path} is no JSON object", hint='write {"file_name": ...}')
        if row:
            rows.append((number, row))
    return Table(list(dict.fromkeys(name for _, row in rows for name in row)), rows)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UnknownLayout(f"{path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from None


def column_of(path: Path, columns: Sequence[str], wanted: Sequence[str], *, expected: str = "") -> str:
    """Return the first wanted column that is there.

    Raises:
        UnknownLayout: none is.
    """
    found = next((name for name in wanted if name in columns), None)
    if found is None:
        other = f"expected {expected}" if expected else "`data.label` in the pipeline's parameters names another column"
        raise UnknownLayout(
            f"{path} has no column {' or '.join(wanted)}: found {', '.join(columns) or 'nothing'}",
            hint=f"{nearest(wanted[0], columns)} {other}",
        )
    return found


def _text(value: object) -> str:
    """Write a cell as a target: a list as JSON has it."""
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)


def _none(raw: Path, kind: Kind, target: TargetKind) -> UnknownLayout:
    kinds = Counter(path.suffix.lower() or "no suffix" for path in raw.rglob("*") if path.is_file())
    found = ", ".join(f"{count} x {suffix}" for suffix, count in kinds.most_common(3))
    near = ""
    for suffixes, how in ((kind.foreign, f"convert {{}} {kind.convert}"), (_PACKED, "unpack {}")):
        if not near and (there := sorted(suffixes & kinds.keys())):
            near = f"nearest: {how.format(', '.join(there))}; "
    return UnknownLayout(f"no {kind.noun}s below {raw}: found {found}", hint=f"{near}expected {layouts(kind, target)}")
