"""Lets a trained network answer a split."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sluiceway.data.shards import ShardedSplit
from sluiceway.usecases.base import Outcomes, UseCase, device_of, stack_outcomes

if TYPE_CHECKING:
    from sluiceway.usecases.saved import LoadedModel


def answer(
    split: ShardedSplit, loaded: "LoadedModel", batch: int, update: Callable[[int], None] = lambda done: None
) -> Outcomes:
    """Return the network's outcomes on all items of a split, with the example's ``row`` of each.

    Args:
        split: the test split.
        loaded: the trained network; items are moved to where it is.
        batch: items per forward pass.
        update: is told how many items are answered.
    """
    import torch

    usecase: UseCase = loaded.usecase
    parts, place = [], device_of(loaded.model)
    with torch.inference_mode():
        for start in range(0, len(split), batch):
            arrays = split.fetch(np.arange(start, min(start + batch, len(split))))
            tensors = {name: torch.from_numpy(array).to(place) for name, array in arrays.items()}
            parts.append({**usecase.predict(loaded.model, tensors, loaded.encoding), "row": arrays["row"]})
            update(min(start + batch, len(split)))
    return stack_outcomes(parts)
