"""What schedulers install, made from one description. Pure functions: a job goes in, files come out."""

from collections.abc import Callable, Mapping

from sluiceway.launch.jobs import Job
from sluiceway.launch.render import cron, kubernetes, slurm, systemd
from sluiceway.launch.render.place import Place

RENDERERS: Mapping[str, Callable[[str, Job, Place], dict[str, str]]] = {
    "cron": cron.render,
    "systemd": systemd.render,
    "slurm": slurm.render,
    "kubernetes": kubernetes.render,
}
"""By the name of the scheduler: from a job's name, the job and its place to texts by file name."""
