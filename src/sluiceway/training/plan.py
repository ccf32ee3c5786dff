"""What a training will do, decided before anything heavy is imported: pure arithmetic on the parameters.

Steps count from 0; "after step s" means that s optimizer steps are done.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sluiceway.config import Phase, Train


@dataclass(frozen=True, slots=True)
class Stretch:
    """The steps of one phase of pre-training."""

    name: str
    start: int
    end: int
    """The step that is no longer of it."""
    lr: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one training."""

    examples: int
    """Items of the training split."""
    steps: int
    """Optimizer steps in all, pre-training included."""
    boundaries: tuple[int, ...]
    """After which steps the model is validated; the last one is ``steps``."""
    log_every: int
    checkpoint_every: int
    """A multiple of ``log_every``, so that the training curve does not depend on where a run was interrupted."""
    phases: tuple[Stretch, ...] = ()
    """Of pre-training: they follow each other from step 0, and what is left is the training itself."""
    pause: int | None = None
    """A boundary at which the training is saved and ends, though it may go on later; None: it goes through."""

    def until(self, boundary: int) -> "Plan":
        """Return the same training, to be paused at a boundary; at the last one it ends."""
        reached = tuple(each for each in self.boundaries if each <= boundary)
        return replace(self, boundaries=reached, pause=boundary if boundary < self.steps else None)

    @property
    def pretraining(self) -> int:
        """Steps ahead of the training itself."""
        return self.phases[-1].end if self.phases else 0

    def phase_at(self, step: int) -> int | None:
        """Return the number of the phase that the step after ``step`` belongs to; None: it trains on the objective."""
        return next((number for number, phase in enumerate(self.phases) if step < phase.end), None)

    def begins_anew(self, step: int) -> bool:
        """Whether another loss begins at ``step``: what the optimizer remembers of the last one would mislead it."""
        return any(step == phase.end for phase in self.phases)

    def rate(self, step: int, train: Train) -> float:
        """Return the learning rate of the step that follows ``step``: its phase's, or the schedule's."""
        number = self.phase_at(step)
        if number is not None:
            return self.phases[number].lr
        return learning_rate(step - self.pretraining, self.steps - self.pretraining, train)

    def segment_end(self, step: int) -> int:
        """Return the first boundary after ``step``."""
        return next(boundary for boundary in self.boundaries if boundary > step)

    def segments_after(self, step: int) -> int:
        """Return how many validations are still to come after ``step``."""
        return sum(boundary > step for boundary in self.boundaries)

    def epoch(self, step: int, global_batch: int) -> float:
        """Return the passes over the training split that are done after ``step``."""
        return step * global_batch / self.examples


def plan(train: Train, examples: int, pretraining: Sequence[Phase] = ()) -> Plan:
    """Plan a training over ``examples`` items, after the phases of its pre-training."""
    per_epoch = examples / train.global_batch
    phases: list[Stretch] = []
    begin = 0
    for phase in pretraining:
        end = begin + max(1, round(phase.epochs * per_epoch))
        phases.append(Stretch(phase.name, begin, end, phase.lr))
        begin = end
    steps = begin + max(1, round(train.epochs * per_epoch))
    interval = max(1, round(train.validate_every * per_epoch))
    boundaries = (*range(begin + interval, steps, interval), steps)
    log_every = min(train.log_every, steps)
    checkpoint_every = log_every * math.ceil(train.checkpoint_every / log_every)
    return Plan(examples, steps, boundaries, log_every, checkpoint_every, tuple(phases))


def learning_rate(step: int, steps: int, train: Train) -> float:
    """Return the learning rate of the optimizer step that follows ``step``: warm-up, then the schedule.

    A function of the step, not an object with a state: there is nothing to save and nothing to get out of step.
    ``one_cycle`` is the shape of Smith and Topin, "Super-Convergence", 2018, with cosines for lines.
    """
    warmup = max(1, round(train.warmup * steps)) if train.warmup else 0
    if step < warmup:
        risen = (step + 1) / warmup
        return train.lr * ((1 - math.cos(math.pi * risen)) / 2 if train.schedule == "one_cycle" else risen)
    left = max(1, steps - warmup)
    progress = min(1.0, (step - warmup) / left)
    match train.schedule:
        case "constant":
            share = 1.0
        case "linear":
            share = 1.0 - progress
        case "cosine" | "one_cycle":
            share = (1 + math.cos(math.pi * progress)) / 2
    return train.lr * (train.final_lr + (1 - train.final_lr) * share)


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a training runs on."""

    accelerator: str
    """``gpu`` or ``cpu``."""
    backend: str
    """Of ``torch.distributed``: ``nccl`` or ``gloo``."""
    precision: str
    """In Lightning's words: ``32-true``, ``bf16-mixed``, ``16-mixed``."""
    strategy: str
    """``single``, ``ddp`` or ``fsdp``."""

    def of(self, world: int) -> "Hardware":
        """Return the same for so many workers: one that is left alone has nobody to average with."""
        return replace(self, strategy="single") if world == 1 and self.strategy == "ddp" else self


_PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


def choose_hardware(train: Train, *, gpus: int, gpu_has_bfloat16: bool) -> Hardware:
    """Choose by what is there; whatever the parameters name is taken as it is.

    bfloat16 on a CPU is slower than float32 on most of them, so ``auto`` never takes it there.
    """
    use_gpu = train.on_gpu(gpus)
    precision = train.precision
    if precision == "auto":
        precision = "bfloat16" if use_gpu and gpu_has_bfloat16 else "float32"
    strategy = "ddp" if train.strategy == "auto" else train.strategy
    return Hardware(
        accelerator="gpu" if use_gpu else "cpu",
        backend="nccl" if use_gpu else "gloo",
        precision=_PRECISIONS[precision],
        strategy="single" if train.most == 1 and strategy == "ddp" else strategy,
    )
