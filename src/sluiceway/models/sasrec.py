"""A self-attentive sequential recommender (SASRec; Kang and McAuley, 2018).

Causal attention over the last items of a history, and one table of items for what goes in and what comes out. As in the
language model whose layers it shares, positions are rotary: how long ago an item was counts, not its number from the
start. So a history is padded behind its end, where no attention looks, and needs no mask.

Shapes: B histories, T items of a history, C channels, I items with 0 for none, n items asked after.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from sluiceway.models import chance
from sluiceway.models.gpt import Layer, rotary


class SASRec(nn.Module):
    """Scores every item as the next one: histories [B, T] -> logits [B, T, I + 1].

    Args:
        items: I. Items are numbered from 1; 0 stands behind a history's end, and is never the next item.
        context: most items it can look back on.
        channels: C.
        layers: number of layers.
        heads: attention heads; twice their number must divide C.
        dropout: share of the items' channels, and of each branch, that is dropped in training.
    """

    cos: Tensor
    sin: Tensor
    never: Tensor

    def __init__(self, *, items: int, context: int, channels: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.embedding = nn.Embedding(items + 1, channels)
        self.layers = nn.ModuleList(Layer(channels, heads, dropout) for _ in range(layers))
        self.norm = nn.RMSNorm(channels, elementwise_affine=False)
        self.bias = nn.Parameter(torch.zeros(items + 1))
        cos, sin = rotary(context, channels // heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        never = torch.zeros(items + 1)
        never[0] = -torch.inf
        self.register_buffer("never", never, persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        nn.init.normal_(self.embedding.weight, std=0.02)
        for layer in self.layers:
            assert isinstance(layer, Layer)  # noqa: S101
            layer.initialise()

    def forward(self, history: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return the logits of each next item; that of 0 is minus infinity.

        Args:
            history: numbers of items [B, T].
            asked: after which items the next one is wanted [B, T], n in all; default: after every one.

        Returns:
            [n, I + 1], or [B, T, I + 1].
        """
        length = history.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]
        hidden = self.embedding(history) * self.embedding.embedding_dim**0.5  # [B, T, C]
        hidden = chance.dropout(hidden, self.dropout, self.training)
        for layer in self.layers:
            hidden = layer(hidden, cos, sin)
        hidden = self.norm(hidden if asked is None else hidden[asked])
        return F.linear(hidden, self.embedding.weight, self.bias + self.never)
