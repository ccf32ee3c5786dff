"""Great Expectations' questions about a table, answered by polars.

An expectation judges by a few figures of a table, its metrics: how many rows, how many values outside some bounds,
which ones. Great Expectations computes them with pandas, in memory and one by one. Here they come from the end of the
Parquet file where it knows them, and otherwise from one pass over the file in bounded memory. Judging stays its
business.

A question that is not certain to get pandas' own answer gets none: the caller then leaves the expectation to pandas.
Like pandas, NaN is a missing value here, and whole numbers with missing ones among them are floating-point numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sluiceway.data.contract.conditions import ROW_BY_ROW, Arguments, kept, known_good, set_of
from sluiceway.data.contract.footer import Footer
from sluiceway.data.contract.passes import MOST, Offending, Pass, Plan, Rows, scan, value_of

if TYPE_CHECKING:
    import polars as pl

_LISTED = 10_000
"""Rows beyond a set from which its first strange values are taken."""
_SUFFIXES = (
    "filtered_row_count",
    "unexpected_count",
    "unexpected_index_list",
    "unexpected_index_query",
    "unexpected_values",
)


@dataclass(frozen=True, slots=True)
class Question:
    """A metric that Great Expectations asks for."""

    name: str
    about: Arguments
    """Which columns, and which rows."""
    arguments: Arguments


def plan(question: Question, footer: Footer) -> Plan | None:
    """Return how a question can be answered; None where that is not certain to be pandas' answer."""
    if question.about.get("row_condition") is not None:
        return None
    if question.name in _OF_TABLE:
        return Plan(_OF_TABLE[question.name])
    metric, _, suffix = question.name.rpartition(".")
    columns = _columns(question.about)
    if any(footer.kind(name) is None for name in columns) or not columns:
        return None
    if question.name in _OF_COLUMN:
        return _OF_COLUMN[question.name](footer, columns[0], question.arguments)
    if suffix not in _SUFFIXES:
        return None
    if suffix == "unexpected_index_query":
        return Plan(lambda made: None)
    if suffix == "filtered_row_count":
        key = f"rows of {columns} unless {question.about.get('ignore_row_if')}"
        return Plan(lambda made: made.figures[key], {key: kept(footer, columns, question.about).sum()})
    if metric in ROW_BY_ROW:
        return _row_by_row(metric, suffix, columns, question, footer)
    return _as_a_whole(metric, suffix, columns, question, footer)


def _columns(about: Arguments) -> tuple[str, ...]:
    if about.get("column_list"):
        return tuple(about["column_list"])
    return tuple(about[key] for key in ("column", "column_A", "column_B") if about.get(key))


# The table.

_OF_TABLE: Mapping[str, Callable[[Pass], Any]] = {
    "table.row_count": lambda made: made.footer.rows,
    "table.column_count": lambda made: len(made.footer.schema),
    "table.columns": lambda made: list(made.footer.schema.names),
    "table.column_types": lambda made: [
        {"name": name, "type": kind} for name, kind in made.footer.frame().dtypes.items()
    ],
}


# A figure of a column.


def _missing(footer: Footer, column: str) -> Plan:
    if footer.kind(column) != "number" and column in footer.nulls:
        return Plan(lambda made: footer.nulls[column])
    name = f"missing values of {column}"
    return Plan(lambda made: made.figures[name], {name: value_of(footer, column).null_count()})


def _present(footer: Footer, column: str, arguments: Arguments) -> Plan:
    missing = _missing(footer, column)
    return Plan(lambda made: footer.rows - missing.finish(made), missing.figures)


def _present_share(footer: Footer, column: str, arguments: Arguments) -> Plan:
    missing = _missing(footer, column)
    return Plan(lambda made: 1 - missing.finish(made) / footer.rows if footer.rows else 0, missing.figures)


def _different(footer: Footer, column: str, arguments: Arguments) -> Plan:
    return Plan(lambda made: made.repeats((column,), value_of(footer, column).is_not_null(), "None")[1])


def _different_share(footer: Footer, column: str, arguments: Arguments) -> Plan:
    different, present = _different(footer, column, arguments), _present(footer, column, arguments)

    def finish(made: Pass) -> float:
        count = present.finish(made)
        return different.finish(made) / count if count else 0

    return Plan(finish, present.figures)


def _median(footer: Footer, column: str, arguments: Arguments) -> Plan | None:
    return None if footer.kind(column) == "text" else Plan(lambda made: made.median(column))


def _aggregate(name: str, compute: Callable[["pl.Expr"], "pl.Expr"]) -> Callable[[Footer, str, Arguments], Plan | None]:
    def planned(footer: Footer, column: str, arguments: Arguments) -> Plan | None:
        if footer.kind(column) == "text":
            return None
        key = f"{name} of {column}"
        return Plan(lambda made: made.figures[key], {key: compute(value_of(footer, column))})

    return planned


def _value_counts(footer: Footer, column: str, arguments: Arguments) -> Plan | None:
    return Plan(lambda made: _counted(made, column)) if arguments.get("sort") == "value" else None


