"""How workers work together: Lightning's strategies, placed where Ray says."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from pytorch_lightning.plugins import MixedPrecision
from pytorch_lightning.strategies import ModelParallelStrategy
from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment
from ray.train.torch import get_device
from torch import nn

from sluiceway.training.plan import Hardware


class Sharded(ModelParallelStrategy):
    """FSDP2: parameters, gradients and optimizer state are shared out over the workers."""

    @property
    def root_device(self) -> torch.device:
        """The device Ray gave to this worker."""
        return get_device()

    def setup_environment(self) -> None:
        """Share out over all workers; only now is it known how many there are."""
        self._data_parallel_size = self.cluster_environment.world_size() if self.cluster_environment else 1
        super().setup_environment()

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """Which rank reads: unused, since the order of examples is ours."""
        return {"num_replicas": self.world_size, "rank": self.global_rank}


def strategy(hardware: Hardware, *, in_phases: bool) -> Any:
    """Return Lightning's strategy object for the chosen hardware.

    Args:
        hardware: what was chosen.
        in_phases: whether there are steps that train but a part of the network.
    """
    match hardware.strategy:
        case "single":
            return "auto"
        case "ddp":
            return RayDDPStrategy(find_unused_parameters=in_phases)  # type: ignore[no-untyped-call]
        case _:
            return Sharded(tensor_parallel_size=1)


def plugins(world: int, hardware: Hardware) -> list[Any]:
    """Return what lets Lightning ask Ray for ranks, which is not needed alone, and what does the arithmetic."""
    place = [RayLightningEnvironment()] if world > 1 else []  # type: ignore[no-untyped-call]
    return [*place, *([_half_on_cpu()] if _is_half_on_cpu(hardware) else [])]


def precision(hardware: Hardware) -> Any:
    """Return what Lightning is to be told of the precision; nothing where :func:`plugins` says it."""
    return None if _is_half_on_cpu(hardware) else hardware.precision


def _is_half_on_cpu(hardware: Hardware) -> bool:
    return hardware.precision == "16-mixed" and hardware.accelerator == "cpu"


def _half_on_cpu() -> MixedPrecision:
    """float16 on a CPU, slow as it is: Lightning would take bfloat16 in its place, which needs no scaler."""
    return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))


def shard(model: nn.Module, mesh: Any) -> None:
    """Share out a network's parameters, block by block, so that a block is whole only while it computes."""
    from torch.distributed.fsdp import fully_shard

    for block in _blocks(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def recompute(model: nn.Module) -> None:
    """Keep of each block its inputs alone, and compute what is inside once more when the gradient needs it.

    The results are the same bits, dropout included, for a third more computing. Chen et al., "Training Deep Nets
    with Sublinear Memory Cost", 2016.
    """
    for block in _blocks(model, outermost=True):
        block.forward = _recomputed(block.forward)


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    from torch.utils.checkpoint import checkpoint

    from sluiceway.models.chance import repeatable

    @wraps(forward)
    def run(*inputs: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*inputs, **named)
        return checkpoint(repeatable(forward), *inputs, use_reentrant=False, **named)

    return run


def _blocks(model: nn.Module, *, outermost: bool = False) -> list[nn.Module]:
    """Return what deep networks repeat: elements of ``nn.ModuleList`` and ``nn.Sequential`` that have parameters.

    Args:
        model: the network.
        outermost: leave out blocks that are inside of others.
    """
    found: dict[nn.Module, None] = {}
    inside: set[nn.Module] = set()
    for each in model.modules():
        if not isinstance(each, nn.ModuleList | nn.Sequential):
            continue
        for child in each:
            if any(True for _ in child.parameters()) and not (outermost and child in inside):
                found[child] = None
                inside |= set(child.modules())
    return list(found)
