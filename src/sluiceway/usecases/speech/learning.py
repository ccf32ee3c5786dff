"""Shards to a model: the network, and the augmentation of its training spectrograms.

Shapes: B sounds, M mel bands, T frames.
"""

from typing import TYPE_CHECKING

from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.usecases.base import Batch, Encoding
from sluiceway.usecases.speech.params import (
    ConformerParams,
    ConvParams,
    SpeechAugmentation,
    TranscribedAugmentation,
)
from sluiceway.usecases.speech.sound import DEPTH

if TYPE_CHECKING:
    from torch import Tensor, nn


SoundParams = ConvParams | ConformerParams | HuggingFaceParams


def build(params: SoundParams, encoding: Encoding, outputs: int) -> "nn.Module":
    """Make the network that answers a whole sound, as training begins with it."""
    return _network(params, encoding, outputs, by_moment=False)


def build_by_moment(params: SoundParams, encoding: Encoding, outputs: int) -> "nn.Module":
    """Make the network that answers each moment of a sound, as training begins with it."""
    return _network(params, encoding, outputs, by_moment=True)


def _network(params: SoundParams, encoding: Encoding, outputs: int, *, by_moment: bool) -> "nn.Module":
    common = {"outputs": outputs, "mean": encoding["mean"], "std": encoding["std"]}
    if isinstance(params, HuggingFaceParams):
        from sluiceway.models.huggingface import spectrograms

        make = spectrograms.build_by_moment if by_moment else spectrograms.build
        return make(params, frames=encoding["frames"], **common)
    common["by_moment"] = by_moment
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

    levels = batch["levels"].float() / 255
    shift, stretch, pitch, contrast = (dice[:, :4] * 2 - 1).unbind(1)  # each [B], in -1..1
    moved = _moved(levels, torch.exp(stretch * objective.stretch), shift * objective.shift * 2, pitch * objective.pitch)
    heard = _faded(moved, contrast * objective.contrast, dice[:, 4] * objective.noise)
    masks = (
        _mask(dice[:, 5], dice[:, 6], objective.band_mask, heard.shape[1])[:, :, None]
        & _mask(dice[:, 7], dice[:, 8], objective.time_mask, heard.shape[2])[:, None, :]
    )
    return {**batch, "levels": heard * masks}


TRANSCRIBED_DRAWS = 10


def augment_transcribed(batch: Batch, dice: "Tensor", objective: TranscribedAugmentation) -> Batch:
    """Stretch, fade and mask each spectrogram by chance; it begins where it began.

    Args:
        batch: levels as uint8 [B, M, T], of which ``frames`` [B] are heard.
        dice: uniform numbers [B, 10]: stretch, pitch, contrast, noise, width and place of three masks.
        objective: how far each may go.

    Returns:
        The batch with levels as float in 0..1, and as many frames as are heard now.
    """
    import torch

    levels, frames = batch["levels"].float() / 255, batch["frames"]
    stretch, pitch, contrast = (dice[:, :3] * 2 - 1).unbind(1)  # each [B], in -1..1
    # A longer sound must still fit: it is stretched as far as there is room.
    tempo = torch.maximum(torch.exp(stretch * objective.stretch), frames / levels.shape[2])
    moved = _moved(levels, tempo, tempo - 1, pitch * objective.pitch)
    heard = _faded(moved, contrast * objective.contrast, dice[:, 3] * objective.noise)
    lasts = (frames / tempo).round().clamp(1, levels.shape[2]).to(frames.dtype)
    masks = _mask(dice[:, 4], dice[:, 5], objective.band_mask, heard.shape[1])[:, :, None]
    for width, place in ((6, 7), (8, 9)):
        masks = masks & _mask(dice[:, width], dice[:, place], objective.time_mask, heard.shape[2], lasts)[:, None, :]
    return {**batch, "levels": heard * masks, "frames": lasts}


def _moved(levels: "Tensor", tempo: "Tensor", shift: "Tensor", pitch: "Tensor") -> "Tensor":
    """Map spectrograms [B, M, T] in time and pitch.

    Args:
        levels: what is mapped.
        tempo: how much faster, [B].
        shift: in half lengths, [B].
        pitch: in bands, [B].
    """
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    zero, one = torch.zeros_like(shift), torch.ones_like(shift)
    # Rows of the map from output to input coordinates, both in -1..1: a shift by the whole side would be 2.
    first = torch.stack([tempo, zero, shift], 1)
    second = torch.stack([zero, one, pitch * 2 / levels.shape[1]], 1)
    shape = [len(levels), 1, *levels.shape[1:]]
    grid = affine_grid(torch.stack([first, second], 1), shape, align_corners=False)  # [B, M, T, 2]
    return grid_sample(levels[:, None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[:, 0]


def _faded(levels: "Tensor", contrast: "Tensor", noise: "Tensor") -> "Tensor":
    """Change level differences by a share [B], and silence what is fainter than a floor in decibels [B]."""
    import torch

    # Levels hang from the loudest point, so that it stays what it is.
    loudest = levels.amax((1, 2), keepdim=True)
    faded = loudest - (loudest - levels) * (1 + contrast)[:, None, None]
    floor = (noise / DEPTH)[:, None, None]
    return torch.where(faded > floor, faded, 0.0)


def _mask(width: "Tensor", place: "Tensor", widest: float, length: int, lasts: "Tensor | None" = None) -> "Tensor":
    """Return what is left when a stretch is taken out: true or false, [B, length].

    Args:
        width: uniform numbers [B], of the widest.
        place: uniform numbers [B], from the beginning to the end.
        widest: share of the length.
        length: of the axis.
        lasts: how much of it there is, [B]; default: all.
    """
    import torch

    there = torch.full_like(width, length) if lasts is None else lasts.to(width.dtype)
    span = (width * widest * there)[:, None]
    start = place[:, None] * (there[:, None] - span)
    at = torch.arange(length, device=width.device) + 0.5
    return (at < start) | (at >= start + span)
