"""The model gate: thresholds, baselines and the champion, in both directions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway.config import ModelGateParams
from sluiceway.gates.model import Standing, judge
from support import check_of


def standing(value, name="x"):
    return Standing(name, value, f"{value:g}")


def judged(value, *, higher=True, baselines=(), champion=None, scores=None, **limits):
    return judge(
        "accuracy",
        higher_is_better=higher,
        challenger=standing(value, "new"),
        baselines=tuple(standing(each, f"baseline {number}") for number, each in enumerate(baselines)),
        champion=None if champion is None else standing(champion, "v3"),
        scores={"accuracy": value} if scores is None else scores,
        limits=ModelGateParams(**limits),
        pipeline="p",
        subject="s",
    )


@pytest.mark.parametrize(("value", "passes"), [(0.96, False), (0.97, True), (0.98, True), (math.nan, False)])
def test_minimum(value, passes):
    verdict = judged(value, minimum={"accuracy": 0.97})
    assert check_of(verdict, "minimum_accuracy").passed is passes
    assert verdict.open is passes


@pytest.mark.parametrize(("value", "passes"), [(2.4, True), (2.5, True), (2.6, False), (math.nan, False)])
def test_maximum(value, passes):
    verdict = judged(value, maximum={"accuracy": 2.5})
    assert check_of(verdict, "maximum_accuracy").passed is passes


def test_a_threshold_on_an_unknown_metric_closes_and_lists_the_known():
    verdict = judged(0.9, minimum={"acuracy": 0.5})
    assert not verdict.open
    assert verdict.reason == "there is no metric 'acuracy' (known: accuracy); 0.5 is the least"


@pytest.mark.parametrize(
    ("value", "baseline", "higher", "passes"),
    [
        (0.9, 0.8, True, True),
        (0.8, 0.9, True, False),
        (0.9, 0.9, True, False),
        (2.0, 2.5, False, True),
        (2.5, 2.0, False, False),
        (2.0, 2.0, False, False),
        (math.nan, 0.1, True, False),
        (math.nan, 0.1, False, False),
    ],
)
def test_a_baseline_must_be_beaten(value, baseline, higher, passes):
    assert judged(value, higher=higher, baselines=(baseline,)).open is passes


def test_every_baseline_must_be_beaten_and_each_has_its_own_check():
    verdict = judged(0.9, baselines=(0.1, 0.95))
    assert check_of(verdict, "better_than_baseline_0").passed
    assert not check_of(verdict, "better_than_baseline_1").passed
    assert verdict.reason == "accuracy is 0.9; baseline 1 has 0.95"


def test_names_of_checks_are_snake_case():
    verdict = judge(
        "accuracy",
        higher_is_better=True,
        challenger=standing(0.9),
        baselines=(standing(0.5, "HOG + SVM"), standing(0.4, "xz -9")),
        champion=None,
        scores={},
        limits=ModelGateParams(),
        pipeline="p",
        subject="s",
    )
    assert [check.name for check in verdict.checks] == ["better_than_hog_svm", "better_than_xz_9"]


def test_baselines_need_not_be_beaten_when_the_parameters_say_so():
    verdict = judged(0.1, baselines=(0.9,), beat_baselines=False, minimum={"accuracy": 0.05})
    assert verdict.open
    assert [check.name for check in verdict.checks] == ["minimum_accuracy"]


def test_a_gate_that_asks_nothing_stays_closed():
    assert not judged(1.0).open


@pytest.mark.parametrize(
    ("value", "champion", "higher", "margin", "passes"),
    [
        (0.98, 0.98, True, 0.0, True),
        (0.979, 0.98, True, 0.0, False),
        (0.97, 0.98, True, 0.01, True),
        (0.969, 0.98, True, 0.01, False),
        (2.1, 2.0, False, 0.1, True),
        (2.2, 2.0, False, 0.1, False),
        (1.9, 2.0, False, 0.0, True),
        (math.nan, 0.5, True, 0.5, False),
    ],
)
def test_the_champion_may_be_missed_by_the_margin(value, champion, higher, margin, passes):
    verdict = judged(value, higher=higher, champion=champion, champion_margin=margin)
    assert check_of(verdict, "no_worse_than_champion").passed is passes
    assert verdict.open is passes


@given(value=st.floats(-1e6, 1e6), champion=st.floats(-1e6, 1e6), margin=st.floats(0, 1e3), higher=st.booleans())
def test_the_verdict_on_the_champion_agrees_with_the_limit_that_it_shows(value, champion, margin, higher):
    check = check_of(judged(value, higher=higher, champion=champion, champion_margin=margin), "no_worse_than_champion")
    assert check.passed is (check.figure >= check.limit if higher else check.figure <= check.limit)


def test_figures_are_all_scores():
    verdict = judged(0.9, scores={"accuracy": 0.9, "macro_f1": 0.8}, minimum={"macro_f1": 0.7})
    assert verdict.figures == {"accuracy": 0.9, "macro_f1": 0.8}
    assert verdict.open
