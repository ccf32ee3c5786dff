"""How texts with targets may lie in a raw folder: in the records of a table, or as files.

Files lie as images do: a folder per class, or a list with their names and targets.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sluiceway.data.census import not_understood, unpack
from sluiceway.data.folders import files_below
from sluiceway.data.lists import List, column_of
from sluiceway.data.roles import Roles, readable, sided, tables_among
from sluiceway.data.sides import side_of, split_names
from sluiceway.data.table import Example, TargetKind
from sluiceway.data.text_tables import COLUMNS, Names, text_column, text_tables, wordiest
from sluiceway.errors import UnknownLayout, nearest
from sluiceway.usecases.targets import listing
from sluiceway.usecases.targets.embedded import class_names, named_target
from sluiceway.usecases.targets.finding import Files
from sluiceway.usecases.text.params import TextData

TEXTS = listing.Kind(
    "text",
    frozenset({".txt", ".text"}),
    foreign=frozenset({".pdf", ".docx", ".doc", ".epub", ".html", ".htm", ".rtf", ".odt", ".xml"}),
    convert="to .txt, for example with pandoc",
    packed=False,
)
HOLDING = (*COLUMNS, "review", "comment", "message", "tweet", "utterance", "question", "headline", "description")
"""Columns that hold a text, the likeliest first."""
_MORE = {
    "class": ("sentiment", "topic", "intent", "language"),
    "classes": ("topics", "genres"),
    "number": ("rating", "stars", "similarity"),
}
"""Columns that hold the target of a text, where those of any content are not there."""


def read(raw: Path, data: TextData, target: TargetKind) -> Iterator[Example]:
    """List texts. The id is file and content of a record, ``reviews.csv#5d41402abc``, or the path of a file.

    Raises:
        NoRawData: the folder is missing or empty.
        UnknownLayout: no layout fits; says what was found and what comes nearest.
    """
    every = files_below(raw, None)
    tables = _tables(raw, every, data, target)
    if tables:
        return _records(raw, tables)
    if not tables_among(every) and all(path.parent == raw for path in _files(every)):
        raise _unknown(raw, every, target)
    if not _files(every) and not listing.lists_among(every, raw, Files.of([]), data, target):
        raise _unknown(raw, every, target)
    return listing.read_listed(raw, data, target, TEXTS)


def layouts(target: TargetKind) -> str:
    """Say what is understood."""
    table = f"a .csv, .tsv, .jsonl or .parquet file with the columns text and {listing.COLUMNS[target][0]}"
    return f"{table}, or {listing.layouts(TEXTS, target)}"


@dataclass(frozen=True, slots=True)
class _Table:
    """A table with a text and a target in each record."""

    list: List
    text: str
    label: str
    around: Roles
    classes: Sequence[str]
    """Names of the classes whose numbers the column of labels holds; empty where it says what it means."""
    target: TargetKind

    def records(self) -> Iterator[Example]:
        """Make an example of each record."""
        names = Names(self.list.name)
        for record in self.list.records():
            text, (time, wrong) = record.values.get(self.text), self.around.time_of(record)
            if record.fault or not isinstance(text, str):
                lost = f"missing_field: {record.place} has no {self.text}"
                yield Example(id=record.place, source=record.source, fault=record.fault or lost)
                continue
            label = named_target(record, self.label, self.classes, self.target)
            if label is None and self.target == "classes" and self.label in record.values:
                label = ""  # nothing is said where labels are: there are none
            lacks = f"no_target: {record.place} has no {self.label}" if label is None else None
            yield Example(
                id=names.of(text.encode("utf-8", "surrogatepass")),
                source=self.list.field(record, self.text),
                target=label,
                group=record.text(self.around.group),
                split=side_of(record.text(self.around.split)),
                time=time,
                fault=lacks or wrong,
            )


def _tables(raw: Path, every: Sequence[Path], data: TextData, target: TargetKind) -> list[_Table]:
    """Return the tables with a text and a target in each record; none where a list names files.

    Raises:
        UnknownLayout: there are tables with texts, and none says what their target is; or one that the parameters name
            lacks a column.
    """
    if data.path is not None:
        return []
    try:
        lists = text_tables(every, raw, data.list_, data.text_column, HOLDING)
    except UnknownLayout:
        if data.text_column is None and _files(every):  # a list that names files
            return []
        raise
    found = [table for each in lists if (table := _table(each, data, target))]
    if lists and not found and not _files(every):
        text, usual = text_column(lists[0], data.text_column, HOLDING), listing.COLUMNS[target]
        others = [name for name in lists[0].columns if name != text]
        raise UnknownLayout(
            f"{lists[0].path} has texts in the column {text}, and no column {' or '.join(usual[:2])}: "
            f"found {', '.join(others) or 'no other'}",
            hint=f"{nearest(usual[0], others)} data.label names the one that holds the target; "
            f"expected {layouts(target)}",
        )
    return found


def _table(table: List, data: TextData, target: TargetKind) -> _Table | None:
    text = text_column(table, data.text_column, HOLDING)
    usual = (*listing.COLUMNS[target], *_MORE.get(target, ()))
    label = column_of(table, data.label, [name for name in usual if name != text], "data.label")
    if label is None:
        return None
    return _Table(table, text, label, Roles.of(table, data, (text, label)), _classes(table, label), target)


def _classes(table: List, label: str) -> Sequence[str]:
    if table.path.suffix.lower() != ".parquet":
        return ()
    import pyarrow.parquet as pq

    return class_names(pq.read_schema(table.path), label)


def _records(raw: Path, tables: Sequence[_Table]) -> Iterator[Example]:
    by_column = sided([each.list for each in tables], [each.around for each in tables])
    by_file = {} if by_column else split_names(raw, [each.list.path for each in tables])
    for each in tables:
        side = by_file.get(each.list.path)
        yield from (replace(example, split=side) for example in each.records()) if not by_column else each.records()


def _files(every: Sequence[Path]) -> list[Path]:
    return [path for path in every if path.suffix.lower() in TEXTS.suffixes]


def _unknown(raw: Path, every: Sequence[Path], target: TargetKind) -> UnknownLayout:
    foreign = sorted({path.suffix.lower() for path in every} & TEXTS.foreign)
    steps = (f"convert {', '.join(foreign)} {TEXTS.convert}" if foreign else "", unpack(raw), _named(raw, every))
    what = f"{target} of texts" if _files(every) else "texts"
    return not_understood(raw, what, layouts(target), steps)


def _named(raw: Path, every: Sequence[Path]) -> str:
    """Say how the columns of a table are named, where one of them holds texts; empty if none does."""
    tables = tables_among(every)
    for table in readable(tables, raw):
        if text := wordiest(table):
            others = ", ".join(name for name in table.columns if name != text) or "which is lacking"
            named = f"list: {table.name}, " if len(tables) > 1 else ""
            return (
                f"the texts of {table.name} seem to be in its column {text}: say `{named}text_column: {text}` below "
                f"data, and as `label` the column that holds the target, of {others}"
            )
    return ""
