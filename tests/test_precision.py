"""float16 with the state of its scaler, blocks that are computed again, and shards for another number of workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from jobs import digest, job_of, losses
from projects import Project
from sluiceway.config import Train
from sluiceway.models.gpt import GPT
from sluiceway.training import driver
from sluiceway.training.checkpoints import newest
from sluiceway.training.job import Places
from sluiceway.training.strategies import recompute


@contextmanager
def remembered() -> Iterator[list[int]]:
    """Collect the bytes of what is kept for the gradient."""
    sizes: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


def step(model: nn.Module, tokens: torch.Tensor) -> tuple[float, list[torch.Tensor], int]:
    torch.manual_seed(3)
    with remembered() as sizes:
        loss = nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()
    return float(loss), [parameter.grad for parameter in model.parameters() if parameter.grad is not None], sum(sizes)


def test_computing_blocks_again_changes_no_bit_and_remembers_less() -> None:
    def network() -> nn.Module:
        torch.manual_seed(1)
        return GPT(vocabulary=50, context=32, channels=32, layers=4, heads=4, dropout=0.2)

    tokens = torch.randint(0, 50, (4, 33), generator=torch.Generator().manual_seed(2))
    plain, again = network(), network()
    recompute(again)
    assert sorted(plain.state_dict()) == sorted(again.state_dict())
    loss, gradients, size = step(plain, tokens)
    loss_again, gradients_again, size_again = step(again, tokens)
    assert loss_again == loss
    assert all(torch.equal(one, other) for one, other in zip(gradients, gradients_again, strict=True))
    assert size_again < 0.5 * size
    with torch.no_grad():
        assert torch.equal(plain.eval()(tokens[:, :-1]), again.eval()(tokens[:, :-1]))


def test_what_lightning_cannot_do_is_refused_early() -> None:
    with pytest.raises(ValidationError, match="float16 does not go with strategy fsdp: use bfloat16"):
        Train(precision="float16", strategy="fsdp")


@pytest.mark.slow
def test_float16_goes_on_exactly_with_its_scaler(finished: Project, tmp_path: Path) -> None:
    options: dict[str, object] = {"epochs": 3.0, "log_every": 1, "checkpoint_every": 5, "cpus_per_worker": 1}
    whole = job_of(finished, tmp_path / "whole", **options, precision="float16", activation_checkpointing=True)
    expected = driver.run(whole, lambda _: None)
    parts = replace(whole, folder=str(tmp_path / "parts"))
    for stop in (8, 17):
        driver.run(replace(parts, plan=replace(whole.plan, boundaries=(stop,))), lambda _: None)
    resumed = driver.run(parts, lambda _: None)
    assert digest(resumed.weights) == digest(expected.weights)
    assert losses(resumed) == losses(expected)
    scalers = [newest(Places(Path(job.folder)).checkpoints)[0].state["scaler"] for job in (whole, parts)]  # type: ignore[union-attr]
    assert scalers[0] == scalers[1]
    assert scalers[0]["_growth_tracker"] > 5  # counted on over the interruptions
    assert losses(expected)[-1] < 0.9 * losses(expected)[0]


@pytest.mark.slow
def test_more_workers_go_on_with_sharded_parameters(finished: Project, tmp_path: Path) -> None:
    options: dict[str, object] = {"epochs": 3.0, "checkpoint_every": 5, "log_every": 1, "lr": 1e-3}
    whole = driver.run(job_of(finished, tmp_path / "whole", **options), lambda _: None)
    one = job_of(finished, tmp_path / "parts", **options)
    stop = one.plan.boundaries[0] + 3
    driver.run(replace(one, plan=replace(one.plan, boundaries=(stop,))), lambda _: None)
    options |= {"workers": 2, "strategy": "fsdp", "activation_checkpointing": True}
    two = driver.run(job_of(finished, tmp_path / "parts", **options), lambda _: None)
    assert two.result["attempts"] == 2
    assert losses(two) == pytest.approx(losses(whole), rel=1e-4)
    assert len(losses(two)) == one.plan.steps
