"""Whether all nodes of a cluster see one folder is found out before workers start."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from clusters import Ray, ray_cluster
from sluiceway.errors import LaunchError
from sluiceway.launch import probe, storage
from sluiceway.launch.nodes import Node, Silence
from sluiceway.training import driver


def test_a_file_is_written_once_and_read_as_it_is(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert probe.write(folder, "a", "one") == ""
    assert probe.write(folder, "a", "two") == "cannot write there: File exists"
    assert probe.write(f"{folder}/nowhere", "a", "one") == "does not see it"
    assert probe.read(folder, {"a": "one"}, [folder]) == {}
    assert probe.read(folder, {"a": "two", "b": "x"}, ["/no/such"]) == {
        "a": "another content",
        "b": "No such file or directory",
        "/no/such": "No such file or directory",
    }


A, B, C = (Node(letter * 56, f"host-{letter}", f"10.0.0.{number}") for number, letter in enumerate("abc", 1))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> dict[Node, object]:
    """Three nodes without a cluster: each runs the question here, or answers what is put into this."""
    faulty: dict[Node, object] = {}

    def ask(question, arguments, patience):
        return {node: faulty.get(node) or question(*each) for node, each in arguments.items()}

    monkeypatch.setattr(storage, "living", lambda: [A, B, C])
    monkeypatch.setattr(storage, "ask", ask)
    return faulty


def test_nodes_that_see_one_folder_leave_nothing_there(cluster: dict[Node, object], tmp_path: Path) -> None:
    assert storage.check_shared(tmp_path / "new", [tmp_path]) == 3
    assert list((tmp_path / "new").iterdir()) == []


def test_one_node_alone_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(storage, "living", lambda: [A])
    monkeypatch.setattr(storage, "ask", lambda *_: pytest.fail("asked"))
    assert storage.check_shared(tmp_path / "new") == 1
    assert not (tmp_path / "new").exists()


def test_a_silent_node_is_named_and_the_others_are_not(cluster: dict[Node, object], tmp_path: Path) -> None:
    cluster[B] = Silence("no answer within 60 s")
    with pytest.raises(LaunchError) as caught:
        storage.check_shared(tmp_path)
    assert "for all 3 nodes" in caught.value.message
    assert "host-b (10.0.0.2): no answer within 60 s" in caught.value.message
    assert "host-a" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_missing_path_is_named_with_the_node(cluster: dict[Node, object], tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"host-c \(10.0.0.3\): .*/shards: No such file"):
        storage.check_shared(tmp_path, [tmp_path / "shards"])


def mount_namespace() -> str:
    """Say why no mount namespace can be had here; empty where one can."""
    if not shutil.which("unshare"):
        return "not installed: unshare (Debian: util-linux)"
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"no mount namespace can be made: {done.stderr.strip()}"


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ray, Path]]:
    """A head, and a node that sees an empty folder where the project is; all else it shares."""
    if why := mount_namespace():
        pytest.skip(why)
    hidden = tmp_path_factory.mktemp("share")
    with ray_cluster(tmp_path_factory.mktemp("cluster"), cpus=0, jobs=False) as made:
        made.add("unshare", "-m", "sh", "-c", f'mount -t tmpfs tmpfs "{hidden}" && exec "$@"', "sh")
        yield made, hidden


def asked(cluster: Ray, *folders: Path) -> list[str]:
    done = subprocess.run(
        ["python", "-c", _ASK, *map(str, folders)],
        env={**os.environ, **cluster.token, "RAY_ADDRESS": cluster.gcs},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_node_with_another_folder_is_told_from_those_that_share_it(
    two_nodes: tuple[Ray, Path], tmp_path: Path
) -> None:
    cluster, hidden = two_nodes
    lines = asked(cluster, tmp_path / "shared", hidden / "project")
    assert lines[0] == "2 nodes"
    assert lines[1] == f"{hidden / 'project'} is not one folder for all 2 nodes of the cluster:"
    assert lines[2].endswith(": does not see it")
    assert lines[3:] == ["['no answer within 0.5 s', 'no answer within 0.5 s']"]
    assert list((hidden / "project").iterdir()) == []


_ASK = """
import sys, time
from pathlib import Path
from sluiceway.errors import LaunchError
from sluiceway.launch import nodes
from sluiceway.launch.cluster import connected
from sluiceway.launch.storage import check_shared
def sleep(seconds):
    time.sleep(seconds)
with connected():
    for folder in sys.argv[1:]:
        try:
            print(check_shared(Path(folder)), "nodes")
        except LaunchError as error:
            print(error.message)
    silent = nodes.ask(sleep, {node: (60,) for node in nodes.living()}, 0.5)
    print([answer.why for answer in silent.values()])
"""


def test_training_asks_before_it_starts_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def refuse(folder: Path, others: list[Path]) -> None:
        asked.append((folder, others))
        raise LaunchError("not one folder")

    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(driver, "connected", lambda: nullcontext(False))
    monkeypatch.setattr(driver, "check_shared", refuse)
    job = SimpleNamespace(folder=str(tmp_path / "job"), shards=str(tmp_path / "shards"), alone=True)
    with pytest.raises(LaunchError, match="not one folder"):
        driver.run(job, lambda _: None)
    assert asked == [(tmp_path / "job", [tmp_path / "shards"])]
