"""How many moments a network answers of a sound, and which of a batch's are padding."""

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Count = TypeVar("Count", int, "Tensor")


def moments(frames: Count) -> Count:
    """Return how many moments a network by moments answers: it halves the frames once."""
    return (frames + 1) // 2


def up_to(counts: "Tensor", length: int) -> "Tensor":
    """Return which places of a row are below its count: true or false, [B, length]."""
    import torch

    return torch.arange(length, device=counts.device) < counts[:, None]
