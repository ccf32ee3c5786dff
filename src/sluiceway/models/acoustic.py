"""A compact residual network for spectrograms.

Blocks as for images, a channel that says how high each band is (Liu et al., CoordConv, 2018), and mean and deviation
over time and pitch at the end (Snyder et al., "X-Vectors", 2018).

Shapes: B sounds, M mel bands, T frames, S = T / 2 moments, C channels, K outputs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from sluiceway.models.moments import up_to
from sluiceway.models.residual import initialise, stages


def standard_levels(levels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Bring levels [B, M, T], uint8 or float in 0..1, to mean 0 and deviation 1 by band.

    Args:
        levels: of a batch.
        mean: of the training sounds' levels, [M, 1].
        std: likewise.
    """
    if levels.dtype == torch.uint8:
        levels = levels / 255
    return (levels - mean) / std


class AcousticNet(nn.Module):
    """Answers spectrograms: uint8 or float in 0..1 [B, M, T] -> outputs [B, K], or [B, S, K] of each moment.

    Args:
        outputs: K.
        stem: channels after the first convolution, which halves M and T.
        widths: channels of each stage; every stage but the first halves M and T again.
        depths: blocks of each stage.
        groups: of the group norms.
        by_moment: whether each moment is answered, and not the sound as a whole: time is then halved only once.
        mean: of the training sounds' levels per band, in 0..1: [M].
        std: likewise.
    """

    mean: Tensor
    std: Tensor
    height: Tensor

    def __init__(
        self,
        *,
        outputs: int,
        stem: int,
        widths: Sequence[int],
        depths: Sequence[int],
        groups: int,
        mean: Sequence[float],
        std: Sequence[float],
        by_moment: bool = False,
    ) -> None:
        super().__init__()
        self.by_moment = by_moment
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1))
        self.register_buffer("height", torch.linspace(-1, 1, len(mean)).view(1, 1, -1, 1), persistent=False)
        self.stem = nn.Conv2d(2, stem, 5, 2, 2, bias=False)
        self.blocks = stages(stem, widths, depths, groups, across=1 if by_moment else 2)
        self.norm = nn.GroupNorm(min(groups, widths[-1]), widths[-1])
        self.head = nn.Linear(2 * widths[-1], outputs)
        initialise(self, self.head)

    def forward(self, levels: Tensor, frames: Tensor | None = None) -> Tensor:
        """Return the outputs, such as logits.

        Args:
            levels: [B, M, T].
            frames: of each sound that are heard, [B]: what is behind them is silent. The norms see all T, so that an
                answer depends on no other sound of the batch.
        """
        if frames is not None:
            levels = levels * up_to(frames, levels.shape[2])[:, None]
        standard = standard_levels(levels, self.mean, self.std)[:, None]  # [B, 1, M, T]
        placed = torch.cat([standard, self.height.expand_as(standard)], 1)
        features = self.blocks(self.stem(placed.contiguous(memory_format=torch.channels_last)))  # [B, C, M', T']
        active = F.relu(self.norm(features))
        if not self.by_moment:
            active = active.flatten(2)
        deviation = (active.var(2, unbiased=False) + 1e-5).sqrt()  # [B, C], or [B, C, S]
        summary = torch.cat([active.mean(2), deviation], 1)
        outputs: Tensor = self.head(summary.transpose(1, 2) if self.by_moment else summary)
        return outputs
