"""Shards to a model: the network, and the augmentation of its training images.

Shapes: B images, C channels, H height, W width.
"""

from typing import TYPE_CHECKING

from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.usecases.base import Batch, Encoding
from sluiceway.usecases.image import historic
from sluiceway.usecases.image.params import ImageAugmentation, ResidualParams

if TYPE_CHECKING:
    from torch import Tensor, nn


Params = ResidualParams | historic.AlexNetParams | historic.DeepBeliefParams | HuggingFaceParams


def build(params: Params, encoding: Encoding, outputs: int) -> "nn.Module":
    """Make the network that training begins with."""
    if isinstance(params, HuggingFaceParams):
        from sluiceway.models.huggingface import images

        size = (encoding["size"], encoding["size"])
        return images.build(params, size=size, outputs=outputs, mean=encoding["mean"], std=encoding["std"])
    if not isinstance(params, ResidualParams):
        return historic.build(params, encoding, outputs)
    from sluiceway.models.residual import ResidualNet

    return ResidualNet(
        channels=encoding["channels"],
        outputs=outputs,
        stem=params.stem,
        widths=params.widths,
        depths=params.depths,
        groups=params.groups,
        mean=encoding["mean"],
        std=encoding["std"],
    )


DRAWS = 7


def augment(batch: Batch, dice: "Tensor", objective: ImageAugmentation) -> Batch:
    """Map each image by a random affine transformation.

    Args:
        batch: images as uint8 [B, C, H, W].
        dice: uniform numbers [B, 7]: rotation, two scales, shear, two shifts, mirror.
        objective: how far each may go.

    Returns:
        The batch with images as float in 0..1.
    """
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    images = batch["image"].float() / 255
    angle, scale_x, scale_y, shear, shift_x, shift_y = (dice[:, :6] * 2 - 1).unbind(1)  # each [B], in -1..1
    angle = torch.deg2rad(angle * objective.rotate)
    scale_x, scale_y = torch.exp(scale_x * objective.scale), torch.exp(scale_y * objective.scale)
    if objective.mirror:
        scale_x = torch.where(dice[:, 6] < 0.5, -scale_x, scale_x)
    cos, sin, shear = angle.cos(), angle.sin(), shear * objective.shear
    # Rows of the map from output to input coordinates, both in -1..1: a shift by the whole side would be 2.
    first = torch.stack([cos * scale_x, (shear * cos - sin) * scale_y, shift_x * objective.shift * 2], 1)
    second = torch.stack([sin * scale_x, (shear * sin + cos) * scale_y, shift_y * objective.shift * 2], 1)
    grid = affine_grid(torch.stack([first, second], 1), list(images.shape), align_corners=False)  # [B, H, W, 2]
    moved = grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return {**batch, "image": moved}
