"""The cost gate: time and money against their limits."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway.config import CostGateParams
from sluiceway.gates.cost import Spending, cost, judge
from support import check_of

LIMITS = CostGateParams(price_per_device_hour=2.0, currency="EUR", max_cost=3.0, max_hours=1.0)


def judged(limits=LIMITS, **spending):
    given = {"devices": 1, "spent_seconds": 0.0, "steps_left": 0, "seconds_per_step": 1.0} | spending
    given = {"spent_device_seconds": given["spent_seconds"] * given["devices"]} | given
    return judge(Spending(**given), limits, pipeline="p", subject="s")


def test_a_device_hour_costs_its_price():
    assert cost(3600, LIMITS) == 2.0
    assert cost(1800, LIMITS) == 1.0
    assert cost(0, LIMITS) == 0.0


def test_prediction_is_what_was_spent_and_what_is_left():
    verdict = judged(spent_seconds=600.0, steps_left=100, seconds_per_step=12.0, devices=2)
    assert verdict.figures == pytest.approx(
        {"seconds_per_step": 12.0, "predicted_hours": 0.5, "predicted_cost": 2.0, "spent_hours": 1 / 6}
    )
    assert verdict.state == "open"
    assert (verdict.gate, verdict.pipeline, verdict.subject) == ("cost", "p", "s")


@pytest.mark.parametrize(("steps", "state"), [(3600, "open"), (3601, "closed")])
def test_the_limit_itself_is_allowed(steps, state):
    verdict = judged(steps_left=steps)
    assert verdict.state == state
    assert check_of(verdict, "predicted_hours").passed is (state == "open")
    assert check_of(verdict, "predicted_cost").passed


def test_more_devices_cost_more_money_but_no_more_time():
    verdict = judged(steps_left=3600, devices=2)
    assert check_of(verdict, "predicted_hours").passed
    assert not check_of(verdict, "predicted_cost").passed
    assert check_of(verdict, "predicted_cost").figure == pytest.approx(4.0)
    assert verdict.reason == "training is predicted to cost 4 EUR; 3 EUR are allowed"


def test_the_reason_speaks_of_time_as_people_do():
    limits = CostGateParams(max_hours=0.02, max_cost=100.0)
    assert judged(limits, steps_left=99).reason.startswith("training is predicted to take 99 seconds on 1 device; 72 s")
    assert "take 50 minutes on 3 devices" in judged(limits, steps_left=3000, devices=3).reason
    assert "take 2.5 hours on 1 device" in judged(limits, steps_left=9000).reason


def test_a_figure_that_is_no_number_stays_closed():
    assert judged(steps_left=10, seconds_per_step=math.nan).state == "closed"
    assert judged(steps_left=10, seconds_per_step=math.inf).state == "closed"


@given(
    spent=st.floats(0, 1e5),
    steps=st.integers(0, 10**6),
    pace=st.floats(0, 10),
    devices=st.integers(1, 64),
    more=st.integers(1, 10**6),
)
def test_more_work_never_opens_the_gate(spent, steps, pace, devices, more):
    work = {"spent_seconds": spent, "seconds_per_step": pace, "devices": devices}
    assert judged(steps_left=steps, **work).open or not judged(steps_left=steps + more, **work).open


def test_each_attempt_is_paid_for_the_devices_that_it_had():
    verdict = judged(spent_seconds=1800.0, spent_device_seconds=3600.0, steps_left=1800)  # on two, and now on one
    assert verdict.figures["predicted_cost"] == pytest.approx(3.0)
    assert verdict.figures["predicted_hours"] == pytest.approx(1.0)
