"""How text may lie in a raw folder: plain files, or tables with a column of text."""

import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from sluiceway.data.census import not_understood, unpack
from sluiceway.data.folders import below, files_below
from sluiceway.data.lists import List, kind_of
from sluiceway.data.roles import Roles, sided, tables_among
from sluiceway.data.sides import side_of, split_folders, split_names
from sluiceway.data.sources import byte_range, opened
from sluiceway.data.table import Example
from sluiceway.data.text_tables import Names, text_column, text_tables
from sluiceway.errors import UnknownLayout
from sluiceway.usecases.text_generation.params import TextData

SUFFIXES = frozenset({".txt", ".text", ".md"})
LAYOUTS = (
    "plain text files in UTF-8, data/raw/<pipeline>/<document>.txt, or a .jsonl, .csv, .tsv or .parquet file with a "
    "column text; lines may be packed as .gz; below train/, validation/ and test/ where the data is split already"
)
_ABOUT = frozenset({"readme", "license", "licence", "copying", "changelog"})
"""Names of files that tell of the data, and are not part of it where there is another text."""
_FOREIGN = frozenset({".pdf", ".docx", ".doc", ".epub", ".html", ".htm", ".rtf", ".odt", ".xml"})
_SEPARATORS = {"block": re.compile(rb"(?:[ \t\r]*\n){2,}"), "line": re.compile(rb"\n")}


def read(raw: Path, data: TextData) -> Iterator[Example]:
    """List the passages of all files. The id is file and content: ``01-genesis.txt#5d41402abc``.

    By its content a passage keeps its id when others are put in before it; a repeated one has a number behind it.

    Raises:
        NoRawData: the folder is missing or empty.
        UnknownLayout: no layout fits; says what was found and what comes nearest.
    """
    every = files_below(raw, None)
    plain = [path for path in every if kind_of(path) in SUFFIXES]
    texts = [path for path in plain if path.name.partition(".")[0].lower() not in _ABOUT]
    if texts and data.list_ is None and data.text_column is None:
        yield from _plain(raw, texts, data)
        return
    lists = text_tables(every, raw, data.list_, data.text_column)
    if lists:
        yield from _records(raw, lists, data)
    elif plain:
        yield from _plain(raw, plain, data)
    else:
        raise _unknown(raw, every)


def _plain(raw: Path, files: Sequence[Path], data: TextData) -> Iterator[Example]:
    sides = split_folders(raw, (below(raw, path) for path in files))
    for path in files:
        name = path.relative_to(raw).as_posix()
        split = sides.get(path.relative_to(raw).parts[0])
        try:
            with opened(path) as file:
                content = file.read()
        except (OSError, EOFError, zlib.error) as error:
            yield Example(id=name, source=name, split=split, fault=f"unreadable: {error}")
            continue
        names = Names(name)
        for start, end in _passages(content, data.passage):
            yield Example(id=names.of(content[start:end]), source=byte_range(name, start, end), split=split)


def _passages(content: bytes, unit: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each passage that is not blank."""
    edges = (
        [(0, 0), *((m.start(), m.end()) for m in _SEPARATORS[unit].finditer(content))] if unit != "file" else [(0, 0)]
    )
    ends = [start for start, _ in edges[1:]] + [len(content)]
    for (_, start), end in zip(edges, ends, strict=True):
        if content[start:end].strip():
            yield start, end


# Tables: a record is a passage.


def _records(raw: Path, lists: Sequence[List], data: TextData) -> Iterator[Example]:
    columns = [text_column(table, data.text_column) for table in lists]
    roles = [Roles.of(table, data, (column,)) for table, column in zip(lists, columns, strict=True)]
    by_column = sided(lists, roles)
    by_file = {} if by_column else split_names(raw, [table.path for table in lists])
    for table, column, around in zip(lists, columns, roles, strict=True):
        names = Names(table.name)
        for record in table.records():
            split = side_of(record.text(around.split)) if by_column else by_file.get(table.path)
            text, (time, wrong) = record.values.get(column), around.time_of(record)
            if record.fault or not isinstance(text, str):
                lost = f"missing_field: {record.place} has no {column}"
                yield Example(id=record.place, source=record.source, split=split, fault=record.fault or lost)
                continue
            name = names.of(text.encode("utf-8", "surrogatepass"))
            group, source = record.text(around.group), table.field(record, column)
            yield Example(name, source, group=group, split=split, time=time, fault=wrong)


def _unknown(raw: Path, files: Sequence[Path]) -> UnknownLayout:
    foreign = next((path.name for path in files if path.suffix.lower() in _FOREIGN), "")
    tables = tables_among(files)
    steps = (
        f"turn {foreign} and its like into .txt" if foreign else "",
        f"data.text_column, if {tables[0].name} holds texts" if tables else "",
        unpack(raw),
    )
    return not_understood(raw, "text", LAYOUTS, steps)
