"""Checks of what the sides of the split share though they must not: groups and times."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sluiceway.checks.base import MOST_OFFENDERS, Finding, Material, Offender, count_rows, finding
from sluiceway.gates.verdict import Severity

if TYPE_CHECKING:
    import polars as pl

_LEAST_GROUPS = 3
"""Groups below which one of them cannot but be large."""
_LISTED = 3


def groups_apart(material: Material) -> Iterator[Finding]:
    """Ask whether every group is on one side, and none is most of the data."""
    import polars as pl

    sizes = _group_sides(material)
    if sizes.is_empty():
        return
    if material.limits.groups_in_turn:
        if sizes["group"].n_unique() >= _LEAST_GROUPS:
            yield _largest(material, sizes)
        return
    groups = sizes["group"].n_unique()
    leaking = sizes.filter(pl.len().over("group") > 1)
    count = leaking["group"].n_unique()
    # All but the side on which a group mostly is.
    order = pl.col("len").rank("ordinal", descending=True).over("group")
    minor = leaking.sort("group", "split").filter(order > 1)
    offenders = _members(material, minor)
    by_time = bool(count) and ordered_in_time(material)
    names = list(dict.fromkeys(each.detail for each in offenders))
    listed = f" ({', '.join(names[:_LISTED])}{' ...' if count > _LISTED else ''})" if names else ""
    said = "none may, unless time decides the sides, as it does here" if by_time else "none may"
    yield finding(
        "group_on_one_side",
        f"{count:,} of {groups:,} groups are on more than one side of the split{listed}; {said}",
        passed=not count,
        severity=Severity.warn if by_time else Severity.close,
        figure=float(count),
        limit=0.0,
        offenders=offenders,
        count=int(minor["len"].sum()),
    )
    if groups >= _LEAST_GROUPS:
        yield _largest(material, sizes)


def _largest(material: Material, sizes: "pl.DataFrame") -> Finding:
    import polars as pl

    total, limit = count_rows(material.scan()), material.limits.max_group_share
    group, count = sizes.group_by("group").agg(pl.col("len").sum()).sort("len", "group").row(-1)
    share = count / total
    hashed = pl.col("group").hash() == group
    name = material.scan().filter(hashed).select("group").head(1).collect(engine="streaming").item()
    return finding(
        "group_share",
        f"the largest group, {name!r}, has {share:.1%} of the examples; {limit:.1%} may be",
        passed=share <= limit,
        severity=Severity.warn,
        figure=round(share, 6),
        limit=limit,
    )


def time_overlap(material: Material) -> Iterator[Finding]:
    """Ask whether nothing is learned from times after those of the test.

    Where groups are kept apart and time does not decide, each may have a time of its own: then it is only warned of.
    Where groups may be on several sides in turn, each is asked by its own times.
    """
    import polars as pl

    time, split = pl.col("time"), pl.col("split")
    if material.limits.groups_in_turn:
        yield from _out_of_turn(material)
        return
    first = material.scan().select(time.filter(split == "test").min()).collect(engine="streaming").item()
    learned = material.scan().filter((split == "train") & time.is_not_null())
    known = count_rows(learned)
    if first is None or not known:
        return
    late = learned.filter(time > first)
    count = count_rows(late)
    rows = late.select("id", "time").top_k(MOST_OFFENDERS, by=["time", "id"]).collect(engine="streaming").rows()
    own_time = bool(count) and _kept_apart(material)
    message = f"{count:,} of {known:,} training examples are later than the first test example"
    message += "; none may: data.split.test_from puts what comes later into the test" if count else ""
    yield finding(
        "time_overlap",
        message,
        passed=not count,
        severity=Severity.warn if own_time else Severity.close,
        figure=float(count),
        limit=0.0,
        offenders=[Offender(name, f"{when - first:g} after the first test example", score=when) for name, when in rows],
        count=count,
    )


def _out_of_turn(material: Material) -> Iterator[Finding]:
    """Ask whether no group is learned from after its own test, or chosen by."""
    import polars as pl

    time, split, group = pl.col("time"), pl.col("split"), pl.col("group")
    known = material.scan().filter(group.is_not_null() & time.is_not_null())
    firsts = known.filter(split == "test").group_by("group").agg(first=time.min())
    before = known.filter(split != "test").join(firsts, on="group")
    asked = count_rows(before)
    if not asked:
        return
    late = before.filter(time > pl.col("first"))
    count = count_rows(late)
    delay = (time - pl.col("first")).alias("delay")
    rows = late.select("id", delay).top_k(MOST_OFFENDERS, by=["delay", "id"]).collect(engine="streaming").rows()
    yield finding(
        "time_overlap",
        f"{count:,} of {asked:,} examples of training and validation are later than the first test example of their "
        "own group; none may be: a group is learned from before it is tested",
        passed=not count,
        figure=float(count),
        limit=0.0,
        offenders=[Offender(name, f"{when:g} after its group's first test example", score=when) for name, when in rows],
        count=count,
    )


def ordered_in_time(material: Material) -> bool:
    """Whether every training example is before every test example, as when time decides the sides."""
    import polars as pl

    time, split = pl.col("time"), pl.col("split")
    last, first, unknown = (
        material.scan()
        .select(
            last=time.filter(split == "train").max(),
            first=time.filter(split == "test").min(),
            unknown=time.null_count(),
        )
        .collect(engine="streaming")
        .row(0)
    )
    return last is not None and first is not None and not unknown and bool(last <= first)


def _kept_apart(material: Material) -> bool:
    """Whether all examples have a group, and no group is on two sides."""
    sizes = _group_sides(material)
    if sizes.is_empty() or not sizes["group"].is_unique().all():
        return False
    return bool(sizes["len"].sum() == count_rows(material.scan()))


def _group_sides(material: Material) -> "pl.DataFrame":
    """Count the examples of each group on each side: ``group`` (a hash), ``split``, ``len``."""
    import polars as pl

    group = pl.col("group")
    rows = material.scan().filter(group.is_not_null()).select(group.hash(), "split")
    return rows.group_by("group", "split").len().collect(engine="streaming")


def _members(material: Material, sides: "pl.DataFrame") -> Sequence[Offender]:
    import polars as pl

    if sides.is_empty():
        return []
    wanted = sides.lazy().select(pl.col("group").alias("hashed"), "split")
    rows = material.scan().select("id", "group", "split", pl.col("group").hash().alias("hashed"))
    few = rows.join(wanted, on=["hashed", "split"], how="semi", maintain_order="left").head(MOST_OFFENDERS)
    named = few.select("id", "group").collect(engine="streaming")
    return [Offender(name, group) for name, group in named.iter_rows()]
