"""Drift: what was measured, the targets and the contents, against the last version whose model was registered.

A check fails only where a difference is both significant, corrected for the number of tests, and large. The data is
held against the version before as a whole; and so is what is new in it by itself, or a bad batch would be diluted.
Properties are compared class by class: a batch of ones is no drift of the ink. Clusters (groups, documents) count as
fewer examples, since a new speaker's voice is another one by nature.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sluiceway.checks.base import Finding, Material, Offender, Reference, finding
from sluiceway.checks.distances import (
    Floats,
    holm,
    kolmogorov_smirnov,
    largest_gap,
    likeness,
    shifted_shares,
    total_variation,
    worth,
)
from sluiceway.checks.versions import Version, Versions, versions
from sluiceway.data.labels import each_label
from sluiceway.data.table import MeasureKind

if TYPE_CHECKING:
    import polars as pl

SIGNIFICANT = 1e-3
"""Corrected probability by chance below which a difference is one."""
LEAST = 30
"""Independent examples of each version below which nothing is said."""
_DOUBT = 0.05
"""Probability that clusters are more alike than is taken for granted."""
_CLASSES_NEW = 0.25
"""Share of the data that must be new for its classes to be looked at by themselves: one may add to one class."""
_NAMED = 3
_SHOWN = 60
"""Examples that are named for a drift."""
_LIKENESS_VALUES = 20


@dataclass(frozen=True, slots=True)
class Drift:
    """How far one column has moved."""

    column: str
    part: str
    """What was compared with the version before: ``the data``, or ``what is new``."""
    effect: float
    """0 is equal, 1 is apart."""
    probability: float
    """Of as much by chance, corrected for the number of tests."""
    detail: str = ""
    """Such as the class whose share has changed most."""

    @property
    def significant(self) -> bool:
        """Whether this is more than chance."""
        return self.probability < SIGNIFICANT


def drift(material: Material) -> Iterable[Finding]:
    """Look for drift of the measured properties and of the targets."""
    reference = material.reference
    if reference is None:
        return
    both, found = compared(material)
    measured = [each for each in found if each.column != "target"]
    targets = [each for each in found if each.column == "target"]
    if measured:
        yield _judged("drift_of_measures", material, reference, measured, both)
    if targets:
        name = "drift_of_classes" if material.target in ("class", "classes") else "drift_of_targets"
        yield _judged(name, material, reference, targets, both)


def compared(material: Material) -> tuple[Versions, list[Drift]]:
    """Compare every measured column and the target with the version before, which there must be."""
    assert material.reference is not None  # noqa: S101
    kinds = _common(material, material.reference)
    both = versions(material, material.reference, list(kinds))
    tests: list[Drift] = []
    for part, now in both.parts.items():
        matched = _matched(both.before, now) if material.target == "class" else (both.before, now, _ones(both.before))
        for column, kind in kinds.items():
            tests += _compare(column, kind, part, *matched)
        tests += _targets(material, part, both.before, now, len(both.now))
    corrected = holm([each.probability for each in tests])
    return both, [
        Drift(each.column, each.part, each.effect, probability, each.detail)
        for each, probability in zip(tests, corrected, strict=True)
    ]


def _common(material: Material, reference: Reference) -> dict[str, MeasureKind]:
    """Return the measured columns that both versions have; a change of the type has a check of its own."""
    import polars as pl

    now, before = material.scan().collect_schema(), pl.scan_parquet(reference.examples).collect_schema()

    def fits(name: str, kind: MeasureKind) -> bool:
        types = (now.get(name), before.get(name))
        return all(each is not None and (kind == "text") == (each == pl.String) for each in types)

    return {name: kind for name, kind in material.measures.items() if fits(name, kind)}


def _ones(version: Version) -> Floats:
    return np.ones(len(version))


def _matched(before: Version, now: Version) -> tuple[Version, Version, Floats]:
    """Return the classes that both have, and weights [N of before] that give them the shares that they have now."""
    import polars as pl

    counts = [each.table.group_by("target").len() for each in (before, now)]
    shares = counts[0].join(counts[1], on="target", suffix="_now", nulls_equal=True)
    weights = shares.select("target", weight=pl.col("len_now") / pl.col("len"))
    old = before.table.join(weights, on="target", how="left", nulls_equal=True, maintain_order="left")
    kept = old["weight"].is_not_null()
    known = now.table["target"].is_in(weights["target"].implode(), nulls_equal=True)
    return before.only(kept.to_numpy()), now.only(known.to_numpy()), old["weight"].drop_nulls().to_numpy()


def _compare(
    column: str, kind: MeasureKind, part: str, before: Version, now: Version, weights: Floats
) -> Iterator[Drift]:
    if min(len(before), len(now)) < LEAST:
        return
    if kind == "text":
        yield from _values(column, part, before, now, weights)
    else:
        yield from _numbers(column, part, before, now, weights)


def _numbers(column: str, part: str, before: Version, now: Version, weights: Floats) -> Iterator[Drift]:
    from scipy.stats import rankdata

    one, other = _floats(before.table[column]), _floats(now.table[column])
    ranks = rankdata(one)
    # Clusters may have a level of their own, or a spread.
    sizes = _sizes((ranks, np.abs(ranks - ranks.mean())), before, now, weights)
    if min(sizes) >= LEAST:
        yield Drift(column, part, *kolmogorov_smirnov(one, other, weights, _ones(now), *sizes))


def _values(column: str, part: str, before: Version, now: Version, weights: Floats) -> Iterator[Drift]:
    one, other, table = _shares(column, before, now, weights)
    sizes = _sizes((table,), before, now, weights)
    if min(sizes) >= LEAST:
        yield Drift(column, part, *total_variation(one, other, *sizes))


def _targets(material: Material, part: str, before: Version, now: Version, everything: int) -> Iterator[Drift]:
    import polars as pl

    if min(len(before), len(now)) < LEAST or material.target == "none":
        return
    if material.target in ("class", "classes"):
        if part == "the data" or len(now) >= _CLASSES_NEW * everything:
            if material.target == "classes":  # an example counts once for each of its labels
                before, now = (Version(each_label(each.table.lazy()).collect()) for each in (before, now))
            yield from _classes(part, before, now)
        return
    number = pl.col("target").cast(pl.Float64, strict=False)
    value = number if material.target == "number" else pl.col("target").str.len_chars()
    one, other = (Version(each.table.with_columns(target=value)) for each in (before, now))
    yield from _numbers("target", part, one, other, _ones(before))


def _classes(part: str, before: Version, now: Version) -> Iterator[Drift]:
    """Two questions: are the shares apart as a whole, and has any single class much more or less than before?"""
    one, other, table = _shares("target", before, now, _ones(before))
    sizes = _sizes((table,), before, now, _ones(before))
    if min(sizes) < LEAST:
        return
    names = _names("target", before, now)
    whole, chance = total_variation(one, other, *sizes)
    effects, chances = shifted_shares(one, other, *sizes)
    if part == "the data":
        effects = np.where(other == 0, 1.0, effects)  # a class that has gone cannot be learned
    clear = np.where(chances < SIGNIFICANT, effects, 0.0)
    most = int(clear.argmax())
    detail = f"{names[most]} {100 * one[most]:.2g} % before, {100 * other[most]:.2g} % now" if clear[most] else ""
    effect, chance = (float(clear[most]), float(chances[most])) if clear[most] > whole else (whole, chance)
    yield Drift("target", part, effect, chance, detail)


def _names(column: str, before: Version, now: Version) -> list[str]:
    import polars as pl

    return pl.concat([before.table[column], now.table[column]]).fill_null("").unique().sort().to_list()


def _shares(column: str, before: Version, now: Version, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the shares of each value in both [K], and which of the commonest each example before has [N, few]."""
    names = np.array(_names(column, before, now), np.str_)
    one, other = (
        np.searchsorted(names, each.table[column].fill_null("").to_numpy().astype(np.str_)) for each in (before, now)
    )
    counts = np.bincount(one, weights=weights, minlength=len(names))
    common = np.argsort(-counts, kind="stable")[:_LIKENESS_VALUES]
    table = (one[:, None] == common).astype(np.float64)
    return counts / counts.sum(), np.bincount(other, minlength=len(names)) / len(other), table


