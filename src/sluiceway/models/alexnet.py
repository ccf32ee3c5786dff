"""A network after AlexNet (Krizhevsky, Sutskever and Hinton, 2012), for images of any size.

Five convolutions with rectifiers, three overlapping poolings, and dense layers with dropout: the depth, the rectifiers
and the dropout that won ImageNet. The first convolution's size and stride follow the image's: 11 and 4 at 224 pixels,
as in the paper, 5 and 1 at 28, where a stride would throw away what there is to see.

Shapes: B images, C channels, H height, W width, K outputs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_FIRST = ((128, 11, 4), (64, 7, 2), (0, 5, 1))
"""From which side of the image on: size and stride of the first convolution."""
_POOLED = (0, 1, 4)
"""Convolutions that are pooled, as in the paper."""
_NORMALISED = (0, 1)
"""Convolutions whose responses are normalised, as in the paper."""


def convolutions(channels: int, size: int, widths: Sequence[int], *, response_norm: bool) -> nn.Sequential:
    """Put convolutions, rectifiers and poolings after each other.

    Args:
        channels: C.
        size: H = W.
        widths: channels of each convolution.
        response_norm: whether channels inhibit their neighbours (section 3.3 of the paper).
    """
    layers: list[nn.Module] = []
    _, kernel, stride = next(each for each in _FIRST if size >= each[0])
    for number, width in enumerate(widths):
        if number:
            kernel, stride = (5 if number == 1 else 3), 1
        layers += [nn.Conv2d(channels, width, kernel, stride, kernel // 2), nn.ReLU()]
        if response_norm and number in _NORMALISED:
            layers.append(nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0))
        if number in _POOLED:
            layers.append(nn.MaxPool2d(3, 2, 1))
        channels = width
    return nn.Sequential(*layers)


class AlexNet(nn.Module):
    """Answers images: uint8 or float in 0..1 [B, C, H, W] -> outputs [B, K].

    Args:
        channels: C of the images.
        size: H = W.
        outputs: K.
        widths: channels of the five convolutions.
        dense: units of the two dense layers.
        dropout: share of the units that is dropped ahead of each dense layer in training.
        response_norm: whether channels inhibit their neighbours.
        mean: of the training images' pixels per channel, in 0..1.
        std: likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        channels: int,
        size: int,
        outputs: int,
        widths: Sequence[int],
        dense: Sequence[int],
        dropout: float,
        response_norm: bool,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, channels, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, channels, 1, 1))
        self.features = convolutions(channels, size, widths, response_norm=response_norm)
        with torch.no_grad():
            units = self.features(torch.zeros(1, channels, size, size)).numel()
        layers: list[nn.Module] = []
        for width in dense:
            layers += [nn.Dropout(dropout), nn.Linear(units, width), nn.ReLU()]
            units = width
        self.dense = nn.Sequential(*layers)
        self.head = nn.Linear(units, outputs)
        self._initialise()

    def _initialise(self) -> None:
        """Begin with rectified layers that keep variances (He et al., 2015), and no opinion."""
        for module in (*self.features, *self.dense):
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None  # noqa: S101 - these layers have one
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return the outputs."""
        if images.dtype == torch.uint8:
            images = images / 255
        standard = (images - self.mean) / self.std
        maps = self.features(standard.contiguous(memory_format=torch.channels_last))  # [B, C', H', W']
        outputs: Tensor = self.head(self.dense(maps.flatten(1)))
        return outputs
