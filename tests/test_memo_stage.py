"""The stage ``validate`` with a memo and without: a look at data that changed says what a fresh look says."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from projects import DIGITS_PARAMS, DIGITS_SUITE, VERSES_PARAMS, VERSES_SUITE, make_project, suite, write_verses
from sluiceway.data.measuring import memo as memo_module
from sluiceway.stages.reference import keep_as_reference
from sluiceway.stages.validate import validate
from sluiceway.usecases.pipeline import Pipeline

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path, digits_folder, monkeypatch):
    """Two small pipelines with their raw data, which counts as old."""
    monkeypatch.setattr(memo_module, "_SETTLED", -1)
    pipelines = {
        "digits": ("image", DIGITS_PARAMS, suite(*DIGITS_SUITE)),
        "verses": ("text_generation", VERSES_PARAMS, suite(*VERSES_SUITE)),
    }
    make_project(tmp_path, pipelines)
    digits_folder(tmp_path / "data" / "raw" / "digits", 15)
    write_verses(tmp_path / "data" / "raw" / "verses")
    return tmp_path


def change_digits(raw):
    """Add, change, remove and rename images, and break one."""
    rng = np.random.default_rng(0)
    for digit in "0123456789":
        files = sorted((raw / digit).iterdir())
        files[1].unlink()
        files[2].rename(files[2].with_name("renamed.png"))
        pixels = np.array(Image.open(files[3]))
        Image.fromarray(np.roll(pixels, 1, 0)).save(files[3])
        shutil.copy(files[4], files[4].with_name("copy.png"))
        Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(files[5].with_name("new.png"))
        os.utime(files[6])
    files[7].write_bytes(files[7].read_bytes()[:40])
    files[8].rename(raw / "0" / "moved.png")


def change_verses(raw):
    """Put a passage in, change one, and take one out: everything behind them moves."""
    path = raw / "licence.txt"
    passages = path.read_text(encoding="utf-8").split("\n\n")
    passages[2:3] = ["A passage that was not there.", passages[2].upper()]
    del passages[7]
    path.write_text("\n\n".join(passages), encoding="utf-8")


def results(pipeline):
    """Return all that the stage decided and drew, by file."""
    files = [*pipeline.validated.iterdir(), pipeline.reports / "data" / "index.html"]
    return {path.name: path.read_bytes() for path in files if path.is_file()}


@pytest.mark.parametrize(("name", "change", "known"), [("digits", change_digits, 129), ("verses", change_verses, 20)])
def test_a_second_look_says_what_a_fresh_one_says(project, name, change, known, capsys):
    pipeline = Pipeline.load(name, project)
    validate(pipeline)
    keep_as_reference(pipeline, name, "1")
    change(pipeline.raw)
    capsys.readouterr()
    validate(pipeline)
    said = " ".join(capsys.readouterr().out.split())
    assert int(said.partition(" known)")[0].rpartition("(")[2].replace(",", "")) >= known, said
    again = results(pipeline)
    assert {"examples.parquet", "quarantine.parquet", "verdict.json", "profile.json", "page.html"} <= again.keys()
    shutil.rmtree(pipeline.state / "memo")
    validate(pipeline)
    assert " known)" not in capsys.readouterr().out
    fresh = results(pipeline)
    assert again.keys() == fresh.keys()
    assert [file for file in again if again[file] != fresh[file]] == []
