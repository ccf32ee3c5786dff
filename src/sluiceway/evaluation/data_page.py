"""The page of the data gate: the verdict, what is wrong with examples shown, what was set aside, drift, distributions.

A person is to understand it in a minute: the verdict and what to do stand first, what passed is folded away at the end.
Which examples are shown, and how, is decided by whoever calls; here it is only laid out.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from sluiceway.evaluation.canvas import shorten
from sluiceway.evaluation.distributions import distance, distribution_figure, only_value
from sluiceway.evaluation.report import outcome, said, template
from sluiceway.gates.verdict import Check, Verdict

MOST_FIGURES = 24
"""Figures of one section; further properties are only named."""
FIRST_FIGURES = 6
"""Figures of drift that are shown at once; the rest is folded away."""

FIRST_PICTURES, FIRST_TEXTS = 12, 6
"""Examples of one check that are shown at once, half as many where each stands beside another; the rest is folded."""

_LONGEST_VALUE = 60  # letters

_BEGIN, _END = "<!-- verdict -->", "<!-- end of the verdict -->"
"""Around what an override changes. What comes from data is escaped, so it cannot hold these."""

BEFORE, NOW = "before", "now"
"""Names of the two versions in a profile of both."""

_GROUPS: Mapping[str, tuple[str, ...]] = {
    "The contract": (),
    "Single examples": ("quarantined_share", "outliers", "missing_values", "strangers"),
    "The data set": (
        "enough_examples",
        "splits_filled",
        "copies_across_splits",
        "copies_inside_splits",
        "near_copies_across_splits",
        "near_copies_inside_splits",
        "classes_in_every_split",
        "class_sizes",
        "class_balance",
        "classes_alike_across_splits",
        "texts_across_splits",
        "group_on_one_side",
        "group_share",
        "odd_groups",
        "copied_groups",
        "groups_of_one_kind",
        "time_overlap",
        "shortcuts",
    ),
    "Labels": (
        "label_errors",
        "copies_agree_on_class",
        "target_depends_on_content",
        "classes_learnable",
        "target_varies",
        "target_in_step",
        "target_sign",
    ),
    "Against the past": (
        "columns_as_before",
        "examples_kept",
        "ids_mean_the_same",
        "labels_as_before",
        "drift_of_measures",
        "drift_of_classes",
        "drift_of_targets",
        "drift_of_contents",
    ),
}
"""Checks by what they ask about, in the order of the page; expectations are the contract."""
GROUP_OF = {name: group for group, names in _GROUPS.items() for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """An example as the page shows it."""

    id: str
    target: str = ""
    """In words: ``labelled 4``."""
    split: str = ""
    detail: str = ""
    """What is wrong with it."""
    html: str = ""
    """Its content, small, escaped by whoever wrote it; empty where there is nothing to show."""
    other: "Specimen | None" = None
    """The example to be seen beside it, such as the one that it copies."""

    @property
    def drawn(self) -> bool:
        """Whether its content is a picture, which needs to be named for those who do not see it."""
        return "<img" in self.html or "<svg" in self.html


@dataclass(frozen=True, slots=True)
class SetAside:
    """Examples in quarantine for one reason."""

    reason: str
    count: int
    specimens: Sequence[Specimen] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a person can do now."""

    words: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """The last registered version beside this one."""

    name: str
    profile: Mapping[str, Any]
    """Of both, by :func:`sluiceway.data.profile.profile`, with the parts ``BEFORE`` and ``NOW``."""
    sizes: Mapping[str, int]
    """Examples of both."""
    every: int = 1
    """So many times as many examples as the profile looks at."""
    drifted: Collection[str] = ()
    """Properties that a check has found to differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """What the page shows."""

    verdict: Verdict
    profile: Mapping[str, Any]
    """Of the accepted examples, by :func:`sluiceway.data.profile.profile`."""
    specimens: Mapping[str, Sequence[Specimen]] = field(default_factory=dict)
    """By name of the check, worst first."""
    quarantine: Sequence[SetAside] = ()
    """Most frequent first."""
    past: Past | None = None
    """None before the first registration."""
    steps: Sequence[Step] = ()
    offenders: str = ""
    """Where all examples that checks name are listed."""
    docs_link: str = ""
    """Address of the Great Expectations Data Docs, relative to the page; empty: no link."""
    run_id: str = ""
    """MLflow run, if one is known yet."""


@dataclass(frozen=True, slots=True)
class _Figures:
    """Distributions, drawn."""

    drawn: Mapping[str, Mapping[str, Any]]
    """By property: the distribution, its ``figure``, and whether it ``drifted``."""
    constant: Mapping[str, str]
    """The one value that all examples have, by property."""
    undrawn: Sequence[str]
    """Properties for which there is no room."""


def data_page(report: DataReport) -> str:
    """Render the page."""
    facts = said(report.verdict)
    checks: Sequence[Check] = facts["checks"]
    past = report.past
    return template("data.html").render(
        **facts,
        report=report,
        title=_title(report.verdict),
        box=_box(report.verdict, report.steps),
        failed=[check for check in checks if not check.passed],
        noted=[check for check in checks if check.passed and report.specimens.get(check.name)],
        anchors=_anchors(checks),
        groups=_grouped(checks),
        set_aside=sum(each.count for each in report.quarantine),
        figures=_figures(report.profile),
        past=_figures(past.profile, past.drifted, by="version") if past else None,
        first_figures=FIRST_FIGURES,
        at_once=_at_once,
        tally=_tally,
        before=BEFORE,
        now=NOW,
    )


def with_verdict(page: str, verdict: Verdict, steps: Sequence[Step]) -> str:
    """Put another state of the same verdict into a page: what a person decided after it was drawn.

    Args:
        page: by :func:`data_page`.
        verdict: with the checks of the one that the page was made of.
        steps: what a person can do now.
    """
    ahead, begin, rest = page.partition(_BEGIN)
    _, end, behind = rest.partition(_END)
    if not (begin and end):
        raise ValueError("this page was not made by data_page")
    title = f"<title>{escape(_title(verdict))}</title>"
    ahead = re.sub(r"<title>.*?</title>", lambda _: title, ahead, count=1, flags=re.DOTALL)
    return ahead + _box(verdict, steps) + behind


def _title(verdict: Verdict) -> str:
    return f"{verdict.pipeline}: data gate {verdict.state}"


def _box(verdict: Verdict, steps: Sequence[Step]) -> str:
    """Draw the verdict with what to do, between marks: it is all that may change after the page was made."""
    facts = said(verdict)
    checks: Sequence[Check] = facts["checks"]
    closing = [check for check in checks if check.closes]
    box = template("data_verdict.html").render(**facts, closing=closing, anchors=_anchors(checks), steps=steps)
    return f"{_BEGIN}{box}{_END}"


def _anchors(checks: Sequence[Check]) -> dict[str, str]:
    return {check.name: f"check-{number}" for number, check in enumerate(checks, start=1)}


def _at_once(specimens: Sequence[Specimen]) -> int:
    """Return how many are seen at a glance."""
    count = FIRST_PICTURES if all(each.drawn or not each.html for each in specimens) else FIRST_TEXTS
    return count // 2 if any(each.other for each in specimens) else count


def _grouped(checks: Sequence[Check]) -> dict[str, list[Check]]:
    """Sort checks by what they ask about; one that is not known here is about the data set."""
    groups: dict[str, list[Check]] = {group: [] for group in _GROUPS}
    for check in checks:
        contract = check.name.startswith("expect")
        groups["The contract" if contract else GROUP_OF.get(check.name, "The data set")].append(check)
    return {group: found for group, found in groups.items() if found}


def _tally(checks: Sequence[Check]) -> list[tuple[str, int, str]]:
    """Count what became of checks: colour, number, word."""
    found = Counter(outcome(check) for check in checks)
    return [
        (colour, count, f"{word}s" if word == "warning" and count > 1 else word)
        for (colour, word), count in found.items()
    ]


def _figures(profile: Mapping[str, Any], drifted: Collection[str] = (), *, by: str = "split") -> _Figures:
    """Draw what differs between examples; of two versions, first what a check names, then what is farthest apart."""
    found = {**({"target": profile["target"]} if profile["target"] else {}), **profile["measures"]}
    only = {name: only_value(each) for name, each in found.items()}
    names = [name for name, value in only.items() if value is None]
    if by == "version":
        names.sort(key=lambda name: (name not in drifted, -distance(found[name], BEFORE, NOW)))
    return _Figures(
        {
            name: {"figure": distribution_figure(name, found[name], by=by), "drifted": name in drifted, **found[name]}
            for name in names[:MOST_FIGURES]
        },
        {name: shorten(value, _LONGEST_VALUE) for name, value in only.items() if value is not None},
        names[MOST_FIGURES:],
    )
