"""What becomes of training when workers fail: the decision alone, without Ray."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway.training.failures import Failure, Patience, note, noted, say

CRASHES = st.dictionaries(st.integers(0, 3), st.sampled_from(["lost", "hung", "cut off"]), min_size=1)


@given(retries=st.integers(0, 5), crashes=st.lists(CRASHES, min_size=7, max_size=7))
def test_crashes_without_a_checkpoint_between_them_end_it(retries, crashes):
    patience = Patience(retries, step=40)
    lasted = [patience.lasts(ends, 40) for ends in crashes]
    assert lasted == [True] * retries + [False] * (7 - retries)


@given(crashes=st.lists(CRASHES, min_size=1, max_size=30))
def test_with_a_checkpoint_between_them_crashes_never_end_it(crashes):
    patience = Patience(1)
    assert all(patience.lasts(ends, step) for step, ends in enumerate(crashes, 1))


def test_progress_is_counted_from_the_last_crash():
    patience = Patience(2)
    assert [patience.lasts({0: "lost"}, step) for step in (0, 0, 10, 10, 10)] == [True, True, True, True, False]


@given(ends=CRASHES, rank=st.integers(4, 6))
def test_what_a_worker_said_itself_is_never_tried_again(ends, rank):
    assert not Patience(5).lasts({**ends, rank: "fault"}, 100)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ({1: "lost", 0: "cut off"}, "worker 1 was killed or lost with its node"),
        ({0: "cut off"}, "worker 0 was cut off from the others"),
        ({0: "hung", 1: "hung"}, "worker 0 hung, worker 1 hung"),
        ({2: "fault", 0: "cut off"}, "worker 2 failed"),
    ],
)
def test_the_guilty_are_named(ends, said):
    assert say(ends) == said


def test_failures_are_read_as_they_were_noted(tmp_path):
    path = tmp_path / "failures.jsonl"
    assert list(noted(path)) == []
    failures = [
        Failure(time.time(), {0: "hung", 1: "cut off"}, "worker 0 hung", 40, retried=True, stacks={0: "Thread 1\n  x"}),
        Failure(time.time(), {1: "lost"}, "worker 1 was lost", 0, retried=False),
    ]
    for failure in failures:
        note(path, failure)
    assert list(noted(path)) == failures
    with path.open("a", encoding="utf-8") as file:
        file.write('{"time": 17')
    assert list(noted(path)) == failures
    note(path, failures[0])  # behind what a full disk tore
    note(path, failures[1])
    assert list(noted(path)) == [*failures, *failures]


def test_a_failure_that_cannot_be_noted_ends_nothing(tmp_path):
    note(tmp_path / "gone" / "failures.jsonl", Failure(time.time(), {0: "lost"}, "", 0, retried=True))
