"""What infra/jobs.yaml asks for: schedulers of other machines, schedules of this one, and secrets by name."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from sluiceway.errors import ConfigError
from sluiceway.launch.health.base import Seen, run
from sluiceway.launch.install import START_CRON, UNREACHABLE
from sluiceway.launch.jobs import Job
from sluiceway.launch.processes import cron_runs
from sluiceway.launch.secrets import secrets_of


def slurm(seconds: float) -> Iterator[Seen]:
    """Tell whether Slurm's commands are there, and its controller answers."""
    if not shutil.which("sbatch"):
        yield Seen("Slurm", "fault", "sbatch is not installed", "run it on a login node, or install slurm-client")
        return
    try:
        said = run("scontrol", "ping", seconds=seconds)
    except TimeoutError as error:
        yield Seen("Slurm", "fault", str(error), "the controller is down, or slurm.conf names another")
        return
    up = said.code == 0 and " UP" in said.output
    yield Seen(
        "Slurm", "ok" if up else "fault", said.output, "" if up else "is slurmctld running, and munge beside it?"
    )


def kubernetes(jobs: Mapping[str, Job], seconds: float) -> Iterator[Seen]:
    """Tell whether kubectl is there, and may create RayJobs where the jobs belong."""
    if not shutil.which("kubectl"):
        yield Seen("Kubernetes", "fault", "kubectl is not installed", "https://kubernetes.io/docs/tasks/tools")
        return
    for namespace in sorted({job.kubernetes.namespace for job in jobs.values() if job.where == "kubernetes"}):
        command = ("kubectl", "auth", "can-i", "create", "rayjobs.ray.io", "-n", namespace)
        try:
            said = run(*command, f"--request-timeout={seconds:.0f}s", seconds=seconds)
        except TimeoutError as error:
            yield Seen("Kubernetes", "fault", str(error), "`kubectl cluster-info` says which cluster it asks")
            continue
        if said.code == 0 and said.output.endswith("yes"):
            yield Seen("Kubernetes", "ok", f"RayJobs can be created in {namespace}")
        else:
            last = " ".join(said.output.splitlines()[-1:])
            way_out = "is KubeRay installed, the context right, and may the account create RayJobs?"
            yield Seen("Kubernetes", "fault", f"no RayJobs in {namespace}: {last or 'no answer'}", way_out)


def schedules(seconds: float) -> Iterator[Seen]:
    """Tell whether jobs of this machine can be scheduled: by cron, or by a systemd of this user that can be reached."""
    crontab = bool(shutil.which("crontab"))
    found = ["cron"] * (crontab and cron_runs())
    there = shutil.which("systemctl")
    if there and run("systemctl", "--user", "show-environment", seconds=seconds).code == 0:
        found.append("systemd")
    elif there and not crontab:
        yield Seen("schedules", "fault", "systemd is here, and not to be reached by this user", UNREACHABLE)
        return
    if found:
        yield Seen("schedules", "ok", f"{' and '.join(found)}: `sluiceway job install JOB --to {found[0]}`")
    elif crontab:
        yield Seen("schedules", "fault", "crontab is here, and no cron that runs: it would start nothing", START_CRON)
    else:
        yield Seen("schedules", "fault", "neither cron nor systemd is here", "install cron, or leave out `schedule`")


def secrets(root: Path, jobs: Mapping[str, Job]) -> Iterator[Seen]:
    """Tell whether the secrets of jobs that are started from here are at hand."""
    asked = {name: job for name, job in jobs.items() if (job.secrets or job.env_file) and job.where != "kubernetes"}
    for name, job in asked.items():
        try:
            secrets_of(root, job)
        except ConfigError as error:
            yield Seen("secrets", "fault", f"{name}: {error.message}", error.hint)
        else:
            yield Seen("secrets", "ok", f"{name}: {', '.join(job.secrets) or job.env_file}")
