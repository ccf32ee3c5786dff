"""What the example table looks like, by split: small enough to read, to plot and to compare with another version's.

The same table gives the same profile, digit for digit.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sluiceway.data.table import SPLITS, MeasureKind, SplitName

Floats = npt.NDArray[np.float64]
TargetKind = Literal["class", "number", "text", "none"]

Masks = Mapping[SplitName, npt.NDArray[np.bool_]]

BINS = 20
"""Bins of a histogram."""
MOST_VALUES = 50
"""Distinct values that are counted one by one; the rarer rest is counted together."""
QUANTILES = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
_DIGITS = 9  # significant: more would differ between machines in the last places of a sum


def profile(table: pa.Table, measures: Mapping[str, MeasureKind], target: TargetKind = "class") -> dict[str, Any]:
    """Describe an example table.

    Args:
        table: the example table, or any with its columns.
        measures: the measured columns and their kinds.
        target: what the column ``target`` holds; of a text the length in characters is described.

    Returns:
        JSON-able: ``rows``; ``splits`` (examples by split); ``measures`` (by column) and ``target``, each
        ``{"kind": "number", "edges": [...], "splits": {split: {"count", "missing", "min", "mean", "max",
        "quantiles", "histogram"}}}`` where all splits share the edges, or, most frequent value first,
        ``{"kind": "values", "values": [...], "splits": {split: {"count", "missing", "counts", "other"}}}``.
        ``target`` is null where there is none.
    """
    sides = np.asarray(table["split"].to_pylist(), dtype=object)
    splits: Masks = {split: sides == split for split in SPLITS}
    described = {name: _describe(table[name], kind, splits) for name, kind in measures.items()}
    return {
        "rows": table.num_rows,
        "splits": {split: int(mask.sum()) for split, mask in splits.items()},
        "measures": described,
        "target": _describe_target(table["target"], target, splits),
    }


def _describe_target(column: pa.ChunkedArray, kind: TargetKind, splits: Masks) -> dict[str, Any] | None:
    match kind:
        case "class":
            return _values(column, splits)
        case "number":
            return _numbers(_floats_of_text(column), splits, whole=False)
        case "text":
            return {**_numbers(_floats(pc.utf8_length(column)), splits, whole=True), "unit": "characters"}
        case "none":
            return None


def _describe(column: pa.ChunkedArray, kind: MeasureKind, splits: Masks) -> dict[str, Any]:
    return _values(column, splits) if kind == "text" else _numbers(_floats(column), splits, whole=kind == "integer")


def _numbers(column: Floats, splits: Masks, *, whole: bool) -> dict[str, Any]:
    finite = np.isfinite(column)
    edges = _edges(column[finite], whole=whole)
    parts = {split: _number_part(column[mask], edges) for split, mask in splits.items()}
    return {"kind": "number", "edges": [_rounded(edge) for edge in edges], "splits": parts}


def _number_part(part: Floats, edges: Floats) -> dict[str, Any]:
    values = part[np.isfinite(part)]
    counts: dict[str, Any] = {"count": len(values), "missing": len(part) - len(values)}
    if not len(values):
        return {
            **counts,
            "min": None,
            "mean": None,
            "max": None,
            "quantiles": None,
            "histogram": [0] * (len(edges) - 1),
        }
    quantiles = np.quantile(values, list(QUANTILES.values()))
    return {
        **counts,
        "min": _rounded(values.min()),
        "mean": _rounded(values.mean()),
        "max": _rounded(values.max()),
        "quantiles": {name: _rounded(value) for name, value in zip(QUANTILES, quantiles, strict=True)},
        "histogram": [int(count) for count in np.histogram(values, edges)[0]],
    }


def _edges(values: Floats, *, whole: bool) -> Floats:
    """Return edges [bins + 1] that hold every value; few whole numbers get a bin each."""
    if not len(values):
        return np.array([0.0, 1.0])
    low, high = float(values.min()), float(values.max())
    if whole and high - low < BINS:
        return np.arange(low - 0.5, high + 1.0)
    if low == high:
        return np.array([low - 0.5, high + 0.5])
    return np.linspace(low, high, BINS + 1)


def _values(column: pa.ChunkedArray, splits: Masks) -> dict[str, Any]:
    everything = np.asarray(column.to_pylist(), dtype=object)
    totals = Counter(value for value in everything.tolist() if value is not None)
    frequent = sorted(totals, key=lambda value: (-totals[value], value))[:MOST_VALUES]
    parts = {}
    for split, mask in splits.items():
        counts = Counter(everything[mask].tolist())
        missing = counts.pop(None, 0)
        shown = [counts[value] for value in frequent]
        count = counts.total()
        parts[split] = {"count": count, "missing": missing, "counts": shown, "other": count - sum(shown)}
    return {"kind": "values", "values": frequent, "splits": parts}


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _floats_of_text(column: pa.ChunkedArray) -> Floats:
    """Return a column of texts as numbers; what is not a number counts as missing."""
    return np.asarray([_float_of(value) for value in column.to_pylist()], dtype=np.float64)


def _float_of(value: str | None) -> float:
    try:
        return float(value) if value is not None else np.nan
    except ValueError:
        return np.nan


def _rounded(value: float) -> float:
    return float(f"{float(value):.{_DIGITS}g}")
