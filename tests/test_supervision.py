"""Our policies for Ray Train's controller, asked as it asks them, with Ray's own errors; no cluster is started."""

import inspect
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import (
    WorkerGroupStartupFailedError,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)
from ray.train.v2._internal.execution.failure_handling import FailureDecision
from ray.train.v2._internal.execution.scaling_policy import NoopDecision, ResizeDecision
from ray.train.v2.api.config import ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from sluiceway.errors import GateClosed, NotFinite, Preempted, TrainingError
from sluiceway.training import supervision
from sluiceway.training.failures import noted
from sluiceway.training.job import Places
from sluiceway.training.notice import heard
from sluiceway.training.supervision import Retries, Room, Trainer, last_words

GLOO = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4711")
KILLED = WorkerHealthCheckFailedError("A worker health check failed.", failure=RayActorError())
NO_MEMORY = WorkerHealthCheckFailedError("A worker health check failed.", failure=OutOfMemoryError("too much"))
FROZEN = WorkerHealthCheckTimeoutError("A worker health check has been hanging for 61.00 seconds.")


def commit(folder: Path, step: int) -> None:
    (folder / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)


def test_ray_still_lets_the_policies_in() -> None:
    assert "_initialize_and_run_controller" in vars(DataParallelTrainer)
    assert Trainer._initialize_and_run_controller is not DataParallelTrainer._initialize_and_run_controller
    fit = inspect.getsource(DataParallelTrainer.fit)
    assert "_initialize_and_run_controller(" in fit
    assert "scaling_policy=" in fit
    assert "failure_policy=" in fit
    callbacks = inspect.getsource(DataParallelTrainer._create_default_callbacks)
    assert "DatasetsCallback(" in callbacks
    assert "PlacementGroupCleanerCallback(" in callbacks
    assert Trainer._create_default_callbacks is not DataParallelTrainer._create_default_callbacks


# What is tried again.


@pytest.mark.parametrize(
    ("failures", "ends", "retried"),
    [
        ({1: KILLED}, {1: "lost"}, True),
        ({0: GLOO, 1: KILLED}, {0: "cut off", 1: "lost"}, True),
        ({0: GLOO}, {0: "cut off"}, True),
        ({0: FROZEN}, {0: "hung"}, True),
        ({0: NotFinite("loss became nan"), 1: NotFinite("loss became nan")}, {0: "fault", 1: "fault"}, False),
        ({0: GateClosed("too dear"), 1: GLOO}, {0: "fault", 1: "cut off"}, False),
        ({0: ValueError("a fault of the code")}, {0: "fault"}, False),
        ({0: RuntimeError("mat1 and mat2 shapes cannot be multiplied")}, {0: "fault"}, False),
        ({0: NO_MEMORY, 1: GLOO}, {0: "fault", 1: "cut off"}, False),
    ],
)
def test_only_what_may_not_happen_again_is_tried_again(tmp_path, failures, ends, retried) -> None:
    decision = Retries(3, str(tmp_path)).make_decision(WorkerGroupError("failed", failures))
    assert decision == (FailureDecision.RETRY if retried else FailureDecision.RAISE)
    (failure,) = noted(tmp_path / "failures.jsonl")
    assert (failure.ends, failure.retried, failure.step) == (ends, retried, 0)


def test_retries_run_out_unless_a_checkpoint_comes(tmp_path) -> None:
    policy = Retries(1, str(tmp_path))
    crash = WorkerGroupError("failed", {1: KILLED})
    assert policy.make_decision(crash) == FailureDecision.RETRY
    commit(tmp_path, 40)
    assert policy.make_decision(crash) == FailureDecision.RETRY
    assert policy.make_decision(crash) == FailureDecision.RAISE
    assert [failure.step for failure in noted(tmp_path / "failures.jsonl")] == [0, 40, 40]


def test_a_worker_that_left_its_stack_was_hung(tmp_path) -> None:
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "rank-0000.stack").write_text("Timeout (0:00:05)!\nThread 1\n", encoding="utf-8")
    (tmp_path / "workers" / "rank-0001.stack").write_text("", encoding="utf-8")
    Retries(1, str(tmp_path)).make_decision(WorkerGroupError("failed", {0: KILLED, 1: GLOO}))
    (failure,) = noted(tmp_path / "failures.jsonl")
    assert failure.ends == {0: "hung", 1: "cut off"}
    assert failure.message == "worker 0 hung"
    assert failure.stacks[0].startswith("Timeout")


def test_the_controllers_own_errors(tmp_path) -> None:
    policy = Retries(1, str(tmp_path))
    waits = ControllerError(WorkerGroupStartupTimeoutError(2))
    assert [policy.make_decision(waits) for _ in range(5)] == [FailureDecision.RETRY] * 5
    fails = ControllerError(WorkerGroupStartupFailedError("a worker died"))
    assert [policy.make_decision(fails) for _ in range(2)] == [FailureDecision.RETRY, FailureDecision.RAISE]
    assert policy.make_decision(ControllerError(TrainingError("no room"))) == FailureDecision.RAISE