def _counted(made: Pass, column: str) -> Any:
    import pandas as pd
    import polars as pl

    value = value_of(made.footer, column).alias("value")
    counts = scan(made.footer).select(value).drop_nulls().group_by("value").agg(count=pl.len())
    found = counts.sort("value").collect(engine="streaming")
    index = pd.Index(found["value"].to_list(), name="value")
    return pd.Series(found["count"].to_list(), index=index, name="count", dtype="int64")


def _beyond(footer: Footer, column: str, arguments: Arguments, *, lacking: bool, count: bool) -> Plan | None:
    allowed = set_of(footer, column, arguments.get("value_set"))
    if allowed is None:
        return None

    def finish(made: Pass) -> Any:
        import polars as pl

        inside = value_of(footer, column).is_in(allowed)
        wanted = value_of(footer, column).alias("value")
        rows = scan(footer).filter(inside if lacking else ~inside)
        if lacking:
            there = set(rows.select(wanted.unique()).collect(engine="streaming").to_series().to_list())
            absent = [value for value in dict.fromkeys(arguments["value_set"]) if value not in there]
            return len(absent) if count else absent
        strange = rows.select(wanted.hash() if count else wanted)
        if count:
            return len(np.unique(strange.collect(engine="streaming").to_series().to_numpy()))
        few = strange.head(_LISTED).select(pl.col("value").unique(maintain_order=True))
        return few.collect(engine="streaming").to_series().to_list()[:MOST]

    return Plan(finish)


def _beyond_set(*, lacking: bool, count: bool) -> Callable[[Footer, str, Arguments], Plan | None]:
    return lambda footer, column, arguments: _beyond(footer, column, arguments, lacking=lacking, count=count)


_OF_COLUMN: Mapping[str, Callable[[Footer, str, Arguments], Plan | None]] = {
    "column.min": _aggregate("min", lambda value: value.min()),
    "column.max": _aggregate("max", lambda value: value.max()),
    "column.mean": _aggregate("mean", lambda value: value.mean()),
    "column.median": _median,
    "column.sum": _aggregate("sum", lambda value: value.sum()),
    "column.standard_deviation": _aggregate("std", lambda value: value.std()),
    "column.value_counts": _value_counts,
    "column.non_null_count": _present,
    "column.non_null_proportion": _present_share,
    "column.unique_proportion": _different_share,
    "column.distinct_values.count": _different,
    "column.distinct_values.not_in_set": _beyond_set(lacking=False, count=False),
    "column.distinct_values.not_in_set.count": _beyond_set(lacking=False, count=True),
    "column.distinct_values.missing_from_column": _beyond_set(lacking=True, count=False),
    "column.distinct_values.missing_from_column.count": _beyond_set(lacking=True, count=True),
    "column_values.nonnull.count": _present,
    "column_values.nonnull.unexpected_count": lambda footer, column, arguments: _missing(footer, column),
    "column_values.null.unexpected_count": _present,
}


# Rows that can be judged one by one.


def _row_by_row(metric: str, suffix: str, columns: tuple[str, ...], question: Question, footer: Footer) -> Plan | None:
    arguments = {key: each for key, each in question.arguments.items() if key != "result_format"}
    good = ROW_BY_ROW[metric](footer, columns, arguments)
    if good is None:
        return None
    if known_good(footer, metric, columns[0], arguments):
        return Plan(lambda made: 0 if suffix == "unexpected_count" else [])
    of_missing = metric in ("column_values.nonnull", "column_values.null")
    bad = ~good if of_missing else kept(footer, columns, question.about) & ~good.fill_null(value=False)
    key = f"{metric} of {columns} with {arguments} unless {question.about.get('ignore_row_if')}"
    offending = Offending(key, columns, bad)
    figures = {key: bad.sum()}
    if suffix == "unexpected_count":
        return Plan(lambda made: made.figures[key], figures)
    if suffix == "unexpected_index_list":
        return Plan(lambda made: made.offenders(offending)[0], figures)
    return Plan(lambda made: _shaped(made.offenders(offending)[1], question.about), figures)


def _shaped(rows: list[tuple[Any, ...]], about: Arguments) -> list[Any]:
    if about.get("column_list"):
        return [dict(zip(about["column_list"], row, strict=True)) for row in rows]
    return [row if about.get("column_A") else row[0] for row in rows]


# Rows that are judged by others.


def _as_a_whole(metric: str, suffix: str, columns: tuple[str, ...], question: Question, footer: Footer) -> Plan | None:
    found = _found(metric, columns, question, footer)
    if found is None:
        return None

    def finish(made: Pass) -> Any:
        rows = found(made)
        if suffix == "unexpected_count":
            return rows.count
        if suffix == "unexpected_index_list":
            return list(rows.places)
        return _shaped(made.at(rows.places, columns)[1], question.about)

    return Plan(finish)


def _found(metric: str, columns: tuple[str, ...], question: Question, footer: Footer) -> Callable[[Pass], Rows] | None:
    if metric in ("column_values.unique", "compound_columns.unique"):
        rows, unless = kept(footer, columns, question.about), str(question.about.get("ignore_row_if"))
        return lambda made: made.repeats(columns, rows, unless)[0]
    if metric in ("column_values.increasing", "column_values.decreasing") and footer.kind(columns[0]) != "text":
        down, strictly = metric.endswith("decreasing"), bool(question.arguments.get("strictly"))
        return lambda made: made.disordered(columns[0], down=down, strictly=strictly)
    return None
