"""Turns a pipeline into a job: which steps, on what, and under which key its checkpoints are kept."""

import os
from pathlib import Path

import sluiceway
from sluiceway.data.shards import ShardedSplit, digest
from sluiceway.errors import ConfigError, DataError
from sluiceway.models.hardware import visible_gpus
from sluiceway.training.job import Job, digest_of_code, fingerprint
from sluiceway.training.plan import choose_hardware, plan
from sluiceway.usecases.pipeline import Pipeline

FREE = frozenset(
    {
        "workers",
        "cpus_per_worker",
        "loader_processes",
        "checkpoint_every",
        "keep_every",
        "keep_most",
        "log_every",
        "accumulate",
        "activation_checkpointing",
        "out_of_memory",
        "retries",
        "stall_limit",
    }
)
"""Options that may change between a training and its continuation: they change no result."""

_CODE = ("training", "models", "data/loader.py", "data/order.py", "data/shards.py", "usecases/base.py")


def prepare(pipeline: Pipeline) -> Job:
    """Plan a training and choose what it runs on.

    Raises:
        DataError: the training or the validation split is empty.
        ConfigError: the model asks for a pre-training that its use case does not have, or for weights that are not
            there.
    """
    params = pipeline.params
    if params.model.pretraining and pipeline.usecase.pretraining is None:
        raise ConfigError(
            f"model {params.model.name!r} has phases of pre-training, and use case {params.usecase!r} does not say "
            "what is learned in them",
            hint="give the use case a function `pretraining`; docs/usecases.md",
        )
    sizes = {name: len(ShardedSplit(pipeline.shards, name)) for name in ("train", "validation")}
    for name, size in sizes.items():
        if not size:
            raise DataError(f"the {name} split has no items", hint="give more data, or other shares in data.split")
    gpus, bfloat16 = visible_gpus()
    subject = _subject(pipeline)
    placed = params.model_copy(update={"model": params.model.placed(pipeline.root)})
    return Job(
        pipeline=pipeline.name,
        root=str(pipeline.root),
        params=placed.model_dump(mode="json", by_alias=True),
        shards=str(pipeline.shards),
        folder=str(pipeline.state / "training" / subject),
        subject=subject,
        worlds=params.train.worlds,
        retries=params.train.retries,
        stall_limit=params.train.stall_limit,
        threads=params.train.threads(os.cpu_count() or 1, params.train.most),
        plan=plan(params.train, sizes["train"], params.model.pretraining),
        hardware=choose_hardware(params.train, gpus=gpus, gpu_has_bfloat16=bfloat16),
    )


def _subject(pipeline: Pipeline) -> str:
    """Digest of what decides the result: data, parameters and code. Another one never takes up the checkpoints."""
    params = pipeline.params
    package = Path(sluiceway.__file__).parent
    code = [path for path in (*(package / name for name in _CODE), pipeline.root / pipeline.code) if path.exists()]
    train = params.train.model_dump(mode="json", exclude=set(FREE))
    sections = [section.model_dump(mode="json") for section in (params.model, params.objective)]
    origin = params.model.origin(pipeline.root)
    return fingerprint([digest(pipeline.shards), params.usecase, train, *sections, origin, digest_of_code(code)])