def _sizes(views: Sequence[Floats], before: Version, now: Version, weights: Floats) -> tuple[float, float]:
    """Return how many independent examples both are worth, clusters being as alike as they may be in any view."""
    clusters = before.clusters
    alike = max(likeness(values, clusters, _DOUBT) for values in views)
    return worth(weights, clusters, alike), worth(_ones(now), now.clusters, alike)


def _floats(column: "pl.Series") -> Floats:
    """Return numbers; a missing one is below all others."""
    import polars as pl

    values = column.cast(pl.Float64).fill_null(-np.inf).to_numpy()
    return np.asarray(np.where(np.isfinite(values), values, -np.inf), np.float64)


# The answer.


def _judged(name: str, material: Material, reference: Reference, tests: list[Drift], both: Versions) -> Finding:
    limit = material.limits.max_drift
    clear = sorted((each for each in tests if each.significant), key=lambda each: -each.effect)
    over = [each for each in clear if each.effect > limit]
    figure = clear[0].effect if clear else 0.0
    if over:
        message = f"{_listed(over)} drifted from {reference.name}; at most {limit:g} is allowed"
    elif clear:
        message = f"{_listed(clear[:1])}: the largest clear distance from {reference.name}; {limit:g} is allowed"
    else:
        message = f"nothing clearly differs from {reference.name}"
    offenders = _farthest(over[0], both) if over else []
    return finding(name, message, passed=not over, figure=round(figure, 4), limit=limit, offenders=offenders)


def _listed(drifts: list[Drift]) -> str:
    """Say the worst, each column once."""
    worst = {each.column: each for each in reversed(drifts)}  # the worst of a column comes first, and so stays
    few = sorted(worst.values(), key=lambda each: -each.effect)
    named = [
        f"{each.column} by {each.effect:.2f} in {each.part}{f' ({each.detail})' if each.detail else ''}"
        for each in few[:_NAMED]
    ]
    more = f" and {len(few) - _NAMED} more columns" if len(few) > _NAMED else ""
    return ", ".join(named) + more


def _farthest(worst: Drift, both: Versions) -> list[Offender]:
    """Name examples on the side of which there are too many now, those first that are farthest out."""
    import polars as pl

    if worst.column == "target" or both.now.table[worst.column].dtype == pl.String:
        return []
    now = both.parts[worst.part]
    one, other = _floats(both.before.table[worst.column]), _floats(now.table[worst.column])
    place, below = largest_gap(one, other)
    chosen = np.flatnonzero(other <= place if below else other > place)
    order = chosen[np.argsort(other[chosen] if below else -other[chosen], kind="stable")][:_SHOWN]
    known = one[np.isfinite(one)]
    usual = f"the median was {np.median(known):.4g}" if len(known) else "it was missing"
    ids = now.table["id"].gather(order).to_list()
    return [
        Offender(id, f"{worst.column} {_shown(value)}; {usual}", score=float(len(ids) - place))
        for place, (id, value) in enumerate(zip(ids, other[order].tolist(), strict=True))
    ]


def _shown(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "is missing"
