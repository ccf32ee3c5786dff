"""The ledger of overrides: what is written comes back, holds for one thing only, and is never read half."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway.errors import ConfigError
from sluiceway.gates.overrides import overridden, record
from sluiceway.gates.verdict import Check, Severity, Verdict

WHEN = "2026-01-02T03:04:05+00:00"


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "data" / "overrides.jsonl"


def verdict(*closed, pipeline="digits", subject="abc", gate="data", warned=(), passed=("fine",)):
    checks = [Check(name=name, passed=False, message=f"{name} failed") for name in closed]
    checks += [Check(name=name, passed=False, severity=Severity.warn, message=f"{name} is odd") for name in warned]
    checks += [Check(name=name, passed=True, message=f"{name} passed") for name in passed]
    return Verdict(gate=gate, pipeline=pipeline, subject=subject, checks=tuple(checks))


def recorded(given_verdict, ledger, who="Ada", why="known"):
    return record(given_verdict, ledger, who=who, when=WHEN, why=why)


def test_without_a_ledger_nothing_is_overridden(ledger):
    closed = verdict("outliers")
    assert overridden(closed, ledger) == closed
    assert not ledger.exists()


def test_what_is_recorded_comes_back_and_opens(ledger):
    closed = verdict("outliers", "strangers", warned=("class_balance",))
    made = recorded(closed, ledger, why="the odd ones are real")
    assert (made.who, made.when, made.why) == ("Ada", WHEN, "the odd ones are real")
    assert made.checks == ("outliers", "strangers")  # what only warns needs no override
    assert made.subject == "abc"
    again = overridden(closed, ledger)
    assert again.override == made
    assert again.state == "overridden"
    assert again.reason == (
        "overridden by Ada, 2026-01-02 03:04 UTC, past outliers, strangers: “the odd ones are real”; "
        "found: outliers failed (and strangers)"
    )
    assert again.cause == closed.reason == "outliers failed (and strangers)"
    assert closed.state == "closed"


def test_a_line_is_a_plain_record_for_people(ledger):
    recorded(verdict("outliers"), ledger, who="Łukasz", why="Zoë's scans")
    (line,) = ledger.read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "pipeline": "digits",
        "gate": "data",
        "who": "Łukasz",
        "when": WHEN,
        "why": "Zoë's scans",
        "checks": ["outliers"],
        "subject": "abc",
    }
    assert "Zoë's" in line


def test_lines_are_added_and_never_changed(ledger):
    recorded(verdict("a"), ledger)
    first = ledger.read_bytes()
    recorded(verdict("b"), ledger)
    assert ledger.read_bytes().startswith(first)
    assert ledger.read_bytes().count(b"\n") == 2


def test_a_ledger_whose_last_line_has_no_end_takes_another_line(ledger):
    recorded(verdict("a"), ledger)
    ledger.write_bytes(ledger.read_bytes().rstrip(b"\n"))  # as some editors leave it
    recorded(verdict("b"), ledger)
    assert overridden(verdict("b"), ledger).open
    assert ledger.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("other", [{"subject": "other data"}, {"pipeline": "verses"}, {"gate": "cost"}])
def test_another_subject_pipeline_or_gate_is_not_overridden(ledger, other):
    recorded(verdict("outliers"), ledger)
    assert overridden(verdict("outliers", **other), ledger).state == "closed"
    assert overridden(verdict("outliers", **other), ledger).override is None


def test_an_override_moved_to_another_verdict_opens_nothing(ledger):
    """Even one that was put there by hand."""
    made = recorded(verdict("outliers"), ledger)
    assert verdict("outliers", subject="new").model_copy(update={"override": made}).state == "closed"


def test_a_check_that_was_not_overridden_keeps_the_gate_closed(ledger):
    recorded(verdict("outliers"), ledger)
    found = overridden(verdict("outliers", "label_errors"), ledger)
    assert found.override is not None
    assert found.state == "closed"
    assert found.reason.startswith("outliers failed (and label_errors)")


def test_the_newest_wins(ledger):
    recorded(verdict("outliers"), ledger, who="Ada")
    recorded(verdict("outliers", "label_errors"), ledger, who="Bo")
    recorded(verdict("outliers", pipeline="verses"), ledger, who="Cy")
    found = overridden(verdict("outliers", "label_errors"), ledger)
    assert found.override.who == "Bo"
    assert found.state == "overridden"


def test_the_newest_wins_even_where_it_overrides_less(ledger):
    recorded(verdict("outliers", "label_errors"), ledger)
    recorded(verdict("outliers"), ledger)
    assert overridden(verdict("outliers", "label_errors"), ledger).state == "closed"


def test_an_open_gate_stays_open(ledger):
    recorded(verdict("outliers"), ledger)
    assert overridden(verdict(), ledger).state == "open"


BAD = {
    "no JSON": "{",
    "a number": "7",
    "a list": "[1]",
    "a text": '"text"',
    "nothing": "null",
    "no pipeline": '{"gate": "data"}',
    "no subject": '{"pipeline": "p", "gate": "data", "who": "A", "when": "t", "why": "w", "checks": ["a"]}',
    "too much": '{"pipeline": "p", "gate": "data", "who": "A", "when": "t", "why": "w", "checks": [], "subject": "s", '
    '"open": true}',
    "checks of another kind": '{"pipeline": "p", "gate": "data", "who": "A", "when": "t", "why": "w", "checks": 7, '
    '"subject": "s"}',
    "a merge conflict": "<<<<<<< HEAD",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_line_that_cannot_be_read_is_told_with_its_number(ledger, kind):
    recorded(verdict("outliers"), ledger)
    with ledger.open("a", encoding="utf-8") as file:
        file.write(f"\n{BAD[kind]}\n")
    with pytest.raises(ConfigError, match=r"overrides\.jsonl line 3 is no override: .") as caught:
        overridden(verdict("outliers"), ledger)
    assert "\n" not in str(caught.value)
    assert "git" in caught.value.hint


def test_empty_lines_are_left_out(ledger):
    recorded(verdict("outliers"), ledger)
    ledger.write_text(f"\n{ledger.read_text(encoding='utf-8')}\n  \n", encoding="utf-8")
    assert overridden(verdict("outliers"), ledger).state == "overridden"


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"), min_size=1)


@given(who=TEXT, why=TEXT, subject=TEXT, pipeline=TEXT, names=st.lists(TEXT, min_size=1, max_size=4, unique=True))
def test_whatever_was_recorded_comes_back(who, why, subject, pipeline, names, tmp_path_factory):
    ledger = tmp_path_factory.mktemp("ledger") / "overrides.jsonl"
    closed = verdict(*names, pipeline=pipeline, subject=subject, passed=())
    made = record(closed, ledger, who=who, when=WHEN, why=why)
    found = overridden(closed, ledger)
    assert found.override == made
    assert found.state == "overridden"


def test_a_ledger_that_is_no_text_is_told(tmp_path):
    path = tmp_path / "overrides.jsonl"
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(ConfigError, match=r"overrides.jsonl is not UTF-8") as caught:
        overridden(verdict("outliers"), path)
    assert "git" in caught.value.hint
