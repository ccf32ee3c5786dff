"""What the example table looks like, by split: small enough to read, to plot and to compare with another version's.

The same table gives the same profile, digit for digit. Columns are looked at one after another, lazily: the table may
be larger than memory.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sluiceway.data.labels import each_label
from sluiceway.data.table import SPLITS, MeasureKind, TargetKind

if TYPE_CHECKING:
    import polars as pl

BINS = 20
"""Bins of a histogram."""
MOST_VALUES = 50
"""Distinct values that are counted one by one; the rarer rest is counted together."""
QUANTILES = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
_DIGITS = 9  # significant: more would differ between machines in the last places of a sum

Part = dict[str, Any]


def profile(
    table: "pl.LazyFrame",
    measures: Mapping[str, MeasureKind],
    target: TargetKind = "class",
    splits: Sequence[str] = SPLITS,
) -> dict[str, Any]:
    """Describe an example table.

    Args:
        table: the example table, or any with its columns.
        measures: the measured columns and their kinds.
        target: what the column ``target`` holds; of a text the length in characters is described, of
            labels each by itself.
        splits: values of the column ``split`` that are told apart.

    Returns:
        JSON-able: ``rows``; ``splits`` (examples by split); ``measures`` (by column) and ``target``, each
        ``{"kind": "number", "edges": [...], "splits": {split: {"count", "missing", "min", "mean", "max",
        "quantiles", "histogram"}}}`` where all splits share the edges, or, most frequent value first,
        ``{"kind": "values", "values": [...], "splits": {split: {"count", "missing", "counts", "other"}}}``.
        ``target`` is null where there is none.
    """
    import polars as pl

    counted = dict(table.group_by("split").len().collect(engine="streaming").rows())
    return {
        "rows": sum(counted.values()),
        "splits": {split: int(counted.get(split, 0)) for split in splits},
        "measures": {name: _describe(table, pl.col(name), kind, splits) for name, kind in measures.items()},
        "target": _describe_target(table, target, splits),
    }


def _describe_target(table: "pl.LazyFrame", kind: TargetKind, splits: Sequence[str]) -> dict[str, Any] | None:
    import polars as pl

    column = pl.col("target")
    match kind:
        case "class":
            return _values(table, column, splits)
        case "classes":
            return _values(each_label(table), column, splits)
        case "number":
            return _numbers(table, column.cast(pl.Float64, strict=False), splits, whole=False)
        case "text":
            return {**_numbers(table, column.str.len_chars(), splits, whole=True), "unit": "characters"}
        case "none":
            return None


def _describe(table: "pl.LazyFrame", column: "pl.Expr", kind: MeasureKind, splits: Sequence[str]) -> dict[str, Any]:
    if kind == "text":
        return _values(table, column, splits)
    return _numbers(table, column, splits, whole=kind == "integer")


# Numbers.


def _numbers(table: "pl.LazyFrame", column: "pl.Expr", splits: Sequence[str], *, whole: bool) -> dict[str, Any]:
    import polars as pl

    value = column.cast(pl.Float64)
    rows = table.select("split", value=pl.when(value.is_finite()).then(value))
    value = pl.col("value")
    figures = {"known": value.count(), "rows": pl.len(), "min": value.min(), "mean": value.mean(), "max": value.max()}
    found = rows.group_by("split").agg(**figures).collect(engine="streaming")
    by_split = {row["split"]: row | _quantiles(rows, row["split"]) for row in found.iter_rows(named=True)}
    ends = [(row["min"], row["max"]) for row in by_split.values() if row["known"]]
    edges = _edges(ends, whole=whole)
    low, high, bins = edges[0], edges[-1], len(edges) - 1
    # A value on an edge is in the bin above it, the largest in the last.
    place = ((value - low) / (high - low) * bins).floor().clip(0, bins - 1).cast(pl.Int64)
    heights = rows.filter(value.is_not_null()).group_by("split", place.alias("bin")).len().collect(engine="streaming")
    histogram = {(split, at): count for split, at, count in heights.iter_rows()}
    parts = {
        split: _number_part(by_split.get(split), [histogram.get((split, at), 0) for at in range(bins)])
        for split in splits
    }
    return {"kind": "number", "edges": [_rounded(edge) for edge in edges], "splits": parts}


def _quantiles(rows: "pl.LazyFrame", split: str) -> dict[str, float]:
    """Find them with one column of one split in memory."""
    import numpy as np
    import polars as pl

    known = rows.filter(pl.col("split") == split).select("value").drop_nulls().collect(engine="streaming")
    values = known.to_series().to_numpy(writable=True)
    shares = list(QUANTILES.values())
    found = np.quantile(values, shares, overwrite_input=True) if len(values) else [math.nan] * len(shares)
    return dict(zip(QUANTILES, map(float, found), strict=True))


def _number_part(row: Mapping[str, Any] | None, histogram: list[int]) -> Part:
    known, rows = (row["known"], row["rows"]) if row else (0, 0)
    part: Part = {"count": known, "missing": rows - known, "histogram": histogram}
    if row is None or not known:
        return part | {"min": None, "mean": None, "max": None, "quantiles": None}
    part |= {name: _rounded(row[name]) for name in ("min", "mean", "max")}
    return part | {"quantiles": {name: _rounded(row[name]) for name in QUANTILES}}


def _edges(ends: Sequence[tuple[float, float]], *, whole: bool) -> list[float]:
    """Return edges [bins + 1] that hold every value; few whole numbers get a bin each."""
    if not ends:
        return [0.0, 1.0]
    low, high = min(end for end, _ in ends), max(end for _, end in ends)
    if whole and high - low < BINS:
        return [low - 0.5 + step for step in range(math.ceil(high - low) + 2)]
    if low == high:
        half = max(0.5, math.ulp(high))
        return [low - half, high + half]
    return [low + (high - low) * step / BINS for step in range(BINS)] + [high]


# Values.


def _values(table: "pl.LazyFrame", column: "pl.Expr", splits: Sequence[str]) -> dict[str, Any]:
    import polars as pl

    rows = table.select("split", value=column)
    totals = rows.filter(pl.col("value").is_not_null()).group_by("value").len()
    frequent = totals.sort("len", "value", descending=[True, False]).head(MOST_VALUES).collect(engine="streaming")
    shown = frequent["value"].to_list()
    counted = rows.filter(pl.col("value").is_in(shown)).group_by("split", "value").len().collect(engine="streaming")
    counts = {(split, value): count for split, value, count in counted.iter_rows()}
    known = rows.group_by("split").agg(known=pl.col("value").count(), rows=pl.len()).collect(engine="streaming")
    sizes = {split: (here, there) for split, here, there in known.iter_rows()}
    parts: dict[str, Part] = {}
    for split in splits:
        count, everything = sizes.get(split, (0, 0))
        each = [counts.get((split, value), 0) for value in shown]
        parts[split] = {
            "count": count,
            "missing": everything - count,
            "counts": each,
            "other": count - sum(each),
        }
    return {"kind": "values", "values": shown, "splits": parts}


def _rounded(value: float) -> float:
    return float(f"{float(value):.{_DIGITS}g}")
