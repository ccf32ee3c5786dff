"""What each Ray Train worker runs: read the job, go on from the newest checkpoint, train, leave the result.

Only rank 0 writes. Workers know neither DVC nor MLflow: their words are files in the job's folder.
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.config import PipelineParams, parse
from sluiceway.errors import LoaderLost, Preempted
from sluiceway.training.job import Job, Places

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from torch.utils.data import DataLoader

    from sluiceway.config import Train
    from sluiceway.data.loader import Batch, Share
    from sluiceway.training.checkpoints import Checkpoint
    from sluiceway.training.pulse import Pulse
    from sluiceway.training.spool import Spool


def train_worker(packed: dict[str, Any]) -> None:
    """Train as one worker of a job.

    Args:
        packed: a :class:`Job`, packed.
    """
    started = time.monotonic()
    job = Job.unpacked(packed)
    from ray import train as ray_train

    from sluiceway.training.attempt import Attempt

    places, context = Places(Path(job.folder)), ray_train.get_context()
    first = context.get_world_rank() == 0
    with Attempt(places, context.get_world_size(), started) if first else nullcontext() as attempt:
        from sluiceway.training.pulse import Pulse

        with Pulse(places, context.get_world_rank(), job.stall_limit, attempt) as pulse:
            _train(job, pulse, started, attempt.earlier if attempt else (0.0, 0.0))


def _train(job: Job, pulse: "Pulse", started: float, earlier: tuple[float, float]) -> None:
    import pytorch_lightning as pl
    import torch
    from ray import train as ray_train

    from sluiceway.data.loader import Share
    from sluiceway.data.shards import read_encoding
    from sluiceway.training.collectives import from_first
    from sluiceway.training.keeper import Keeper
    from sluiceway.training.memory import shortage_named
    from sluiceway.training.module import Learner
    from sluiceway.training.notice import PREEMPTED_HINT, Ear, Wish
    from sluiceway.training.recorder import Best, Recorder
    from sluiceway.training.strategies import recompute
    from sluiceway.usecases import find
    from sluiceway.usecases.pipeline import params_file

    _be_quiet()  # after the imports, which set their loggers' levels
    torch.set_num_threads(job.threads)
    context = ray_train.get_context()
    share = Share(rank=context.get_world_rank(), world=context.get_world_size())
    usecase = find(job.params["usecase"], Path(job.root), job.params["target"])
    params: PipelineParams = parse(usecase.params, job.params, params_file(job.pipeline))
    train, places = params.train, Places(Path(job.folder))

    if from_first(Ear(places.notice).wish()) == Wish.LEAVE:
        raise Preempted("told to leave before the first step", hint=PREEMPTED_HINT)
    checkpoint = _newest_for_all(places)
    start = checkpoint.step if checkpoint else 0

    pl.seed_everything(train.seed, verbose=False)
    network = usecase.build(params.model, read_encoding(Path(job.shards)))
    hardware = job.hardware.of(share.world)
    sharded = hardware.strategy == "fsdp"
    if not sharded:  # convolutions are faster so; FSDP2 needs plain parameters
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if train.activation_checkpointing:
        recompute(network)
    spool = _spool(places, checkpoint) if share.rank == 0 else None
    recorder = Recorder(spool, Best(**checkpoint.state["best"]) if checkpoint else Best())
    learner = Learner(network, usecase, params.objective, train, job.plan, recorder, start, sharded=sharded)
    keeper = Keeper(job, params, recorder, checkpoint, started, earlier)
    training, validation = _loaders(job, params, share, usecase.draws, learner.span)
    trainer = _trainer(job, train, share, start, [keeper, pulse])
    if train.compile:
        learner.model.compile()
    try:
        with _loaders_named(train.loader_processes), shortage_named(learner, params, share.world):
            _fit(trainer, learner, training, validation)
        pulse.beat()
        keeper.finish(learner)
    finally:
        keeper.close()
        if spool:
            spool.close()


def _loaders(
    job: Job, params: PipelineParams, share: "Share", draws: int, span: Callable[[], tuple[int, int]]
) -> tuple["DataLoader[Batch]", "DataLoader[Batch]"]:
    """Return where this worker's batches come from: to train on, and to validate with."""
    from sluiceway.data.loader import EvaluationStream, TrainingStream, loader
    from sluiceway.data.shards import ShardedSplit

    train, shards = params.train, Path(job.shards)
    training = TrainingStream(
        ShardedSplit(shards, "train"),
        seed=train.seed,
        global_batch=train.global_batch,
        accumulate=train.accumulate,
        share=share,
        draws_per_item=draws,
        span=span,
        shuffle_shards=train.shuffle_shards,
    )
    validation = EvaluationStream(ShardedSplit(shards, "validation"), params.evaluate.batch, share)
    return loader(training, train.loader_processes), loader(validation)


