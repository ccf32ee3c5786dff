"""Where a model is worse than it is on the whole: its first metric on parts of the test split.

Parts are made from the example table: each target class, each group if there are few, each value of a text property
and quarters of each number that was measured. A good mean hides a bad part; this looks for it.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sluiceway.data.table import schema
from sluiceway.evaluation.scores import Groups, Score, score
from sluiceway.evaluation.text import number
from sluiceway.usecases.base import Metric, Outcomes

Mask = npt.NDArray[np.bool_]

MOST_VALUES = 30
"""A column with more distinct values than this on the test split is not sliced by value."""
QUANTILES = 4
"""Numbers are cut into quarters of the test items."""
_IDENTITY = frozenset(schema({}, quarantine=True).names)


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the test split, with the score of it alone."""

    column: str
    """Column of the example table."""
    label: str
    """Which values of it, for people."""
    count: int
    """Test items."""
    score: Score
    worse: bool
    """Whether the whole interval is worse than the value over all items."""


def slices(
    outcomes: Outcomes,
    examples: pa.Table,
    metric: Metric,
    resamples: int,
    seed: int,
    smallest: int = 30,
    groups: Groups | None = None,
    numbers: bool = True,
) -> list[Slice]:
    """Score a metric on parts of the test split.

    Args:
        outcomes: columns [N, ...]; ``row`` [N] names each item's row in the example table.
        examples: the example table.
        metric: what to score.
        resamples: bootstrap resamples per slice.
        seed: of the bootstrap.
        smallest: items below which a slice says too little to be listed.
        groups: what is resampled together [N], as in :func:`sluiceway.evaluation.scores.score`.
        numbers: whether targets that look like numbers are quantities: film 242 is none.

    Returns:
        Worst first, slices without a value last. Empty without a column ``row``, or when no part is large enough.
        With many slices some are flagged by chance alone: about one in forty.
    """
    if "row" not in outcomes:
        return []
    joined = examples.take(pa.array(outcomes["row"]))
    overall = float(metric.compute(outcomes))
    found = []
    for column, label, mask in _parts(joined, {"group"} if numbers else {"group", "target"}):
        count = int(mask.sum())
        if not smallest <= count < len(mask):
            continue
        part = {name: values[mask] for name, values in outcomes.items()}
        together = None if groups is None else groups[mask]
        # Within one group there is one cluster, whose spread is that of its items.
        together = np.arange(count) if column == "group" else together
        figure = score(part, [metric], resamples, seed, together)[metric.name]
        found.append(Slice(column, label, count, figure, _is_worse(figure, overall, metric)))
    return sorted(found, key=lambda part: _badness(part.score.value, metric))


def _parts(table: pa.Table, names: Collection[str]) -> Iterator[tuple[str, str, Mask]]:
    """Yield (column, label, mask [N]) of every part worth a look, whatever its size; some columns hold names only."""
    measured = [name for name in table.column_names if name not in _IDENTITY]
    for column in ("target", "group", *measured):
        if column in table.column_names:
            for label, mask in _parts_of(table[column], names=column in names):
                yield column, label, mask


def _parts_of(column: pa.ChunkedArray, *, names: bool = False) -> Iterator[tuple[str, Mask]]:
    missing = _mask(pc.is_null(column, nan_is_null=True))
    yield "(missing)", missing
    numbers = None if names else _numbers(column)  # user 196 is no quantity
    few = QUANTILES if pa.types.is_floating(column.type) or pa.types.is_integer(column.type) else MOST_VALUES
    if pc.count_distinct(column).as_py() <= few:
        for value in _ordered(pc.unique(column).to_pylist()):
            yield str(value), _mask(pc.equal(column, value))
    elif numbers is not None:
        yield from _quantile_parts(numbers)


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64] | None:
    """Return a column as numbers, missing ones as NaN; None when it holds words: a target is always written as text."""
    try:
        numbers = pc.cast(column, pa.float64())
    except pa.ArrowInvalid:
        return None
    return np.asarray(numbers.to_numpy(), dtype=np.float64)


def _quantile_parts(numbers: npt.NDArray[np.float64]) -> Iterator[tuple[str, Mask]]:
    finite = np.isfinite(numbers)
    edges = np.unique(np.quantile(numbers[finite], np.linspace(0, 1, QUANTILES + 1)))
    for low, high in pairwise(edges):
        below = numbers <= high if high == edges[-1] else numbers < high
        yield f"{number(low)} to {number(high)}", finite & (numbers >= low) & below


def _ordered(values: list[Any]) -> list[Any]:
    return sorted((value for value in values if value is not None), key=lambda value: (str(type(value)), value))


def _mask(array: pa.ChunkedArray) -> Mask:
    return np.asarray(pc.fill_null(array, False).to_numpy(), dtype=bool)


def _badness(value: float, metric: Metric) -> tuple[bool, float]:
    return math.isnan(value), value if metric.higher_is_better else -value


def _is_worse(figure: Score, overall: float, metric: Metric) -> bool:
    best_end = figure.high if metric.higher_is_better else figure.low
    return metric.better(overall, best_end)
