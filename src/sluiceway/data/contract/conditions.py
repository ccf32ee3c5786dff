"""Conditions on single rows, as Great Expectations puts them, in polars' expressions.

None stands where it is not certain that pandas would judge alike.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sluiceway.data.contract.footer import Footer
from sluiceway.data.contract.passes import value_of
from sluiceway.data.contract.patterns import as_rust

if TYPE_CHECKING:
    import polars as pl

_EXACT = 2**53
"""Whole numbers below it are exact as floating-point numbers too."""

Arguments = Mapping[str, Any]


def kept(footer: Footer, columns: Sequence[str], about: Arguments) -> "pl.Expr":
    """Return which rows are looked at."""
    import polars as pl

    there = [value_of(footer, name).is_not_null() for name in columns]
    match about.get("ignore_row_if"):
        case None | "either_value_is_missing" | "any_value_is_missing":
            return pl.all_horizontal(there)
        case "both_values_are_missing" | "all_values_are_missing":
            return pl.any_horizontal(there)
        case _:
            return pl.lit(value=True) | there[0]


def known_good(footer: Footer, metric: str, column: str, arguments: Arguments) -> bool:
    """Whether the end of the file says already that all values are as they should be."""
    if metric == "column_values.nonnull":
        return footer.kind(column) != "number" and footer.nulls.get(column) == 0
    if metric != "column_values.between" or column not in footer.ranges:
        return False
    least, most = footer.ranges[column]
    low, high = arguments.get("min_value"), arguments.get("max_value")
    above = low is None or least > low or (least == low and not arguments.get("strict_min"))
    return above and (high is None or most < high or (most == high and not arguments.get("strict_max")))


def _number(value: Any) -> bool:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return known and math.isfinite(value) and abs(value) < _EXACT


def _inside(value: "pl.Expr", arguments: Arguments) -> "pl.Expr | None":
    import polars as pl

    low, high = arguments.get("min_value"), arguments.get("max_value")
    given = [each for each in (low, high) if each is not None]
    if not given or not all(map(_number, given)) or given != sorted(given):
        return None
    above = pl.lit(value=True) if low is None else value > low if arguments.get("strict_min") else value >= low
    below = pl.lit(value=True) if high is None else value < high if arguments.get("strict_max") else value <= high
    return above & below


def _between(footer: Footer, columns: tuple[str, ...], arguments: Arguments) -> "pl.Expr | None":
    return None if footer.kind(columns[0]) == "text" else _inside(value_of(footer, columns[0]), arguments)


def set_of(footer: Footer, column: str, values: Any) -> list[Any] | None:
    """Return a set in the type of a column; None where pandas might compare in another way."""
    if not isinstance(values, list | tuple | set):
        return None
    if footer.kind(column) == "text":
        return list(values) if values and all(isinstance(each, str) for each in values) else None
    whole = footer.kind(column) == "integer" and not footer.nulls[column]
    if not values or not all(map(_number, values)) or (whole and any(isinstance(each, float) for each in values)):
        return None
    return list(values) if whole else [float(each) for each in values]


def _in_set(footer: Footer, columns: tuple[str, ...], arguments: Arguments) -> "pl.Expr | None":
    allowed = set_of(footer, columns[0], arguments.get("value_set"))
    return None if allowed is None else value_of(footer, columns[0]).is_in(allowed)


def _not_in_set(footer: Footer, columns: tuple[str, ...], arguments: Arguments) -> "pl.Expr | None":
    inside = _in_set(footer, columns, arguments)
    return None if inside is None else ~inside


def _length(footer: Footer, columns: tuple[str, ...]) -> "pl.Expr | None":
    return value_of(footer, columns[0]).str.len_chars() if footer.kind(columns[0]) == "text" else None


def _length_between(footer: Footer, columns: tuple[str, ...], arguments: Arguments) -> "pl.Expr | None":
    length = _length(footer, columns)
    return None if length is None else _inside(length, arguments)


def _length_equals(footer: Footer, columns: tuple[str, ...], arguments: Arguments) -> "pl.Expr | None":
    length = _length(footer, columns)
    return length == arguments["value"] if length is not None and _number(arguments.get("value")) else None


def _matches(footer: Footer, columns: tuple[str, ...], arguments: Arguments) -> "pl.Expr | None":
    pattern = as_rust(arguments["regex"]) if footer.kind(columns[0]) == "text" else None
    return None if pattern is None else value_of(footer, columns[0]).str.contains(pattern)


def _matches_not(footer: Footer, columns: tuple[str, ...], arguments: Arguments) -> "pl.Expr | None":
    matches = _matches(footer, columns, arguments)
    return None if matches is None else ~matches


def _more(footer: Footer, columns: tuple[str, ...], arguments: Arguments) -> "pl.Expr | None":
    if any(footer.kind(name) == "text" for name in columns) or len(columns) != 2:
        return None
    one, other = (value_of(footer, name) for name in columns)
    return one >= other if arguments.get("or_equal") else one > other


def _equal(footer: Footer, columns: tuple[str, ...], arguments: Arguments) -> "pl.Expr | None":
    if len({footer.kind(name) == "text" for name in columns}) != 1 or len(columns) != 2:
        return None
    return value_of(footer, columns[0]) == value_of(footer, columns[1])


ROW_BY_ROW: Mapping[str, Callable[[Footer, tuple[str, ...], Arguments], "pl.Expr | None"]] = {
    "column_values.nonnull": lambda footer, columns, arguments: value_of(footer, columns[0]).is_not_null(),
    "column_values.null": lambda footer, columns, arguments: value_of(footer, columns[0]).is_null(),
    "column_values.between": _between,
    "column_values.in_set": _in_set,
    "column_values.not_in_set": _not_in_set,
    "column_values.value_length.between": _length_between,
    "column_values.value_length.equals": _length_equals,
    "column_values.match_regex": _matches,
    "column_values.not_match_regex": _matches_not,
    "column_pair_values.a_greater_than_b": _more,
    "column_pair_values.equal": _equal,
}
