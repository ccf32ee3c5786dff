"""Groups that behave as no other does: machines among people, another camera, and people under two names.

One example of a bot is like any other; what gives it away is the group as a whole: equal steps in time, a day's work
in an hour, always the same answer. Nor need a frame of another camera lie outside of what single frames may be; that
all of a drive lie at the edge gives it away. A copy of a user under a new name has other ids and, where the content
names the group, other contents; what it shares is the order of its targets.

Shapes: G groups.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sluiceway.checks.base import MOST_OFFENDERS, Finding, Material, Offender, count_rows, finding
from sluiceway.checks.near_copies import alike_signatures
from sluiceway.data.fences import ASIDE, BEYOND, QUANTILES, Fences
from sluiceway.data.measuring.minhash import signature

if TYPE_CHECKING:
    import polars as pl

_LEAST_GROUPS = 20
"""Groups below which none is unlike all others."""
_LEAST_STEPS = 20
"""Steps in time, or values, from which a group has a habit."""
_NEARLY_ALL, _HALF = 0.8, 0.5
"""A habit: what more than the first share of a group's steps, or values, have in common, where in most groups less than
the second have as much in common."""
_EVEN = 0.2
"""How far a step may differ from the group's median step, as a share of it, to be the same."""
_GAP = 4
"""Beyond a fence there must be so many times as many groups as just before it."""
_HOUR = 3600.0
_TARGETS = 10
"""Targets in a row from which a group may be a copy."""
_NAMED = 3


@dataclass(frozen=True, slots=True)
class _Odd:
    """What is odd in some groups."""

    groups: "pl.DataFrame"
    """``group`` (a hash) and ``figure``."""
    detail: str


def odd_groups(material: Material) -> Iterator[Finding]:
    """Ask whether a group behaves as no other does."""
    import polars as pl

    table = material.scan().filter(pl.col("group").is_not_null()).with_columns(group=pl.col("group").hash())
    count = table.select(pl.col("group").n_unique()).collect(engine="streaming").item()
    if count < _LEAST_GROUPS:
        return
    odd = [*_rhythm(table), *_rush(table)]
    for name in (name for name, kind in material.measures.items() if kind != "text"):
        odd += [*_monotony(table, name), *_elsewhere(table, name)]
    details: dict[int, list[str]] = {}
    for each in odd:
        for group, figure in each.groups.iter_rows():
            details.setdefault(group, []).append(each.detail.format(figure=figure))
    yield _judged(
        "odd_groups",
        "behave as no other does",
        material,
        {group: ("; ".join(said), None) for group, said in details.items()},
        count,
    )


def _rhythm(table: "pl.LazyFrame") -> Iterator[_Odd]:
    """Steps in time that are nearly all equal; times that are the same say nothing."""
    import polars as pl

    step = pl.col("time").diff().over("group").alias("step")
    times = table.filter(pl.col("time").is_not_null()).select("group", "time").sort("group", "time")
    steps = times.select("group", step).filter(pl.col("step") > 0)
    median = pl.col("step").median().over("group")
    even = steps.select("group", even=(pl.col("step") - median).abs() <= _EVEN * median)
    counts = even.group_by("group").agg(same=pl.col("even").sum(), of=pl.len()).collect(engine="streaming")
    yield from _habit(counts, "{figure:.0%} of its steps in time are equal")


def _monotony(table: "pl.LazyFrame", name: str) -> Iterator[_Odd]:
    """One value of a property again and again."""
    import polars as pl

    values = table.filter(pl.col(name).is_not_null()).group_by("group", name).len()
    counts = values.group_by("group").agg(same=pl.col("len").max(), of=pl.col("len").sum()).collect(engine="streaming")
    yield from _habit(counts, f"{name} is the same in {{figure:.0%}} of it")


def _elsewhere(table: "pl.LazyFrame", name: str) -> Iterator[_Odd]:
    """A mean of a property far from where other groups have theirs: another camera, microphone or source."""
    import polars as pl

    value = pl.col(name).cast(pl.Float64)
    known = table.filter(value.is_finite()).group_by("group").agg(figure=value.mean(), of=pl.len())
    means = known.filter(pl.col("of") >= _LEAST_STEPS).select("group", "figure").collect(engine="streaming")
    if means.height < _LEAST_GROUPS:
        return
    quantiles = [float(each) for each in np.quantile(means["figure"].to_numpy(), QUANTILES)]
    if quantiles[0] >= quantiles[-1]:
        return
    fences = Fences.of(quantiles, BEYOND)
    low, high = fences.quartiles
    figure = pl.col("figure")
    sides = (
        # Of a property that is rare, some groups have nothing at all; in logarithms that would be infinitely far.
        ((figure < fences.low) & (figure != 0), figure.is_between(fences.low, fences.shoulders[0])),
        (figure > fences.high, figure.is_between(fences.shoulders[1], fences.high)),
    )
    for beyond, before in sides:
        far = means.filter(beyond)
        if far.height >= _GAP * means.filter(before).height:  # else it is a long tail
            yield _Odd(far, f"its mean {name} is {{figure:.3g}}; half of the groups have {low:.3g} to {high:.3g}")


