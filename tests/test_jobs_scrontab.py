"""A schedule in a real scrontab: written beside others' lines, started by Slurm in time, cancelled, taken away."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sluiceway.launch.records import JobPlaces
from slurm import Slurm, missing, slurm
from teams import Kept, keep_quick

ABSENT = missing() or ("" if shutil.which("scrontab") else "scrontab is not installed (Debian 13: slurm-client)")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(ABSENT), reason=ABSENT or "Slurm")]

THEIRS = "# theirs\n#SCRON --time=5 --job-name=theirs\n0 4 * * * /bin/true\n"


def job(kept: Kept, cluster: Slurm, *words: str, before: tuple[str, ...] = (), check: int = 0) -> str:
    command = (*before, "sluiceway", "job", *words)
    done = kept.project.run(*command, check=False, **kept.env(**cluster.env, COLUMNS="200"))
    assert done.returncode == check, done.stdout + cluster.logs()
    return done.stdout


def table(cluster: Slurm) -> str:
    return cluster.run("scrontab", "-l")


def queue(cluster: Slurm) -> list[str]:
    return sorted(cluster.run("squeue", "--noheader", "--format=%j %T").splitlines())


def test_a_schedule_is_written_run_cancelled_and_taken_away(tmp_path: Path) -> None:
    kept = keep_quick(tmp_path)
    (kept.origin / "told.txt").write_text("slow\n", encoding="utf-8")
    # What scrontab starts has an environment of its own.
    kept.describe(where="slurm", schedule={"cron": "* * * * *"}, resources={"memory": "100Mi"}, env=kept.env())
    with slurm() as cluster:
        env = {**os.environ, **cluster.env}
        subprocess.run(["scrontab", "-"], input=THEIRS, env=env, text=True, check=True)
        assert "+* * * * * {" in job(kept, cluster, "install", "nightly", "--to", "slurm", "--yes")
        written, first = table(cluster), cluster.run("squeue", "--noheader", "--format=%i %j")
        assert written.startswith(THEIRS)
        assert "has it already" in job(kept, cluster, "install", "nightly", "--to", "slurm", "--yes")
        assert (table(cluster), cluster.run("squeue", "--noheader", "--format=%i %j")) == (written, first)
        assert queue(cluster) == ["sluiceway-nightly-schedule PENDING", "theirs PENDING"]

        until(cluster, lambda: (tmp_path / "training").exists())
        elsewhere = ("unshare", "--uts", "sh", "-c", 'hostname login && exec "$@"', "sh")
        assert "running" in job(kept, cluster, "list", before=elsewhere)
        assert "told to stop; what was done is saved" in job(kept, cluster, "cancel", "nightly", before=elsewhere)
        until(cluster, lambda: "sluiceway-nightly RUNNING" not in queue(cluster))
        assert queue(cluster) == ["sluiceway-nightly-schedule PENDING", "theirs PENDING"]  # and is there next time
        assert [each.exit_code for each in JobPlaces(kept.folder).records()] == [130]

        job(kept, cluster, "uninstall", "nightly", "--to", "slurm")
        assert table(cluster) == THEIRS.strip()
        assert queue(cluster) == ["theirs PENDING"]


def until(cluster: Slurm, done: Callable[[], object], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, cluster.logs() + cluster.run("scontrol", "show", "jobs")
        time.sleep(0.2)
