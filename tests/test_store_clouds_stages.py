"""Shards at Azure's and Google's stores, through the real stages: the weights are the same bits."""

import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import emulators
from jobs import curve_of, job_of, train_until, weights_of
from projects import Project
from sluiceway.data.cache import LIMIT
from sluiceway.data.seals import FOLDER
from sluiceway.errors import CorruptShard
from sluiceway.training import driver
from sluiceway.training.spool import read

pytestmark = pytest.mark.slow

OPTIONS: dict[str, object] = {"epochs": 3.0, "log_every": 1, "checkpoint_every": 5, "cpus_per_worker": 1}


@dataclass
class Moved:
    """A project whose shards lie at a store."""

    project: Project
    cloud: emulators.Emulator
    size: int
    """Bytes of all shards."""


@pytest.fixture(scope="module", params=sorted(emulators.KINDS))
def moved(
    request: pytest.FixtureRequest, finished: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Moved]:
    folder = tmp_path_factory.mktemp("moved")
    (folder / "server").mkdir()
    cloud = emulators.KINDS[request.param](folder / "server")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.environment.items():
            patch.setenv(name, value)
        emulators.forget()
        cloud.start()
        try:
            cloud.make()
            root = folder / "project"
            shutil.copytree(finished.root, root, symlinks=True)
            project = Project(root)
            project.set("digits", "encode.store", cloud.url)
            project.set("digits", "encode.shard_bytes", 1500)
            # Training too, for what it tells MLflow.
            ran = project.ran(project.repro("train@digits"))
            assert ran == ["preprocess@digits", "train@digits"]
            yield Moved(project, cloud, sum(cloud.system().size(path) for path in cloud.objects()))
        finally:
            cloud.stop()
            emulators.forget()


@pytest.fixture(autouse=True)
def host(moved: Moved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host of its own, with a cache for a quarter of the data."""
    monkeypatch.setenv(FOLDER, str(tmp_path / "host"))
    monkeypatch.setenv(LIMIT, str(moved.size // 4 / 1e9))
    return tmp_path / "host"


def test_no_key_is_left_anywhere(moved: Moved) -> None:
    """The index, DVC's files, MLflow's store, reports and checkpoints."""
    files = [path for path in moved.project.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.name == "dvc.lock" for path in files)
    assert any(moved.cloud.url.encode() in path.read_bytes() for path in files)
    assert [path for path in files if emulators.SECRET.encode() in path.read_bytes()] == []


def test_weights_are_the_same_bits_after_a_kill_and_an_absence(
    finished: Project, moved: Moved, tmp_path: Path, host: Path
) -> None:
    """Two loader processes, and a cache smaller than an epoch."""
    here = job_of(finished, tmp_path / "here", **OPTIONS)
    assert train_until(here, None) == 0
    away = job_of(moved.project, tmp_path / "away", **OPTIONS, loader_processes=2)
    assert train_until(away, 7) == -signal.SIGKILL
    back: list[threading.Thread] = []

    def leave() -> None:
        while not any(point.step >= 12 for point in read(tmp_path / "away" / "metrics.jsonl")):
            if done.wait(0.01):
                return
        back.append(moved.cloud.away())

    done = threading.Event()
    watcher = threading.Thread(target=leave)
    watcher.start()
    try:
        assert train_until(away, None) == 0
    finally:
        done.set()
        watcher.join()
    (thread,) = back
    thread.join()
    assert weights_of(away) == weights_of(here)
    assert curve_of(away) == curve_of(here)
    kept = sum(path.stat().st_size for path in (host / "contents").iterdir())
    assert moved.size // 8 < kept <= moved.size // 4


def test_a_broken_object_ends_training_and_is_named(moved: Moved, tmp_path: Path) -> None:
    system, broken = moved.cloud.system(), moved.cloud.objects()
    contents = {path: system.cat_file(path) for path in broken}
    try:
        for path, content in contents.items():
            system.pipe_file(path, content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(CorruptShard, match=rf"was altered: {moved.cloud.url}/.*\.npy has") as caught:
            driver.run(job_of(moved.project, tmp_path / "job", epochs=1.0), lambda _: None)
    finally:
        for path, content in contents.items():
            system.pipe_file(path, content)
    assert "dvc repro --force" in caught.value.hint
