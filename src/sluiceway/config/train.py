"""The options of training, and of the search for better ones."""

import math
from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import (
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from sluiceway.config.sections import Section, Seed


class Train(Section):
    """How the model is trained. Nothing here but ``seed`` changes which examples make up a global batch."""

    seed: Seed = 0
    """Of the initial weights, the order of examples, augmentation and dropout."""
    epochs: float = Field(10.0, gt=0)
    """Passes over the training split; a fraction is allowed."""
    global_batch: int = Field(128, ge=1)
    """Examples per optimizer step, all workers together: the workers share it, so more workers change no result."""
    shuffle_shards: int | None = Field(None, ge=1)
    """Shards whose examples are mixed with each other; shards come in another order in each epoch. Null: all are mixed.
    For shards elsewhere that are more than a host's cache holds: twice as many as are mixed should fit into it."""
    workers: int | list[int] = 1
    """Ray Train workers; each takes one device. One worker starts no cluster. A pair, as in ``[1, 4]``, is the least
    and the most: training starts with what the cluster has, goes on with fewer when a node is lost, and with more when
    one comes, at the next checkpoint."""
    cpus_per_worker: int | None = Field(None, ge=1)
    """CPU threads of a worker; default: the machine's cores shared out evenly. The evaluation takes as many."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to train and to evaluate; ``auto`` takes GPUs when there is one for each worker."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """How workers work together: ``auto`` is ddp; ``fsdp`` also shares out the parameters of a large model."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the arithmetic; weights stay float32. ``auto`` is bfloat16 on a GPU that has it, and float32 elsewhere."""
    compile: bool = False
    """Whether ``torch.compile`` is used. It costs half a minute before the first step: for long trainings."""
    accumulate: int = Field(1, ge=1)
    """Micro-batches per optimizer step. Saves memory; the global batch stays."""
    activation_checkpointing: bool = False
    """Whether each block of a network is computed again for the gradient, and not remembered: much less memory for a
    third more computing, and no other result."""
    out_of_memory: Literal["smaller", "stop"] = "smaller"
    """When a micro-batch does not fit: go on from the last checkpoint with micro-batches of half the size or less, as
    if ``accumulate`` were higher, down to one example; or stop and say so."""
    clip_norm: float | None = Field(1.0, gt=0)
    """Norm to which gradients are clipped; null: not at all."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """``sgd`` is with Nesterov momentum."""
    lr: float = Field(1e-3, gt=0)
    """Highest learning rate."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of ``sgd``, and the first beta of ``adamw``."""
    beta2: float = Field(0.99, ge=0, lt=1)
    """Second beta of ``adamw``; short trainings do better below its customary 0.999."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay, on matrices and kernels only: not on biases and norms."""
    schedule: Literal["constant", "linear", "cosine", "one_cycle"] = "cosine"
    """Shape of the learning rate after the warm-up; ``one_cycle`` is ``cosine`` with a warm-up that begins gently."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises: along a line, or half a cosine in ``one_cycle``."""
    final_lr: float = Field(0.0, ge=0, le=1)
    """Learning rate after the last step, as a share of ``lr``."""
    validate_every: float = Field(1.0, gt=0)
    """Epochs between two validations."""
    early_stopping: int | None = Field(None, ge=1)
    """Validations without improvement after which training stops; null: never."""
    keep: Literal["best", "last"] = "best"
    """Which weights become the model: those of the lowest validation loss, or the last."""
    checkpoint_every: int = Field(200, ge=1)
    """Optimizer steps between two checkpoints: what a crash can cost at most."""
    keep_every: int | None = Field(None, ge=1)
    """Optimizer steps between checkpoints that are kept, beside the newest two; when the training is over they are in
    ``.sluiceway/<pipeline>/kept``. Null: none."""
    keep_most: int = Field(10, ge=1)
    """Checkpoints kept by ``keep_every`` at most, the newest of them: each takes three times the weights' room."""
    log_every: int = Field(10, ge=1)
    """Optimizer steps between two points of the training curves."""
    loader_processes: int = Field(0, ge=0)
    """Processes per worker that fetch batches. Shards are memory-mapped, so 0 is fastest unless fetching decodes."""
    retries: int = Field(3, ge=0)
    """Crashes in a row, without a new checkpoint between them, after which training is given up: killed or hung workers
    and lost nodes. What would fail again, as NaN or a fault of the code, is never tried again. 0: never."""
    stall_limit: float | None = Field(None, gt=0)
    """Seconds without a step, a validated batch or a saved checkpoint after which a worker counts as hung; null: 30
    times the longest wait so far, and 5 minutes at least."""

    @field_validator("workers", mode="before")
    @classmethod
    def _is_a_number_or_a_pair(cls, value: Any) -> Any:
        pair = value if isinstance(value, list) else [value]
        if not all(type(each) is int and each >= 1 for each in pair):
            raise ValueError(f"{value!r} should be a number of workers from 1 on, or a pair as in [1, 4]")
        if isinstance(value, list) and (len(value) != 2 or value[0] >= value[1]):
            raise ValueError(f"{value!r} should be a number of workers, or the least and the most as in [1, 4]")
        return value

    @property
    def fewest(self) -> int:
        """Workers without which training waits."""
        return self.workers if isinstance(self.workers, int) else self.workers[0]

    @property
    def most(self) -> int:
        """Workers that training ever uses."""
        return self.workers if isinstance(self.workers, int) else self.workers[1]

    @property
    def worlds(self) -> tuple[int, ...]:
        """Numbers of workers that can share the global batch, rising."""
        numbers = range(self.fewest, self.most + 1)
        return tuple(each for each in numbers if not self.global_batch % (each * self.accumulate))

    def on_gpu(self, gpus: int) -> bool:
        """Whether networks compute on GPUs, where this machine has so many."""
        return self.accelerator == "gpu" or (self.accelerator == "auto" and gpus >= self.fewest)

    def threads(self, cores: int, processes: int) -> int:
        """CPU threads of each of some processes that share a machine's cores."""
        return self.cpus_per_worker or max(1, cores // processes)

    @model_validator(mode="after")
    def _half_is_whole(self) -> "Train":
        if self.strategy == "fsdp" and self.precision == "float16":
            raise ValueError("precision float16 does not go with strategy fsdp: use bfloat16")
        return self

    @model_validator(mode="after")
    def _batch_divides(self) -> "Train":
        share = math.lcm(self.fewest, self.most) * self.accumulate
        if self.global_batch % share:
            raise ValueError(
                f"global_batch {self.global_batch} does not divide by workers x accumulate = {share}: "
                f"use {share * max(1, round(self.global_batch / share))}"
            )
        return self


class Domain(Section):
    """Values that an option may take in a search: one of these four."""

    choice: list[JsonValue] | None = Field(None, min_length=1)
    """One of these values."""
    uniform: list[float] | None = Field(None, min_length=2, max_length=2)
    """A number between the least and the largest, all equally likely."""
    loguniform: list[float] | None = Field(None, min_length=2, max_length=2)
    """Likewise, all orders of magnitude equally likely: for learning rates, decay, widths of priors."""
    randint: list[int] | None = Field(None, min_length=2, max_length=2)
    """An integer from the least to the largest, both included."""

    @model_validator(mode="after")
    def _is_one_range(self) -> Self:
        given = self.model_dump(exclude_none=True)
        if len(given) != 1:
            raise ValueError("give one of choice, uniform, loguniform, randint")
        ends = self.ends
        if ends and ends[0] >= ends[1]:
            raise ValueError(f"{ends[0]:g} is not less than {ends[1]:g}")
        if self.loguniform and self.loguniform[0] <= 0:
            raise ValueError("loguniform begins above 0")
        return self

    @property
    def ends(self) -> "Sequence[float] | None":
        """The least and the largest value; None: it is a choice."""
        return self.uniform or self.loguniform or self.randint


class Tune(Section):
    """How ``sluiceway tune`` searches for better parameters. No stage reads it: a change runs nothing again."""

    space: dict[str, Domain] = Field(default_factory=dict)
    """What is searched: by dotted name, options of ``model``, ``objective`` and ``train``."""
    trials: int = Field(20, ge=1)
    """Trainings that are begun; the first has the present parameters."""
    metric: str = "loss"
    """Figure of the validation that decides."""
    best: Literal["lowest", "highest"] = "lowest"
    """Which value of it is the best."""
    grace: float = Field(0.1, gt=0, le=1)
    """Share of a training before which no trial is stopped."""
    reduction: int = Field(3, ge=2)
    """Of so many trials that come to a decision, one goes on; the next decision is when it has trained as many times
    longer."""
    parallel: int = Field(1, ge=1)
    """Trials at a time. On one machine they share its cores."""
    max_hours: float | None = Field(None, gt=0)
    """Hours of training, all trials added up, after which no trial goes on; null: ``gates.cost.max_hours``."""
    max_cost: float | None = Field(None, gt=0)
    """Likewise money, in ``gates.cost.currency``; null: ``gates.cost.max_cost``."""
    seed: Seed = 0
    """Of the values that are tried. Trainings keep ``train.seed``."""
