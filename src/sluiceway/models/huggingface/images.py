"""Networks that answer images.

Shapes: B images, C channels, H height, W width, K outputs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sluiceway.models.huggingface.borrowed import Borrowed, Taken, take
from sluiceway.models.huggingface.configuration import Fact, Task
from sluiceway.models.huggingface.params import HuggingFaceParams


class ImageNetwork(Borrowed):
    """Answers images: uint8 or float in 0..1 [B, C, H, W] -> outputs [B, K], or one number each [B].

    Args:
        taken: the network.
        size: H and W.
        mean: of the pixels per channel, in 0..1.
        std: likewise.
        scale: deviation of the number that is answered; None: outputs are answered as they are.
    """

    mean: Tensor
    std: Tensor
    scale: Tensor | None

    def __init__(
        self,
        taken: Taken,
        size: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        scale: float | None = None,
    ) -> None:
        super().__init__(taken)
        self.register_buffer("scale", None if scale is None else torch.tensor(scale))
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.begin(torch.zeros(1, len(mean), *size, dtype=torch.uint8))

    def forward(self, images: Tensor) -> Tensor:
        """Return the outputs, such as logits, or the number of each image."""
        if images.dtype == torch.uint8:
            images = images / 255
        logits: Tensor = self.network(pixel_values=(images - self.mean) / self.std).logits
        if logits.ndim != 2:
            raise TypeError(f"it answers with shape {list(logits.shape)}, and not with a row of outputs for each")
        return logits if self.scale is None else logits[:, 0] * self.scale


def build(
    params: HuggingFaceParams,
    *,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    outputs: int = 1,
    scale: float | None = None,
) -> ImageNetwork:
    """Make a network for images.

    Args:
        params: which one.
        size: H and W.
        mean: of the training images' pixels per channel, in 0..1. Pretrained weights whose ``preprocessor_config.json``
            says another one were made for that one, and get it.
        std: likewise.
        outputs: K.
        scale: deviation of the one number that is wanted of each image; None: outputs are wanted as they are.

    Raises:
        ConfigError: it cannot be built, or not for these images.
    """
    height, width = size
    task = Task(
        what="images with a row of outputs each",
        auto="AutoModelForImageClassification",
        facts={
            "image_size": Fact(size, f"encode makes images of {height} x {width}"),
            "num_channels": Fact(len(mean), f"encode makes images of {len(mean)} channels"),
            "num_labels": Fact(outputs, f"the target has {outputs} outputs", anew=True),
        },
    )
    taken = take(params, task)
    wanted = taken.preprocessing
    there, spread = (_of_channels(wanted.get(name), len(mean)) for name in ("image_mean", "image_std"))
    if not (there and spread and wanted.get("do_normalize", True)):
        return ImageNetwork(taken, size, mean, std, scale)
    network = ImageNetwork(taken, size, there, spread, scale)
    network.notes.append(
        f"pixels are standardised by mean {there} and deviation {spread}, as the pretrained weights expect, and not by "
        "the training split's own"
    )
    return network


def _of_channels(values: object, channels: int) -> list[float] | None:
    """Return a mean or deviation for each channel; for grey images that of colours on average."""
    if isinstance(values, int | float):
        return [float(values)] * channels
    if not isinstance(values, list) or not all(isinstance(each, int | float) for each in values):
        return None
    if len(values) == channels:
        return [float(each) for each in values]
    return [sum(values) / len(values)] if channels == 1 and values else None
