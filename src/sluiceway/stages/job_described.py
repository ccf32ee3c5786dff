"""The job that a command of ``sluiceway job`` is about."""

from pathlib import Path

from sluiceway.launch.description import JOBS, read_job, sound_jobs
from sluiceway.launch.jobs import Job
from sluiceway.stages.console import warn


def job_of(root: Path, name: str) -> Job:
    """Read a job, and warn of faults in others: those do not stop it.

    Raises:
        UnknownName: there is no such job.
        ConfigError: it has faults, or the file cannot be read.
    """
    job = read_job(root, name)
    _, faults = sound_jobs(root)
    if faults:
        lines = "\n".join(f"  {each}" for each in faults)
        warn(f"{JOBS} has faults in other jobs, which will not run:\n{lines}")
    return job
