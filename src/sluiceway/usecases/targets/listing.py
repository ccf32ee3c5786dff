"""How files with targets may lie in a raw folder: a folder per class, or lists of files with their targets.

The lists are those of Hugging Face's imagefolder and audiofolder, ``metadata.csv`` in each folder, or any table with a
column of paths or of URIs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sluiceway.data.census import not_understood, unpack
from sluiceway.data.fetch import Wanted
from sluiceway.data.folders import names_below, suffix_of
from sluiceway.data.lists import List, Record, column_of, open_list
from sluiceway.data.protocols import is_uri
from sluiceway.data.roles import ListParams, Roles, named_lists, readable, sided, tables_among
from sluiceway.data.sides import side_of, split_folders, split_names
from sluiceway.data.sources import content_at
from sluiceway.data.table import Example, TargetKind
from sluiceway.errors import UnknownLayout, nearest
from sluiceway.redaction import address
from sluiceway.usecases.targets.embedded import packed_among, read_packed
from sluiceway.usecases.targets.finding import Files, Finder

COLUMNS: Mapping[TargetKind, tuple[str, ...]] = {
    "class": ("label", "class", "class_name", "category", "target", "transcription"),
    "classes": ("labels", "label", "classes", "tags", "categories", "target"),
    "number": ("number", "value", "target", "label", "score"),
    "text": ("text", "transcription", "transcript", "sentence", "label"),
}
"""Columns that hold a target, the likeliest first."""
PATHS = (
    *("file_name", "filename", "path", "file_path", "filepath", "file", "image_path", "audio_path", "wav_path"),
    *("image", "audio", "wav", "url", "uri", "image_url", "audio_url", "image_id", "audio_id", "id", "name"),
)
"""Columns that say where a content lies, the likeliest first."""
_WEAK = frozenset({"image", "audio", "image_id", "audio_id", "id", "name"})
"""Those among them that may as well mean something else: a table is a list by them if they lead to files."""
SIZES, SUMS = ("bytes", "size_bytes", "content_length"), ("sha256",)
_METADATA = frozenset({"metadata.csv", "metadata.jsonl", "metadata.parquet"})
_PEEKED = 50
"""Records of a list by which it is found out how its paths are meant."""


class ListedData(ListParams):
    """Files in a folder per class, or listed with their targets."""

    listing = ListParams.listing | {"path", "strip", "label", "unlisted"}
    path: str | None = None
    """Column of the list that says where a content lies: a path below the list's folder or the raw folder, with or
    without its suffix, or a URI; default: ``file_name``, ``path``, ``url`` and the like."""
    strip: str = ""
    """What paths in the list begin with on the machine they come from, and is left out: ``/mnt/photos/``."""
    label: str | None = None
    """Column of the list that holds the target; default: ``label``, or ``labels``, ``number``, ``text`` by its kind."""
    unlisted: Literal["set_aside", "ignore"] = "set_aside"
    """What becomes of files that no list names: ``set_aside``, with a reason, or ``ignore``."""


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
    packed: bool = True
    """Whether a column of bytes in a Parquet file may be such contents."""


def layouts(kind: Kind, target: TargetKind) -> str:
    """Say what is understood."""
    column = COLUMNS[target][0]
    listed = f"metadata.csv (or another table) with the columns file_name and {column} beside the {kind.noun}s"
    folder = f"a folder per class with {kind.noun}s in it, data/raw/<pipeline>/<class>/<{kind.noun}>, or "
    if target == "classes":
        folder = f"a folder per set of labels, data/raw/<pipeline>/<label>|<label>/<{kind.noun}>, or "
    sides = "; below train/, validation/ and test/, or with a column split, where the data is split already"
    return f"{'' if target == 'text' else folder}{listed}{sides}"


def read_listed(raw: Path, data: ListedData, target: TargetKind, kind: Kind) -> Iterator[Example]:
    """List contents by class folder or list, or out of Parquet files that hold them.

    The id is the path below the raw folder, the URI without its secrets, or what a packed content is called.

    Args:
        raw: the raw folder.
        data: the data section.
        target: what is learned: which columns hold it, and whether folders can be its name.
        kind: of the files.

    Raises:
        NoRawData: the folder is missing or empty.
        UnknownLayout: no layout fits; says what was found and what comes nearest.
    """
    names, others = [], []
    for name in names_below(raw):
        if suffix_of(name) in kind.suffixes:
            names.append(name)
        else:
            others.append(raw / name)
    if not names and kind.packed and (packed := packed_among(others, raw, data, target)):
        yield from read_packed(raw, packed, target)
        return
    known = Files.of(names)
    lists = lists_among(others, raw, known, data, target)
    if not names and not any(_elsewhere(table, data) for table in lists):
        raise _none(raw, others, kind, target)
    if lists:
        yield from read_lists(raw, known, lists, data, target, kind)
        return
    options = [name for name in ("path", "label", "group_column", "split_column", "time_column") if getattr(data, name)]
    if options:
        raise UnknownLayout(
            f"data.{options[0]} names a column of a list such as metadata.csv, and there is none below {raw}",
            hint=f"take data.{options[0]} out, or give the list; expected {layouts(kind, target)}",
        )
    if target == "text":
        near = _beside(others, raw, known, data, "text") or "a metadata.csv beside them"
        raise UnknownLayout(
            f"{len(names)} {kind.noun}s lie below {raw}, and nothing says what is said in them",
            hint=f"nearest: {near}; expected {layouts(kind, target)}",
        )
    if loose := [name for name in names if "/" not in name]:
        what = "class" if target == "class" else "target"
        near = _beside(others, raw, known, data, what) or f"a metadata.csv beside them that says the {what} of each"
        raise UnknownLayout(
            f"{len(loose)} {kind.noun}s lie in {raw} itself, so their {what} is not known: {loose[0]} ...",
            hint=f"nearest: {near}; expected {layouts(kind, target)}",
        )
    yield from _in_folders(raw, names, kind, target)


def lists_among(files: Sequence[Path], raw: Path, known: Files, data: ListedData, target: TargetKind) -> list[List]:
    """Return the lists: those that the parameters name, else metadata files, else tables with a column of paths.

    Raises:
        UnknownLayout: there is none of the name that the parameters give, or it cannot be read.
    """
    if data.list_ is not None:
        return named_lists(files, raw, data.list_)
    tables = tables_among(files)
    metadata = [path for path in tables if path.name.lower() in _METADATA]
    if metadata:
        return [open_list(path, raw) for path in metadata]
    lists: list[List] = []
    for path in tables:
        try:
            table = open_list(path, raw)
            path_column = column_of(table, data.path, PATHS, "data.path")
            label = column_of(table, data.label, COLUMNS[target], "data.label")
        except UnknownLayout:
            if data.path is None and data.label is None:  # a table of something else, which may lie there
                continue
            raise
        if path_column is None or label is None:
            continue
        if data.path is None and path_column.lower() in _WEAK and not _leads(table, path_column, known, data):
            continue
        lists.append(table)
    return lists


def _beside(files: Sequence[Path], raw: Path, known: Files, data: ListedData, what: str) -> str:
    """Say which table names the contents in a column that was not taken for their paths; empty if none does."""
    tables = tables_among(files)
    for table in readable(tables, raw):
        column = next((each for each in table.columns if _leads(table, each, known, data)), None)
        others = [each for each in table.columns if each != column]
        if column is not None and others:
            named = f"list: {table.name}, " if len(tables) > 1 else ""
            return (
                f"{table.name} names them in its column {column}: say `{named}path: {column}` below data, and as "
                f"`label` the column that holds the {what}, of {', '.join(others)}"
            )
    return ""


def _leads(table: List, column: str, known: Files, data: ListedData) -> bool:
    """Whether a column of a table mostly leads to contents."""
    names = _first_names(table, column)
    paths = [name for name in names if not is_uri(name)]
    try:
        finder = Finder.learn(table.path, table.raw, paths, known, data.strip, "")
    except UnknownLayout:
        return False
    lost = sum(finder.find(name) not in known.names for name in paths)
    return 2 * lost < len(names)


def _first_names(table: List, column: str) -> list[str]:
    first = (record.text(column) for _, record in zip(range(_PEEKED), table.records(), strict=False))
    return [name for name in first if name is not None]


def _elsewhere(table: List, data: ListedData) -> bool:
    """Whether the first contents that a list names have URIs."""
    column = column_of(table, data.path, PATHS, "data.path")
    return column is not None and any(map(is_uri, _first_names(table, column)))


def _in_folders(raw: Path, names: Sequence[str], kind: Kind, target: TargetKind) -> Iterator[Example]:
    expected, what = layouts(kind, target), "class" if target == "class" else "target"
    sides = split_folders(raw, names)
    tops = {name.partition("/")[0] for name in names}
    if len(tops) == 1 and side_of(next(iter(tops))):
        raise UnknownLayout(
            f"all {kind.noun}s below {raw} lie in {next(iter(tops))}/, which names a side, and no other side is there",
            hint=f"nearest: put what is in {next(iter(tops))}/ one folder higher, and sides are made by hash; "
            f"expected {expected}",
        )
    for name in names:
        if not sides:
            yield Example(id=name, source=name, target=name.partition("/")[0])
            continue
        *folders, _ = name.split("/")
        if len(folders) < 2:
            raise UnknownLayout(
                f"{raw / name} lies in a split folder but in no class folder",
                hint=f"nearest: {folders[0]}/metadata.csv that says the {what} of each; expected {expected}",
            )
        yield Example(id=name, source=name, target=folders[1], split=sides[folders[0]])


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns of a list say what."""

    path: str
    label: str
    size: str | None
    sha256: str | None
    around: Roles


