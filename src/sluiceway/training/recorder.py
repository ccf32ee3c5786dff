"""Gathers the figures of training steps and hands them on, one point per interval.

Figures stay tensors until an interval is full: reading one number per step would make a GPU wait for the CPU.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sluiceway.training.collectives import averaged, gathered, rank
from sluiceway.training.spool import Spool


@dataclass
class Best:
    """The validations so far."""

    loss: float = math.inf
    step: int = 0
    stale: int = 0
    """Validations since the best one."""
    seen: int = 0


@dataclass
class Recorder:
    """Means of each interval over all workers, written by rank 0.

    Args:
        spool: where points go; None on the other ranks.
        best: the best validation so far, which early stopping and the choice of the model read.
    """

    spool: Spool | None
    best: Best = field(default_factory=Best)
    _held: list[dict[str, Tensor]] = field(default_factory=list)

    def add(self, figures: dict[str, Tensor]) -> None:
        """Hold the figures of one micro-batch."""
        self._held.append(figures)

    def flush(self, step: int, extra: Mapping[str, float]) -> dict[str, float]:
        """Close an interval: average what is held, over micro-batches and workers, and write it."""
        names = list(self._held[0])
        means = torch.stack([torch.stack([each[name] for each in self._held]).mean() for name in names]).double()
        self._held.clear()
        figures = dict(zip(names, averaged(means).tolist(), strict=True))
        self._write(step, {f"train/{name}": value for name, value in (figures | dict(extra)).items()})
        return figures

    def validated(self, step: int, figures: Mapping[str, float]) -> None:
        """Take the result of a validation."""
        self._write(step, {f"validation/{name}": value for name, value in figures.items()})
        self.best.seen += 1
        if figures["loss"] < self.best.loss:
            self.best.loss, self.best.step, self.best.stale = figures["loss"], step, 0
        else:
            self.best.stale += 1

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold of this."""
        return vars(self.best).copy()

    @property
    def points(self) -> int:
        """How many points were written, by rank 0; on other ranks none."""
        return self.spool.count if self.spool else 0

    def held(self) -> dict[str, Tensor]:
        """Return what an interval that is not closed has held so far: per figure [world, micro-batches].

        Every worker must ask. Without it, the interval in which a run was interrupted would have another mean.
        """
        names = list(self._held[0]) if self._held else []
        return {name: gathered(torch.stack([each[name] for each in self._held])).cpu() for name in names}

    def take_up(self, held: Mapping[str, Tensor], world: int, device: torch.device) -> None:
        """Hold again what was held; another number of workers holds the mean of the former ones."""
        mine = {name: values[rank()] if len(values) == world else values.mean(0) for name, values in held.items()}
        count = len(next(iter(mine.values()))) if mine else 0
        self._held = [{name: values[turn].to(device) for name, values in mine.items()} for turn in range(count)]

    def _write(self, step: int, metrics: Mapping[str, float]) -> None:
        if self.spool:
            self.spool.add(step, metrics)
