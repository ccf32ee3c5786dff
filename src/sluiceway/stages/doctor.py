"""``sluiceway doctor``: looks at all that a pipeline needs around it, and says what to do where something is wrong."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from sluiceway.config import ProjectParams, faulty, read_yaml
from sluiceway.errors import SluicewayError
from sluiceway.launch.description import HINT, JOBS, sound_jobs
from sluiceway.launch.health import cluster, machine, repository, schedulers
from sluiceway.launch.health.base import Look, Seen, look
from sluiceway.launch.health.packages import packages
from sluiceway.launch.jobs import Job
from sluiceway.stages.console import console
from sluiceway.tracking.health import tracking
from sluiceway.usecases.pipeline import params_file, project_params

_COLOURS = {"ok": "green", "warning": "yellow", "fault": "red", "left out": "dim"}
_MARGIN = 0.5
"""Seconds by which a command must end before its look does, so that it can say so itself."""


def doctor(root: Path, seconds: float) -> int:
    """Print what was seen as a table, and return 1 where something is a fault, else 0.

    Args:
        root: the project.
        seconds: that each look may take; joining a Ray cluster has a limit of its own.

    Raises:
        NotAProject: there is no project here.
    """
    seen = examine(root, seconds)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("check", "", "what was found", "way out"):
        table.add_column(title, overflow="fold")
    for each in seen:
        state = f"[{_COLOURS[each.state]}]{each.state}[/]"
        table.add_row(each.what, state, escape(each.found), escape(each.way_out))
    console.print(table)
    count = {state: sum(each.state == state for each in seen) for state in ("fault", "warning")}
    console.print(f"[bold]doctor[/]: {_counted(count['fault'], 'fault')}, {_counted(count['warning'], 'warning')}")
    return int(count["fault"] > 0)


def examine(root: Path, seconds: float) -> list[Seen]:
    """Take all looks that concern this project.

    Raises:
        NotAProject: there is no project here.
    """
    project = project_params(root)
    jobs, faults = _jobs(root)
    return [*look(_looks(root, project, jobs, seconds), seconds), *faults]


def _looks(root: Path, project: ProjectParams, jobs: Mapping[str, Job], seconds: float) -> list[Look]:
    places, short = {job.where for job in jobs.values()}, max(_MARGIN, seconds - _MARGIN)
    here = [job for job in jobs.values() if job.where == "local"]
    remote = next((job.remote for job in jobs.values()), "origin")
    gpus = max((job.resources.gpus * job.resources.workers for job in here), default=0)
    looks = [
        Look("packages", packages),
        Look("disk", lambda: machine.disk(root)),
        Look("shared memory", machine.shared_memory),
        Look("GPUs", lambda: machine.gpus(short, gpus)),
        Look("git", lambda: repository.git(root, remote, bool(jobs), short / 2)),
        Look("DVC remote", lambda: repository.dvc(root, bool(jobs), short)),
        Look("raw data", lambda: repository.raw_data(root, project.pipelines, project.samples)),
        Look("tracking server", lambda: tracking(root, _models(root, project), short)),
    ]
    if jobs:
        looks.append(Look("secrets", lambda: schedulers.secrets(root, jobs)))
    if any(job.schedule for job in here):
        looks.append(Look("schedules", lambda: schedulers.schedules(short)))
    if "slurm" in places:
        looks.append(Look("Slurm", lambda: schedulers.slurm(short)))
    if "kubernetes" in places:
        looks.append(Look("Kubernetes", lambda: schedulers.kubernetes(jobs, short)))
    addresses = sorted({job.ray.address for job in jobs.values() if job.where == "ray"})
    looks += [Look("Ray jobs", partial(cluster.jobs_api, address, short)) for address in addresses]
    if os.environ.get("RAY_ADDRESS", "local") != "local":
        limit = max(seconds, cluster.NODES_SECONDS)
        looks.append(Look("Ray cluster", lambda: cluster.nodes(root / ".sluiceway", limit - _MARGIN), limit))
    return looks


def _jobs(root: Path) -> tuple[dict[str, Job], list[Seen]]:
    if not (root / JOBS).exists():
        return {}, []
    try:
        jobs, faults = sound_jobs(root)
    except SluicewayError as error:
        return {}, [Seen("jobs", "fault", error.message, error.hint)]
    return jobs, [Seen("jobs", "fault", faulty(JOBS, faults, HINT).message, HINT)] if faults else []


def _models(root: Path, project: ProjectParams) -> dict[str, str]:
    """Return the names of registered models by pipeline; faults of parameters are told where they are used."""
    names = {}
    for pipeline in project.pipelines:
        path = root / params_file(pipeline)
        register = read_yaml(path).get("register") if path.exists() else None
        names[pipeline] = str((register or {}).get("name") or pipeline)
    return names


def _counted(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'s' * (number != 1)}"
