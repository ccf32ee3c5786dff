"""How workers work together: Lightning's strategies, placed where Ray says."""

from typing import Any

import torch
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


def environment(world: int) -> list[Any]:
    """Return the plugins that let Lightning ask Ray for ranks; nothing is needed alone."""
    return [RayLightningEnvironment()] if world > 1 else []  # type: ignore[no-untyped-call]


def shard(model: nn.Module, mesh: Any) -> None:
    """Share out a network's parameters, block by block, so that a block is whole only while it computes.

    Blocks are the elements of ``nn.ModuleList`` and ``nn.Sequential``: what deep networks repeat.
    """
    from torch.distributed.fsdp import fully_shard

    blocks = [child for each in model.modules() if isinstance(each, nn.ModuleList | nn.Sequential) for child in each]
    for block in blocks:
        if any(True for _ in block.parameters()):
            fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
