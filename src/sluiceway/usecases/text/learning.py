"""Shards to a model: the network, and the gaps in its training texts.

Shapes: B texts, T tokens.
"""

import math
from typing import TYPE_CHECKING

from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.usecases.base import Batch, Encoding
from sluiceway.usecases.text.params import EncoderParams, TextAugmentation

if TYPE_CHECKING:
    from torch import Tensor, nn

DRAWS = 2
_GOLDEN = (math.sqrt(5) - 1) / 2


def build(params: EncoderParams | HuggingFaceParams, encoding: Encoding, outputs: int) -> "nn.Module":
    """Make the network that training begins with."""
    if isinstance(params, HuggingFaceParams):
        from sluiceway.models.huggingface import texts

        return texts.build(
            params,
            vocabulary=encoding["vocabulary"],
            longest=encoding["longest"],
            padding=encoding["padding"],
            end=encoding["end"],
            outputs=outputs,
        )
    from sluiceway.models.text_encoder import TextEncoder

    return TextEncoder(
        vocabulary=encoding["vocabulary"],
        longest=encoding["longest"],
        outputs=outputs,
        channels=params.channels,
        layers=params.layers,
        heads=params.heads,
        dropout=params.dropout,
    )


def augment(batch: Batch, dice: "Tensor", objective: TextAugmentation) -> Batch:
    """Hide some tokens of each text.

    Two draws give each place a number of its own: the multiples of an irrational step, modulo 1, are spread evenly, and
    where they begin and how far they go is drawn. The first token always stays.

    Args:
        batch: tokens [B, T], 0 where there is none.
        dice: uniform numbers [B, 2].
        objective: how many are hidden.

    Returns:
        The batch with fewer tokens.
    """
    import torch

    tokens = batch["tokens"].long()
    place = torch.arange(tokens.shape[1], device=tokens.device, dtype=torch.float64)
    begin, step = dice.double().unbind(1)
    numbers = (begin[:, None] + (_GOLDEN + step[:, None]) * place) % 1.0  # [B, T]
    hidden = (numbers < objective.hidden) & (place > 0)
    return {**batch, "tokens": tokens.masked_fill(hidden, 0)}
