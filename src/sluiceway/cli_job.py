"""The commands of ``sluiceway job``: what ``infra/jobs.yaml`` describes, rendered, run, followed and scheduled."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Run pipelines unattended: infra/jobs.yaml says what, where and when.", no_args_is_help=True)
JobName = Annotated[str, typer.Argument(metavar="JOB", help="Name of a job in infra/jobs.yaml.")]


class Target(StrEnum):
    """Schedulers that a job can be written for."""

    cron = "cron"
    systemd = "systemd"
    slurm = "slurm"
    kubernetes = "kubernetes"


@app.command(epilog="Example:  sluiceway job render nightly --to systemd")
def render(
    job: JobName,
    to: Annotated[Target, typer.Option(help="Which scheduler.")],
    into: Annotated[Path | None, typer.Option(help="Write the files into this folder, and do not print them.")] = None,
) -> None:
    """Print exactly what a scheduler gets."""
    from sluiceway.stages.job_render import render as run

    run(Path.cwd(), job, to.value, into)


@app.command(epilog="Examples:  sluiceway job run nightly  |  sluiceway job run nightly --if-due")
def run(
    job: JobName,
    if_due: Annotated[bool, typer.Option("--if-due", help="Only if its schedule fired since the last run.")] = False,
    closed_is_ok: Annotated[
        bool, typer.Option("--closed-is-ok", help="End with 0 and not with 3 when a gate is closed.")
    ] = False,
) -> None:
    """Run a job here and now: fetch, train what is new, push the result, say what it came to.

    Exit code 0: done, or nothing to do. 1: crashed. 3: a gate is closed. 75: preempted, its work saved; run it again.
    130: ended by `job cancel`, its work saved.
    """
    from sluiceway.launch.outcome import EXIT
    from sluiceway.stages.job_run import run as once

    code = once(Path.cwd(), job, if_due=if_due)
    raise typer.Exit(0 if closed_is_ok and code == EXIT["closed"] else code)


@app.command(epilog="Example:  sluiceway job submit nightly --detach")
def submit(
    job: JobName,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow it.")] = False,
) -> None:
    """Begin a run now, apart from this terminal, and follow it."""
    from sluiceway.stages.job_control import submit as begin

    raise typer.Exit(begin(Path.cwd(), job, follow=not detach))


@app.command(epilog="Example:  sluiceway job attach nightly")
def attach(job: JobName) -> None:
    """Follow the newest run until it ends, and end as it does; Ctrl-C leaves it alone."""
    from sluiceway.stages.job_control import attach as follow

    raise typer.Exit(follow(Path.cwd(), job))


@app.command(name="list", epilog="Example:  sluiceway job list")
def list_() -> None:
    """List the jobs, when they are due, and what they came to last."""
    from sluiceway.stages.job_control import listed

    listed(Path.cwd())


@app.command(epilog="Example:  sluiceway job check nightly")
def check(job: JobName) -> None:
    """Tell, once, that the last run was lost: killed, or its machine off. Schedules call this after each run.

    Exit code 0: none was. 1: one was.
    """
    from sluiceway.stages.job_lost import check as look

    raise typer.Exit(look(Path.cwd(), job))


@app.command(epilog="Example:  sluiceway job cancel nightly")
def cancel(
    job: JobName,
    here: Annotated[bool, typer.Option("--here", help="The run is on this machine, wherever the job belongs.")] = False,
    requeue: Annotated[
        bool, typer.Option("--requeue", help="Let its scheduler begin it again: what a scheduler's own hook wants.")
    ] = False,
) -> None:
    """End the newest run with its work saved; the next one goes on from there. No scheduler begins it again."""
    from sluiceway.stages.job_control import cancel as end

    raise typer.Exit(end(Path.cwd(), job, here=here, requeue=requeue))


@app.command(epilog="Example:  sluiceway job leave nightly")
def leave(job: JobName) -> None:
    """On a Ray node that will be taken away: announce it, and wait until the job's training has saved its work."""
    from sluiceway.stages.job_leave import leave as run

    raise typer.Exit(run(Path.cwd(), job))


class Schedule(StrEnum):
    """Schedulers that a user writes to."""

    cron = "cron"
    systemd = "systemd"
    slurm = "slurm"


@app.command(
    epilog="Examples:  sluiceway job install nightly --to cron --show  |  sluiceway job install nightly --to cron"
)
def install(
    job: JobName,
    to: Annotated[Schedule, typer.Option(help="Whose schedule: the user's crontab, systemd or scrontab.")],
    show: Annotated[bool, typer.Option("--show", help="Only show what would change.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Let a job start by itself, on this machine or on Slurm; what changes is shown first."""
    from sluiceway.stages.job_install import install as run

    agree = (lambda: True) if yes else (lambda: typer.confirm("Write this?"))
    run(Path.cwd(), job, to.value, agree=None if show else agree)


@app.command(epilog="Example:  sluiceway job uninstall nightly --to cron")
def uninstall(job: JobName, to: Annotated[Schedule, typer.Option(help="Whose schedule.")]) -> None:
    """Take a job's schedule away."""
    from sluiceway.stages.job_install import uninstall as run

    run(Path.cwd(), job, to.value)
