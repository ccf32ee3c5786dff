"""Shards to a model: the network, its loss, and the augmentation of its training frames.

Shapes: B frames, H height, W width.
"""

from itertools import permutations
from typing import TYPE_CHECKING

from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.usecases.base import Batch, Encoding
from sluiceway.usecases.driving.params import PilotNetParams, SteeringObjective

if TYPE_CHECKING:
    from torch import Tensor, nn


def build(params: PilotNetParams | HuggingFaceParams, encoding: Encoding) -> "nn.Module":
    """Make the network that training begins with.

    Raises:
        ConfigError: frames are too small for its convolutions.
    """
    size = (encoding["height"], encoding["width"])
    common = {"size": size, "mean": encoding["mean"], "std": encoding["std"], "scale": encoding["steering_std"]}
    if isinstance(params, HuggingFaceParams):
        from sluiceway.models.huggingface import images

        return images.build(params, **common)
    from sluiceway.models.pilotnet import PilotNet

    return PilotNet(
        channels=params.channels,
        kernels=params.kernels,
        strides=params.strides,
        hidden=params.hidden,
        dropout=params.dropout,
        normalise=params.normalise,
        **common,
    )


def losses(model: "nn.Module", batch: Batch, objective: SteeringObjective) -> dict[str, "Tensor"]:
    """Return the weighted loss, and the error as a share of full lock, per frame [B]."""
    from torch.nn.functional import smooth_l1_loss

    wanted, scale = batch["target"], model.get_buffer("scale")
    steering = model(batch["image"])  # [B]
    loss = smooth_l1_loss(steering / scale, wanted / scale, beta=objective.beta, reduction="none")
    weight = 1 + objective.bends * (wanted / scale).abs()
    return {"loss": weight * loss, "error": (steering - wanted).abs()}


DRAWS = 7


def augment(batch: Batch, dice: "Tensor", objective: SteeringObjective) -> Batch:
    """Mirror and shift frames together with their steering, and change the light.

    Args:
        batch: frames as uint8 [B, 3, H, W], and their steering [B].
        dice: uniform numbers [B, 7]: mirror, shift, brightness, contrast; whether, in which order and how recoloured.
        objective: how far each may go.

    Returns:
        The batch with frames as float in 0..1. What a shift uncovers repeats the edge.
    """
    import torch

    images, steering = batch["image"].float() / 255, batch["target"]
    if objective.mirror:
        turned = dice[:, 0] < 0.5
        images = torch.where(turned[:, None, None, None], images.flip(3), images)
        steering = torch.where(turned, -steering, steering)
    if objective.shift:
        width = images.shape[3]
        pixels = torch.round((2 * dice[:, 1] - 1) * objective.shift * width).long()  # to the right
        columns = (torch.arange(width, device=images.device) - pixels[:, None]).clamp(0, width - 1)  # [B, W]
        images = images.gather(3, columns[:, None, None].expand_as(images))
        # The road lies farther to the right: so does the way back to its middle.
        steering = (steering + pixels / width * objective.shift_correction).clamp(-1, 1)
    light = 1 + (2 * dice[:, 2] - 1) * objective.brightness
    depth = 1 + (2 * dice[:, 3] - 1) * objective.contrast
    means = images.mean((1, 2, 3))
    shaped = (images - means[:, None, None, None]) * depth[:, None, None, None]
    images = (shaped + (means * light)[:, None, None, None]).clamp(0, 1)
    if objective.recolour:
        images = torch.where((dice[:, 4] < objective.recolour)[:, None, None, None], _recoloured(images, dice), images)
    return {**batch, "image": images, "target": steering}


def _recoloured(images: "Tensor", dice: "Tensor") -> "Tensor":
    """Deal the colours of each frame anew."""
    import torch

    orders = torch.tensor(list(permutations(range(3))), device=images.device)  # [6, 3]
    order = orders[(dice[:, 5] * len(orders)).long()]
    dealt = images.gather(1, order[:, :, None, None].expand_as(images))
    bits = (dice[:, 6] * 8).long()[:, None] >> torch.arange(3, device=images.device)
    negative = (bits & 1).bool()[:, :, None, None]
    return torch.where(negative, 1 - dealt, dealt)
