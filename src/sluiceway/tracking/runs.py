"""Opening and ending runs: one per execution of a pipeline. ``train`` opens it, later stages attach to it by its id.

A run ends as the block that it was open for really ended: FINISHED, FAILED, or KILLED by Ctrl-C or SIGTERM.
"""

import hashlib
import platform
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from sluiceway.errors import TrackingError
from sluiceway.gates.verdict import Verdict
from sluiceway.tracking.lineage import lineage
from sluiceway.tracking.run import MetricPoint, Run
from sluiceway.tracking.store import client, experiment, is_missing, refusals
from sluiceway.usecases.pipeline import Pipeline

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

_HOST, _ROOT, _PID, _BEGAN = (f"sluiceway.process.{name}" for name in ("host", "root", "pid", "began"))
"""Tags that say which process writes to a run; of the project's folder a digest."""
_CLOCK = 60.0
"""Seconds that a machine's clock may have been corrected by since a process began."""


@contextmanager
def open_run(pipeline: Pipeline, name: str | None = None, tags: Mapping[str, str] | None = None) -> Iterator[Run]:
    """Create a run with the pipeline's parameters and lineage, and end it as the block ends.

    Args:
        pipeline: whose run it is; its name is the experiment's.
        name: how people will know the run; MLflow makes one up when it is None.
        tags: more tags than the lineage.

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    with _sigterm_exits():
        run = _create(pipeline, name, tags or {})
        with _until_the_end(run):
            yield run


@contextmanager
def attach_run(pipeline: Pipeline, run_id: str) -> Iterator[Run]:
    """Go on with an earlier run, and end it as the block ends.

    A run that this store does not know - the model came with a team mate's DVC cache - is stood in for by a new run
    that names it in the tag ``sluiceway.restored_from``; later stages find the same stand-in.

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    with _sigterm_exits():
        found = _known(pipeline, run_id) or _tagged(pipeline, "sluiceway.restored_from", run_id)
        if found is None:
            run = _create(pipeline, f"restored-{run_id[:8]}", {"sluiceway.restored_from": run_id})
        else:
            run = Run(pipeline, found.info.run_id)
            run.start()
            run.set_tags(_process(pipeline))
            if not found.data.params:  # whoever made it died before it had written them
                run.log_params(pipeline.params.model_dump(mode="json", by_alias=True))
        with _until_the_end(run):
            yield run


def close_abandoned(pipeline: Pipeline) -> list[tuple[str, str]]:
    """End the runs of this pipeline that a process left open when it died, as KILLED.

    A run is only closed if its tags name this machine, this project's folder and a process that is no longer there.
    Runs of other machines, and those without such tags, are left alone.

    Returns:
        (name, new status) of each.

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    where, store = experiment(pipeline.root, pipeline.name), client(pipeline.root)
    with refusals(pipeline.root, "close abandoned runs"):
        found = store.search_runs([where], "attributes.status = 'RUNNING'")
        gone = [run for run in found if _is_abandoned(pipeline, run.data.tags)]
        for run in gone:
            store.set_tag(run.info.run_id, "sluiceway.error", "its process died without a word")
            store.set_terminated(run.info.run_id, "KILLED")
    return [(run.info.run_name, "KILLED") for run in gone]


def unfinished(pipeline: Pipeline, tag: str, value: str) -> str | None:
    """Return the id of the newest run with this tag, unless that one is finished.

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    found = _tagged(pipeline, tag, value)
    return found.info.run_id if found and found.info.status != "FINISHED" else None


def tagged(pipeline: Pipeline, tag: str, value: str) -> str | None:
    """Return the id of the newest run with this tag, however it ended.

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    found = _tagged(pipeline, tag, value)
    return found.info.run_id if found else None


def _process(pipeline: Pipeline) -> dict[str, str]:
    """Say who writes to a run; a process is told by its number and when it began, since numbers are used again."""
    me = psutil.Process()
    root = hashlib.sha256(str(pipeline.root).encode()).hexdigest()[:12]
    return {_HOST: platform.node(), _ROOT: root, _PID: str(me.pid), _BEGAN: f"{me.create_time():.2f}"}


def _is_abandoned(pipeline: Pipeline, tags: Mapping[str, str]) -> bool:
    mine = _process(pipeline)
    if any(tags.get(name) != mine[name] for name in (_HOST, _ROOT)):
        return False
    try:
        pid, began = int(tags[_PID]), float(tags[_BEGAN])
    except (KeyError, ValueError):
        return False
    try:
        return abs(psutil.Process(pid).create_time() - began) > _CLOCK
    except psutil.NoSuchProcess:
        return True


def record_refusal(pipeline: Pipeline, verdict: Verdict, artifacts: Iterable[Path] = ()) -> str:
    """Leave a FAILED run that says why a gate was closed, for the case that no run was open.

    A gate that is asked again about the same thing writes to the run it left before.

    Args:
        pipeline: whose gate it is.
        verdict: of the closed gate.
        artifacts: files and folders to keep with it, such as the data report.

    Returns:
        The run's id.

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    tag = f"sluiceway.refused.{verdict.gate}"
    found = _tagged(pipeline, tag, verdict.subject)
    run = Run(pipeline, found.info.run_id) if found else _create(pipeline, f"refused-{verdict.gate}", {})
    run.set_tags({tag: verdict.subject, "sluiceway.error": f"the {verdict.gate} gate is closed: {verdict.reason}"})
    run.log_verdict(verdict)
    for path in artifacts:
        run.log_artifact(path)
    with refusals(pipeline.root, "mark the run FAILED"):
        client(pipeline.root).set_terminated(run.id, "FAILED")
    return run.id


