"""A node that is about to be taken away says so, and a training on it has its work saved before it goes."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from clusters import ray_cluster
from jobs import job_of, train_until
from projects import DIGITS_PARAMS, DIGITS_SUITE, make_project, suite
from sluiceway.errors import LaunchError
from sluiceway.launch import leave as leaving
from sluiceway.launch.leave import Here
from sluiceway.stages import job_leave
from sluiceway.training.failures import noted
from sluiceway.training.job import Places
from sluiceway.training.spool import read


def describe(root: Path, **options: object) -> None:
    (root / "infra").mkdir(exist_ok=True)
    jobs = {"nightly": {"pipeline": "digits", "grace": 60, **options}}
    (root / "infra" / "jobs.yaml").write_text(json.dumps({"jobs": jobs}), encoding="utf-8")


def test_a_machine_that_is_no_node_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "raylets", lambda: iter(()))
    with pytest.raises(LaunchError, match="no Ray nodes run on this machine"):
        leaving.here()


def test_a_head_that_is_gone_is_told(tmp_path: Path) -> None:
    node = Here("0" * 56, "127.0.0.1:1", psutil.Process())
    with pytest.raises(LaunchError, match=r"the head at 127\.0\.0\.1:1 did not"):
        node.announce(1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_node_leaves_with_its_work_saved_and_the_others_go_on(
    digits_folder: Callable[[Path, int], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = make_project(tmp_path / "project", {"digits": ("image", DIGITS_PARAMS, suite(*DIGITS_SUITE))})
    digits_folder(project.root / "data" / "raw" / "digits", 30)
    project.repro("preprocess@digits")
    describe(project.root)
    folder = project.root / ".sluiceway" / "digits" / "training" / "abc"
    job = job_of(project, folder, workers=[1, 2], epochs=40.0, log_every=5, checkpoint_every=10_000, cpus_per_worker=1)
    codes: list[int] = []
    with ray_cluster(tmp_path, cpus=0, jobs=False) as cluster:
        cluster.add()
        before = {node.id for node in leaving.raylets()}
        process = cluster.add()
        for name, value in {**cluster.token, "RAY_ADDRESS": cluster.gcs}.items():
            monkeypatch.setenv(name, value)
        training = threading.Thread(target=lambda: codes.append(train_until(job, None)))
        training.start()
        until(lambda: any(point.step >= 30 for point in read(Places(folder).metrics)) or bool(codes))
        (node,) = (each for each in leaving.raylets() if each.id not in before and of(each, process.pid))
        monkeypatch.setattr(job_leave, "here", lambda: node)
        assert job_leave.leave(project.root, "nightly") == 0
        said = capsys.readouterr().out
        assert "announced, and saved at step" in said
        for each in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            each.send_signal(signal.SIGKILL)
        training.join(900)
    assert codes == [0]
    (lost,) = noted(Places(folder).failures)
    assert f"saved at step {lost.step}\n" in said
    steps = [point.step for point in read(Places(folder).metrics) if "train/loss" in point.metrics]
    assert len(steps) == len(set(steps))
    assert steps[-1] == job.plan.steps


def of(node: Here, pid: int) -> bool:
    """Whether a node belongs to a process."""
    return pid in {each.pid for each in node.raylet.parents()} or os.getpgid(node.raylet.pid) == pid


def until(condition: object) -> None:
    deadline = time.monotonic() + 900
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)
