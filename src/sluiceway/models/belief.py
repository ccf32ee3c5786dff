"""A deep belief net (Hinton, Osindero and Teh, 2006), fine-tuned as a feed-forward net.

Restricted Boltzmann machines are learned one on top of another, each by contrastive divergence on what the one below
makes of the images (Hinton, 2002): no label is needed. Then their weights begin a feed-forward net, which is trained as
any other (Hinton and Salakhutdinov, 2006).

Shapes: B images, C channels, H height, W width, K outputs; of one machine V visible and U hidden units.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from sluiceway.models import chance


class BoltzmannMachine(nn.Module):
    """A restricted Boltzmann machine: two layers of binary units, joined by weights between them alone.

    The energy of visible v and hidden h is ``-b v - c h - h W v``. A number in 0..1 stands for the probability of a
    visible unit to be on.

    Args:
        visible: V.
        hidden: U.
        on: share of the visible units that is on, before anything is learned.
    """

    def __init__(self, visible: int, hidden: int, on: float = 0.5) -> None:
        super().__init__()
        self.up = nn.Linear(visible, hidden)
        self.visible_bias = nn.Parameter(torch.full((visible,), on).clamp(0.01, 0.99).logit())
        nn.init.normal_(self.up.weight, std=0.01)
        nn.init.zeros_(self.up.bias)

    def forward(self, visible: Tensor, cd_steps: int = 0) -> Tensor:
        """Return the probabilities of the hidden units [B, U]; or, of contrastive divergence, the figures [B, 3].

        Everything that touches the weights is a call of this module: sharded ones are whole only during it.

        Args:
            visible: [B, V], in 0..1.
            cd_steps: steps of Gibbs sampling; 0 asks for the hidden units.
        """
        if not cd_steps:
            hidden: Tensor = self.up(visible).sigmoid()
            return hidden
        with torch.no_grad():
            first = self.down(chance.bernoulli(self.up(visible).sigmoid()))
            chain = chance.bernoulli(first)
            for _ in range(cd_steps - 1):
                chain = chance.bernoulli(self.down(chance.bernoulli(self.up(chain).sigmoid())))
            error = (visible - first).square().mean(1)
        energy = self.free_energy(visible)
        # Its gradient is that of contrastive divergence, with hidden probabilities in the place of samples.
        contrast = energy - self.free_energy(chain)
        return torch.stack([contrast, error, energy.detach()], 1)

    def down(self, hidden: Tensor) -> Tensor:
        """Return the probabilities of the visible units: [B, U] -> [B, V]."""
        return F.linear(hidden, self.up.weight.T, self.visible_bias).sigmoid()

    def free_energy(self, visible: Tensor) -> Tensor:
        """Return -log of the sum of exp(-energy) over all hidden states: [B, V] -> [B]."""
        return -(visible @ self.visible_bias) - F.softplus(self.up(visible)).sum(1)


class DeepBeliefNet(nn.Module):
    """Answers images: uint8 or float in 0..1 [B, C, H, W] -> outputs [B, K].

    Args:
        pixels: C x H x W.
        outputs: K.
        widths: hidden units of each machine.
        dropout: share of each machine's hidden units that is dropped in training.
        cd_steps: steps of Gibbs sampling in pre-training.
        mean: of the training images' pixels, in 0..1.
    """

    def __init__(
        self, *, pixels: int, outputs: int, widths: Sequence[int], dropout: float, cd_steps: int, mean: float
    ) -> None:
        super().__init__()
        sizes = [pixels, *widths]
        shares = [mean, *([0.5] * (len(widths) - 1))]
        self.machines = nn.ModuleList(
            BoltzmannMachine(visible, hidden, on)
            for visible, hidden, on in zip(sizes[:-1], sizes[1:], shares, strict=True)
        )
        self.head = nn.Linear(widths[-1], outputs)
        self.dropout = dropout
        self.cd_steps = cd_steps
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor, machine: int | None = None) -> Tensor:
        """Return the outputs [B, K].

        Args:
            images: a batch.
            machine: number of the machine to pre-train. Then what comes back is its figures [B, 3]: the contrast, to be
                minimised; the mean squared error of a reconstruction; and the free energy.
        """
        hidden = images.flatten(1)
        if images.dtype == torch.uint8:
            hidden = hidden / 255
        if machine is not None:
            with torch.no_grad():
                for below in range(machine):
                    hidden = self.machines[below](hidden)
            figures: Tensor = self.machines[machine](hidden, self.cd_steps)
            return figures
        for each in self.machines:
            hidden = chance.dropout(each(hidden), self.dropout, self.training)
        outputs: Tensor = self.head(hidden)
        return outputs