def _habit(counts: "pl.DataFrame", detail: str) -> Iterator[_Odd]:
    import polars as pl

    share = (pl.col("same") + 2) / (pl.col("of") + 4)  # Agresti and Coull, 1998: of few, less is said
    known = counts.filter(pl.col("of") >= _LEAST_STEPS).select("group", "same", "of", share=share)
    if known.height >= _LEAST_GROUPS and float(known["share"].quantile(0.5) or 0.0) < _HALF:
        found = known.filter(pl.col("share") >= _NEARLY_ALL).select("group", figure=pl.col("same") / pl.col("of"))
        yield _Odd(found, detail)


def _rush(table: "pl.LazyFrame") -> Iterator[_Odd]:
    """Far more examples in an hour, where time is in seconds, than any other group has in its busiest."""
    import polars as pl

    hours = table.filter(pl.col("time").is_not_null()).group_by("group", hour=(pl.col("time") / _HOUR).floor()).len()
    busiest = hours.group_by("group").agg(figure=pl.col("len").max()).collect(engine="streaming")
    if busiest.height >= _LEAST_GROUPS:
        quantiles = np.quantile(busiest["figure"].to_numpy(), QUANTILES)
        high = Fences.of([float(each) for each in quantiles], ASIDE).high
        yield _Odd(busiest.filter(pl.col("figure") > high), f"{{figure:,}} in an hour; {high:,.0f} would be many")


def copied_groups(material: Material) -> Iterator[Finding]:
    """Ask whether a group's targets, in the order of time, are those of another group."""
    import polars as pl

    if material.target != "text":
        return  # of few classes, many have the same in a row
    rows = material.scan().with_row_index("row").select("row", "group", "time", "target").drop_nulls()
    known = rows.with_columns(pl.col("group").hash(), pl.col("target").hash()).sort("group", "time", "target")
    after = known.with_columns(after=pl.col("target").shift(-1).over("group")).drop_nulls()
    pairs = after.select("group", "row", pair=pl.struct("target", "after").hash())
    lists = pairs.group_by("group").agg(first=pl.col("row").min(), pairs=pl.col("pair"))
    groups = lists.filter(pl.col("pairs").list.len() >= _TARGETS).sort("first").collect(engine="streaming")
    if groups.height < _LEAST_GROUPS:
        return
    signatures = np.stack([signature(each.to_numpy()) for each in groups["pairs"]])
    found = alike_signatures(signatures, np.arange(groups.height))
    names = groups["group"].to_list()
    copies: dict[int, tuple[str, int | None]] = {}
    for one, other, alike in zip(found.one.tolist(), found.other.tolist(), found.alike.tolist(), strict=True):
        copies.setdefault(names[other], (f"{alike:.0%} of its targets follow each other as in {{other}}", names[one]))
    yield _judged(
        "copied_groups", "have the targets of another group in the same order", material, copies, groups.height
    )


def _judged(name: str, what: str, material: Material, odd: "dict[int, tuple[str, int | None]]", count: int) -> Finding:
    """Name the examples of odd groups.

    Args:
        name: of the check.
        what: they do.
        material: what is known of the data set.
        odd: by a group's hash, what is odd in it, and the hash of the group that it is like.
        count: G.
    """
    import polars as pl

    table = material.scan()
    total, limit = count_rows(table), material.limits.max_odd_groups
    wanted = pl.LazyFrame({"hash": list(odd)}, schema={"hash": pl.UInt64})
    hashed = table.select("id", "group", hash=pl.col("group").hash())
    rows = hashed.join(wanted, on="hash", how="semi", maintain_order="left")
    blamed = count_rows(rows)
    few = rows.head(MOST_OFFENDERS).collect(engine="streaming")
    titles = dict(few.select("hash", "group").iter_rows())
    titles |= _titles(material, [other for _, other in odd.values() if other is not None])
    offenders = [
        Offender(each, f"{group}: {odd[mark][0].format(other=titles.get(odd[mark][1] or 0))}")
        for each, group, mark in few.iter_rows()
    ]
    listed = ", ".join(sorted({str(titles[mark]) for mark in odd if mark in titles})[:_NAMED])
    named = f" ({listed}{' ...' if len(odd) > _NAMED else ''})" if odd else ""
    share = blamed / total if total else 0.0
    return finding(
        name,
        f"{len(odd):,} of {count:,} groups {what}{named}; they have {100 * share:.2g} % of the examples, and at most "
        f"{100 * limit:g} % may be theirs",
        passed=share <= limit,
        figure=round(share, 6),
        limit=limit,
        offenders=offenders,
        count=blamed,
    )


def _titles(material: Material, hashes: Sequence[int]) -> dict[int, str]:
    import polars as pl

    wanted = pl.LazyFrame({"hash": hashes}, schema={"hash": pl.UInt64}).unique()
    rows = material.scan().select("group", hash=pl.col("group").hash()).join(wanted, on="hash", how="semi").unique()
    return dict(rows.select("hash", "group").collect(engine="streaming").iter_rows())
