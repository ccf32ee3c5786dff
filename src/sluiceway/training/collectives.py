"""What workers say to each other; alone, nothing is said."""

import torch
from torch import Tensor
from torch import distributed as dist


def together() -> bool:
    """Whether there are other workers to talk to."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_first() -> bool:
    """Whether this is rank 0, which alone writes."""
    return not together() or dist.get_rank() == 0


def summed(values: Tensor) -> Tensor:
    """Return the sum over all workers."""
    if not together():
        return values
    total = values.to(_device())
    dist.all_reduce(total)
    return total.to(values.device)


def averaged(values: Tensor) -> Tensor:
    """Return the mean over all workers."""
    return summed(values) / (dist.get_world_size() if together() else 1)


def from_first(value: float) -> float:
    """Return rank 0's value, so that all workers decide alike."""
    if not together():
        return value
    shared = torch.tensor([value], dtype=torch.float64, device=_device())
    dist.broadcast(shared, 0)
    return float(shared)


def _device() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
