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
    """
    from sluiceway.launch.outcome import EXIT
    from sluiceway.stages.job_run import run as once

    code = once(Path.cwd(), job, if_due=if_due)
    raise typer.Exit(0 if closed_is_ok and code == EXIT["closed"] else code)
