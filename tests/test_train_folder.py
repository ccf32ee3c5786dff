"""A training's folder: order before an attempt, and an outcome that outlives the process that made it."""

import shutil
import time
from pathlib import Path

import pytest

from jobs import digest
from projects import Project, runs_of
from sluiceway.config import CostGateParams
from sluiceway.gates import cost
from sluiceway.stages.frame import Clock
from sluiceway.training import driver
from sluiceway.training.job import WEIGHTS_DIGEST, Places, seal
from sluiceway.training.tidying import tidy

SUBJECT = "0123456789abcdef"


def filled(folder: Path) -> Places:
    """Make a folder as an attempt leaves it."""
    places = Places(folder)
    for path in (places.checkpoints / "step-00000010", places.worker(0).parent):
        path.mkdir(parents=True)
    for path in (*named(places), places.worker(0), places.stack(0)):
        path.write_text("{}", encoding="utf-8")
    return places


def named(places: Places) -> list[Path]:
    files = [places.metrics, places.run, places.verdict, places.notice, places.result, places.memory, places.notes]
    return [*files, places.weights, places.failures, places.best(10), places.next_attempt()]


def test_a_folder_in_order_is_left_alone(tmp_path: Path) -> None:
    places = filled(tmp_path / "job")
    before = sorted(places.folder.rglob("*"))
    assert tidy(places, SUBJECT) == []
    assert sorted(places.folder.rglob("*")) == before
    assert tidy(Places(tmp_path / "none"), SUBJECT) == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("number", range(11))
@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_no_file_is_set_aside_and_told(tmp_path: Path, number: int, kind: str) -> None:
    places = filled(tmp_path / "job")
    path = named(places)[number]
    path.unlink(missing_ok=True)
    if kind == "folder":
        (path / "deep").mkdir(parents=True)
    else:
        path.symlink_to(tmp_path / "nowhere")
    (said,) = tidy(places, SUBJECT)
    assert said.startswith(f"{path.name} is broken: set aside as broken-{path.name}-")
    assert not path.exists()
    assert not path.is_symlink()
    assert tidy(places, SUBJECT) == []


@pytest.mark.parametrize("name", ["checkpoints", "workers", ""])
def test_what_is_no_folder_is_set_aside_and_told(tmp_path: Path, name: str) -> None:
    places = filled(tmp_path / "job")
    path = places.folder / name
    shutil.rmtree(path)
    path.write_text("a file", encoding="utf-8")
    (said,) = tidy(places, SUBJECT)
    assert f"{path.name} is broken" in said
    path.mkdir()


def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    places = filled(tmp_path / "job")
    left = [places.folder / ".best-00000010.safetensors-77", places.checkpoints / ".draft-00000020-77"]
    left += [places.folder / SUBJECT, places.worker(1), places.folder / ".parts"]
    for path in left:
        path.mkdir()
    drafts = [places.folder / ".result.json.77", places.folder / ".weights.safetensors", left[0] / "part"]
    for path in drafts:
        path.write_text("half", encoding="utf-8")
    before = {each for each in places.folder.rglob("*") if each not in {*left, *drafts}}
    assert tidy(places, SUBJECT) == []
    assert set(places.folder.rglob("*")) == before


def test_a_clock_that_is_set_back_gives_no_time_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    before = clock.total
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    assert before <= clock.total < before + 1800
    assert Clock().total >= 0


def test_an_outcome_that_was_altered_is_none(tmp_path: Path) -> None:
    places = Places(tmp_path)
    assert driver.finished(places) is None
    places.weights.write_bytes(b"weights")
    cost.judge(cost.Spending(1, 1.0, 1.0, 0, 0.0), CostGateParams(), pipeline="p", subject="s").write(places.verdict)
    seal(places.result, {"steps": 40, WEIGHTS_DIGEST: digest(places.weights)})
    found = driver.finished(places)
    assert found
    assert (found.result["steps"], found.weights) == (40, places.weights)
    for path in (places.result, places.weights, places.verdict):
        good = path.read_bytes()
        path.write_bytes(good[:-4])
        assert driver.finished(places) is None
        path.write_bytes(good)
    assert "cannot be used: weights.safetensors was altered" in places.notes.read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_outcome_outlives_the_stage_until_the_next_one_begins(project: Project) -> None:
    """DVC records a stage when it has ended, and removes its outputs before it runs: a whole training lies between."""
    model, outcome = project.root / "models" / "digits", project.root / ".sluiceway" / "digits" / "finished"
    project.set("digits", "train.epochs", 2)

    def lost() -> None:
        shutil.rmtree(model)
        shutil.rmtree(project.root / "reports" / "digits" / "curves")
        (project.root / "reports" / "digits" / "training.json").unlink()

    lost()
    first = project.run("sluiceway", "train", "digits").stdout
    assert "was trained to the end before" not in first
    weights, report = digest(model / "weights.safetensors"), project.json("reports/digits/training.json")
    run = runs_of(project, "digits")[0]
    (kept,) = outcome.iterdir()
    assert not list(kept.glob("best-*"))
    assert not (kept / "checkpoints").exists()

    lost()  # killed before DVC had recorded it
    again = project.run("sluiceway", "train", "digits").stdout
    assert "was trained to the end before; its model is written again" in again
    assert digest(model / "weights.safetensors") == weights
    assert project.json("reports/digits/training.json") == report
    assert (project.root / "reports" / "digits" / "curves" / "train.csv").exists()
    found = runs_of(project, "digits")[0]
    assert (found["id"], found["status"]) == (run["id"], "FINISHED")

    assert "before; its model" not in project.run("sluiceway", "train", "digits").stdout  # whoever asks for it
    assert outcome.exists()
    project.run("sluiceway", "evaluate", "digits")
    assert not outcome.exists()
