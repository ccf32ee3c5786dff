"""The examples of the last registered version, one by one: which are gone, which mean another thing, another label.

Ids are joined by 64-bit hashes, lazily: ten million rows of either version fit into little memory.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sluiceway.checks.base import MOST_OFFENDERS, Finding, Material, Offender, Reference, count_rows, finding
from sluiceway.gates.verdict import Severity

if TYPE_CHECKING:
    import polars as pl

_FEW = 2
"""So many changed examples close no gate, however few there are in all, unless the limit is 0."""
_LISTED = 5
_NONE = "nothing"


def columns_as_before(material: Material) -> Iterator[Finding]:
    """Ask whether the example table has the columns, of the types, that it had."""
    import polars as pl

    reference = material.reference
    if reference is None:
        return
    now, before = dict(material.scan().collect_schema()), dict(pl.scan_parquet(reference.examples).collect_schema())
    changes = [f"{name} is gone" for name in before if name not in now]
    changes += [f"{name} is new" for name in now if name not in before]
    changes += [
        f"{name} was {before[name]} and is {kind}" for name, kind in now.items() if before.get(name, kind) != kind
    ]
    listed = f"{'; '.join(changes[:_LISTED])}{' ...' if len(changes) > _LISTED else ''}"
    yield finding(
        "columns_as_before",
        f"the columns differ from {reference.name}: {listed}"
        if changes
        else f"the columns are those of {reference.name}",
        passed=not changes,
        severity=Severity.warn,
        figure=float(len(changes)),
        limit=0.0,
    )


def examples_as_before(material: Material) -> Iterator[Finding]:
    """Ask whether known ids are still there, and still mean the same content and the same target."""
    reference = material.reference
    if reference is None:
        return
    old, now = _hashed(material, reference)
    before = count_rows(old)
    if not before:
        return
    known = _known(old, now)
    yield _kept(material, reference, before, known)
    yield _same_meaning(material, reference, known)
    if material.target != "none":
        yield _same_targets(material, reference, known, _renamed(old, now))


def _hashed(material: Material, reference: Reference) -> "tuple[pl.LazyFrame, pl.LazyFrame]":
    """Return the examples before and now: hashes ``key``, ``content`` and ``target``, and the ``row`` of now."""
    import polars as pl

    target = pl.col("target")
    if material.target == "number":  # 0.50 is 0.5
        target = pl.coalesce((target.cast(pl.Float64, strict=False) + 0.0).cast(pl.String), target)

    def hashed(rows: "pl.LazyFrame") -> "pl.LazyFrame":
        return rows.select(key=pl.col("id").hash(), content=pl.col("checksum").hash(), target=target.hash())

    return hashed(pl.scan_parquet(reference.examples)), hashed(material.scan()).with_row_index("row")


def _known(before: "pl.LazyFrame", now: "pl.LazyFrame") -> "pl.DataFrame":
    """Return the examples whose ids were known: ``row``, ``key``, ``moved``, ``relabelled``."""
    import polars as pl

    both = now.join(before, on="key", suffix="_before", maintain_order="left")
    moved = pl.col("content") != pl.col("content_before")
    relabelled = ~moved & (pl.col("target") != pl.col("target_before"))
    return both.select("row", "key", moved=moved, relabelled=relabelled).collect(engine="streaming")


def _renamed(before: "pl.LazyFrame", now: "pl.LazyFrame") -> "pl.DataFrame":
    """Return ``row``, ``key``, ``key_before``, ``relabelled`` of contents, each there once, that had another id.

    A picture is relabelled so where folders are classes: its path is its id.
    """
    import polars as pl

    same = ["key", "content"]
    new = now.join(before, on=same, how="anti").unique("content", keep="none")
    old = before.join(now, on=same, how="anti").unique("content", keep="none")
    both = new.join(old, on="content", suffix="_before").sort("row")
    relabelled = pl.col("target") != pl.col("target_before")
    return both.select("row", "key", "key_before", relabelled=relabelled).collect(engine="streaming")


def _kept(material: Material, reference: Reference, before: int, known: "pl.DataFrame") -> Finding:
    import polars as pl

    lost, limit = before - known.height, material.limits.max_lost
    share = lost / before
    ids: list[str] = []
    if lost:
        old = pl.scan_parquet(reference.examples).select("id")
        there = known.lazy().select("key")
        gone = old.join(there, left_on=pl.col("id").hash(), right_on="key", how="anti", maintain_order="left")
        ids = gone.head(MOST_OFFENDERS).collect(engine="streaming")["id"].to_list()
    return finding(
        "examples_kept",
        f"{lost:,} of the {before:,} examples of {reference.name} are gone ({share:.2%}); {limit:.2%} may be",
        passed=share <= limit,
        figure=round(share, 6),
        limit=limit,
        offenders=[Offender(name, "gone") for name in ids],
        count=lost,
    )


def _same_meaning(material: Material, reference: Reference, known: "pl.DataFrame") -> Finding:
    limit = material.limits.max_changed
    rows = known.filter(known["moved"])["row"]
    share = len(rows) / max(1, known.height)
    return finding(
        "ids_mean_the_same",
        f"{len(rows):,} of {known.height:,} known ids name another content than in {reference.name} ({share:.2%}); "
        f"{limit:.2%} may",
        passed=share <= limit or (len(rows) <= _FEW and limit > 0),
        figure=round(share, 6),
        limit=limit,
        offenders=[Offender(name, "another content under the same id") for name, _ in _named(material, rows)],
        count=len(rows),
    )


def _same_targets(material: Material, reference: Reference, known: "pl.DataFrame", renamed: "pl.DataFrame") -> Finding:
    """A person's corrections are left out: they are there to change targets."""
    import polars as pl

    limit, kept = material.limits.max_changed, known.filter(~known["moved"])
    count = kept.height + renamed.height
    by_id = kept.select("row", "key", "relabelled", key_before="key")
    rows = pl.concat([by_id, renamed.select(by_id.columns)]).filter(pl.col("relabelled")).sort("row")
    if material.corrected:
        corrected = pl.Series(sorted(material.corrected), dtype=pl.String).hash().implode()
        rows = rows.filter(~pl.col("key").is_in(corrected))
    share = rows.height / max(1, count)
    named = _named(material, rows["row"])
    old = _before(reference, rows["key_before"].head(len(named)))
    return finding(
        "labels_as_before",
        f"{rows.height:,} of {count:,} known examples have another target than in {reference.name} "
        f"({share:.2%}); {limit:.2%} may",
        passed=share <= limit or (rows.height <= _FEW and limit > 0),
        figure=round(share, 6),
        limit=limit,
        offenders=[
            Offender(name, f"was {was or _NONE}{f' as {former}' if former != name else ''}, is {target or _NONE}")
            for (name, target), (former, was) in zip(named, old, strict=True)
        ],
        count=rows.height,
    )


def _named(material: Material, rows: "pl.Series") -> list[tuple[str, str | None]]:
    """Return ids and targets of the first of some rows."""
    wanted = rows.head(MOST_OFFENDERS).to_frame().lazy()
    table = material.scan().with_row_index("row").select("row", "id", "target")
    return (
        table.join(wanted, on="row", how="semi").sort("row").collect(engine="streaming").select("id", "target").rows()
    )


def _before(reference: Reference, keys: "pl.Series") -> list[tuple[str, str | None]]:
    """Return ids and targets before, of these hashes of ids and in their order."""
    import polars as pl

    wanted = keys.to_frame("key").lazy().with_row_index("place")
    table = pl.scan_parquet(reference.examples).select("id", "target", key=pl.col("id").hash())
    return wanted.join(table, on="key").sort("place").collect(engine="streaming").select("id", "target").rows()
