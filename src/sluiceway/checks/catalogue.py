"""All checks of the data gate that are not expectations, with the names under which they answer.

A new check is a function from :class:`~sluiceway.checks.base.Material` to findings, and a line here. A name is what
``gates.data.severity`` in a pipeline's parameters goes by.
"""

from collections.abc import Callable, Collection, Iterator, Mapping

from sluiceway.checks import (
    classes,
    copies,
    drift,
    groups,
    kinds,
    labels,
    learnable,
    newcomers,
    outliers,
    past,
    series,
    shortcuts,
    sides,
    strangers,
    table,
    texts,
)
from sluiceway.checks.base import CheckFunction, Finding, Material
from sluiceway.errors import ConfigError, nearest

CATALOGUE: Mapping[CheckFunction, tuple[str, ...]] = {
    table.enough_examples: ("enough_examples",),
    table.quarantined_share: ("quarantined_share",),
    table.splits_filled: ("splits_filled",),
    table.exact_copies: ("copies_across_splits", "copies_inside_splits", "copies_agree_on_class"),
    copies.near_copies: ("near_copies_across_splits", "near_copies_inside_splits"),
    texts.texts_across_splits: ("texts_across_splits",),
    classes.classes_present: ("classes_in_every_split", "class_sizes", "class_balance"),
    classes.classes_alike_across_splits: ("classes_alike_across_splits",),
    sides.groups_apart: ("group_on_one_side", "group_share"),
    sides.time_overlap: ("time_overlap",),
    groups.odd_groups: ("odd_groups",),
    groups.copied_groups: ("copied_groups",),
    kinds.groups_of_one_kind: ("groups_of_one_kind",),
    outliers.outliers: ("outliers", "missing_values"),
    strangers.strangers: ("strangers",),
    labels.label_errors: ("label_errors",),
    learnable.target_depends_on_content: ("target_depends_on_content", "classes_learnable"),
    shortcuts.shortcuts: ("shortcuts",),
    series.numbers_in_time: ("target_varies", "target_in_step", "target_sign"),
    past.columns_as_before: ("columns_as_before",),
    past.examples_as_before: ("examples_kept", "ids_mean_the_same", "labels_as_before"),
    drift.drift: ("drift_of_measures", "drift_of_classes", "drift_of_targets"),
    newcomers.drift_of_contents: ("drift_of_contents",),
}
"""In the order in which they are made."""

OF_LABELS = frozenset({"label_errors", "copies_agree_on_class", "labels_as_before"})
"""Checks whose offenders have a doubtful label."""
LIMITS: Mapping[str, str] = {
    "enough_examples": "min_examples",
    "quarantined_share": "max_quarantined",
    "copies_inside_splits": "max_duplicates",
    "near_copies_across_splits": "max_leaked",
    "near_copies_inside_splits": "max_duplicates",
    "texts_across_splits": "max_leaked",
    "class_sizes": "min_per_class",
    "class_balance": "max_imbalance",
    "group_on_one_side": "groups_in_turn",
    "group_share": "max_group_share",
    "odd_groups": "max_odd_groups",
    "groups_of_one_kind": "max_groups_apart",
    "outliers": "max_outliers",
    "strangers": "max_strangers",
    "label_errors": "max_label_errors",
    "target_depends_on_content": "min_learnable",
    "shortcuts": "max_shortcut",
    "examples_kept": "max_lost",
    "ids_mean_the_same": "max_changed",
    "labels_as_before": "max_changed",
    "drift_of_measures": "max_drift",
    "drift_of_classes": "max_drift",
    "drift_of_targets": "max_drift",
    "drift_of_contents": "max_drift",
}
"""The option of ``gates.data`` that a check is held against. What is not here has no limit, but a severity."""
ACROSS = frozenset({"copies_across_splits", "near_copies_across_splits"})
"""Checks that fail where things that belong together are on two sides of the split."""
NAMES = frozenset(name for names in CATALOGUE.values() for name in names)


def examine(material: Material, on_check: Callable[[int], None] = lambda done: None) -> Iterator[Finding]:
    """Make every check.

    Args:
        material: what is known of the data set.
        on_check: called with the number of check functions that are done.
    """
    for number, check in enumerate(CATALOGUE, start=1):
        yield from check(material)
        on_check(number)


def check_severities(severities: Collection[str], expectations: Collection[str]) -> None:
    """Compare the names that ``gates.data.severity`` uses with those of the checks.

    Args:
        severities: its keys.
        expectations: names of the suite's checks.

    Raises:
        ConfigError: there is no check of such a name.
    """
    known = NAMES | set(expectations)
    unknown = [name for name in severities if name not in known]
    if unknown:
        raise ConfigError(
            f"gates.data.severity: there is no check {unknown[0]!r}; {nearest(unknown[0], known)}",
            hint=f"checks are {', '.join(sorted(NAMES))}, and the expectations of the suite as `type:column`",
        )
