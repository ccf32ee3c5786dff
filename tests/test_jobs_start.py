"""SIGTERM while Ray starts: the exit code asks for a requeue, as everywhere, and no cluster is left running."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from projects import ROOT, Project
from sluiceway.launch import cluster

_CHILD = """
import os, signal, sys, threading, time
from pathlib import Path
from sluiceway.errors import SluicewayError
from sluiceway.launch.cluster import connected
from sluiceway.training.notice import heard

def reached():
    if sys.argv[1] == "early":  # Ray has just taken SIGTERM for itself
        return "ray" in str(getattr(signal.getsignal(signal.SIGTERM), "__module__", ""))
    import psutil
    return any(each.name() == "raylet" for each in psutil.Process().children())

def send():
    while not reached():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=send, daemon=True).start()
try:
    with heard(Path(sys.argv[2])), connected(num_cpus=1):
        time.sleep(60)
except SluicewayError as error:
    print(error.message)
    sys.exit(error.exit_code)
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["early", "late"])
def test_sigterm_while_ray_starts_asks_for_a_requeue(moment: str, tmp_path: Path) -> None:
    env = Project(tmp_path).environment(PYTHONPATH=str(ROOT / "src"), SLUICEWAY_TEST=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, moment, str(tmp_path / "notice")],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 75, done.stdout
    assert "told to leave while Ray was starting" in done.stdout
    # Its agents go on asking for the head for a minute and a half, and give up.
    left = [each for each in psutil.process_iter() if _test_of(each) == str(tmp_path) and each.name() in _CLUSTER]
    assert psutil.wait_procs(left, timeout=300)[1] == []


_CLUSTER = {"gcs_server", "raylet"}


def _test_of(process: psutil.Process) -> str:
    try:
        return process.environ().get("SLUICEWAY_TEST", "")
    except (psutil.Error, OSError):
        return ""


def test_drains_are_watched_for_on_clusters_and_not_on_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for address, expected in ((None, "0"), ("10.0.0.1:6379", "1")):
        environment = {} if address is None else {"RAY_ADDRESS": address}
        monkeypatch.setattr(cluster.os, "environ", environment)
        cluster.settle()
        assert environment["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] == expected
        environment["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "no"
        cluster.settle()
        assert environment["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] == "no"


def test_a_process_that_joins_a_cluster_does_not_inherit_that_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    environment: dict[str, str] = {}
    monkeypatch.setattr(cluster.os, "environ", environment)
    cluster.settle()
    assert environment["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] == "0"
    environment["RAY_ADDRESS"] = "10.0.0.1:6379"  # as Ray's Jobs API and symmetric run give it to a child
    cluster.settle()
    assert environment["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] == "1"
    del environment["RAY_ADDRESS"]
    cluster.settle()
    assert environment["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] == "0"


def test_ray_never_starts_by_itself() -> None:
    """As it does by default when a thread of its own asks for something after the cluster has been shut down."""
    code = "from sluiceway.launch.cluster import settle; settle(); import ray; ray.wait([], num_returns=0)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=Project(ROOT).environment(PYTHONPATH=str(ROOT / "src")),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Ray has not been started yet" in done.stderr, done