def _trainer(job: Job, train: "Train", share: "Share", start: int, callbacks: list[Any]) -> "pl.Trainer":
    """Return Lightning's trainer for what is left after a step; files, bars and logs are ours."""
    import pytorch_lightning as pl

    from sluiceway.training.strategies import plugins, precision, strategy

    hardware = job.hardware.of(share.world)
    trainer = pl.Trainer(
        accelerator=hardware.accelerator,
        devices=1 if share.world == 1 else "auto",
        strategy=strategy(hardware, in_phases=bool(job.plan.phases)),
        plugins=plugins(share.world, hardware),
        precision=precision(hardware),
        max_epochs=max(1, job.plan.segments_after(start)),
        accumulate_grad_batches=train.accumulate,
        gradient_clip_val=train.clip_norm,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=job.folder,
    )
    _deaf_to_sigterm(trainer._signal_connector)
    return trainer


@contextmanager
def _loaders_named(processes: int) -> Iterator[None]:
    """Say that a loader was killed, where PyTorch raises it out of wherever the worker happens to be.

    Raises:
        LoaderLost: instead.
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        if not processes or (isinstance(error, RuntimeError) and "DataLoader worker" not in str(error)):
            raise
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise LoaderLost(
            f"a process that reads batches is gone: {said}",
            hint="the system's log says what ended it; where memory ran out, lower train.loader_processes (now "
            f"{processes}). The same command goes on from the newest checkpoint",
        ) from error


def _fit(trainer: Any, learner: Any, training: Any, validation: Any) -> None:
    """Run the trainer; Lightning turns Ctrl-C into ``exit(1)``, this turns it back."""
    try:
        trainer.fit(learner, training, validation)
    except SystemExit:
        raise KeyboardInterrupt from None


def _deaf_to_sigterm(connector: Any) -> None:
    """Keep Lightning from ending at SIGTERM by itself, without saving: the driver hears it, and all workers vote."""
    connector.register_signal_handlers = lambda: None


def _spool(places: Places, checkpoint: "Checkpoint | None") -> "Spool":
    from sluiceway.training.saver import POINTS
    from sluiceway.training.spool import Spool, broken

    altered = broken(places.metrics)
    spool = Spool(places.metrics, checkpoint.step if checkpoint else 0)
    gone = checkpoint.state.get(POINTS, 0) - spool.count if checkpoint else 0
    if altered:
        places.note(f"{altered} lines of {places.metrics.name} are broken: those points are missing in the curves")
    elif gone > 0:
        places.note(f"{gone} lines of {places.metrics.name} are gone: those points are missing in the curves")
    return spool


def _newest_for_all(places: Places) -> "Checkpoint | None":
    """Let every worker go on from the checkpoint that rank 0 chose."""
    from sluiceway.training.checkpoints import newest, read
    from sluiceway.training.collectives import from_first, is_first
    from sluiceway.training.saver import fault_of_best, without_best

    checkpoint = None
    if is_first():
        checkpoint, faults = newest(places.checkpoints, lambda found: fault_of_best(places, found))
        for fault in faults:
            places.note(fault)
    step = int(from_first(checkpoint.step if checkpoint else -1))
    if step >= 0 and checkpoint is None:
        checkpoint = read(places.checkpoints, step)
    forgotten = from_first(float(bool(checkpoint and is_first() and fault_of_best(places, checkpoint))))
    return without_best(checkpoint) if checkpoint and forgotten else checkpoint


def _be_quiet() -> None:
    """Silence what libraries say to nobody in particular; errors still raise."""
    warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning|torch|ray")
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "torch.distributed", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)
