"""A job under a real Slurm: submitted, preempted by one that matters more, queued again, and gone on with."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from projects import ROOT
from sluiceway.launch.records import JobPlaces
from sluiceway.stages.job_render import render
from slurm import Slurm, missing, slurm
from teams import Kept, keep_quick

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "Slurm")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    with slurm() as made:
        yield made


def test_a_preempted_job_is_queued_again_and_goes_on(cluster: Slurm, tmp_path: Path) -> None:
    kept = keep_quick(tmp_path)
    kept.describe(where="slurm", grace=30)
    (kept.origin / "told.txt").write_text("slow\n", encoding="utf-8")
    number = submit(cluster, kept)
    until(cluster, lambda: (tmp_path / "training").exists())

    cluster.run("sbatch", "--partition=high", "--output=/dev/null", "--wrap=true", cwd=tmp_path)
    until(cluster, lambda: (tmp_path / "saved").exists())
    start_again(cluster, number)
    until(cluster, lambda: len(JobPlaces(kept.folder).records()) == 2)
    until(cluster, lambda: JobPlaces(kept.folder).records()[-1].event)
    assert [record.state for record in JobPlaces(kept.folder).records()] == ["preempted", "promoted"], cluster.logs()
    assert (tmp_path / "saved").read_text(encoding="utf-8") == "1"  # the stage was told once
    until(cluster, lambda: "COMPLETED" in cluster.run("scontrol", "show", "job", number))
    assert "Restarts=1" in cluster.run("scontrol", "show", "job", number)
    log = (kept.folder / f"slurm-{number}.log").read_text(encoding="utf-8")
    assert "told to stop; what was done is saved" in log
    assert "the last run was interrupted" in log
    assert "nightly: digits version 1 is the new champion" in log


def test_a_closed_gate_is_not_queued_again(cluster: Slurm, tmp_path: Path) -> None:
    kept = keep_quick(tmp_path)
    kept.describe(where="slurm")
    (kept.origin / "told.txt").write_text("bad\n", encoding="utf-8")
    number = submit(cluster, kept)
    until(cluster, lambda: "FAILED" in cluster.run("scontrol", "show", "job", number))
    told = cluster.run("scontrol", "show", "job", number)
    assert "ExitCode=3:0" in told
    assert "Restarts=0" in told


def submit(cluster: Slurm, kept: Kept, **env: str) -> str:
    """Submit what `sluiceway job render` writes, and return its number."""
    root = kept.project.root
    render(root, "nightly", "slurm", root / "slurm")
    script = root / "slurm" / "nightly.sbatch"
    text = script.read_text(encoding="utf-8")
    script.write_text(text.replace("--mem=4096M", "--mem=100M"), encoding="utf-8")
    environment = kept.project.environment(PYTHONPATH=str(ROOT / "src"), **env)
    return cluster.run("sbatch", "--parsable", str(script), cwd=root, **environment)


def start_again(cluster: Slurm, number: str) -> None:
    """Start a job that was queued again.

    Slurm would wait for two minutes; a credential of the very second in which the first start's was revoked is refused.
    """
    until(cluster, lambda: "BeginTime" in cluster.run("scontrol", "show", "job", number))
    cluster.run("scontrol", "update", f"jobid={number}", "StartTime=now+3")


def until(cluster: Slurm, done: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, cluster.logs() + cluster.run("scontrol", "show", "jobs")
        time.sleep(0.2)
