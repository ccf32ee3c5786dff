"""Outliers: examples that lie far outside the rest in one measured property.

Two kinds of property. One that nearly all examples share (all images 28 wide, all in PNG): whoever differs is odd. One
that varies: whoever lies beyond the fences of its distribution is odd, if a gap is there. A long tail that goes on and
on has no gap: it is the data's nature.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluiceway.checks.base import MOST_OFFENDERS, Finding, Material, Offender, count_rows, finding
from sluiceway.data.fences import ASIDE, BEYOND, QUANTILES, Fences
from sluiceway.gates.verdict import Severity

if TYPE_CHECKING:
    import polars as pl

FEW = 5
"""So many close no gate, however few examples there are in all, unless the limit is 0: every book has an odd page."""
_CONSTANT = 0.95
"""Share of the examples that have one value of a property which is taken to be meant for all."""
_RARE = 0.02
"""Share that another text, such as a format, may have and still be an exception; more of it is a second kind."""
_APART = 0.2
"""How far a number must lie from the usual one, as a share of it, to be another number and not a little less."""
_ABSENT = 0.05
"""Share of examples that may lack a property which the others have; where more do, it is optional."""
_GAP = 4
"""Beyond a fence there must be so many times as many as before it, in the outer half: otherwise it is a long tail."""
_LONG = 1e9
"""Whole numbers below are written out."""
_LEAST = 20
"""Examples below which no distribution is known."""


@dataclass(frozen=True)
class _Rule:
    """What is odd in one property."""

    name: str
    odd: "pl.Expr"
    """Of an example: whether it is odd."""
    usual: str
    """For people: what the others are like."""
    shoulder: "pl.Expr | None" = None
    """Of an example: whether it lies before the fence, in the outer half."""


def outliers(material: Material) -> Iterable[Finding]:
    """Look for examples far outside the rest in a measured property."""
    if not material.measures:
        return
    table = material.scan()
    total = count_rows(table)
    if total < _LEAST:
        return
    numbers = [name for name, kind in material.measures.items() if kind != "text"]
    texts = [name for name, kind in material.measures.items() if kind == "text"]
    rules = [*_of_numbers(table, numbers), *_of_texts(table, texts)]
    counts = _counts(table, rules)
    kept = [
        rule
        for at, rule in enumerate(rules)
        if counts[f"odd{at}"] and (rule.shoulder is None or counts[f"odd{at}"] >= _GAP * counts[f"shoulder{at}"])
    ]
    yield _judged(material, table, kept, total)
    yield from _missing(material, table, total)


def _of_numbers(table: "pl.LazyFrame", names: Sequence[str]) -> list[_Rule]:
    """Return the rules of numeric properties: two passes of quantiles, the second without what lies far out."""
    import polars as pl

    values = {name: _finite(name) for name in names}
    first = _quantiles(table, values)
    inner: dict[str, pl.Expr] = {}
    for name, value in values.items():
        found = first.get(name)
        if found and found[0] < found[-1]:
            fences = Fences.of(found, ASIDE)
            inner[name] = pl.when(value.is_between(fences.low, fences.high)).then(value)
    second = first | _quantiles(table, inner)
    usual = table.select((values[name] == second[name][2]).mean().alias(name) for name in second)
    shares = usual.collect(engine="streaming").row(0, named=True) if second else {}
    rules: list[_Rule] = []
    for name, found in second.items():
        if shares[name] >= _CONSTANT and found[2] != 0:  # nothing at all is no size that is meant for all
            apart = (values[name] - found[2]).abs() > _APART * abs(found[2])
            rules.append(_Rule(name, apart.fill_null(False), f"nearly all have {_text(found[2])}"))
        elif found[1] < found[3]:
            rules += _beyond(name, values[name], found)
    return rules


def _beyond(name: str, value: "pl.Expr", quantiles: Sequence[float]) -> list[_Rule]:
    """Return a rule for either side."""
    fences = Fences.of(quantiles, BEYOND)
    usual = f"the middle half lies between {_text(quantiles[1])} and {_text(quantiles[3])}"
    below, above = (value < fences.low).fill_null(False), (value > fences.high).fill_null(False)
    return [
        _Rule(name, below, usual, value.is_between(fences.low, fences.shoulders[0])),
        _Rule(name, above, usual, value.is_between(fences.shoulders[1], fences.high)),
    ]


def _of_texts(table: "pl.LazyFrame", names: Sequence[str]) -> list[_Rule]:
    """Return the rules of text properties: rare values beside one that nearly all have."""
    import polars as pl

    rules = []
    for name in names:
        counted = table.select(pl.col(name).drop_nulls()).group_by(name).len().sort("len", name, descending=True)
        top = counted.head(1 + int((1 - _CONSTANT) / _RARE)).collect(engine="streaming")
        known = int(table.select(pl.col(name).count()).collect(engine="streaming").item())
        if known and top["len"][0] >= _CONSTANT * known:
            common = top.filter(pl.col("len") > _RARE * known)[name].to_list()
            rules.append(
                _Rule(name, ~pl.col(name).is_in(common) & pl.col(name).is_not_null(), f"nearly all have {common[0]}")
            )
    return rules


def _counts(table: "pl.LazyFrame", rules: Sequence[_Rule]) -> dict[str, int]:
    if not rules:
        return {}
    sums = [rule.odd.sum().alias(f"odd{at}") for at, rule in enumerate(rules)]
    sums += [rule.shoulder.sum().alias(f"shoulder{at}") for at, rule in enumerate(rules) if rule.shoulder is not None]
    return table.select(sums).collect(engine="streaming").row(0, named=True)


def _judged(material: Material, table: "pl.LazyFrame", rules: Sequence[_Rule], total: int) -> Finding:
    import polars as pl

    limit = material.limits.max_outliers
    count, offenders, named = 0, [], ""
    if rules:
        flags = [rule.odd.alias(f"rule{at}") for at, rule in enumerate(rules)]
        odd = table.select("id", *dict.fromkeys(rule.name for rule in rules), *flags)
        odd = odd.filter(pl.any_horizontal(pl.col(f"rule{at}") for at in range(len(rules))))
        count = count_rows(odd)
        for row in odd.head(MOST_OFFENDERS).collect(engine="streaming").iter_rows(named=True):
            reasons = [rule for at, rule in enumerate(rules) if row[f"rule{at}"]]
            detail = "; ".join(f"{rule.name} {_text(row[rule.name])}: {rule.usual}" for rule in reasons)
            offenders.append(Offender(row["id"], detail, score=float(len(reasons))))
        of = table.select(
            pl.any_horizontal(r.odd for r in rules if r.name == name).sum().alias(name) for name in _names(rules)
        )
        per = of.collect(engine="streaming").row(0, named=True)
        worst = sorted(per.items(), key=lambda each: (-each[1], each[0]))
        named = " in " + ", ".join(f"{name} ({number:,})" for name, number in worst)
    share = count / total
    return finding(
        "outliers",
        f"{count:,} of {total:,} examples ({100 * share:.2g} %) lie far outside the rest{named}; at most "
        f"{100 * limit:g} % may",
        passed=share <= limit or (count <= FEW and limit > 0),
        figure=round(share, 6),
        limit=limit,
        offenders=offenders,
        count=count,
    )


def _names(rules: Sequence[_Rule]) -> list[str]:
    return list(dict.fromkeys(rule.name for rule in rules))


def _missing(material: Material, table: "pl.LazyFrame", total: int) -> Iterable[Finding]:
    """Say which examples lack what nearly all others have."""
    import polars as pl

    lack = {
        name: pl.col(name).is_null() if kind == "text" else _finite(name).is_null()
        for name, kind in material.measures.items()
    }
    counts = table.select(each.sum().alias(name) for name, each in lack.items()).collect(engine="streaming")
    some = {name: count for name, count in counts.row(0, named=True).items() if 0 < count <= _ABSENT * total}
    limit = material.limits.max_outliers
    wanted = table.filter(pl.any_horizontal(lack[name] for name in some)) if some else table.clear()
    count = count_rows(wanted)
    few = wanted.select("id", *(lack[name].alias(name) for name in some)).head(MOST_OFFENDERS)
    offenders = [
        Offender(
            row["id"], "no " + ", ".join(name for name in some if row[name]), score=float(sum(row[n] for n in some))
        )
        for row in few.collect(engine="streaming").iter_rows(named=True)
    ]
    where = f": {', '.join(f'{name} ({number:,})' for name, number in some.items())}" if some else ""
    yield finding(
        "missing_values",
        f"{count:,} of {total:,} examples lack a property that nearly all have{where}; at most {100 * limit:g} % may",
        passed=count <= limit * total,
        figure=round(count / total, 6),
        limit=limit,
        severity=Severity.warn,
        offenders=offenders,
        count=count,
    )


def _quantiles(table: "pl.LazyFrame", values: "dict[str, pl.Expr]") -> dict[str, list[float]]:
    """Return the ``QUANTILES`` of each, without those of which nothing is known."""
    if not values:
        return {}
    asked = [v.quantile(q, "nearest").alias(f"{n}:{q}") for n, v in values.items() for q in QUANTILES]
    row = table.select(asked).collect(engine="streaming").row(0, named=True)
    found = {name: [row[f"{name}:{q}"] for q in QUANTILES] for name in values}
    return {name: each for name, each in found.items() if None not in each}


def _finite(name: str) -> "pl.Expr":
    """A number, or null where it is NaN or infinite."""
    import polars as pl

    value = pl.col(name).cast(pl.Float64)
    return pl.when(value.is_finite()).then(value)


def _text(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if value.is_integer() and abs(value) < _LONG else f"{value:.3g}"
