"""A small Conformer encoder (Gulati et al., 2020) with a linear head, for a whole sound or for each of its moments.

Half a perceptron, attention with rotary positions, a convolution over time, half a perceptron. GroupNorm instead of the
paper's BatchNorm: statistics of a batch would differ between one worker and two. LayerNorm where moments are answered:
it sees each by itself, so that no padding changes an answer.

Shapes: B sounds, M mel bands, T frames, S = T / 2 moments, C channels, A attention heads, D = C / A, K outputs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from sluiceway.models import chance
from sluiceway.models.acoustic import standard_levels
from sluiceway.models.gpt import rotary, rotate
from sluiceway.models.moments import moments, up_to

_TOGETHER = 4
"""Sounds that are answered together, as long as the longest of them."""


class Perceptron(nn.Module):
    """Two layers: [B, S, C] -> [B, S, C]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.up = nn.Linear(channels, 4 * channels)
        self.out = nn.Linear(4 * channels, channels)

    def forward(self, hidden: Tensor) -> Tensor:
        """Look at each moment by itself."""
        result: Tensor = self.out(F.silu(self.up(self.norm(hidden))))
        return result


class Attention(nn.Module):
    """Self-attention in both directions: [B, S, C] -> [B, S, C]."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor, heard: Tensor | None) -> Tensor:
        """Let each moment look at all others that are heard, [B, S]; None: all are."""
        batch, length, channels = hidden.shape
        split = self.qkv(self.norm(hidden)).view(batch, length, 3, self.heads, channels // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # [B, A, S, D] each
        mask = None if heard is None else heard[:, None, None, :]
        mixed = F.scaled_dot_product_attention(rotate(query, cos, sin), rotate(key, cos, sin), value, attn_mask=mask)
        result: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, channels))
        return result


class Convolution(nn.Module):
    """A gated convolution over time, each channel by itself: [B, S, C] -> [B, S, C]."""

    def __init__(self, channels: int, kernel: int, *, by_moment: bool) -> None:
        super().__init__()
        self.by_moment = by_moment
        self.norm = nn.LayerNorm(channels)
        self.gate = nn.Linear(channels, 2 * channels)
        self.depthwise = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)
        self.middle = nn.LayerNorm(channels) if by_moment else nn.GroupNorm(1, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, hidden: Tensor, heard: Tensor | None) -> Tensor:
        """Look at each moment and those around it that are heard."""
        gated = F.glu(self.gate(self.norm(hidden)), -1)
        if heard is not None:
            gated = gated * heard[:, :, None]
        mixed = self.depthwise(gated.transpose(1, 2))  # [B, C, S]
        normed = self.middle(mixed.transpose(1, 2)) if self.by_moment else self.middle(mixed).transpose(1, 2)
        result: Tensor = self.out(F.silu(normed))
        return result


class Block(nn.Module):
    """The four parts, each beside a shortcut: [B, S, C] -> [B, S, C]."""

    def __init__(self, channels: int, heads: int, kernel: int, dropout: float, *, by_moment: bool) -> None:
        super().__init__()
        self.first = Perceptron(channels)
        self.attention = Attention(channels, heads)
        self.convolution = Convolution(channels, kernel, by_moment=by_moment)
        self.second = Perceptron(channels)
        self.norm = nn.LayerNorm(channels)
        self.dropout = dropout

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor, heard: Tensor | None) -> Tensor:
        """Add what each part learned to its input."""
        hidden = hidden + 0.5 * self._drop(self.first(hidden))
        hidden = hidden + self._drop(self.attention(hidden, cos, sin, heard))
        hidden = hidden + self._drop(self.convolution(hidden, heard))
        result: Tensor = self.norm(hidden + 0.5 * self._drop(self.second(hidden)))
        return result

    def _drop(self, branch: Tensor) -> Tensor:
        return chance.dropout(branch, self.dropout, self.training)


class Conformer(nn.Module):
    """Answers spectrograms: uint8 or float in 0..1 [B, M, T] -> outputs [B, K], or [B, S, K] of each moment.

    Args:
        bands: M.
        frames: T.
        outputs: K.
        channels: C.
        layers: number of blocks.
        heads: A; 2 A must divide C.
        kernel: moments that a convolution sees; an odd number.
        dropout: share of each branch that is dropped in training.
        by_moment: whether each moment is answered, and not the sound as a whole.
        mean: of the training sounds' levels per band, in 0..1: [M].
        std: likewise.
    """

    mean: Tensor
    std: Tensor
    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        *,
        bands: int,
        frames: int,
        outputs: int,
        channels: int,
        layers: int,
        heads: int,
        kernel: int,
        dropout: float,
        mean: Sequence[float],
        std: Sequence[float],
        by_moment: bool = False,
    ) -> None:
        super().__init__()
        self.by_moment = by_moment
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1))
        self.stem = nn.Conv1d(bands, channels, 5, 2, 2)
        self.blocks = nn.ModuleList(Block(channels, heads, kernel, dropout, by_moment=by_moment) for _ in range(layers))
        cos, sin = rotary(moments(frames), channels // heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.head = nn.Linear(channels, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, levels: Tensor, frames: Tensor | None = None) -> Tensor:
        """Return the outputs, such as logits.

        Args:
            levels: [B, M, T].
            frames: of each sound that are heard, [B]; the rest of T is padding. Only of moments.

        Returns:
            [B, K], or [B, S, K] with as many moments as the longest sound has; what answers padding means nothing.
        """
        if frames is None:
            return self._answer(levels, None)
        # Sounds of like length are answered together: most of what would be computed is padding otherwise.
        order = frames.argsort(stable=True)
        longest = moments(int(frames.max()))
        parts = []
        for part in order.tensor_split(max(1, len(order) // _TOGETHER)):
            with chance.among(part):
                answers = self._answer(levels[part], frames[part])
            parts.append(F.pad(answers, (0, 0, 0, longest - answers.shape[1])))
        return torch.cat(parts)[order.argsort()]

    def _answer(self, levels: Tensor, frames: Tensor | None) -> Tensor:
        heard = None
        if frames is not None:
            levels = levels[:, :, : int(frames.max())]
            heard = up_to(moments(frames), moments(levels.shape[2]))
        standard = standard_levels(levels, self.mean, self.std)
        if frames is not None:
            standard = standard * up_to(frames, levels.shape[2])[:, None]
        hidden = self.stem(standard).transpose(1, 2)  # [B, S, C]
        for block in self.blocks:
            hidden = block(hidden, self.cos[: hidden.shape[1]], self.sin[: hidden.shape[1]], heard)
        outputs: Tensor = self.head(hidden if self.by_moment else hidden.mean(1))
        return outputs
