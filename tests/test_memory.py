"""Out of memory: which micro-batch it was, and a smaller one at the same global batch."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch

from jobs import job_of, losses
from projects import Project
from sluiceway.errors import OutOfMemory, TrainingError
from sluiceway.training import driver, memory
from sluiceway.training.job import Job, Places, seal, unsealed
from sluiceway.training.module import Learner


def job(global_batch: int, worlds: tuple[int, ...] = (1,), accumulate: int = 1) -> Job:
    train = {"global_batch": global_batch, "accumulate": accumulate, "out_of_memory": "smaller"}
    return Job(**dict.fromkeys((each.name for each in fields(Job)), 0) | {"params": {"train": train}, "worlds": worlds})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("global_batch", "worlds", "sizes"),
    [
        (16, (1,), [8, 4, 2, 1]),
        (20, (1,), [10, 5, 2, 1]),
        (24, (2,), [6, 3, 1]),
        (7, (1,), [1]),
        (1, (1,), []),
        (30, (1,), [15, 6, 3, 1]),
        (48, (1, 2, 4), [24, 12, 4]),
        (24, (2, 3), [6, 3]),
    ],
)
def test_micro_batches_become_half_or_less_and_still_divide(
    global_batch: int, worlds: tuple[int, ...], sizes: list[int]
) -> None:
    found, at = [], job(global_batch, worlds)
    while at := memory.next_smaller(at):
        found.append(memory.micro_batch(at))
        steps = at.params["train"]["accumulate"]
        assert not any(global_batch % (world * steps) for world in worlds)
    assert found == sizes


def short_of_memory(monkeypatch: pytest.MonkeyPatch, fits: int, after: int, error: Exception) -> list[tuple[int, int]]:
    """Let training steps of more than some items fail after a step; return the (step, items) that did."""
    figures, failed = Learner._figures, []

    def measured(self, items):
        size = len(next(iter(items.values())))
        if size > fits and self.step >= after:
            failed.append((self.step, size))
            raise error
        return figures(self, items)

    monkeypatch.setattr(Learner, "_figures", measured)
    return failed


OPTIONS: dict[str, object] = {"epochs": 2.0, "log_every": 1, "checkpoint_every": 4, "lr": 1e-3, "cpus_per_worker": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
    ids=["device", "host", "allocator"],
)
def test_training_goes_on_with_smaller_micro_batches(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    whole = driver.run(job_of(finished, tmp_path / "whole", **OPTIONS), lambda _: None)
    failed = short_of_memory(monkeypatch, fits=5, after=9, error=error)
    said: list[str] = []
    small = job_of(finished, tmp_path / "small", **OPTIONS)
    trained = memory.run(small, lambda _: None, said.append)
    assert failed == [(9, 20), (9, 10)]
    assert "out of memory in step 10, at micro-batch 1 of 1 with 20 items: " in said[0]
    assert said[0].endswith("going on with micro-batches of 10 (train.accumulate: 2)")
    assert said[1].endswith("going on with micro-batches of 5 (train.accumulate: 4)")
    assert trained.result["attempts"] == 3
    assert losses(trained) == pytest.approx(losses(whole), rel=1e-4)
    assert len(losses(trained)) == small.plan.steps
    memory.run(small, lambda _: None, said.append)
    assert len(failed) == len(said) == 2  # what fits is remembered


@pytest.mark.slow
def test_when_nothing_smaller_is_wanted_or_left_it_stops(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory")
    failed = short_of_memory(monkeypatch, fits=0, after=6, error=error)
    with pytest.raises(
        OutOfMemory, match=r"in step 7, at micro-batch 1 of 1 with 20 items: CUDA out of memory"
    ) as caught:
        memory.run(job_of(finished, tmp_path / "stop", **OPTIONS, out_of_memory="stop"), lambda _: None, print)
    assert "raise train.accumulate (now 1): the global batch of 20 stays" in caught.value.hint
    assert Places(tmp_path / "stop").checkpoints.exists()
    failed.clear()
    with pytest.raises(OutOfMemory, match="at micro-batch 1 of 20 with 1 items"):
        memory.run(job_of(finished, tmp_path / "down", **OPTIONS), lambda _: None, lambda _: None)
    assert [size for _, size in failed] == [20, 10, 5, 2, 1]


@pytest.mark.slow
def test_a_validation_that_does_not_fit_names_its_own_option(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Learner, "validation_step", fail)
    with pytest.raises(TrainingError, match="in the validation after step") as caught:
        memory.run(job_of(finished, tmp_path / "job", **OPTIONS), lambda _: None, print)
    assert not isinstance(caught.value, OutOfMemory)
    assert caught.value.hint == "lower evaluate.batch: it changes no figure"


def test_a_memory_that_is_broken_is_none(tmp_path: Path) -> None:
    path = Places(tmp_path).memory
    seal(path, {"accumulate": 4})
    path.write_bytes(path.read_bytes().replace(b"4", b"9", 1))
    assert unsealed(path) is None
