"""The data gate: findings become one answer, weighed as the pipeline's parameters say."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway.gates.data import judge
from sluiceway.gates.verdict import MOST_EXAMPLES, Check, Severity, Verdict
from support import check_of


def check(name, passed=False, severity=Severity.close, **rest):
    return Check(name=name, passed=passed, severity=severity, message=f"{name} is {passed}", **rest)


def judged(*checks, severities=None, figures=None):
    return judge(checks, severities or {}, figures or {}, pipeline="digits", subject="abc")


def test_what_passes_opens_the_gate():
    verdict = judged(check("a", True), check("b", True))
    assert verdict.state == "open"
    assert verdict.reason == "all 2 checks passed"


def test_the_verdict_says_whose_and_of_what_it_is():
    verdict = judged(check("a", True), figures={"examples_accepted": 30, "labels_corrected": 2})
    assert (verdict.gate, verdict.pipeline, verdict.subject) == ("data", "digits", "abc")
    assert verdict.figures == {"examples_accepted": 30, "labels_corrected": 2}
    assert verdict.override is None


def test_each_check_has_its_own_severity_unless_it_is_given_another():
    checks = check("a"), check("b", severity=Severity.warn), check("c", True)
    assert [each.name for each in judged(*checks).closed_by] == ["a"]
    changed = judged(*checks, severities={"a": "warn", "b": "close", "c": "close"})
    assert [each.name for each in changed.closed_by] == ["b"]
    assert [each.name for each in changed.warnings] == ["a"]
    assert check_of(changed, "a").severity is Severity.warn
    assert check_of(changed, "c").passed  # what a failure does is no failure


def test_a_severity_changes_nothing_else():
    given_check = check("a", figure=0.3, limit=0.2, offenders=7, examples=("x", "y"))
    changed = check_of(judged(given_check, severities={"a": "warn"}), "a")
    assert changed == given_check.model_copy(update={"severity": Severity.warn})
    assert given_check.severity is Severity.close


def test_off_leaves_a_check_out():
    verdict = judged(check("a"), check("b", True), severities={"a": "off"})
    assert [each.name for each in verdict.checks] == ["b"]
    assert verdict.state == "open"


def test_a_gate_of_which_all_is_off_stays_closed():
    verdict = judged(check("a", True), severities={"a": "off"})
    assert verdict.state == "closed"
    assert "no check was made" in verdict.reason
    assert judged().state == "closed"


def test_a_severity_of_what_was_not_asked_changes_nothing():
    assert judged(check("a", True), severities={"b": "close"}).state == "open"


def test_the_contract_decides_with_the_rest():
    broken = check("not_null:width")
    verdict = judged(check("a", True), broken)
    assert verdict.closed_by == (broken,)
    assert verdict.reason == "not_null:width is False"
    assert judged(check("a", True), broken, severities={"not_null:width": "warn"}).open


def test_the_reason_is_the_first_and_counts_the_rest():
    assert judged(check("a", severity=Severity.warn), check("b"), check("c")).reason == "b is False (and c)"


def test_checks_may_come_as_a_stream_and_keep_their_order():
    verdict = judge((check(name, True) for name in "cab"), {}, {}, pipeline="p", subject="s")
    assert [each.name for each in verdict.checks] == ["c", "a", "b"]


def test_a_verdict_is_written_with_its_figures_and_comes_back(tmp_path):
    verdict = judged(check("a", offenders=100, examples=tuple("x" * MOST_EXAMPLES)), figures={"examples_accepted": 30})
    verdict.write(tmp_path / "verdict.json")
    assert Verdict.read(tmp_path / "verdict.json") == verdict
    document = json.loads((tmp_path / "verdict.json").read_text(encoding="utf-8"))
    assert (document["state"], document["figures"]) == ("closed", {"examples_accepted": 30.0})


@pytest.mark.parametrize("severity", ["closed", "", "CLOSE"])
def test_a_severity_that_is_none_is_a_mistake(severity):
    with pytest.raises(ValueError, match="is not a valid Severity"):
        judged(check("a"), severities={"a": severity})


@given(
    checks=st.lists(
        st.builds(check, st.sampled_from("abcdef"), st.booleans(), st.sampled_from(Severity)),
        max_size=6,
        unique_by=lambda each: each.name,
    ),
    severities=st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["close", "warn", "off"])),
)
def test_the_gate_is_open_where_something_was_asked_and_nothing_that_closes_failed(checks, severities):
    verdict = judged(*checks, severities=severities)
    asked = [each for each in checks if severities.get(each.name) != "off"]
    closing = [each for each in asked if not each.passed and severities.get(each.name, each.severity) == "close"]
    assert verdict.open == (bool(asked) and not closing)
    assert [each.name for each in verdict.checks] == [each.name for each in asked]
    assert [each.name for each in verdict.closed_by] == [each.name for each in closing]
