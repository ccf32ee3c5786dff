"""Examples of the raw folder, and accepted ones read back for the stages after the gate."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from sluiceway.data.sources import Shelf, checksum, load
from sluiceway.data.table import BadExample, Example, SplitName, read_table
from sluiceway.errors import DataError, UnknownLayout
from sluiceway.usecases.base import Loaded, Reader
from sluiceway.usecases.likeness import with_likeness
from sluiceway.usecases.pipeline import Pipeline

if TYPE_CHECKING:
    import polars as pl


def listed_examples(pipeline: Pipeline) -> Iterator[Example]:
    """List the raw examples.

    Raises:
        NoRawData: there are none.
        UnknownLayout: the use case does not understand how they lie; names another one that does.
    """
    try:
        yield from pipeline.usecase.read(pipeline.raw, pipeline.params.data)
    except UnknownLayout as error:
        raise with_likeness(error, pipeline.raw, pipeline.root, pipeline.usecase) from None


def accepted_examples(pipeline: Pipeline) -> pa.Table:
    """Read the example table that the data gate let through."""
    return read_table(pipeline.validated / "examples.parquet")


def reader(pipeline: Pipeline, table: pa.Table) -> Reader:
    """Return a function that reads the examples of a split, with their contents, in the table's order."""
    names = ("id", "source", "target", "group", "split")
    columns = {name: table[name].to_pylist() for name in (*names, "checksum")}

    def read(split: SplitName) -> Iterator[Loaded]:
        with Shelf(pipeline.raw) as shelf:
            rows = [row for row, side in enumerate(columns["split"]) if side == split]
            for row, fetch in zip(rows, shelf.each(columns["source"][row] for row in rows), strict=True):
                example = Example(**{name: columns[name][row] for name in names})
                yield Loaded(example, _content(pipeline, fetch, example, columns["checksum"][row]), row)

    return read


def loader_of_row(pipeline: Pipeline, table: "pa.Table | pl.DataFrame") -> Callable[[int], bytes]:
    """Return a function that reads the content of the example in a row of the example table.

    It raises ``DataError`` when the content is not what the data gate let through.

    Args:
        pipeline: whose data it is.
        table: the example table; or some of its rows, with their numbers as ``row``.
    """
    names = ("id", "source", "checksum", "target")
    if isinstance(table, pa.Table):
        columns = [table[name] for name in names]
        place: Callable[[int], int] = int
    else:
        columns = [table[name].to_arrow() for name in names]
        place = {row: at for at, row in enumerate(table["row"].to_list())}.__getitem__

    def content(row: int) -> bytes:
        name, source, wanted, target = (column[place(row)].as_py() for column in columns)
        return _content(pipeline, partial(load, pipeline.raw, source), Example(name, source, target), wanted)

    return content


def _content(pipeline: Pipeline, fetch: Callable[[], bytes], example: Example, wanted: str) -> bytes:
    """Fetch a content, compare it with what was validated, and put in what a person has corrected of it."""
    hint = f"run `dvc repro register@{pipeline.name}`: data/raw/{pipeline.name} changed behind the gate"
    try:
        payload = fetch()
    except BadExample as bad:
        raise DataError(f"{example.id} cannot be read any more: {bad}", hint=hint) from None
    if checksum(payload) != wanted:
        raise DataError(f"{example.id} is not what was validated", hint=hint)
    amend, target = pipeline.usecase.amend, example.target
    return payload if amend is None or target is None else amend(payload, target)
