"""A compact residual network for small images.

Pre-activation blocks (He et al., "Identity Mappings in Deep Residual Networks", 2016) with GroupNorm (Wu and He, 2018):
a batch norm would give other losses on two workers than on one.

Shapes: B images, C channels, H height, W width, K outputs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut: [B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int], groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(min(groups, inputs), inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.GroupNorm(min(groups, outputs), outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.project = None if stride == (1, 1) and inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)
        self.stride = stride

    def forward(self, images: Tensor) -> Tensor:
        """Add what the block learned to its input."""
        active = F.relu(self.norm1(images))
        skip = images
        if self.project is not None:
            pooled = F.avg_pool2d(active, self.stride, ceil_mode=True) if self.stride != (1, 1) else active
            skip = self.project(pooled)
        learned: Tensor = self.conv2(F.relu(self.norm2(self.conv1(active))))
        return skip + learned


def stages(inputs: int, widths: Sequence[int], depths: Sequence[int], groups: int, *, across: int = 2) -> nn.Sequential:
    """Put blocks after each other; every stage but the first halves H, and divides W by ``across``.

    Args:
        inputs: channels that come in.
        widths: channels of each stage.
        depths: blocks of each stage.
        groups: of the group norms.
        across: stride along W.
    """
    blocks: list[nn.Module] = []
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for position in range(depth):
            stride = (2, across) if stage and not position else (1, 1)
            blocks.append(Block(inputs, width, stride=stride, groups=groups))
            inputs = width
    return nn.Sequential(*blocks)


def initialise(network: nn.Module, head: nn.Linear) -> None:
    """Begin with convolutions that keep variances (He et al., 2015), blocks that do nothing, and no opinion."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    for module in network.modules():
        if isinstance(module, Block):  # a block begins as its shortcut
            nn.init.zeros_(module.conv2.weight)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)


class ResidualNet(nn.Module):
    """Answers images: uint8 or float in 0..1 [B, C, H, W] -> outputs [B, K].

    Args:
        channels: C of the images.
        outputs: K.
        stem: channels after the first convolution, which halves H and W.
        widths: channels of each stage; every stage but the first halves H and W again.
        depths: blocks of each stage.
        groups: of the group norms.
        mean: of the training images' pixels per channel, in 0..1.
        std: likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        channels: int,
        outputs: int,
        stem: int,
        widths: Sequence[int],
        depths: Sequence[int],
        groups: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, channels, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, channels, 1, 1))
        self.stem = nn.Conv2d(channels, stem, 5, 2, 2, bias=False)
        self.blocks = stages(stem, widths, depths, groups)
        self.norm = nn.GroupNorm(min(groups, widths[-1]), widths[-1])
        self.head = nn.Linear(widths[-1], outputs)
        initialise(self, self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Return the outputs, such as logits."""
        if images.dtype == torch.uint8:
            images = images / 255
        standard = (images - self.mean) / self.std
        standard = standard.contiguous(memory_format=torch.channels_last)
        features = self.blocks(self.stem(standard))  # [B, C, H', W']
        pooled = F.relu(self.norm(features)).mean((2, 3))  # [B, C]
        outputs: Tensor = self.head(pooled)
        return outputs
