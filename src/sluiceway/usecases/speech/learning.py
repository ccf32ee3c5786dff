"""Shards to a model: the network, and the augmentation of its training spectrograms.

Shapes: B sounds, M mel bands, T frames.
"""

from typing import TYPE_CHECKING

from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.usecases.base import Batch, Encoding
from sluiceway.usecases.speech.params import ConformerParams, ConvParams, SpeechAugmentation
from sluiceway.usecases.speech.sound import DEPTH

if TYPE_CHECKING:
    from torch import Tensor, nn


def build(params: ConvParams | ConformerParams | HuggingFaceParams, encoding: Encoding, outputs: int) -> "nn.Module":
    """Make the network that training begins with."""
    common = {"outputs": outputs, "mean": encoding["mean"], "std": encoding["std"]}
    if isinstance(params, HuggingFaceParams):
        from sluiceway.models.huggingface import spectrograms

        return spectrograms.build(params, frames=encoding["frames"], **common)
    if isinstance(params, ConformerParams):
        from sluiceway.models.conformer import Conformer

        return Conformer(
            bands=encoding["bands"],
            frames=encoding["frames"],
            channels=params.channels,
            layers=params.layers,
            heads=params.heads,
            kernel=params.kernel,
            dropout=params.dropout,
            **common,
        )
    from sluiceway.models.acoustic import AcousticNet

    return AcousticNet(stem=params.stem, widths=params.widths, depths=params.depths, groups=params.groups, **common)


DRAWS = 9


def augment(batch: Batch, dice: "Tensor", objective: SpeechAugmentation) -> Batch:
    """Move, stretch, fade and mask each spectrogram by chance.

    Args:
        batch: levels as uint8 [B, M, T].
        dice: uniform numbers [B, 9]: shift, stretch, pitch, contrast, noise, width and place of two masks.
        objective: how far each may go.

    Returns:
        The batch with levels as float in 0..1.
    """
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    levels = batch["levels"].float() / 255
    shift, stretch, pitch, contrast = (dice[:, :4] * 2 - 1).unbind(1)  # each [B], in -1..1
    zero, one = torch.zeros_like(shift), torch.ones_like(shift)
    # Rows of the map from output to input coordinates, both in -1..1: a shift by the whole side would be 2.
    first = torch.stack([torch.exp(stretch * objective.stretch), zero, shift * objective.shift * 2], 1)
    second = torch.stack([zero, one, pitch * objective.pitch * 2 / levels.shape[1]], 1)
    shape = [len(levels), 1, *levels.shape[1:]]
    grid = affine_grid(torch.stack([first, second], 1), shape, align_corners=False)  # [B, M, T, 2]
    moved = grid_sample(levels[:, None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[:, 0]
    # Levels hang from the loudest point, so that it stays what it is.
    loudest = moved.amax((1, 2), keepdim=True)
    faded = loudest - (loudest - moved) * (1 + contrast * objective.contrast)[:, None, None]
    floor = (dice[:, 4] * objective.noise / DEPTH)[:, None, None]
    heard = torch.where(faded > floor, faded, 0.0)
    masks = (
        _mask(dice[:, 5], dice[:, 6], objective.band_mask, heard.shape[1])[:, :, None]
        & _mask(dice[:, 7], dice[:, 8], objective.time_mask, heard.shape[2])[:, None, :]
    )
    return {**batch, "levels": heard * masks}


def _mask(width: "Tensor", place: "Tensor", widest: float, length: int) -> "Tensor":
    """Return what is left when a stretch is taken out: true or false, [B, length].

    Args:
        width: uniform numbers [B], of the widest.
        place: uniform numbers [B], from the beginning to the end.
        widest: share of the length.
        length: of the axis.
    """
    import torch

    span = (width * widest * length)[:, None]
    start = place[:, None] * (length - span)
    at = torch.arange(length, device=width.device) + 0.5
    return (at < start) | (at >= start + span)