def test_what_a_worker_said_comes_before_what_others_saw_of_it() -> None:
    said = NotFinite("loss became nan")
    assert last_words(WorkerGroupError("failed", {0: GLOO, 1: said})) is said
    told = last_words(WorkerGroupError("failed", {0: GLOO, 1: ValueError("first\nlast line")}))
    assert str(told) == "worker 1 failed: ValueError: last line"
    silent = last_words(WorkerGroupError("failed", {0: AssertionError()}))
    assert str(silent) == "worker 0 failed: AssertionError: it gave no reason"
    room = TrainingError("no room")
    assert last_words(ControllerError(room)) is room
    assert str(last_words(RayActorError())) == "the process that watches over the workers was killed"


# How many workers there are.


@dataclass
class Nodes:
    """A cluster of nodes with CPUs: how many each has, and how many nobody has taken."""

    whole: dict[str, float]
    free: dict[str, float] = field(default_factory=dict)


@pytest.fixture
def nodes(monkeypatch) -> Nodes:
    made = Nodes({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0})
    monkeypatch.setattr(supervision, "totals", lambda: {name: {"CPU": each} for name, each in made.whole.items()})
    monkeypatch.setattr(
        supervision, "available", lambda: {name: {"CPU": made.free.get(name, 0.0)} for name in made.whole}
    )
    monkeypatch.setattr(Room, "LOOK", 0.0)
    monkeypatch.setattr(Room, "SETTLING", 0.0)
    return made


def room(folder: Path, worlds: tuple[int, ...], cpus: int = 1) -> Room:
    config = ScalingConfig(num_workers=worlds[-1], resources_per_worker={"CPU": cpus, "GPU": 0})
    return Room(config, worlds, str(folder), fixed=True)


def running(policy: Room, *homes: str) -> object:
    workers = [SimpleNamespace(metadata=SimpleNamespace(node_id=home)) for home in homes]
    state = SimpleNamespace(workers=workers, num_workers=len(workers))
    return policy.make_decision_for_running_worker_group(state, None)


def starts(policy: Room) -> int:
    decision = policy.make_decision_for_non_running_worker_group()
    return decision.num_workers if isinstance(decision, ResizeDecision) else 0


def test_training_starts_with_the_most_that_fits_and_divides(tmp_path, nodes) -> None:
    assert starts(room(tmp_path, (1, 2, 4))) == 2
    nodes.whole |= {"c": 1.0}
    nodes.free |= {"c": 1.0}
    assert starts(room(tmp_path, (1, 2, 4))) == 2  # three do not divide the batch
    nodes.whole["c"] = nodes.free["c"] = 5.0
    assert starts(room(tmp_path, (1, 2, 4))) == 4
    assert starts(room(tmp_path, (1, 2, 4), cpus=2)) == 2  # a worker's resources lie on one node


def test_a_lost_node_is_not_counted_and_the_others_are_free_again(tmp_path, nodes) -> None:
    policy = room(tmp_path, (1, 2))
    nodes.free = {}
    assert isinstance(running(policy, "a", "b"), NoopDecision)
    del nodes.whole["b"]
    assert starts(policy) == 1
    fixed = room(tmp_path, (2,))
    nodes.whole["b"] = 1.0
    running(fixed, "a", "b")
    assert starts(fixed) == 2  # a crash without a loss


def test_growing_waits_for_a_checkpoint(tmp_path, nodes) -> None:
    policy = room(tmp_path, (1, 2))
    nodes.free = {"b": 1.0}
    commit(tmp_path, 40)
    assert isinstance(running(policy, "a"), NoopDecision)
    assert isinstance(running(policy, "a"), NoopDecision)
    commit(tmp_path, 80)
    decision = running(policy, "a")
    assert isinstance(decision, ResizeDecision)
    assert decision.num_workers == 2


def test_room_that_is_gone_again_is_not_waited_for(tmp_path, nodes) -> None:
    policy = room(tmp_path, (1, 2))
    nodes.free = {"b": 1.0}
    assert isinstance(running(policy, "a"), NoopDecision)
    nodes.free = {}
    commit(tmp_path, 40)
    assert isinstance(running(policy, "a"), NoopDecision)
    commit(tmp_path, 80)
    assert isinstance(running(policy, "a"), NoopDecision)


def test_a_machine_that_will_not_grow_says_at_once_that_there_is_no_room(tmp_path, nodes) -> None:
    with pytest.raises(TrainingError, match=r"room for 2 of at least 3 workers") as caught:
        starts(room(tmp_path, (3,)))
    assert "lower train.workers" in caught.value.hint


def test_who_waits_for_room_may_be_told_to_leave(tmp_path, nodes) -> None:
    policy = room(tmp_path, (2,))
    nodes.free = {"a": 1.0}
    with heard(Places(tmp_path).notice):
        assert starts(policy) == 0
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Preempted, match="while no worker was there"):
            starts(policy)


def test_a_cluster_is_waited_for_but_not_for_ever(tmp_path, nodes, monkeypatch) -> None:
    policy = room(tmp_path, (2,))
    nodes.free = {"a": 1.0}  # somebody else trains on b
    assert starts(policy) == 0
    monkeypatch.setattr(Room, "PATIENCE", 0.0)
    with pytest.raises(TrainingError, match="room for 1 of at least 2"):
        starts(policy)
