"""What workers say to each other; alone, nothing is said."""

import torch
from torch import Tensor
from torch import distributed as dist


def together() -> bool:
    """Whether there are other workers to talk to."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def count() -> int:
    """How many workers there are."""
    return dist.get_world_size() if together() else 1


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
    return summed(values) / count()


def from_first(value: float) -> float:
    """Return rank 0's value, so that all workers decide alike."""
    if not together():
        return value
    shared = torch.tensor([value], dtype=torch.float64, device=_device())
    dist.broadcast(shared, 0)
    return float(shared)


class Vote:
    """The largest number that a worker said, known to all workers after the same step.

    The answer is that of the step before, so nobody waits: it travels while the next step computes, over a group of its
    own on CPUs.
    """

    def __init__(self) -> None:
        self._group = dist.new_group(backend="gloo") if together() else None
        self._last: tuple[Tensor, dist.Work] | None = None

    def __call__(self, mine: int) -> int:
        """Say a number, and return the largest of the last time; every worker must call it as often."""
        if self._group is None:
            return mine
        last, ballot = self._last, torch.tensor([mine])
        work = dist.all_reduce(ballot, dist.ReduceOp.MAX, self._group, async_op=True)
        assert work is not None  # noqa: S101 - it is asynchronous
        self._last = (ballot, work)
        if last is None:
            return 0
        last[1].wait()
        return int(last[0])


def gathered(values: Tensor) -> Tensor:
    """Return the values of all workers: [world, ...]."""
    if not together():
        return values[None]
    mine = values.to(_device())
    each = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(each, mine)
    return torch.stack(each).to(values.device)


def rank() -> int:
    """Return this worker's number."""
    return dist.get_rank() if together() else 0


def _device() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
