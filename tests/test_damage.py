"""Damage to a training that was interrupted: broken files are set aside and told, and nothing wrong comes of it."""

import json
import os
import random
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from jobs import curve_of, digest, job_of, train_until, weights_of
from projects import Project
from sluiceway.errors import DiskFull
from sluiceway.training import driver
from sluiceway.training.job import Job, Places
from sluiceway.training.spool import read

pytestmark = pytest.mark.slow

OPTIONS: dict[str, object] = {"epochs": 4.0, "log_every": 2, "checkpoint_every": 4, "cpus_per_worker": 1}
STOP = 26
"""Steps of the attempt that is damaged."""


@pytest.fixture(scope="module")
def whole(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A training that nothing happened to."""
    job = job_of(finished, tmp_path_factory.mktemp("whole"), **OPTIONS)
    driver.run(job, lambda _: None)
    return job


@pytest.fixture(scope="module")
def interrupted(whole: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that came to an early end."""
    folder = tmp_path_factory.mktemp("interrupted") / "job"
    boundaries = (*(each for each in whole.plan.boundaries if each < STOP), STOP)
    driver.run(replace(whole, folder=str(folder), plan=replace(whole.plan, boundaries=boundaries)), lambda _: None)
    return folder


def damage(path: Path, dice: random.Random) -> None:
    """Flip a bit, or cut the file."""
    content = bytearray(path.read_bytes())
    if content and dice.random() < 0.6:
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(content)
    else:
        os.truncate(path, dice.randrange(len(content)) if content else 0)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "job.json")


@pytest.mark.parametrize("seed", range(8))
def test_damage_anywhere_is_survived(whole: Job, interrupted: Path, tmp_path: Path, seed: int) -> None:
    """Three files at a time. Only where the best weights are lost may the model be another one, and it is said."""
    dice = random.Random(seed)
    folder = tmp_path / "job"
    shutil.copytree(interrupted, folder)
    for path in dice.sample(files_of(folder), 3):
        damage(path, dice)
    job = replace(whole, folder=str(folder))
    trained = driver.run(job, lambda _: None)
    notes = Places(folder).notes.read_text(encoding="utf-8") if Places(folder).notes.exists() else ""
    if "without the best weights" not in notes:
        assert digest(trained.weights) == weights_of(whole)
    assert set(curve_of(job)) <= set(curve_of(whole))
    if len(curve_of(job)) < len(curve_of(whole)):
        assert "points are missing in the curves" in notes or not (folder / "metrics.jsonl").read_bytes()


def test_every_file_alone(whole: Job, interrupted: Path, tmp_path: Path) -> None:
    """Each kind of file is broken once: what is said of it, and that the model is the same."""
    (newest,) = sorted(interrupted.glob("checkpoints/step-*"))[-1:]
    best = Places(interrupted).best(json.loads((newest / "state.json").read_text(encoding="utf-8"))["best"]["step"])
    said = {
        newest.relative_to(interrupted) / "tensors.safetensors": "tensors.safetensors was altered",
        newest.relative_to(interrupted) / "state.json": "state.json was altered",
        best.relative_to(interrupted): f"{best.name} was altered",
        Path("attempt-0001.json"): "the seconds of that attempt are not counted",
        Path("metrics.jsonl"): "lines of metrics.jsonl are broken",
    }
    for number, (name, words) in enumerate([*said.items(), (Path("metrics.jsonl"), "")]):
        folder = tmp_path / str(number)
        shutil.copytree(interrupted, folder)
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 4
        (folder / name).write_bytes(content if words else b"")
        if not words:
            before = [point for point in read(interrupted / name) if f"step-{point.step:08d}" <= newest.name]
            words = f"{len(before)} lines of metrics.jsonl are gone"
        trained = driver.run(replace(whole, folder=str(folder)), lambda _: None)
        assert words in Places(folder).notes.read_text(encoding="utf-8")
        assert digest(trained.weights) == weights_of(whole)


def test_five_kills_with_damage_between_change_no_bit(whole: Job, tmp_path: Path) -> None:
    job = replace(whole, folder=str(tmp_path / "job"))
    dice = random.Random(5)
    for step in sorted(dice.sample(range(3, whole.plan.steps - 6), 5)):
        assert train_until(job, step) in (-signal.SIGKILL, 0)
        checkpoints = sorted(Path(job.folder).glob("checkpoints/step-*"))
        if len(checkpoints) > 1:
            damage(dice.choice(files_of(checkpoints[-1])), dice)
    trained = driver.run(job, lambda _: None)
    assert digest(trained.weights) == weights_of(whole)
    assert curve_of(job) == curve_of(whole)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_full_disk_costs_no_work(whole: Job, interrupted: Path, small_disk: Path) -> None:
    """No room for checkpoints: training goes on. None for the model: a named error, and the next attempt goes on."""
    shutil.copytree(interrupted, small_disk / "job")
    job = replace(whole, folder=str(small_disk / "job"))
    filling = small_disk / "filling"
    with suppress(OSError), filling.open("wb", buffering=0) as file:
        while file.write(bytes(1024)):
            pass
    with pytest.raises(DiskFull, match="no room for"):
        driver.run(job, lambda _: None)
    assert sorted(path.name for path in Places(small_disk / "job").checkpoints.iterdir()) == sorted(
        path.name for path in (interrupted / "checkpoints").iterdir()
    )
    filling.unlink()
    trained = driver.run(job, lambda _: None)
    assert digest(trained.weights) == weights_of(whole)
    assert curve_of(job) == curve_of(whole)
