"""Two kinds of groups: a property by which some groups lie apart from all others, with nothing between them.

A few odd groups lie outside the tail of the rest (:mod:`sluiceway.checks.groups`). A fifth of the drives by another
camera are no tail: they are a second kind. What tells two kinds from one that is wide is the gap between them, wider
than the spread inside either, on the scale of the property and on that of its logarithm: a long tail has no such gap on
both.

Shapes: G groups.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sluiceway.checks.base import MOST_OFFENDERS, Finding, Material, Offender, count_rows, finding
from sluiceway.gates.verdict import Severity

if TYPE_CHECKING:
    import polars as pl

_LEAST_GROUPS, _LEAST_EACH = 20, 10
"""Groups, and examples of each, from which kinds are looked for."""
_SMALLEST, _FEWEST = 0.1, 4
"""Share of the groups, and number, that make a kind; fewer may be odd ones."""

Floats = npt.NDArray[np.float64]


def groups_of_one_kind(material: Material) -> Iterator[Finding]:
    """Ask whether groups are of one kind in every property."""
    import polars as pl

    table = material.scan().filter(pl.col("group").is_not_null())
    widest, said = 0.0, ""
    rarer: tuple[str, pl.DataFrame] | None = None
    for name in (name for name, kind in material.measures.items() if kind != "text"):
        means = _means(table, name)
        if means.height < _LEAST_GROUPS:
            continue
        figures = means["figure"].to_numpy()
        gap, size = widest_gap(figures)
        if gap > widest or rarer is None:
            widest = gap
            fewer = means.head(size) if 2 * size <= means.height else means.tail(means.height - size)
            ends = [f"{figures[at]:.3g}" for at in (0, size - 1, size, -1)]
            said = f"by {name}: its mean is {ends[0]} to {ends[1]} in one, {ends[2]} to {ends[3]} in the other"
            rarer = (name, fewer)
    if rarer is None:
        return
    limit = material.limits.max_groups_apart
    passed = widest <= limit
    offenders, count = ([], 0) if passed else _rarer(material, *rarer)
    yield finding(
        "groups_of_one_kind",
        f"groups are of {'one kind' if passed else f'two kinds {said}'}; the widest gap between groups is {widest:.2g} "
        f"times the spread beside it, and at most {limit:g} times may be",
        passed=passed,
        figure=round(widest, 6),
        limit=limit,
        severity=Severity.warn,
        offenders=offenders,
        count=count,
    )


def widest_gap(figures: Floats) -> tuple[float, int]:
    """Find the gap that best parts sorted figures into two kinds.

    Args:
        figures: ascending, [G].

    Returns:
        Its width in deviations of the figures from the mean of their own side, the smaller of that on the plain scale
        and on the logarithmic one; and how many figures lie below it.
    """
    least = max(_FEWEST, int(np.ceil(_SMALLEST * len(figures))))
    if len(figures) < 2 * least or figures[0] == figures[-1]:
        return 0.0, 0
    below = np.arange(least, len(figures) - least + 1)
    gaps = _gaps(figures, below)
    if figures[0] > 0:
        gaps = np.minimum(gaps, _gaps(np.log(figures), below))
    best = int(gaps.argmax())
    return float(gaps[best]), int(below[best])


def _gaps(figures: Floats, below: npt.NDArray[np.int64]) -> Floats:
    centred = figures - figures.mean()
    sums, squares = np.cumsum(centred), np.cumsum(centred**2)
    above = len(figures) - below
    left = squares[below - 1] - sums[below - 1] ** 2 / below
    right = squares[-1] - squares[below - 1] - (sums[-1] - sums[below - 1]) ** 2 / above
    spread = np.sqrt(np.maximum(left + right, 0) / len(figures))
    widths = figures[below] - figures[below - 1]
    # Of two values alone, the gap is as wide as can be told.
    gaps: Floats = widths / np.maximum(spread, 1e-3 * (figures[-1] - figures[0]))
    return gaps


def _means(table: "pl.LazyFrame", name: str) -> "pl.DataFrame":
    import polars as pl

    value = pl.col(name).cast(pl.Float64)
    known = table.filter(value.is_finite()).group_by(pl.col("group").hash()).agg(figure=value.mean(), of=pl.len())
    found = known.filter(pl.col("of") >= _LEAST_EACH).select("group", "figure").collect(engine="streaming")
    return found.sort("figure", "group")


def _rarer(material: Material, name: str, groups: "pl.DataFrame") -> tuple[list[Offender], int]:
    """Name examples of the rarer kind, and count them."""
    import polars as pl

    wanted = groups.lazy().rename({"group": "hash"})
    hashed = material.scan().select("id", "group", hash=pl.col("group").hash())
    rows = hashed.join(wanted, on="hash", maintain_order="left")
    few = rows.head(MOST_OFFENDERS).collect(engine="streaming")
    found = [Offender(each, f"{group}: its mean {name} is {figure:.3g}") for each, group, _, figure in few.iter_rows()]
    return found, count_rows(rows)
