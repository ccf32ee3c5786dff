"""Lets a trained network answer the test split."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sluiceway.data.shards import ShardedSplit
from sluiceway.usecases.base import Outcomes, UseCase, stack_outcomes

if TYPE_CHECKING:
    from sluiceway.usecases.saved import LoadedModel


def answer_test_split(shards: Path, loaded: "LoadedModel", batch: int) -> Outcomes:
    """Return the network's outcomes on all test items, with the example's ``row`` of each.

    Args:
        shards: a folder written by ``preprocess``.
        loaded: the trained network.
        batch: items per forward pass.
    """
    import torch

    usecase: UseCase = loaded.usecase
    split = ShardedSplit(shards, "test")
    parts = []
    with torch.inference_mode():
        for start in range(0, len(split), batch):
            arrays = split.fetch(np.arange(start, min(start + batch, len(split))))
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            parts.append({**usecase.predict(loaded.model, tensors, loaded.encoding), "row": arrays["row"]})
    return stack_outcomes(parts)
