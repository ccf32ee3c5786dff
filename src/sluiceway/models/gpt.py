"""A small decoder-only transformer.

Rotary positions (Su et al., 2021), RMSNorm (Zhang and Sennrich, 2019), squared ReLU (So et al., 2021), normalised
queries and keys (Henry et al., 2020), embeddings shared with the head (Press and Wolf, 2017).

Shapes: B sequences, T tokens, C channels, A attention heads, D = C / A, V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from sluiceway.models import chance


def rotary(length: int, channels: int, base: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of each position's angles: [T, D / 2] each."""
    angles = torch.outer(torch.arange(length).float(), base ** (-torch.arange(0, channels, 2).float() / channels))
    return angles.cos(), angles.sin()


def rotate(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs of channels [B, A, T, D] by their position's angles."""
    first, second = vectors.chunk(2, -1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), -1)


class Attention(nn.Module):
    """Causal self-attention: [B, T, C] -> [B, T, C]."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels, bias=False)
        self.query_norm = nn.RMSNorm(channels // heads, elementwise_affine=False)
        self.key_norm = nn.RMSNorm(channels // heads, elementwise_affine=False)

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Let each token look at itself and those before it."""
        batch, length, channels = hidden.shape
        split = self.qkv(hidden).view(batch, length, 3, self.heads, channels // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # [B, A, T, D] each
        query, key = rotate(self.query_norm(query), cos, sin), rotate(self.key_norm(key), cos, sin)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)  # [B, A, T, D]
        result: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, channels))
        return result


class Layer(nn.Module):
    """Attention and a two-layer perceptron, each beside a shortcut: [B, T, C] -> [B, T, C]."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(channels, elementwise_affine=False)
        self.attention = Attention(channels, heads)
        self.perceptron_norm = nn.RMSNorm(channels, elementwise_affine=False)
        self.up = nn.Linear(channels, 4 * channels, bias=False)
        self.down = nn.Linear(4 * channels, channels, bias=False)
        self.dropout = dropout

    def initialise(self) -> None:
        """Draw the weights; a layer begins as its shortcut."""
        for linear in (self.attention.qkv, self.attention.out, self.up, self.down):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
        nn.init.zeros_(self.attention.out.weight)
        nn.init.zeros_(self.down.weight)

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Add what the layer learned to its input."""
        hidden = hidden + self._drop(self.attention(self.attention_norm(hidden), cos, sin))
        return hidden + self._drop(self.down(F.relu(self.up(self.perceptron_norm(hidden))).square()))

    def _drop(self, branch: Tensor) -> Tensor:
        return chance.dropout(branch, self.dropout, self.training)


class GPT(nn.Module):
    """Predicts the next token: tokens [B, T] -> logits [B, T, V].

    Args:
        vocabulary: V.
        context: most tokens it can look back on.
        channels: C.
        layers: number of layers.
        heads: A; must divide C.
        dropout: share of each branch that is dropped in training.
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self, *, vocabulary: int, context: int, channels: int, layers: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, channels)
        self.layers = nn.ModuleList(Layer(channels, heads, dropout) for _ in range(layers))
        self.norm = nn.RMSNorm(channels, elementwise_affine=False)
        cos, sin = rotary(context, channels // heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        nn.init.normal_(self.embedding.weight, std=0.02)
        for layer in self.layers:
            assert isinstance(layer, Layer)  # noqa: S101
            layer.initialise()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of each next token."""
        length = tokens.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]
        hidden = self.embedding(tokens) * self.embedding.embedding_dim**0.5  # [B, T, C]
        for layer in self.layers:
            hidden = layer(hidden, cos, sin)
        return F.linear(self.norm(hidden), self.embedding.weight)
