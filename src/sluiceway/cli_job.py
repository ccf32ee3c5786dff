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
