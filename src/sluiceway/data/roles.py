"""What the columns of a list are for, by the parameters or by their usual names, and the sides that a list gives."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Protocol, Self

from pydantic import Field, model_validator

from sluiceway.config import DataParams
from sluiceway.data.lists import SUFFIXES, List, Record, column_of, kind_of, open_list
from sluiceway.data.sides import side_of
from sluiceway.data.splits import read_time
from sluiceway.data.table import SplitName
from sluiceway.errors import UnknownLayout

GROUPS = ("group", "group_id", "speaker", "speaker_id", "client_id", "patient", "patient_id", "subject", "subject_id")
SPLITS = ("split", "subset")


class ListParams(DataParams):
    """Options of lists."""

    listing = DataParams.listing | {"list_", "group_column", "split_column", "time_column"}
    list_: str | None = Field(None, alias="list")
    """Name or pattern of the list, such as ``labels.csv`` or ``*/index.parquet``; default: ``metadata.csv``, ``.jsonl``
    or ``.parquet`` in any folder, else every table with the columns that are needed."""
    group_column: str | None = None
    """Column of the list that names the group of an example: its speaker, patient, camera or document; default, unless
    ``group`` finds it in the id: ``group``, ``speaker``, ``client_id``, ``patient``, ``subject`` where there is one.
    Empty: none."""
    split_column: str | None = None
    """Column of the list that names the side of an example: train, validation or test; default: ``split`` or ``subset``
    where there is one. Empty: none, and sides are made by hash."""
    time_column: str | None = None
    """Column of the list that says when an example was taken: ISO 8601, or a number. Who gives it says that time
    matters: the gate then checks that nothing is learned from later times."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        for name, column in (("group", self.group_column), ("time", self.time_column)):
            if column and getattr(self, name) is not None:
                raise ValueError(f"{name} and {name}_column both say where the {name} is found: give one of them")
        return self


@dataclass(frozen=True, slots=True)
class Roles:
    """Columns of a list that say what surrounds an example."""

    group: str | None
    split: str | None
    time: str | None

    @classmethod
    def of(cls, table: List, data: ListParams, taken: Sequence[str]) -> "Roles":
        """Find the columns.

        Args:
            table: the list.
            data: the data section.
            taken: columns that are for something else.

        Raises:
            UnknownLayout: one that the parameters name is not there.
        """
        found = []
        for name, usual in (("group", GROUPS), ("split", SPLITS), ("time", ())):
            given = getattr(data, f"{name}_column")
            if given is None and name == "group" and data.group is not None:
                given = ""  # who says where the group is found means no column that happens to be there
            column = None if given == "" else column_of(table, given, usual, f"data.{name}_column")
            found.append(None if given is None and column in taken else column)
        return cls(*found)

    def time_of(self, record: Record) -> tuple[float | None, str | None]:
        """Return when an example was taken, and what is wrong with that."""
        text = record.text(self.time)
        time = read_time(text) if text is not None else None
        wrong = f"bad_time: {record.place}: {text!r} is neither ISO 8601 nor a number"
        return time, wrong if text is not None and time is None else None


def tables_among(files: Sequence[Path]) -> list[Path]:
    """Return the files that may be lists."""
    return [path for path in files if kind_of(path) in SUFFIXES]


def readable(tables: Iterable[Path], raw: Path) -> Iterator[List]:
    """Open files that may be lists, and leave out those that are none."""
    for path in tables:
        try:
            table = open_list(path, raw)
        except UnknownLayout:
            continue
        yield table


def named_lists(files: Sequence[Path], raw: Path, pattern: str) -> list[List]:
    """Return the lists that the parameters name.

    Raises:
        UnknownLayout: there is none, or it cannot be read.
    """
    names = {path: path.relative_to(raw).as_posix() for path in tables_among(files)}
    chosen = [path for path, name in names.items() if fnmatch(name, pattern) or fnmatch(path.name, pattern)]
    if not chosen:
        found = ", ".join(sorted(names.values())[:3]) or "no table"
        raise UnknownLayout(f"data.list: no {pattern} is below {raw}: found {found}", hint="name one of them")
    return [open_list(path, raw) for path in chosen]


class Records(Protocol):
    """A list, or a part of one."""

    def records(self) -> Iterator[Record]:
        """Read record after record."""


def sided(lists: Sequence[Records], roles: Sequence[Roles]) -> bool:
    """Whether a column names the side of each example.

    Raises:
        UnknownLayout: it does so by half.
    """
    if not any(each.split for each in roles):
        return False
    met: dict[SplitName | None, str] = {}
    for table, each in zip(lists, roles, strict=True):
        for record in table.records():
            if record.fault:
                continue
            said = record.text(each.split)
            met.setdefault(side_of(said), f"{record.place} says {said!r}" if said else f"{record.place} says none")
    hint = "name every side train, validation or test; or set data.split_column: '' and sides are made by hash"
    if None in met:
        raise UnknownLayout(f"the lists name the sides of examples, but {met[None]}", hint=hint)
    if lost := [side for side in ("train", "test") if side not in met]:
        raise UnknownLayout(f"the lists name the sides of examples, and put none into {lost[0]}", hint=hint)
    return True
