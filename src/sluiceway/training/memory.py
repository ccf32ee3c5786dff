"""What happens when a micro-batch does not fit into memory: a smaller one, at the same global batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.config import PipelineParams
from sluiceway.errors import OutOfMemory, TrainingError
from sluiceway.models.hardware import free_memory, is_shortage
from sluiceway.training import driver
from sluiceway.training.failures import Failure
from sluiceway.training.job import Job, Places, seal, unsealed
from sluiceway.training.spool import Point

if TYPE_CHECKING:
    from sluiceway.training.module import Learner


def run(
    job: Job,
    on_point: Callable[[Point], None],
    tell: Callable[[str], None],
    on_failure: Callable[[Failure], None] = lambda _: None,
) -> driver.Trained:
    """Train; where memory does not suffice, go on from the last checkpoint with smaller micro-batches.

    What fitted is remembered for the attempts that follow.

    Args:
        job: what is trained.
        on_point: called with each point of the curve as it comes.
        tell: called with a sentence for a person when micro-batches become smaller.
        on_failure: called with each loss of workers.

    Raises:
        OutOfMemory: no smaller micro-batch is left, or none is wanted (``train.out_of_memory``).
    """
    remembered = unsealed(_memory(job)) or {}
    if int(remembered.get("accumulate", 0)) > _accumulate(job):
        job = _with(job, int(remembered["accumulate"]))
    while True:
        try:
            return driver.run(job, on_point, on_failure)
        except OutOfMemory as error:
            smaller = next_smaller(job) if job.params["train"]["out_of_memory"] == "smaller" else None
            if smaller is None:
                raise
            said = error.message
        # Only now, without the error and its frames, is there anything to free.
        free_memory()
        job = smaller
        seal(_memory(job), {"accumulate": _accumulate(job)})
        tell(f"{said}; going on with micro-batches of {micro_batch(job)} (train.accumulate: {_accumulate(job)})")


def micro_batch(job: Job) -> int:
    """Return the items that a worker computes at a time, when there are as few as may be."""
    return int(job.params["train"]["global_batch"]) // (job.worlds[0] * _accumulate(job))


def next_smaller(job: Job) -> Job | None:
    """Return the job with the largest micro-batch that is at most half as large; None: a single item does not fit.

    The steps stay, and the items of each: so do the losses, but for the order of additions.
    """
    batch, now = int(job.params["train"]["global_batch"]), _accumulate(job)
    numbers = range(2 * now, batch // job.worlds[-1] + 1)
    more = next((each for each in numbers if not any(batch % (each * world) for world in job.worlds)), None)
    return _with(job, more) if more else None


@contextmanager
def shortage_named(learner: "Learner", params: PipelineParams, world: int) -> Iterator[None]:
    """Say which micro-batch did not fit into memory.

    Raises:
        OutOfMemory: one of a training step.
        TrainingError: one of a validation.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _named(learner, params, world, first) from None


def _named(learner: "Learner", params: PipelineParams, world: int, first: str) -> TrainingError:
    train, micro = params.train, learner.micro_batch
    if micro is None:
        return TrainingError(
            f"out of memory in the validation after step {learner.step}, with {params.evaluate.batch} items at a time: "
            f"{first}",
            hint="lower evaluate.batch: it changes no figure",
        )
    items = train.global_batch // (world * train.accumulate)
    return OutOfMemory(
        f"out of memory in step {learner.step + 1}, at micro-batch {micro} of {train.accumulate} with {items} items: "
        f"{first}",
        hint=f"raise train.accumulate (now {train.accumulate}): the global batch of {train.global_batch} stays; or "
        "take more workers, precision bfloat16, train.activation_checkpointing or a smaller model",
    )


def _with(job: Job, accumulate: int) -> Job:
    return replace(job, params={**job.params, "train": {**job.params["train"], "accumulate": accumulate}})


def _accumulate(job: Job) -> int:
    return int(job.params["train"]["accumulate"])


def _memory(job: Job) -> Path:
    return Places(Path(job.folder)).memory
