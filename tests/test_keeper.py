"""What the ranks of one training must decide alike, whatever their own clocks say."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sluiceway.training import keeper
from sluiceway.training.keeper import Keeper


@pytest.mark.parametrize("own_pauses", [0.0, 3.0])
def test_the_cost_gate_is_asked_by_the_first_ranks_clock(own_pauses: float, monkeypatch: pytest.MonkeyPatch) -> None:
    of_the_first = 1.0
    from_first: Callable[[float], float] = lambda _: of_the_first  # noqa: E731 - stands in for a collective
    monkeypatch.setattr(keeper, "from_first", from_first)
    asked: list[tuple[int, float, float]] = []

    def judge(*what: Any) -> SimpleNamespace:
        asked.append(what)
        return SimpleNamespace(open=True)

    one: Any = Keeper.__new__(Keeper)
    one._params = SimpleNamespace(gates=SimpleNamespace(cost=SimpleNamespace(probe_steps=2)))
    one._probe, one._paused, one._judge = None, own_pauses, judge
    learner: Any = SimpleNamespace(start=0)
    for step in (1, 2, 3, 4):
        one._ask_gate(learner, step, 10.0 * step)
    assert asked == [(4, 10.0, 40.0)]
