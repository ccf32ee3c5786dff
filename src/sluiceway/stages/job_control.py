"""``sluiceway job submit``, ``attach``, ``list`` and ``cancel``: runs of jobs here and on a Ray cluster."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from rich.markup import escape
from rich.table import Table

from sluiceway.config import faulty
from sluiceway.errors import UsageError
from sluiceway.launch import local
from sluiceway.launch.description import HINT, JOBS, sound_jobs
from sluiceway.launch.jobs import Job
from sluiceway.launch.leftovers import end_leftovers, left_behind
from sluiceway.launch.ray_jobs import RayJobs
from sluiceway.launch.records import JobPlaces, Record
from sluiceway.launch.render.handing import FOLDERS, commands
from sluiceway.launch.schedules import explain, next_due
from sluiceway.stages.console import console
from sluiceway.stages.job_described import job_of

Run = TypeVar("Run")
_PATIENCE = 60
"""Seconds beyond the grace that a run may take to end."""
_COLOURS = {
    "promoted": "green",
    "running": "cyan",
    "kept": "yellow",
    "closed": "yellow",
    "failed": "red",
    "lost": "red",
}


def submit(root: Path, name: str, *, follow: bool) -> int:
    """Begin a run where the job belongs, apart from this terminal, and follow it if wanted.

    Raises:
        UnknownName: there is no such job.
        UsageError: jobs of this kind are handed over by the scheduler's own command.
        LaunchError: it could not be begun.
    """
    job = job_of(root, name)
    if job.where == "ray":
        run = RayJobs(name, job, root).submit()
        _say_begun(name, run, f"on {job.ray.address}")
        return attach(root, name) if follow else 0
    if job.where != "local":
        raise UsageError(f"job {name!r} runs on {job.where}", hint=_handed_over(name, job))
    record = local.submit(root, name)
    _say_begun(name, record.id, f"as process {record.pid}")
    return attach(root, name) if follow else 0


def attach(root: Path, name: str) -> int:
    """Follow the newest run until it ends, and return its exit code. Ctrl-C lets go of it and leaves it alone.

    Raises:
        UnknownName: there is no such job.
        UsageError: it has not run yet.
    """
    job = job_of(root, name)
    try:
        if job.where == "ray":
            jobs = RayJobs(name, job, root)
            return jobs.follow(_newest(name, job, [each.id for each in jobs.runs()]), _write)
        places = JobPlaces.of(root, name)
        ended = local.follow(places, _newest(name, job, places.records()), _write)
    except KeyboardInterrupt:
        console.print(f"\n[dim]the run goes on; `sluiceway job attach {name}` follows it again[/]")
        return 0
    if ended.state == "lost":
        console.print(f"[red]the run is lost[/]: {ended.gone or ended.sentence}")
        if job.where == "local" and left_behind(places.tree):
            console.print(f"  its training goes on alone: `sluiceway job cancel {name}` ends it, with its work saved")
    return 1 if ended.exit_code is None else ended.exit_code


def cancel(root: Path, name: str, *, here: bool = False, requeue: bool = False) -> int:
    """Tell the newest run to end with its work saved, and wait for that.

    Args:
        root: the project.
        name: the job.
        here: whether the run is on this machine, wherever the job belongs.
        requeue: whether its scheduler may begin it again, as schedulers' own hooks want it.

    Raises:
        UnknownName: there is no such job.
        UsageError: it has not run yet.
        LaunchError: it does not end.
        Busy: it was lost, and another one has begun.
    """
    job = job_of(root, name)
    if job.where == "ray" and not here:
        jobs = RayJobs(name, job, root)
        run = _newest(name, job, [each.id for each in jobs.runs()])
        console.print(f"[bold]cancel[/] {name}: {run}: {escape(jobs.cancel(run))}")
        return 0
    places = JobPlaces.of(root, name)
    newest = _newest(name, job, places.records())
    if (job.where == "local" or here) and newest.state == "lost":
        return _end_lost(places, name, job)
    ended = local.cancel(places, newest, job.grace + _PATIENCE, requeue=requeue)
    before = "" if newest.state == "running" else "nothing is running; the last run was "
    console.print(f"[bold]cancel[/] {name}: {before}{ended.state}: {escape(ended.sentence) or 'it had ended'}")
    return 0


def _end_lost(places: JobPlaces, name: str, job: Job) -> int:
    """End what goes on without the process that began it.

    Raises:
        Busy: another run has begun.
    """
    with places.alone():
        some = end_leftovers(places.tree, job.grace, console.print)
    console.print(f"[bold]cancel[/] {name}: lost: {'what it left behind has ended' if some else 'it had ended'}")
    return 0


def listed(root: Path) -> None:
    """Print the jobs, when they are due, and what they came to last.

    Raises:
        ConfigError: jobs have faults; those that have none were printed.
    """
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("job", "pipeline", "where", "schedule", "next", "last", "came to"):
        table.add_column(title, overflow="fold")
    jobs, faults = sound_jobs(root)
    if not jobs and not faults:
        console.print(f"[bold]list[/] {JOBS} has no jobs yet; docs/jobs.md has one to begin with")
        return
    lost = []
    for name, job in jobs.items():
        last = JobPlaces.of(root, name).last()
        if last and last.state == "lost":
            lost.append(f"{name}: the run of {_moment(last)} is lost: {last.gone or last.sentence}")
        state = last.state if last else "-"
        colour = _COLOURS.get(state, "dim")
        table.add_row(name, job.pipeline, job.where, *_times(job), _moment(last), f"[{colour}]{state}[/]")
    if jobs:
        console.print(table)
    for line in lost:
        console.print(f"[red]{escape(line)}[/]")
    if faults:
        raise faulty(JOBS, faults, HINT)


def _times(job: Job) -> tuple[str, str]:
    if job.schedule is None:
        return "-", "-"
    due = next_due(job.schedule.cron, job.schedule.zone, datetime.now(UTC))
    return explain(job.schedule.cron, job.schedule.zone), due.astimezone().strftime("%Y-%m-%d %H:%M")


def _moment(record: Record | None) -> str:
    return datetime.fromisoformat(record.started).astimezone().strftime("%Y-%m-%d %H:%M") if record else "-"


def _newest(name: str, job: Job, runs: list[Run]) -> Run:
    if runs:
        return runs[-1]
    if job.where == "kubernetes":
        hint = f"kubectl get rayjobs --namespace {job.kubernetes.namespace} --selector sluiceway/job={name}"
        raise UsageError(f"job {name!r} has no run that is seen from here: its records lie on the claim", hint=hint)
    hint = f"sluiceway job submit {name}" if job.where in ("local", "ray") else _handed_over(name, job)
    raise UsageError(f"job {name!r} has not run yet", hint=hint)


def _say_begun(name: str, run: str, where: str) -> None:
    console.print(f"[bold]submit[/] {name}: run {run} began {where}")
    console.print(f"  [cyan]sluiceway job attach {name}[/]  [dim]follows it, from any terminal[/]")
    console.print(f"  [cyan]sluiceway job cancel {name}[/]  [dim]ends it, with its work saved[/]")


def _handed_over(name: str, job: Job) -> str:
    folder = FOLDERS[job.where]
    (command, _), *_ = commands(job.where, name, job, folder)
    return f"sluiceway job render {name} --to {job.where} --into {folder} && {command}"


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
