"""PilotNet: a convolutional network from a frame to the steering (Bojarski et al., 2016).

Convolutions without padding, then dense layers: where something lies in the frame is what matters here, so nothing is
pooled away.

Shapes: B frames, H height, W width.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from sluiceway.errors import ConfigError


class PilotNet(nn.Module):
    """Steers: uint8 or float in 0..1 [B, 3, H, W] -> share of full lock, -1 is left [B].

    Args:
        size: H and W.
        channels: of each convolution.
        kernels: side of each kernel.
        strides: of each convolution.
        hidden: widths of the dense layers.
        dropout: share that is dropped before each dense layer.
        mean: of the training frames' colours, in 0..1: [3].
        std: likewise.
        scale: deviation of the training steering: the network learns in units of it.
        normalise: ``all``: by ``mean`` and ``std``; ``each``: each frame by its own, and these are not used.

    Raises:
        ConfigError: frames are too small for these convolutions.
    """

    mean: Tensor
    std: Tensor
    scale: Tensor

    def __init__(
        self,
        *,
        size: tuple[int, int],
        channels: Sequence[int],
        kernels: Sequence[int],
        strides: Sequence[int],
        hidden: Sequence[int],
        dropout: float,
        mean: Sequence[float],
        std: Sequence[float],
        scale: float,
        normalise: str = "all",
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(scale))
        self.normalise = normalise
        height, width = size
        before = 3
        layers: list[nn.Module] = []
        for wide, kernel, stride in zip(channels, kernels, strides, strict=True):
            height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
            if min(height, width) < 1:
                number = len(layers) // 2 + 1
                raise ConfigError(
                    f"encode: frames of {size[0]} x {size[1]} pixels are too small for convolution {number}",
                    hint="make encode.height and encode.width larger, or give model.strides and model.kernels less",
                )
            layers += [nn.Conv2d(before, wide, kernel, stride), nn.ELU()]
            before = wide
        self.eye = nn.Sequential(*layers)
        widths = [before * height * width, *hidden]
        dense: list[nn.Module] = []
        for inner, outer in pairwise(widths):
            dense += [nn.Dropout(dropout), nn.Linear(inner, outer), nn.ELU()]
        last = nn.Linear(widths[-1], 1)
        self.head = nn.Sequential(*dense, last)
        for layer in (*self.eye, *self.head):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.normal_(last.weight, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Return the steering."""
        if images.dtype == torch.uint8:
            images = images / 255
        mean, std = self.mean, self.std
        if self.normalise == "each":
            mean, std = images.mean((2, 3), keepdim=True), images.std((2, 3), keepdim=True) + 0.02
        standard = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
        steering: Tensor = self.head(self.eye(standard).flatten(1)).squeeze(1)
        return steering * self.scale
