"""The verdict: derived, never believed; an override opens what it names and nothing else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sluiceway.gates.verdict import Check, Override, Severity, Verdict

NUMBERS = st.floats(allow_nan=False)
CHECKS = st.builds(
    Check,
    name=st.sampled_from("abcdefgh"),
    passed=st.booleans(),
    severity=st.sampled_from(Severity),
    figure=st.none() | NUMBERS | st.text(),
    limit=st.none() | NUMBERS | st.text(),
    message=st.text(min_size=1),
    offenders=st.integers(0, 10**9),
    examples=st.lists(st.text(), max_size=3).map(tuple),
)
OVERRIDES = st.builds(
    Override,
    who=st.text(),
    when=st.just("2026-01-01T00:00:00Z"),
    why=st.text(),
    checks=st.lists(st.sampled_from("abcdefgh"), max_size=4).map(tuple),
    subject=st.sampled_from(["s", "t"]),
)
VERDICTS = st.builds(
    Verdict,
    gate=st.sampled_from(["data", "cost", "model"]),
    pipeline=st.text(),
    subject=st.sampled_from(["s", "t"]),
    checks=st.lists(CHECKS, max_size=5, unique_by=lambda check: check.name).map(tuple),
    override=st.none() | OVERRIDES,
    figures=st.dictionaries(st.text(), NUMBERS, max_size=3),
)


def check(name, passed=True, severity=Severity.close):
    return Check(name=name, passed=passed, severity=severity, message=f"{name} is {passed}")


def verdict(*checks, override=()):
    return Verdict(
        gate="data",
        pipeline="p",
        subject="s",
        checks=checks,
        override=Override(who="Ada", when="2026-01-01T00:00:00Z", why="known", checks=override, subject="s")
        if override
        else None,
    )


@given(given=VERDICTS)
def test_a_verdict_comes_back_from_its_file(given, tmp_path_factory):
    path = tmp_path_factory.mktemp("verdict") / "deep" / "verdict.json"
    given.write(path)
    back = Verdict.read(path)
    assert back == given
    assert (back.open, back.state, back.reason) == (given.open, given.state, given.reason)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert (document["open"], document["state"], document["reason"]) == (given.open, given.state, given.reason)


@given(given=VERDICTS)
def test_open_means_checked_and_every_closing_failure_overridden(given):
    named = given.override.checks if given.override and given.override.subject == given.subject else ()
    closing = [one for one in given.checks if not one.passed and one.severity == "close"]
    assert given.open == (bool(given.checks) and all(one.name in named for one in closing))
    assert given.state == ("closed" if not given.open else "overridden" if closing else "open")


@given(given=VERDICTS)
def test_an_edited_file_opens_nothing(given, tmp_path_factory):
    path = tmp_path_factory.mktemp("verdict") / "verdict.json"
    given.write(path)
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(document | {"open": True, "state": "open", "reason": "fine"}), encoding="utf-8")
    assert Verdict.read(path) == given
    assert Verdict.read(path).open == given.open


def test_an_empty_verdict_is_closed():
    assert not verdict().open
    assert verdict().state == "closed"
    assert "no check was made" in verdict().reason


def test_an_override_of_nothing_asked_opens_nothing():
    assert verdict(override=("a",)).state == "closed"


def test_warnings_do_not_close():
    found = verdict(check("a"), check("b", False, Severity.warn))
    assert found.state == "open"
    assert [one.name for one in found.warnings] == ["b"]
    assert found.reason == "2 checks made, 1 with a warning: b is False"


def test_the_reason_is_the_first_closing_check_and_names_others():
    found = verdict(check("w", False, Severity.warn), check("a", False), check("b", False), check("c"))
    assert found.state == "closed"
    assert found.reason == "a is False (and b)"
    assert verdict(*(check(name, False) for name in "abcdef")).reason == "a is False (and b, c, d, 2 more)"


def test_an_override_opens_the_checks_that_it_names_only():
    failed = check("a", False), check("b", False)
    assert verdict(*failed, override=("a",)).state == "closed"
    assert verdict(*failed, override=("a", "b")).state == "overridden"
    assert verdict(*failed, override=("a", "b")).reason.startswith(
        "overridden by Ada, 2026-01-01 00:00 UTC, past a, b: “known”; found: a is False"
    )


def test_an_override_without_a_failure_changes_nothing():
    assert verdict(check("a"), override=("a",)).state == "open"
    assert verdict(check("a"), override=("a",)).reason == "all 1 checks passed"


def test_an_override_of_another_subject_opens_nothing():
    override = Override(who="Ada", when="2026-01-01T00:00:00Z", why="known", checks=("a",), subject="yesterday's data")
    found = Verdict(gate="data", pipeline="p", subject="s", checks=(check("a", False),), override=override)
    assert found.state == "closed"


@pytest.mark.parametrize("field", ["gate", "pipeline", "subject", "checks"])
def test_a_verdict_without_a_field_is_no_verdict(field, tmp_path):
    path = tmp_path / "verdict.json"
    verdict(check("a")).write(path)
    document = json.loads(path.read_text(encoding="utf-8"))
    del document[field]
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ValidationError):
        Verdict.read(path)


def test_a_verdict_cannot_be_changed():
    with pytest.raises(ValidationError):
        verdict(check("a")).subject = "t"
    with pytest.raises(ValidationError):
        check("a").passed = False