def read_lists(
    raw: Path, known: Files, lists: Sequence[List], data: ListedData, target: TargetKind, kind: Kind
) -> Iterator[Example]:
    """Make an example of each record, and one of each file that none names.

    Args:
        raw: the raw folder.
        known: the files.
        lists: which name them.
        data: the data section.
        target: what is learned.
        kind: of the files.

    Raises:
        UnknownLayout: a list lacks a column, names nothing, leads nowhere, or splits the data by half.
    """
    columns = [_columns(table, data, target, kind) for table in lists]
    by_column = sided(lists, [roles.around for roles in columns])
    by_list = {} if by_column else split_names(raw, [table.path for table in lists])
    finders = [_finder(table, roles, known, data, kind) for table, roles in zip(lists, columns, strict=True)]
    by_folder = {} if by_column or by_list else split_folders(raw, _listed(lists, columns, finders))
    if not any(True for table in lists for _ in table.records()):
        raise UnknownLayout(
            f"{lists[0].path} names nothing, and {len(known.names)} {kind.noun}s lie below {raw}", hint="fill the list"
        )
    named: set[str] = set()
    for table, roles, finder in zip(lists, columns, finders, strict=True):
        for record in table.records():
            example = _example(table, record, roles, finder, target)
            if example.source in known.names:
                named.add(example.source)
            side = side_of(record.text(roles.around.split)) if by_column else None
            side = side or by_list.get(table.path) or by_folder.get(example.source.partition("/")[0])
            yield replace(example, split=side)
    if data.unlisted == "ignore":
        return
    for name in sorted(known.names - named):
        yield Example(id=name, source=name, fault="not_listed: no list says what it is")


