"""Shards to a model: the network and its losses.

Shapes: B windows, T = context, V vocabulary.
"""

from typing import TYPE_CHECKING

import numpy as np

from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.usecases.base import Batch, Encoding
from sluiceway.usecases.text_generation.params import GPTParams, TextObjective

if TYPE_CHECKING:
    from torch import Tensor, nn

LN2 = float(np.log(2))


def build(params: GPTParams | HuggingFaceParams, encoding: Encoding) -> "nn.Module":
    """Make the network that training begins with."""
    if isinstance(params, HuggingFaceParams):
        from sluiceway.models.huggingface import tokens

        return tokens.build(params, vocabulary=encoding["vocabulary"], context=encoding["context"], end=encoding["end"])
    from sluiceway.models.gpt import GPT

    return GPT(
        vocabulary=encoding["vocabulary"],
        context=encoding["context"],
        channels=params.channels,
        layers=params.layers,
        heads=params.heads,
        dropout=params.dropout,
    )


def losses(model: "nn.Module", batch: Batch, objective: TextObjective) -> dict[str, "Tensor"]:
    """Return cross entropy in nats per token and bits per byte, per window [B]."""
    nats = nats_of(model, batch)
    return {
        "loss": nats / batch["scored"].sum(1).clamp(min=1),
        "bits_per_byte": nats / LN2 / batch["bytes"].clamp(min=1),
    }


def nats_of(model: "nn.Module", batch: Batch) -> "Tensor":
    """Return the nats that each window's scored tokens cost: [B]."""
    from torch.nn.functional import cross_entropy

    tokens = batch["tokens"].long()  # [B, T + 1]
    logits = model(tokens[:, :-1])  # [B, T, V]
    each = cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="none")
    total: Tensor = (each.view(len(tokens), -1) * batch["scored"]).sum(1)
    return total