def record_trial(
    parent: Run,
    pipeline: Pipeline,
    name: str,
    *,
    points: Iterable[MetricPoint],
    figures: Mapping[str, float],
    tags: Mapping[str, str],
    status: str,
) -> str:
    """Leave a run of a trial that has ended, as a child of its search's.

    Where there is one already, of a search that was killed before it knew, that one is filled up.

    Args:
        parent: the search's run.
        pipeline: with the trial's parameters.
        name: of the run.
        points: of its curves.
        figures: that belong to no step.
        tags: more tags than the lineage; the first is the trial's own.
        status: ``FINISHED``, ``KILLED`` or ``FAILED``.

    Returns:
        The run's id.

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    of = {"mlflow.parentRunId": parent.id}
    run = _filled_up(pipeline, [*of.items(), *tags.items()][:2], tags) or _create(pipeline, name, of | dict(tags))
    run.log_curve(points)
    run.log_figures(figures)
    with refusals(pipeline.root, f"mark the run {status}"):
        client(pipeline.root).set_terminated(run.id, status)
    return run.id


def _filled_up(pipeline: Pipeline, own: Iterable[tuple[str, str]], tags: Mapping[str, str]) -> Run | None:
    """Return the run that has these tags of its own, with its parameters and the other tags."""
    where = experiment(pipeline.root, pipeline.name)
    asked = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in own)
    with refusals(pipeline.root, "search its runs"):
        found = client(pipeline.root).search_runs([where], asked, max_results=1)
    if not found:
        return None
    run = Run(pipeline, found[0].info.run_id)
    if not found[0].data.params:
        run.log_params(pipeline.params.model_dump(mode="json", by_alias=True))
    if "sluiceway.error" in found[0].data.tags:  # of the search that was killed, and not of the trial
        with refusals(pipeline.root, "take a tag away"):
            client(pipeline.root).delete_tag(run.id, "sluiceway.error")
    run.set_tags(tags)
    return run


def _create(pipeline: Pipeline, name: str | None, tags: Mapping[str, str]) -> Run:
    store, where = client(pipeline.root), experiment(pipeline.root, pipeline.name)
    source = {"mlflow.source.name": f"sluiceway: {pipeline.name}", "mlflow.source.type": "PROJECT"}
    with refusals(pipeline.root, "create a run"):
        made = store.create_run(
            where, run_name=name, tags={**source, **lineage(pipeline), **_process(pipeline), **tags}
        )
    run = Run(pipeline, made.info.run_id)
    run.log_params(pipeline.params.model_dump(mode="json", by_alias=True))
    return run


def _known(pipeline: Pipeline, run_id: str) -> "MlflowRun | None":
    with refusals(pipeline.root, f"find the run {run_id}"):
        try:
            found = client(pipeline.root).get_run(run_id)
        except Exception as error:
            if is_missing(error):
                return None
            raise
    return found if found.info.lifecycle_stage == "active" else None


def _tagged(pipeline: Pipeline, tag: str, value: str) -> "MlflowRun | None":
    """Return the newest run of the pipeline whose tag has this value."""
    where = experiment(pipeline.root, pipeline.name)
    quoted = value.replace("'", "")
    with refusals(pipeline.root, "search its runs"):
        found = client(pipeline.root).search_runs([where], f"tags.`{tag}` = '{quoted}'", max_results=1)
    return found[0] if found else None


@contextmanager
def _until_the_end(run: Run) -> Iterator[None]:
    """End the run as the block ends. A refusal of the store never hides the error that ended the block."""
    try:
        yield
    except BaseException as error:
        try:
            run.end(error)
        except TrackingError as refusal:
            error.add_note(f"Besides, the run's end could not be recorded: {refusal.message}")
        raise
    run.end(None)


@contextmanager
def _sigterm_exits() -> Iterator[None]:
    """Let SIGTERM end the block by an exception, so that the run is marked; whoever handles it already goes first."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def leave(signum: int, frame: object) -> None:
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is leave:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
