"""Interactions in tables whose columns the parameters name: an example's content is then its fields, ``BETWEEN`` them.

So a content says by itself what is what, as one does that comes with its header: user, item, rating where there is one,
and time.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from sluiceway.data.lists import List, Record, kind_of, open_list
from sluiceway.data.sources import BETWEEN, joined
from sluiceway.data.table import BadExample
from sluiceway.errors import UnknownLayout, nearest
from sluiceway.usecases.recommendation.params import InteractionData

NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "userid", "uid", "customer", "customerid", "reviewer", "reviewerid", "visitorid", "member"),
    "item": ("item", "itemid", "iid", "movieid", "productid", "bookid", "isbn", "asin", "trackid", "articleid"),
    "rating": ("rating", "ratings", "score", "stars", "overall", "bookrating"),
    "time": ("timestamp", "time", "datetime", "date", "ts", "unixreviewtime"),
}
"""What columns are called, without case, blanks and underscores, and without a type as in ``user_id:token``."""
HEADLESS = frozenset({".data", ".dat"})
"""Files that come without a header."""


def plain(field: str) -> str:
    """Return a column's name without case, blanks, marks and type."""
    return "".join(each for each in field.partition(":")[0].lower() if each.isascii() and each.isalnum())


def named(path: Path, raw: Path, data: InteractionData) -> tuple[List, dict[str, str]]:
    """Return a table, and the columns that the parameters name, or that are called as usual, by what they are for.

    Raises:
        UnknownLayout: one that the parameters name is not there, or one that is needed is not found.
    """
    given = data.columns
    option = f"data.{next(iter(given))}_column"
    if kind_of(path) in HEADLESS:
        raise UnknownLayout(
            f"{path} has no header, and {option} names a column of one",
            hint=f"leave {option} out: its fields are user, item, rating and time; or write a header and call it .csv",
        )
    table = open_list(path, raw)
    found: dict[str, str] = {}
    for meaning, wanted in given.items():
        if wanted:
            found[meaning] = _column(table, wanted, f"data.{meaning}_column")
    free = {plain(name): name for name in reversed(table.columns) if name not in found.values()}
    for meaning, usual in NAMES.items():
        column = next((free[name] for name in usual if name in free), None)
        if meaning not in given and column is not None:
            found[meaning] = column
        elif meaning not in found and meaning != "rating":
            raise UnknownLayout(
                f"{path} has no column for the {meaning}: found {', '.join(table.columns)}",
                hint=f"data.{meaning}_column names it; {nearest(meaning, table.columns)}",
            )
    return table, {meaning: found[meaning] for meaning in NAMES if meaning in found}


def entries(table: List, columns: Mapping[str, str]) -> Iterator[tuple[str, str, bytes]]:
    """Yield place, source and content of each interaction."""
    for record in table.records():
        source = joined(table.field(record, column) for column in columns.values())
        yield record.place, source, BETWEEN.join(_texts(record, columns))


def values_of(payload: bytes) -> dict[str, str]:
    """Return the fields of a content by what they are for.

    Raises:
        BadExample: it is not UTF-8.
    """
    try:
        fields = payload.decode().split(BETWEEN.decode())
    except UnicodeDecodeError as error:
        raise BadExample("unreadable", f"not UTF-8 at byte {error.start}") from None
    names = [name for name in NAMES if name != "rating" or len(fields) == len(NAMES)]
    return {name: field.strip() for name, field in zip(names, fields, strict=False)}


def _column(table: List, wanted: str, option: str) -> str:
    for name in table.columns:
        if wanted in (name, name.partition(":")[0]):
            return name
    raise UnknownLayout(
        f"{table.path} has no column {wanted}, which {option} names: found {', '.join(table.columns) or 'nothing'}",
        hint=nearest(wanted, table.columns),
    )


def _texts(record: Record, columns: Mapping[str, str]) -> Iterator[bytes]:
    for column in columns.values():
        value = record.values.get(column)
        yield b"" if value is None else str(value).encode("utf-8", "surrogatepass")
