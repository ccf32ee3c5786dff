"""The data gate: is this data fit to learn from? The checks have been made; here they become one answer."""

from collections.abc import Iterable, Mapping
from typing import Literal

from sluiceway.gates.verdict import Check, Severity, Verdict


def judge(
    checks: Iterable[Check],
    severities: Mapping[str, Literal["close", "warn", "off"]],
    figures: Mapping[str, float],
    *,
    pipeline: str,
    subject: str,
) -> Verdict:
    """Judge a data set.

    Args:
        checks: every check that was made.
        severities: what a failure does, by name of the check, where it is not the check's own; ``off`` leaves it out.
        figures: facts that no limit is held against.
        pipeline: whose data it is.
        subject: digest of the example table.
    """
    counted = tuple(_weighed(check, severities) for check in checks if severities.get(check.name) != "off")
    return Verdict(gate="data", pipeline=pipeline, subject=subject, checks=counted, figures=dict(figures))


def _weighed(check: Check, severities: Mapping[str, str]) -> Check:
    if check.name not in severities:
        return check
    return check.model_copy(update={"severity": Severity(severities[check.name])})
