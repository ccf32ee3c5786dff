"""The one LightningModule: any use case's network, losses and augmentation, trained step by step.

What happens at step s depends on (seed, s) and the weights alone. The learning rate is computed from s, dropout from
seed and position of each example, and the loaders read at s; so a checkpoint needs the weights, the optimizer and s.
What else a network may draw is seeded by (seed, s, rank).
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from sluiceway.config import Section, Train
from sluiceway.data.loader import DRAWS, WEIGHT
from sluiceway.data.order import keys_at, mix, positions_of
from sluiceway.errors import NotFinite
from sluiceway.models import chance
from sluiceway.training import snapshots
from sluiceway.training.collectives import summed
from sluiceway.training.plan import Plan
from sluiceway.training.stored import Rows
from sluiceway.training.strategies import shard

if TYPE_CHECKING:
    from sluiceway.training.recorder import Recorder
    from sluiceway.usecases.base import UseCase


class Learner(pl.LightningModule):
    """Trains a use case's network.

    Args:
        model: the network.
        usecase: gives losses and augmentation.
        objective: the use case's own section of the parameters.
        train: how to train.
        plan: the steps.
        recorder: takes the figures of each step.
        start: optimizer steps done by earlier attempts.
        sharded: whether the parameters are shared out over the workers.
    """

    def __init__(
        self,
        model: nn.Module,
        usecase: "UseCase",
        objective: Section,
        train: Train,
        plan: Plan,
        recorder: "Recorder",
        start: int,
        *,
        sharded: bool = False,
    ) -> None:
        super().__init__()
        chance.adopt(model)
        self.model = model
        self.plan = plan
        self.start = start
        self._usecase = usecase
        self._objective = objective
        self._train = train
        self._recorder = recorder
        self._sums: dict[str, Tensor] = {}
        self.sharded = self._to_shard = sharded
        """Whether the parameters are shared out."""
        self.micro_batch: int | None = None
        """Which one of the step is at work; None: a validation is."""

    def configure_model(self) -> None:
        """Share out the parameters, once, when the workers know each other."""
        if self._to_shard:
            shard(self.model, self.device_mesh["data_parallel"])  # type: ignore[index]
            self._to_shard = False

    @property
    def step(self) -> int:
        """Optimizer steps done, earlier attempts included."""
        return self.start + int(self.trainer.global_step)

    def span(self) -> tuple[int, int]:
        """Return (step to start at, step to stop before) of the segment that begins now."""
        return self.step, self.plan.segment_end(self.step)

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Set the learning rate of the coming step; another loss gets an optimizer that remembers nothing."""
        self.micro_batch = batch_idx % self._train.accumulate + 1
        optimizer = self.trainer.optimizers[0]
        rate = self.plan.rate(self.step, self._train)
        for group in optimizer.param_groups:
            group["lr"] = rate
        if self.plan.begins_anew(self.step):
            optimizer.state.clear()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the mean loss of a micro-batch."""
        micro = batch_idx % self._train.accumulate
        torch.manual_seed(mix(self._train.seed, self.step, self.global_rank, micro))
        dice = batch.pop(DRAWS, None)
        items: Mapping[str, Tensor] = batch
        if dice is not None:
            items = self._usecase.augment(batch, dice, self._objective)
        with chance.drawn_by(self._keys(micro)):
            loss, figures = self._pretraining(items) or self._figures(items)
        self._recorder.add({name: figure.detach() for name, figure in figures.items()})
        return loss

    def _keys(self, micro: int) -> Tensor:
        positions = positions_of(
            self.step,
            self._train.global_batch,
            rank=self.global_rank,
            world=self.trainer.world_size,
            micro=micro,
            of=self._train.accumulate,
        )
        return torch.from_numpy(keys_at(positions, self._train.seed)).to(self.device)

    def _figures(self, items: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        each = self._usecase.losses(self.model, items, self._objective)
        figures = {name: values.mean() for name, values in each.items()}
        return figures["loss"], figures

    def _pretraining(self, items: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]] | None:
        """Return loss and figures of the phase of pre-training that this step belongs to, if there is one."""
        number = self.plan.phase_at(self.step)
        if number is None or self._usecase.pretraining is None:
            return None
        each = self._usecase.pretraining(self.model, items, number)
        loss = each.pop("loss").mean()
        return loss, {f"{self.plan.phases[number].name}/{name}": values.mean() for name, values in each.items()}

    def on_validation_epoch_start(self) -> None:
        """Forget the sums of the last validation."""
        self._sums = {}
        self.micro_batch = None

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add up each figure over the items that count."""
        weight = batch.pop(WEIGHT)
        figures = self._usecase.losses(self.model, batch, self._objective)
        for name, each in (*figures.items(), ("items", torch.ones_like(weight))):
            total = (each.detach().float() * weight).sum(dtype=torch.float64)
            self._sums[name] = self._sums.get(name, torch.zeros_like(total)) + total

    def on_validation_epoch_end(self) -> None:
        """Hand the means over the whole split, all workers together, to the recorder."""
        sums = {name: float(summed(total)) for name, total in self._sums.items()}
        items = sums.pop("items")
        self._recorder.validated(self.step, {name: total / items for name, total in sums.items()})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make the optimizer; biases, norms and other vectors are not decayed."""
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self._train.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        settings = self._train
        if settings.optimizer == "sgd":
            return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)
        return torch.optim.AdamW(groups, lr=settings.lr, betas=(settings.momentum, settings.beta2))

    def weights(self) -> dict[str, Tensor]:
        """Return the whole network as named tensors on the CPU; every worker must ask for it."""
        return snapshots.weights(self.model)

    def snapshot(self) -> dict[str, Tensor]:
        """Return the whole model and optimizer as named tensors on the CPU; every worker must ask for it."""
        return snapshots.whole(self.model, self.trainer.optimizers[0])

    def share(self, *, first: bool) -> tuple[dict[str, Tensor], Rows]:
        """Return what this worker has of model and optimizer, and which rows of the whole those are."""
        return snapshots.share(self.model, self.trainer.optimizers[0], first=first)

    def share_of_weights(self, *, first: bool) -> tuple[dict[str, Tensor], Rows]:
        """Return what this worker has of the network, and which rows of the whole those are."""
        return snapshots.share_of_weights(self.model, first=first)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up a snapshot, whatever the number of workers that made it."""
        snapshots.take_up(self.model, self.trainer.optimizers[0], tensors)

    @property
    def scaler(self) -> "torch.amp.GradScaler | None":
        """What keeps gradients of float16 in its range: a scale that goes up and down with what happens."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def refuse_if_not_finite(self, figures: Mapping[str, float]) -> None:
        """Stop before weights that are no numbers reach a checkpoint.

        Raises:
            NotFinite: a figure is NaN or infinite.
        """
        for name, figure in figures.items():
            if not math.isfinite(figure):
                rate = self.plan.rate(max(0, self.step - 1), self._train)
                raise NotFinite(
                    f"{name} became {figure} by step {self.step}, at a learning rate of {rate:.3g}",
                    hint=f"lower train.lr (now {self._train.lr:g}) or train.clip_norm, or lengthen train.warmup",
                )
