"""Checks of the classes, or of labels: present everywhere, large enough, in balance, and alike in all splits."""

import math
from collections.abc import Iterator, Mapping
from itertools import groupby
from statistics import NormalDist

from sluiceway.checks.base import Finding, Material, finding
from sluiceway.data.labels import each_label
from sluiceway.data.table import SPLITS
from sluiceway.gates.verdict import Severity

MAX_SHIFT = 0.1
"""How far a class's shares in two splits may be apart, as Cohen's h: 0.1 is 10 % against 13 %."""
_CHANCE = 1e-3
"""Probability that a data set whose splits differ by chance alone is warned of."""
_LEAST = 30
"""Independent examples of a split below which its shares say nothing."""
_LISTED = 5

Counts = Mapping[str, Mapping[str, int]]
"""Examples by class and split."""


def classes_present(material: Material) -> Iterator[Finding]:
    """Ask whether every class, or label, is in every split, and large enough to be learned."""
    if material.target not in ("class", "classes"):
        return
    counts, limits = class_counts(material), material.limits
    there = set(material.scan().select("split").unique().collect(engine="streaming")["split"])
    filled = [split for split in SPLITS if split in there]
    missing = [f"{name} in {split}" for name in counts for split in filled if split not in counts[name]]
    listed = f"{', '.join(missing[:_LISTED])}{' ...' if len(missing) > _LISTED else ''}"
    yield finding(
        "classes_in_every_split",
        f"classes are missing from splits: {listed}" if missing else "every class occurs in every split",
        passed=not missing,
        figure=float(len(missing)),
        limit=0.0,
    )
    sizes = {name: sum(places.values()) for name, places in counts.items()}
    name, least = min(sizes.items(), key=lambda entry: (entry[1], entry[0]), default=("none", 0))
    yield finding(
        "class_sizes",
        f"the smallest class, {name!r}, has {least:,} examples; {limits.min_per_class:,} are the least",
        passed=least >= limits.min_per_class,
        figure=least,
        limit=limits.min_per_class,
    )
    ratio = max(sizes.values()) / least if sizes else 1.0
    yield finding(
        "class_balance",
        f"the largest class has {ratio:.1f} times the examples of the smallest; {limits.max_imbalance:g} times is the "
        "limit",
        passed=ratio <= limits.max_imbalance,
        severity=Severity.warn,
        figure=ratio,
        limit=limits.max_imbalance,
    )


def classes_alike_across_splits(material: Material) -> Iterator[Finding]:
    """Ask whether classes, or labels, have about the same share in all splits."""
    if material.target not in ("class", "classes"):
        return
    counts, independent, sizes = class_counts(material), _independent(material), _sizes(material)
    others: list[str] = [split for split in SPLITS[1:] if min(independent[split], independent["train"]) >= _LEAST]
    if not others or len(counts) < 2:
        return
    # Two-sided, and shared out among all the questions asked (Bonferroni).
    clear = NormalDist().inv_cdf(1 - _CHANCE / (2 * len(others) * len(counts)))
    worst: tuple[float, str, str] = (0.0, "", "")
    for split in others:
        error = math.sqrt(1 / independent["train"] + 1 / independent[split])
        for name, places in counts.items():
            shift = _distance(places.get("train", 0) / sizes["train"], places.get(split, 0) / sizes[split])
            if shift > clear * error:
                worst = max(worst, (shift, name, split))
    shift, name, where = worst
    message = "no class has clearly another share in the other splits than in train"
    if shift:
        shares = [100 * counts[name].get(each, 0) / sizes[each] for each in ("train", where)]
        message = f"class {name!r} is {shares[0]:.3g} % of train and {shares[1]:.3g} % of {where}, an effect of "
        message += f"{shift:.2f}; {MAX_SHIFT:g} may be"
    yield finding(
        "classes_alike_across_splits",
        message,
        passed=shift <= MAX_SHIFT,
        severity=Severity.warn,
        figure=round(shift, 6),
        limit=MAX_SHIFT,
    )


def class_counts(material: Material) -> Counts:
    """Count the examples of each class, or with each label, in each split."""
    import polars as pl

    table = each_label(material.scan()) if material.target == "classes" else material.scan()
    rows = table.filter(pl.col("target").is_not_null()).group_by("target", "split").len()
    ordered = rows.sort("target", "split").collect(engine="streaming").rows()
    return {
        name: {split: count for _, split, count in places} for name, places in groupby(ordered, key=lambda row: row[0])
    }


def _sizes(material: Material) -> dict[str, int]:
    """Count the examples with a target in each split."""
    import polars as pl

    known = material.scan().filter(pl.col("target").is_not_null()).group_by("split").len()
    found: dict[str, int] = dict(known.collect(engine="streaming").rows())
    return {split: found.get(split, 0) for split in SPLITS}


def _independent(material: Material) -> dict[str, int]:
    """Count what chance put on each side, of the examples with a class: groups, and the examples without one."""
    import polars as pl

    group = pl.col("group")
    classed = material.scan().filter(pl.col("target").is_not_null())
    counted = group.hash().filter(group.is_not_null()).n_unique() + group.null_count()
    found: dict[str, int] = dict(classed.group_by("split").agg(counted).collect(engine="streaming").rows())
    return {split: found.get(split, 0) for split in SPLITS}


def _distance(one: float, other: float) -> float:
    """Return Cohen's h of two shares (Cohen, 1988): its error depends on the numbers of examples alone."""
    return abs(2 * math.asin(math.sqrt(one)) - 2 * math.asin(math.sqrt(other)))
