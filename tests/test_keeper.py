"""What the ranks of one training must decide alike, whatever their own clocks say."""

import errno
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sluiceway.config import CostGateParams
from sluiceway.errors import DiskFull
from sluiceway.gates.verdict import Verdict
from sluiceway.training import keeper
from sluiceway.training.job import Places
from sluiceway.training.keeper import Keeper


def test_a_verdict_that_finds_no_room_is_written_later_and_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def write(self: Verdict, path: Path) -> None:
        if len(written) == 0:
            written.append(Path())
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)

    monkeypatch.setattr(Verdict, "write", write)
    one: Any = Keeper.__new__(Keeper)
    one._places, one._judged = Places(tmp_path), False
    one._earlier = one._earlier_of_devices = 0.0
    one._job = SimpleNamespace(pipeline="p", subject="s", plan=SimpleNamespace(pause=None, steps=100))
    one._params = SimpleNamespace(gates=SimpleNamespace(cost=CostGateParams()))
    for step in (10, 20, 30):
        assert one._judge(step, 0.01, 1.0).open
    assert written == [Path(), Places(tmp_path).verdict]
    written.clear()
    with pytest.raises(DiskFull, match="no room for the cost gate's verdict"):
        one._judge(100, 0.0, 1.0)


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
