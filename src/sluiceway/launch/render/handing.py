"""The commands that hand over what was rendered."""

from pathlib import Path
from shlex import quote

from sluiceway.launch.jobs import Job
from sluiceway.launch.render.place import Place

FOLDERS = {"slurm": "slurm", "kubernetes": "k8s"}
"""Where files for a scheduler go if nothing else is wanted, by its name."""


def commands(target: str, name: str, job: Job, into: str) -> list[tuple[str, str]]:
    """Return commands that give a scheduler what was rendered into a folder, and what each of them does.

    Args:
        target: the scheduler.
        name: the job's.
        job: what was rendered.
        into: the folder.
    """
    if target == "slurm":
        now = [(f"sbatch {quote(f'{into}/{name}.sbatch')}", "one run, now")]
    elif target == "kubernetes":
        now = [(f"kubectl create -f {quote(f'{into}/{name}-rayjob.yaml')}", "one run, now")]
        schedule = (f"kubectl apply -f {quote(f'{into}/{name}-schedule.yaml')}", "the schedule")
    else:
        now = []
    if target != "kubernetes":
        schedule = (f"sluiceway job install {name} --to {target}", "the schedule: shows what changes, and writes it")
    return [*now, schedule] if job.schedule else now


def prepare(target: str, name: str, place: Place) -> None:
    """Make what must be there before a scheduler begins: Slurm's log needs its folder, or no run leaves a word."""
    if target == "slurm":
        Path(place.folder(name)).mkdir(parents=True, exist_ok=True)
