"""The two networks on which the field grew, as configurations: ``alexnet`` and ``deep_belief_net``.

Shapes: B images.
"""

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from sluiceway.config import ModelParams, Phase
from sluiceway.usecases.base import Batch, Encoding

if TYPE_CHECKING:
    from torch import Tensor, nn


class AlexNetParams(ModelParams):
    """Convolutions, rectifiers, pooling and dropout, as in 2012."""

    name: Literal["alexnet"] = "alexnet"
    """Which architecture."""
    widths: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=lambda: [32, 64, 96, 64, 64], min_length=5, max_length=5
    )
    """Channels of the five convolutions; in the paper 96, 256, 384, 384 and 256, for a thousand classes of things."""
    dense: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [512, 512], min_length=1)
    """Units of each dense layer; in the paper 4096 and 4096."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of the units that is dropped ahead of each dense layer in training."""
    response_norm: bool = False
    """Whether channels inhibit their neighbours, as in the paper; slow, and later networks do without."""


class DeepBeliefParams(ModelParams):
    """Restricted Boltzmann machines, pre-trained one on top of another without labels, as in 2006."""

    name: Literal["deep_belief_net"] = "deep_belief_net"
    """Which architecture."""
    widths: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [500, 500, 1000], min_length=1)
    """Hidden units of each machine."""
    pretrain_epochs: float = Field(10.0, gt=0)
    """Passes over the training split for each machine."""
    pretrain_lr: float = Field(0.01, gt=0)
    """Learning rate of pre-training; its optimizer is the training's."""
    cd_steps: int = Field(1, ge=1)
    """Steps of Gibbs sampling in contrastive divergence: more are nearer to the likelihood, and dearer."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Share of each machine's hidden units that is dropped in fine-tuning."""

    @property
    def pretraining(self) -> tuple[Phase, ...]:
        """A phase for each machine, named as the layer is."""
        return tuple(
            Phase(f"machines.{number}", self.pretrain_epochs, self.pretrain_lr) for number in range(len(self.widths))
        )


def build(params: AlexNetParams | DeepBeliefParams, encoding: Encoding, outputs: int) -> "nn.Module":
    """Make the untrained network."""
    channels, size = encoding["channels"], encoding["size"]
    if isinstance(params, AlexNetParams):
        from sluiceway.models.alexnet import AlexNet

        return AlexNet(
            channels=channels,
            size=size,
            outputs=outputs,
            widths=params.widths,
            dense=params.dense,
            dropout=params.dropout,
            response_norm=params.response_norm,
            mean=encoding["mean"],
            std=encoding["std"],
        )
    from sluiceway.models.belief import DeepBeliefNet

    return DeepBeliefNet(
        pixels=channels * size * size,
        outputs=outputs,
        widths=params.widths,
        dropout=params.dropout,
        cd_steps=params.cd_steps,
        mean=float(np.mean(encoding["mean"])),
    )


def pretraining(model: "nn.Module", batch: Batch, phase: int) -> dict[str, "Tensor"]:
    """Return contrastive divergence of one machine of a deep belief net, and how well it knows the images: [B] each."""
    contrast, error, energy = model(batch["image"], machine=phase).unbind(1)
    return {"loss": contrast, "reconstruction_error": error, "free_energy": energy}