def _listed(lists: Sequence[List], columns: Sequence[_Columns], finders: Sequence[Finder]) -> Iterator[str]:
    """Yield the files that lists name, by their paths below the raw folder."""
    for table, roles, finder in zip(lists, columns, finders, strict=True):
        for record in table.records():
            name = record.text(roles.path)
            if name is not None and not is_uri(name) and (place := finder.find(name)) in finder.files.names:
                yield place


def _columns(table: List, data: ListedData, target: TargetKind, kind: Kind) -> _Columns:
    """Find the columns of a list.

    Raises:
        UnknownLayout: there is none for the path or the target, or not the one that the parameters name.
    """
    path = column_of(table, data.path, PATHS, "data.path")
    label = column_of(table, data.label, COLUMNS[target], "data.label")
    for found, usual, option in ((path, PATHS, "path"), (label, COLUMNS[target], "label")):
        if found is None:
            raise UnknownLayout(
                f"{table.path} has no column {' or '.join(usual[:2])}: found {', '.join(table.columns) or 'nothing'}",
                hint=f"{nearest(usual[0], table.columns)} data.{option} in the pipeline's parameters names another "
                f"column; expected {layouts(kind, target)}",
            )
    assert path is not None  # noqa: S101  told above
    assert label is not None  # noqa: S101
    size, sha256 = (column_of(table, None, usual, "") for usual in (SIZES, SUMS))
    return _Columns(path, label, size, sha256, Roles.of(table, data, (path, label)))


def _finder(table: List, roles: _Columns, known: Files, data: ListedData, kind: Kind) -> Finder:
    """Find out how the paths of a list are meant.

    Raises:
        UnknownLayout: none of the first ones leads to a file; says what would.
    """
    names = [name for name in _first_names(table, roles.path) if not is_uri(name)]
    return Finder.learn(table.path, table.raw, names, known, data.strip, kind.noun)


def _example(table: List, record: Record, roles: _Columns, finder: Finder, target: TargetKind) -> Example:
    name, label, fault = record.text(roles.path), record.text(roles.label), record.fault
    if fault or name is None:
        lost = f"missing_field: {record.place} has no {roles.path}"
        return Example(id=record.place, source=record.source, fault=fault or lost)
    if label is None and target == "classes" and roles.label in record.values:
        label = ""
    if label is None:
        fault = f"no_target: {record.place} has no {roles.label}"
    time, wrong = roles.around.time_of(record)
    group, fault = record.text(roles.around.group), fault or wrong
    if is_uri(name):
        wanted, wrong = _wanted(record, roles)
        source = content_at(table.field(record, roles.path), wanted)
        return Example(address(name), source, label, group, time=time, fault=fault or wrong)
    place = finder.find(name)
    return Example(place, place, label, group, time=time, fault=fault)


def _wanted(record: Record, roles: _Columns) -> tuple[Wanted, str | None]:
    """Return what a list says of a content beside its URI, and what is wrong with that."""
    size, digest = record.text(roles.size), (record.text(roles.sha256) or "").lower()
    if size is not None and not size.isdecimal():
        return Wanted(), f"bad_size: {record.place}: {size!r} is no number of bytes"
    if digest and (len(digest) != 64 or set(digest) - set("0123456789abcdef")):
        return Wanted(), f"bad_checksum: {record.place}: {digest[:70]!r} is no SHA-256"
    return Wanted(digest, int(size) if size is not None else None), None


def _none(raw: Path, every: Sequence[Path], kind: Kind, target: TargetKind) -> UnknownLayout:
    foreign = sorted({path.suffix.lower() for path in every} & kind.foreign)
    convert = f"convert {', '.join(foreign)} {kind.convert}" if foreign else ""
    tables = tables_among(every)
    name = f"data.path and data.label, if {tables[0].name} lists them" if tables else ""
    return not_understood(raw, f"{kind.noun}s", layouts(kind, target), (convert, unpack(raw), name))
