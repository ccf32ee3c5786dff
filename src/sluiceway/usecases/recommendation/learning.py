"""Shards to a model: the network and its losses.

Shapes: B histories, T = context, I items with 0 for none, n choices to foretell in all of them.
"""

from typing import TYPE_CHECKING

from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.usecases.base import Batch, Encoding
from sluiceway.usecases.recommendation.params import NextItemObjective, SASRecParams

if TYPE_CHECKING:
    from torch import Tensor, nn


def build(params: SASRecParams | HuggingFaceParams, encoding: Encoding) -> "nn.Module":
    """Make the network that training begins with."""
    if isinstance(params, HuggingFaceParams):
        from sluiceway.models.huggingface import tokens

        return tokens.build_for_items(params, items=len(encoding["items"]), context=encoding["context"])
    from sluiceway.models.sasrec import SASRec

    return SASRec(
        items=len(encoding["items"]),
        context=encoding["context"],
        channels=params.channels,
        layers=params.layers,
        heads=params.heads,
        dropout=params.dropout,
    )


def losses(model: "nn.Module", batch: Batch, objective: NextItemObjective) -> dict[str, "Tensor"]:
    """Return cross entropy in nats per choice, over all items and none of them sampled: [B]."""
    from torch.nn.functional import cross_entropy

    following = batch["next"].long()  # [B, T]
    asked = following > 0
    logits = model(batch["history"].long(), asked)  # [n, I + 1]
    each = cross_entropy(logits.float(), following[asked], reduction="none")
    counts = asked.sum(1)
    owner = asked.nonzero()[:, 0]  # [n]
    total = each.new_zeros(len(following)).index_add(0, owner, each)
    return {"loss": total / counts.clamp(min=1)}
