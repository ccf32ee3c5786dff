"""A transformer that reads a text and answers it as a whole.

Its layers are those that read the source in :mod:`sluiceway.models.seq2seq`; the answer comes from the mean of what
they make of the tokens.

Shapes: B texts, T tokens, C channels, A attention heads, V vocabulary, K outputs.
"""

import torch
from torch import Tensor, nn

from sluiceway.models.gpt import rotary
from sluiceway.models.seq2seq import EncoderLayer, initialise


def furthest(tokens: Tensor) -> int:
    """Return how many places of a batch [B, T] reach to its furthest token, at least one."""
    places = (tokens > 0).any(0).nonzero()
    return int(places.max()) + 1 if len(places) else 1


class TextEncoder(nn.Module):
    """Answers texts: tokens [B, T] -> outputs [B, K].

    Tokens are numbers from 1 on; 0 is none, and is not seen. So what a text is answered does not depend on the padding
    behind it, nor on the other texts of the batch.

    Args:
        vocabulary: V.
        longest: most tokens of a text.
        outputs: K.
        channels: C.
        layers: number of layers.
        heads: A; twice their number must divide C.
        dropout: share of each branch, and of the mean, that is dropped in training.
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        *,
        vocabulary: int,
        longest: int,
        outputs: int,
        channels: int,
        layers: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary + 1, channels, padding_idx=0)
        self.layers = nn.ModuleList(EncoderLayer(channels, heads, dropout) for _ in range(layers))
        self.norm = nn.RMSNorm(channels, elementwise_affine=False)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, outputs)
        cos, sin = rotary(longest, channels // heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        initialise(self, self.embedding)
        nn.init.zeros_(self.head.weight)  # all answers begin alike
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the outputs, such as logits."""
        tokens = tokens.long()
        length = furthest(tokens)
        tokens = tokens[:, :length]
        there = tokens > 0  # [B, T]
        # A text without a token would let attention look at nothing.
        seen = there | (torch.arange(length, device=tokens.device) == 0)
        hidden = self.embedding(tokens) * self.embedding.embedding_dim**0.5  # [B, T, C]
        for layer in self.layers:
            hidden = layer(hidden, self.cos[:length], self.sin[:length], seen[:, None, None])
        weight = seen[:, :, None].to(hidden.dtype)
        mean = (self.norm(hidden) * weight).sum(1) / weight.sum(1)  # [B, C]
        outputs: Tensor = self.head(self.dropout(mean))
        return outputs
