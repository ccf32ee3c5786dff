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
from sluiceway.training.checkpoints import newest_step
from sluiceway.training.failures import noted
from sluiceway.training.job import Places
from sluiceway.training.spool import read


def describe(root: Path, **options: object) -> None:
    (root / "infra").mkdir(exist_ok=True)
    jobs = {"nightly": {"pipeline": "digits", "grace": 60, **options}}
    (root / "infra" / "jobs.yaml").write_text(json.dumps({"jobs": jobs}), encoding="utf-8")


def project_in(root: Path) -> None:
    """Write the little of a project that its jobs need."""
    (root / "params.yaml").write_text("pipelines: {digits: {code: src}}\n", encoding="utf-8")
    describe(root)


def test_a_machine_that_is_no_node_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "raylets", lambda: iter(()))
    with pytest.raises(LaunchError, match="no Ray nodes run on this machine"):
        leaving.here()


def test_a_head_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "_SECONDS", 5.0)
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
    project.set("digits", "gates.cost.max_hours", 5)
    # So many epochs that it does not end by itself before the notice of a busy machine has arrived.
    job = job_of(project, folder, workers=[1, 2], epochs=4000.0, log_every=5, checkpoint_every=10**6, cpus_per_worker=1)
    places, codes = Places(folder), list[int]()

    def reached(step: int) -> bool:
        """Whether it has come to a step, or has ended: what is asserted next says why."""
        return any(point.step >= step for point in read(places.metrics)) or bool(codes)

    with ray_cluster(tmp_path, cpus=0, jobs=False) as cluster:
        cluster.add()
        before = {node.id for node in leaving.raylets()}
        process = cluster.add()
        for name, value in {**cluster.token, "RAY_ADDRESS": cluster.gcs}.items():
            monkeypatch.setenv(name, value)
        (node,) = (each for each in leaving.raylets() if each.id not in before and of(each, process.pid))
        monkeypatch.setattr(job_leave, "here", lambda: node)
        training = threading.Thread(target=lambda: codes.append(train_until(job, None)))
        training.start()
        until(lambda: reached(30))
        assert node.working
        assert job_leave.leave(project.root, "nightly") == 0
        said = capsys.readouterr().out
        assert "announced, and saved at step" in said
        for each in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            each.send_signal(signal.SIGKILL)
        until(lambda: list(noted(places.failures)) or codes)
        (lost,) = noted(places.failures)
        until(lambda: reached(lost.step + 30))
        places.notice.write_bytes(b"leave")
        training.join(900)
        # Two workers and one node: who waits for room that does not come is heard as well.
        fixed = job_of(project, folder.with_name("fixed"), workers=2, epochs=4000.0, cpus_per_worker=1)
        waiting = threading.Thread(target=lambda: codes.append(train_until(fixed, None)))
        waiting.start()
        notice = Places(Path(fixed.folder)).notice
        until(notice.exists)
        notice.write_bytes(b"leave")
        waiting.join(900)
    assert codes == [75, 75]
    assert f"saved at step {lost.step}\n" in said
    steps = [point.step for point in read(places.metrics) if "train/loss" in point.metrics]
    assert steps == list(range(5, steps[-1] + 1, 5))
    assert newest_step(places.checkpoints) >= lost.step + 30


@pytest.mark.parametrize("ended", ["a result", "gone"])
def test_a_node_waits_for_no_training_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ended: str
) -> None:
    project_in(tmp_path)
    places = Places(tmp_path / ".sluiceway" / "digits" / "training" / "abc")
    places.folder.mkdir(parents=True)

    class Node:
        alive = working = True

        def announce(self, seconds: int) -> None:
            assert seconds == 60
            if ended == "gone":
                places.folder.rmdir()
            else:
                places.result.write_text("{}", encoding="utf-8")

    monkeypatch.setattr(job_leave, "here", Node)
    assert job_leave.leave(tmp_path, "nightly") == 0
    assert "announced, and the training has ended" in capsys.readouterr().out


def test_a_node_without_work_waits_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project_in(tmp_path)
    (tmp_path / ".sluiceway" / "digits" / "training" / "abc").mkdir(parents=True)
    node = Here("0" * 56, "127.0.0.1:1", psutil.Process())
    assert not node.working
    monkeypatch.setattr(Here, "announce", lambda *_: None)
    monkeypatch.setattr(job_leave, "here", lambda: node)
    assert job_leave.leave(tmp_path, "nightly") == 0
    assert "nothing is being trained here" in capsys.readouterr().out


def of(node: Here, pid: int) -> bool:
    """Whether a node belongs to a process."""
    return pid in {each.pid for each in node.raylet.parents()} or os.getpgid(node.raylet.pid) == pid


def until(condition: object) -> None:
    deadline = time.monotonic() + 900
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)
