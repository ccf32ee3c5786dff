"""The examples of the last registered version, one by one: which are gone, which mean another thing, another label.

Ids are joined by 64-bit hashes, lazily: ten million rows of either version fit into little memory.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sluiceway.checks.base import MOST_OFFENDERS, Finding, Material, Offender, Reference, finding
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
    before, known = _joined(material, reference)
    if not before:
        return
    yield _kept(material, reference, before, known)
    yield _same_meaning(material, reference, known)
    if material.target != "none":
        yield _same_targets(material, reference, known)


def _joined(material: Material, reference: Reference) -> "tuple[int, pl.DataFrame]":
    """Return the number of examples before, and those known now: ``row``, ``key``, ``moved``, ``relabelled``."""
    import polars as pl

    target = pl.col("target")
    if material.target == "number":  # 0.50 is 0.5
        target = pl.coalesce((target.cast(pl.Float64, strict=False) + 0.0).cast(pl.String), target)

    def hashed(rows: "pl.LazyFrame") -> "pl.LazyFrame":
        return rows.select(key=pl.col("id").hash(), content=pl.col("checksum").hash(), target=target.hash())

    before = hashed(pl.scan_parquet(reference.examples))
    now = hashed(material.scan()).with_row_index("row")
    count = int(before.select(pl.len()).collect().item())
    both = now.join(before, on="key", suffix="_before", maintain_order="left")
    moved = pl.col("content") != pl.col("content_before")
    relabelled = ~moved & (pl.col("target") != pl.col("target_before"))
    return count, both.select("row", "key", moved=moved, relabelled=relabelled).collect(engine="streaming")


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


def _same_targets(material: Material, reference: Reference, known: "pl.DataFrame") -> Finding:
    """A person's corrections are left out: they are there to change targets."""
    import polars as pl

    limit = material.limits.max_changed
    rows = known.filter(known["relabelled"])
    if material.corrected:
        corrected = pl.Series(sorted(material.corrected), dtype=pl.String).hash().implode()
        rows = rows.filter(~pl.col("key").is_in(corrected))
    share = rows.height / max(1, known.height)
    named = _named(material, rows["row"])
    old = _targets_before(reference, [name for name, _ in named])
    return finding(
        "labels_as_before",
        f"{rows.height:,} of {known.height:,} known examples have another target than in {reference.name} "
        f"({share:.2%}); {limit:.2%} may",
        passed=share <= limit or (rows.height <= _FEW and limit > 0),
        figure=round(share, 6),
        limit=limit,
        offenders=[Offender(name, f"was {old.get(name) or _NONE}, is {target or _NONE}") for name, target in named],
        count=rows.height,
    )


def _named(material: Material, rows: "pl.Series") -> list[tuple[str, str | None]]:
    """Return ids and targets of the first of some rows."""
    wanted = rows.head(MOST_OFFENDERS).to_frame().lazy()
    table = material.scan().with_row_index("row").select("row", "id", "target")
    return (
        table.join(wanted, on="row", how="semi").sort("row").collect(engine="streaming").select("id", "target").rows()
    )


def _targets_before(reference: Reference, ids: Sequence[str]) -> dict[str, str | None]:
    import polars as pl

    table = pl.scan_parquet(reference.examples).select("id", "target")
    wanted = pl.LazyFrame({"id": ids}, schema={"id": pl.String})
    return dict(table.join(wanted, on="id", how="semi").collect(engine="streaming").rows())
