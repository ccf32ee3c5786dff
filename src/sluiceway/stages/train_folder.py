"""A training's folder: whose turn it is, what is found in it, and where its outcome stays until it is safe.

DVC removes a stage's outputs before it runs, and records them after it has ended. A process that is killed in between
has trained for nothing, unless its outcome is still somewhere: it stays in ``finished`` until the next stage begins,
which is after DVC has recorded it.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sluiceway.data.places import emptied, locked
from sluiceway.stages.console import console, warn
from sluiceway.training.checkpoints import newest_step
from sluiceway.training.job import Job, Places
from sluiceway.training.tidying import tidy
from sluiceway.usecases.pipeline import Pipeline


@contextmanager
def folder_of(pipeline: Pipeline, job: Job) -> Iterator[Places]:
    """Hold a training's folder while the block runs; when that ends without an error, put the outcome away.

    Its run has ended before that: a server that is away then costs no training.

    Raises:
        Busy: another process holds it.
    """
    places = Places(Path(job.folder))
    with locked(places.lock, f"training {job.subject}"):
        _take_up(pipeline, job, places)
        for said in tidy(places, job.subject):
            warn(said)
        with _told_where_it_stands(pipeline, job, places):
            yield places
        _put_away(pipeline, job, places)


def _take_up(pipeline: Pipeline, job: Job, places: Places) -> None:
    """Fetch back the outcome of a training whose model is gone; one whose model is there is trained again if asked."""
    kept = pipeline.finished / job.subject
    if kept.is_dir() and not places.folder.exists() and not (pipeline.model / "manifest.json").exists():
        kept.rename(places.folder)


@contextmanager
def _told_where_it_stands(pipeline: Pipeline, job: Job, places: Places) -> Iterator[None]:
    """Say from which step a training goes on, and after Ctrl-C from which it would."""
    checkpoints = places.checkpoints
    if step := newest_step(checkpoints):
        console.print(f"[bold]train[/] {pipeline.name}: goes on after step {step:,} of {job.plan.steps:,}")
    try:
        yield
    except KeyboardInterrupt:
        step = newest_step(checkpoints)
        kept = f"the checkpoint of step {step:,} is kept" if step else "there is no checkpoint yet"
        again = f"`dvc repro register@{pipeline.name}` goes on"
        console.print(f"[bold]train[/] {pipeline.name}: {kept}; {again}{' from there' if step else ''}")
        raise


def _put_away(pipeline: Pipeline, job: Job, places: Places) -> None:
    """Keep the outcome, in one step, and drop what it was made from."""
    _keep_checkpoints(pipeline, job, places)
    kept = pipeline.finished / job.subject
    emptied(kept.parent)
    places.folder.rename(kept)
    outcome = Places(kept)
    stay = {outcome.weights, outcome.result, outcome.verdict, outcome.metrics, outcome.failures, outcome.run}
    for path in kept.iterdir():
        if path not in stay:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _keep_checkpoints(pipeline: Pipeline, job: Job, places: Places) -> None:
    """Move what ``train.keep_every`` kept to where the end of a training does not delete it."""
    if pipeline.params.train.keep_every is None or not places.checkpoints.is_dir():
        return
    kept = pipeline.state / "kept" / job.subject
    shutil.rmtree(kept, ignore_errors=True)
    kept.parent.mkdir(parents=True, exist_ok=True)
    places.checkpoints.rename(kept)
