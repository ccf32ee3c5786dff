"""Shards that lie elsewhere, through the real stages: DVC's output is the index, and the weights are the same bits."""

import json
import os
import signal
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from jobs import curve_of, job_of, train_until, weights_of
from projects import Project
from sluiceway.data.cache import LIMIT
from sluiceway.data.seals import FOLDER
from sluiceway.data.shards import digest
from sluiceway.errors import CorruptShard
from sluiceway.training import driver

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def moved(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The finished project with small shards, in a folder that stands for a mounted one."""
    import shutil

    root = tmp_path_factory.mktemp("moved") / "project"
    shutil.copytree(finished.root, root, symlinks=True)
    project = Project(root)
    project.set("digits", "encode.store", str(root.parent / "mounted"))
    project.set("digits", "encode.shard_bytes", 1500)
    assert project.ran(project.repro("preprocess@digits")) == ["preprocess@digits"]
    return project


def objects(project: Project) -> list[Path]:
    return sorted((project.root.parent / "mounted").glob("*/*.npy"))


def test_what_dvc_tracks_is_the_index(moved: Project) -> None:
    folder = moved.root / "data" / "shards" / "digits"
    assert list(folder.glob("*.npy")) == []
    manifest = moved.json("data/shards/digits/shards.json")
    named = {file["sha256"] for split in manifest.values() for shard in split for file in shard["fields"].values()}  # type: ignore[attr-defined]
    assert {path.stem for path in objects(moved)} == named
    assert len(manifest["train"]) > 10  # type: ignore[arg-type]
    lock = YAML(typ="safe", pure=True).load(moved.root / "dvc.lock")
    (out,) = lock["stages"]["preprocess@digits"]["outs"]
    assert out["path"] == "data/shards/digits"
    assert out["size"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert moved.ran(moved.repro("preprocess@digits")) == []


def test_another_place_is_written_to_and_is_the_same_data(moved: Project, tmp_path: Path) -> None:
    import shutil

    root = tmp_path / "project"
    shutil.copytree(moved.root, root, symlinks=True)
    project = Project(root)
    before = digest(root / "data" / "shards" / "digits")
    project.set("digits", "encode.store", str(tmp_path / "elsewhere"))
    assert project.ran(project.repro("preprocess@digits")) == ["preprocess@digits"]
    assert {path.name for path in (tmp_path / "elsewhere").glob("*/*.npy")} == {path.name for path in objects(moved)}
    assert digest(root / "data" / "shards" / "digits") == before


def test_weights_are_the_same_bits_from_a_cache_smaller_than_an_epoch(
    finished: Project, moved: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed on the way, too: the cache is what the dead process left."""
    monkeypatch.setenv(FOLDER, str(tmp_path / "host"))
    options: dict[str, object] = {"epochs": 3.0, "log_every": 1, "checkpoint_every": 5, "cpus_per_worker": 1}
    here = job_of(finished, tmp_path / "here", **options)
    assert train_until(here, None) == 0
    taken = sum(path.stat().st_size for path in objects(moved))
    limit = taken // 4
    monkeypatch.setenv(LIMIT, str(limit / 1e9))
    away = job_of(moved, tmp_path / "away", **options)
    assert train_until(away, 7) == -signal.SIGKILL
    assert train_until(away, None) == 0
    assert weights_of(away) == weights_of(here)
    assert curve_of(away) == curve_of(here)
    kept = sum(path.stat().st_size for path in (tmp_path / "host" / "contents").iterdir())
    assert limit // 2 < kept <= limit


def test_a_broken_object_ends_training_and_is_named(
    moved: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "host"))
    path = objects(moved)[0]
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(CorruptShard, match=rf"was altered: .*{path.name}") as caught:
            driver.run(job_of(moved, tmp_path / "job", epochs=2.0), lambda _: None)
    finally:
        path.write_bytes(content)
    assert "dvc repro --force" in caught.value.hint


def test_two_workers_share_the_cache(
    finished: Project, moved: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, object] = {"epochs": 1.0, "workers": 2, "cpus_per_worker": 1, "log_every": 1}
    here = driver.run(job_of(finished, tmp_path / "here", **options), lambda _: None)
    monkeypatch.setenv(FOLDER, str(tmp_path / "host"))
    monkeypatch.setenv(LIMIT, str(sum(path.stat().st_size for path in objects(moved)) / 3 / 1e9))
    away = driver.run(job_of(moved, tmp_path / "away", **options), lambda _: None)
    assert weights_of(job_of(moved, away.weights.parent)) == weights_of(job_of(finished, here.weights.parent))
    assert os.listdir(tmp_path / "host" / "contents")  # noqa: PTH208
    assert json.loads((tmp_path / "away" / "result.json").read_text(encoding="utf-8"))["attempts"] == 1
