"""The data gate: is this data fit to learn from? Pure functions of the example table."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import pyarrow as pa

from sluiceway.config import DataGateParams
from sluiceway.gates.verdict import MOST_EXAMPLES, Check, Severity, Verdict

_SPLITS = ("train", "validation", "test")


def judge(
    accepted: pa.Table,
    quarantined: pa.Table,
    contract: Sequence[Check],
    limits: DataGateParams,
    *,
    classes: bool,
    pipeline: str,
    subject: str,
) -> Verdict:
    """Judge a data set.

    Args:
        accepted: ``examples.parquet``.
        quarantined: ``quarantine.parquet``.
        contract: checks that came out of the expectations.
        limits: of the gate.
        classes: whether the target is a class.
        pipeline: whose data it is.
        subject: digest of the example table.
    """
    checks = [
        _enough(accepted, limits),
        _quarantine(accepted, quarantined, limits),
        *contract,
        _splits_filled(accepted),
        _copies_across(accepted),
        _copies_inside(accepted, limits),
    ]
    if classes:
        checks += [_labels_agree(accepted), _classes_everywhere(accepted), _class_sizes(accepted, limits)]
        checks += [_balance(accepted, limits)]
    figures = {
        "raw_examples": accepted.num_rows + quarantined.num_rows,
        "accepted_examples": accepted.num_rows,
        "quarantined_examples": quarantined.num_rows,
    }
    return Verdict(gate="data", pipeline=pipeline, subject=subject, checks=tuple(checks), figures=figures)


def _enough(accepted: pa.Table, limits: DataGateParams) -> Check:
    count = accepted.num_rows
    return Check(
        name="enough_examples",
        passed=count >= limits.min_examples,
        figure=count,
        limit=limits.min_examples,
        message=f"{count:,} examples were accepted; {limits.min_examples:,} are the least",
    )


def _quarantine(accepted: pa.Table, quarantined: pa.Table, limits: DataGateParams) -> Check:
    total = accepted.num_rows + quarantined.num_rows
    share = quarantined.num_rows / total if total else 0.0
    kinds = Counter(reason.partition(":")[0] for reason in quarantined["reason"].to_pylist())
    why = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(3))
    return Check(
        name="quarantined_share",
        passed=share <= limits.max_quarantined,
        figure=share,
        limit=limits.max_quarantined,
        message=f"{quarantined.num_rows:,} of {total:,} examples ({share:.2%}) are quarantined"
        + (f" ({why})" if why else "")
        + f"; {limits.max_quarantined:.2%} may be",
        offenders=quarantined.num_rows,
        examples=_first(quarantined["id"].to_pylist()),
    )


def _splits_filled(accepted: pa.Table) -> Check:
    counts = Counter(accepted["split"].to_pylist())
    empty = [split for split in _SPLITS if not counts[split]]
    found = ", ".join(f"{counts[split]:,} {split}" for split in _SPLITS)
    return Check(
        name="splits_filled",
        passed=not empty,
        figure=float(len(empty)),
        limit=0.0,
        message=f"splits: {found}" + (f"; {' and '.join(empty)} must not be empty" if empty else ""),
    )


def _copies_across(accepted: pa.Table) -> Check:
    sides: dict[str, set[str]] = defaultdict(set)
    for digest, split in _pairs(accepted, "checksum", "split"):
        sides[digest].add(split)
    ids = [name for name, digest in _pairs(accepted, "id", "checksum") if len(sides[digest]) > 1]
    return Check(
        name="copies_across_splits",
        passed=not ids,
        figure=float(len(ids)),
        limit=0.0,
        message=f"{len(ids):,} examples have an exact copy in another split; none may, or the test score is not honest",
        offenders=len(ids),
        examples=_first(ids),
    )


def _copies_inside(accepted: pa.Table, limits: DataGateParams) -> Check:
    seen: set[tuple[str, str]] = set()
    ids = []
    for name, digest, split in zip(*(accepted[c].to_pylist() for c in ("id", "checksum", "split")), strict=True):
        if (digest, split) in seen:
            ids.append(name)
        seen.add((digest, split))
    share = len(ids) / accepted.num_rows if accepted.num_rows else 0.0
    return Check(
        name="copies_inside_splits",
        passed=share <= limits.max_duplicates,
        severity=Severity.warn,
        figure=share,
        limit=limits.max_duplicates,
        message=f"{len(ids):,} examples ({share:.2%}) are exact copies within their split; "
        f"{limits.max_duplicates:.2%} may be",
        offenders=len(ids),
        examples=_first(ids),
    )


def _labels_agree(accepted: pa.Table) -> Check:
    labels: dict[str, set[str]] = defaultdict(set)
    for digest, target in _pairs(accepted, "checksum", "target"):
        labels[digest].add(target)
    ids = [name for name, digest in _pairs(accepted, "id", "checksum") if len(labels[digest]) > 1]
    return Check(
        name="copies_agree_on_class",
        passed=not ids,
        figure=float(len(ids)),
        limit=0.0,
        message=f"{len(ids):,} examples are exact copies of one with another class; none may be",
        offenders=len(ids),
        examples=_first(ids),
    )


def _classes_everywhere(accepted: pa.Table) -> Check:
    places: dict[str, set[str]] = defaultdict(set)
    for target, split in _pairs(accepted, "target", "split"):
        places[target].add(split)
    missing = [
        f"{target} in {split}" for target in sorted(places, key=str) for split in _SPLITS if split not in places[target]
    ]
    return Check(
        name="classes_in_every_split",
        passed=not missing,
        figure=float(len(missing)),
        limit=0.0,
        message="every class occurs in every split"
        if not missing
        else f"classes are missing from splits: {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}",
    )


def _class_sizes(accepted: pa.Table, limits: DataGateParams) -> Check:
    counts = Counter(accepted["target"].to_pylist())
    name, least = min(counts.items(), key=lambda entry: (entry[1], str(entry[0])), default=("none", 0))
    return Check(
        name="class_sizes",
        passed=least >= limits.min_per_class,
        figure=least,
        limit=limits.min_per_class,
        message=f"the smallest class, {name!r}, has {least:,} examples; {limits.min_per_class:,} are the least",
    )


def _balance(accepted: pa.Table, limits: DataGateParams) -> Check:
    counts = Counter(accepted["target"].to_pylist()).values()
    ratio = max(counts) / min(counts) if counts else 1.0
    return Check(
        name="class_balance",
        passed=ratio <= limits.max_imbalance,
        severity=Severity.warn,
        figure=ratio,
        limit=limits.max_imbalance,
        message=f"the largest class has {ratio:.1f} times the examples of the smallest; "
        f"{limits.max_imbalance:g} times is the limit",
    )


def _pairs(table: pa.Table, first: str, second: str) -> Iterable[tuple[str, str]]:
    return zip(table[first].to_pylist(), table[second].to_pylist(), strict=True)


def _first(ids: Sequence[str]) -> tuple[str, ...]:
    return tuple(ids[:MOST_EXAMPLES])
