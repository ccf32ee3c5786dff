"""Checks of the whole example table: enough examples, few in quarantine, no empty split, no exact copies.

Each reads a few columns lazily, and compares texts by 64-bit hashes: ten million rows fit into little memory. Of ten
million different texts, two share a hash in 3 of a million tables.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sluiceway.checks.base import MOST_OFFENDERS, Finding, Material, Offender, count_rows, finding
from sluiceway.data.table import LEFT_OUT, SPLITS
from sluiceway.gates.verdict import Severity

if TYPE_CHECKING:
    import polars as pl

_REASONS = 3
"""Reasons of the quarantine that a message names."""


def enough_examples(material: Material) -> Iterator[Finding]:
    """Ask whether enough examples were accepted."""
    count, least = count_rows(material.scan()), material.limits.min_examples
    message = f"{count:,} examples were accepted; {least:,} are the least"
    yield finding("enough_examples", message, passed=count >= least, figure=count, limit=least)


def quarantined_share(material: Material) -> Iterator[Finding]:
    """Ask whether few enough examples were set aside; what a person left out by a correction is not bad data."""
    import polars as pl

    every = pl.scan_parquet(material.quarantine)
    by_a_person = pl.col("reason").str.starts_with(f"{LEFT_OUT}:").fill_null(False)
    aside = every.filter(~by_a_person)
    bad, left, limit = count_rows(aside), count_rows(every.filter(by_a_person)), material.limits.max_quarantined
    total = bad + count_rows(material.scan())
    share = bad / total if total else 0.0
    kind = pl.col("reason").str.extract(r"^([^:]*)").fill_null("without a reason").alias("kind")
    kinds = aside.group_by(kind).len().sort("len", "kind", descending=[True, False]).collect().rows()
    named = [f"{count:,} {name}" for name, count in kinds[:_REASONS]]
    if others := sum(count for _, count in kinds[_REASONS:]):
        named.append(f"{others:,} for other reasons")
    why = f" ({', '.join(named)})" if named else ""
    besides = f"; {left:,} more were left out by a person" if left else ""
    first = aside.select("id", pl.col("reason").fill_null("")).head(MOST_OFFENDERS).collect().rows()
    yield finding(
        "quarantined_share",
        f"{bad:,} of {total:,} examples ({share:.2%}) are quarantined{why}; {limit:.2%} may be{besides}",
        passed=share <= limit,
        figure=share,
        limit=limit,
        offenders=[Offender(name or "without id", reason) for name, reason in first],
        count=bad,
    )


def splits_filled(material: Material) -> Iterator[Finding]:
    """Ask whether there is something to learn from, to choose by and to score on."""
    counts = dict(material.scan().group_by("split").len().collect(engine="streaming").rows())
    empty = [split for split in SPLITS if not counts.get(split)]
    found = ", ".join(f"{counts.get(split, 0):,} {split}" for split in SPLITS)
    yield finding(
        "splits_filled",
        f"splits: {found}" + (f"; {' and '.join(empty)} must not be empty" if empty else ""),
        passed=not empty,
        figure=float(len(empty)),
        limit=0.0,
    )


def exact_copies(material: Material) -> Iterator[Finding]:
    """Ask whether contents are there more than once: across splits, inside them, and with different classes."""
    import polars as pl

    copies = repeated(material)
    first = pl.col("row").min()
    across = copies.filter(pl.col("split").n_unique().over("content") > 1)
    elsewhere = _from_another(across, "split")
    yield finding(
        "copies_across_splits",
        f"{len(across):,} examples have an exact copy in another split; none may, or the test score is not honest",
        passed=across.is_empty(),
        figure=float(len(across)),
        limit=0.0,
        offenders=_named(material, elsewhere),
        count=len(across),
    )
    inside = copies.with_columns(original=first.over("content", "split")).filter(pl.col("row") != pl.col("original"))
    total, limit = count_rows(material.scan()), material.limits.max_duplicates
    share = len(inside) / total if total else 0.0
    yield finding(
        "copies_inside_splits",
        f"{len(inside):,} examples ({share:.2%}) are exact copies within their split; {limit:.2%} may be",
        passed=share <= limit,
        severity=Severity.warn,
        figure=share,
        limit=limit,
        offenders=_named(material, inside.select("row", "original")),
        count=len(inside),
    )
    if material.target in ("class", "classes"):
        at_odds = copies.filter(pl.col("target").n_unique().over("content") > 1)
        yield finding(
            "copies_agree_on_class",
            f"{len(at_odds):,} examples are exact copies of one with another class; none may be",
            passed=at_odds.is_empty(),
            figure=float(len(at_odds)),
            limit=0.0,
            offenders=_named(material, _from_another(at_odds, "target"), "target"),
            count=len(at_odds),
        )


def repeated(material: Material) -> "pl.DataFrame":
    """Return the rows whose content is there more than once: ``row``, and hashes ``content``, ``split``, ``target``."""
    import polars as pl

    content = pl.col("checksum").hash().alias("content")
    contents = material.scan().filter(pl.col("checksum").is_not_null()).select(content).collect(engine="streaming")
    ordered = np.sort(contents.to_series().to_numpy())
    several = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del contents, ordered
    rows = material.scan().with_row_index("row").filter(pl.col("checksum").is_not_null())
    wanted = pl.LazyFrame({"content": several}, schema={"content": pl.UInt64})
    return (
        rows.select("row", content, pl.col("split").hash(), pl.col("target").hash())
        .join(wanted, on="content", how="semi")
        .sort("row")
        .collect(engine="streaming")
    )


def _from_another(copies: "pl.DataFrame", side: str) -> "pl.DataFrame":
    """Return ``row``, and as ``original`` the first row with the same content on another side."""
    import polars as pl

    few = copies.head(MOST_OFFENDERS)
    firsts = copies.join(few, on="content", how="semi").group_by("content", side).agg(original=pl.col("row").min())
    pairs = few.join(firsts, on="content", suffix=" of other").filter(pl.col(side) != pl.col(f"{side} of other"))
    return pairs.group_by("row").agg(pl.col("original").min()).sort("row")


def _named(material: Material, pairs: "pl.DataFrame", shown: str = "split") -> Sequence[Offender]:
    """Name the first rows, and beside each the one that it copies."""
    import polars as pl

    few = pairs.head(MOST_OFFENDERS)
    wanted = pl.concat([few["row"], few["original"]]).unique().alias("row").to_frame().lazy()
    found = material.scan().with_row_index("row").select("row", "id", shown).join(wanted, on="row", how="semi")
    about = {row: (name, value) for row, name, value in found.collect(engine="streaming").iter_rows()}
    return [
        Offender(about[row][0], f"{about[row][1]}; its copy: {about[other][1]}", about[other][0])
        for row, other in few.select("row", "original").iter_rows()
    ]
