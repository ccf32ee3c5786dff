"""The plan of a training: steps, boundaries, learning rate against torch's schedulers, hardware."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway.config import Train
from sluiceway.training.plan import choose_hardware, learning_rate, plan

TRAINS = st.builds(
    Train,
    epochs=st.floats(0.01, 30),
    global_batch=st.integers(1, 300),
    validate_every=st.floats(0.01, 5),
    log_every=st.integers(1, 50),
    checkpoint_every=st.integers(1, 500),
)


# Steps


@settings(max_examples=200)
@given(train=TRAINS, examples=st.integers(1, 5000))
def test_boundaries_rise_and_end_with_the_last_step(train, examples):
    found = plan(train, examples)
    assert found.steps >= 1
    assert abs(found.steps - train.epochs * examples / train.global_batch) <= (0.5 if found.steps > 1 else 1.5)
    assert found.boundaries[-1] == found.steps
    assert list(found.boundaries) == sorted(set(found.boundaries))
    assert found.boundaries[0] >= 1
    gaps = {after - before for before, after in zip((0, *found.boundaries), found.boundaries[:-1], strict=False)}
    assert len(gaps) <= 1  # all alike, but the last may be shorter


@settings(max_examples=200)
@given(train=TRAINS, examples=st.integers(1, 5000))
def test_checkpoints_fall_on_log_lines(train, examples):
    found = plan(train, examples)
    assert 1 <= found.log_every <= found.steps
    assert found.checkpoint_every % found.log_every == 0
    assert 0 <= found.checkpoint_every - train.checkpoint_every < found.log_every


@settings(max_examples=100)
@given(train=TRAINS, examples=st.integers(1, 500), data=st.data())
def test_segments_are_counted_from_any_step(train, examples, data):
    found = plan(train, examples)
    step = data.draw(st.integers(0, found.steps - 1))
    later = [boundary for boundary in found.boundaries if boundary > step]
    assert found.segment_end(step) == later[0]
    assert found.segments_after(step) == len(later)
    assert found.segments_after(found.steps) == 0


def test_whole_epochs():
    found = plan(Train(epochs=3, global_batch=100), 1000)
    assert (found.steps, found.boundaries) == (30, (10, 20, 30))
    assert found.epoch(15, 100) == 1.5


def test_a_fraction_of_an_epoch():
    found = plan(Train(epochs=0.25, global_batch=10, validate_every=0.1), 1000)
    assert (found.steps, found.boundaries) == (25, (10, 20, 25))


def test_a_batch_larger_than_the_split_still_takes_a_step():
    found = plan(Train(epochs=1, global_batch=128), 3)
    assert (found.steps, found.boundaries, found.log_every) == (1, (1,), 1)


# Learning rate


def torch_rates(steps, train):
    """Return the rates of torch's own schedulers: linear warm-up, then the schedule's closed form."""
    import torch
    from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, SequentialLR

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=train.lr)
    warmup = max(1, round(train.warmup * steps)) if train.warmup else 0
    left = steps - warmup
    after = {
        "constant": lambda: ConstantLR(optimizer, factor=1.0),
        "linear": lambda: LinearLR(optimizer, 1.0, max(train.final_lr, 1e-12), total_iters=left),
        "cosine": lambda: CosineAnnealingLR(optimizer, left, eta_min=train.lr * train.final_lr),
    }[train.schedule]()
    scheduler = after
    if warmup > 1:
        rising = LinearLR(optimizer, 1 / warmup, 1.0, total_iters=warmup - 1)
        scheduler = SequentialLR(optimizer, [rising, after], [warmup])
    elif warmup == 1:
        scheduler = SequentialLR(optimizer, [ConstantLR(optimizer, 1.0), after], [1])
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.filterwarnings("ignore:The epoch parameter in")
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("warmup", [0.0, 0.001, 0.05, 0.3])
@pytest.mark.parametrize("final_lr", [0.0, 0.1])
@pytest.mark.parametrize("steps", [60, 101])
def test_learning_rate_is_torchs(schedule, warmup, final_lr, steps):
    train = Train(lr=0.004, schedule=schedule, warmup=warmup, final_lr=final_lr)
    mine = [learning_rate(step, steps, train) for step in range(steps)]
    assert mine == pytest.approx(torch_rates(steps, train), rel=1e-6, abs=1e-10)


@given(
    steps=st.integers(1, 3000),
    warmup=st.floats(0, 0.99),
    final=st.floats(0, 1),
    schedule=st.sampled_from(["constant", "linear", "cosine"]),
    data=st.data(),
)
def test_learning_rate_rises_to_its_highest_and_never_rises_again(steps, warmup, final, schedule, data):
    train = Train(lr=0.01, warmup=warmup, final_lr=final, schedule=schedule)
    step = data.draw(st.integers(0, steps - 1))
    here, before = (learning_rate(each, steps, train) for each in (step, max(0, step - 1)))
    risen = max(1, round(warmup * steps)) if warmup else 0
    assert 0 < here <= 0.01 * (1 + 1e-12)
    assert here >= before if step <= risen else here <= before
    if step >= risen:
        assert here >= 0.01 * final * (1 - 1e-12)
    assert learning_rate(min(risen, steps - 1), steps, train) == pytest.approx(0.01)


@pytest.mark.parametrize(("schedule", "half"), [("linear", 0.5), ("cosine", 0.5), ("constant", 1.0)])
def test_halfway_without_warmup(schedule, half):
    assert learning_rate(50, 100, Train(lr=2.0, schedule=schedule, warmup=0.0)) == pytest.approx(2.0 * half)


def test_a_quarter_of_a_cosine():
    found = learning_rate(25, 100, Train(lr=1.0, schedule="cosine", warmup=0.0, final_lr=0.2))
    assert found == pytest.approx(0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2)


def test_past_the_end_the_rate_stays_at_its_last():
    train = Train(lr=1.0, final_lr=0.1)
    assert learning_rate(100, 100, train) == pytest.approx(0.1)
    assert learning_rate(150, 100, train) == pytest.approx(0.1)


# Hardware

CPU = {"gpus": 0, "gpu_has_bfloat16": False}
OLD_GPU = {"gpus": 1, "gpu_has_bfloat16": False}
GPU = {"gpus": 1, "gpu_has_bfloat16": True}
GPUS = {"gpus": 4, "gpu_has_bfloat16": True}


@pytest.mark.parametrize(
    ("params", "machine", "expected"),
    [
        ({}, CPU, ("cpu", "gloo", "32-true", "single")),
        ({}, OLD_GPU, ("gpu", "nccl", "32-true", "single")),
        ({}, GPU, ("gpu", "nccl", "bf16-mixed", "single")),
        ({"workers": 2}, CPU, ("cpu", "gloo", "32-true", "ddp")),
        ({"workers": 2}, GPU, ("cpu", "gloo", "32-true", "ddp")),
        ({"workers": 4}, GPUS, ("gpu", "nccl", "bf16-mixed", "ddp")),
        ({"accelerator": "cpu"}, GPUS, ("cpu", "gloo", "32-true", "single")),
        ({"accelerator": "gpu"}, CPU, ("gpu", "nccl", "32-true", "single")),
        ({"accelerator": "gpu", "workers": 2}, GPU, ("gpu", "nccl", "bf16-mixed", "ddp")),
        ({"precision": "float32"}, GPU, ("gpu", "nccl", "32-true", "single")),
        ({"precision": "float16"}, OLD_GPU, ("gpu", "nccl", "16-mixed", "single")),
        ({"precision": "bfloat16"}, CPU, ("cpu", "gloo", "bf16-mixed", "single")),
        ({"strategy": "ddp"}, CPU, ("cpu", "gloo", "32-true", "single")),
        ({"strategy": "ddp", "workers": 2}, CPU, ("cpu", "gloo", "32-true", "ddp")),
        ({"strategy": "fsdp", "workers": 4}, GPUS, ("gpu", "nccl", "bf16-mixed", "fsdp")),
        ({"strategy": "fsdp"}, CPU, ("cpu", "gloo", "32-true", "fsdp")),
    ],
)
def test_hardware(params, machine, expected):
    found = choose_hardware(Train(global_batch=128, **params), **machine)
    assert (found.accelerator, found.backend, found.precision, found.strategy) == expected
