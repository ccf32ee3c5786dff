"""Translation through all stages and DVC: on two workers as on one, and with an encoder-decoder of ``transformers``."""

import csv
import shutil

import pytest

from projects import Project
from small import make_small

pytestmark = pytest.mark.slow
NAME = "english-spanish"


@pytest.fixture(scope="module")
def translated(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose own transformer was trained by one worker."""
    project = make_small(tmp_path_factory.mktemp("translated"), NAME)
    project.set(NAME, "train.log_every", 1)
    project.repro(f"train@{NAME}")
    return project


def losses(project: Project) -> list[float]:
    """The loss of each step."""
    with (project.root / "reports" / NAME / "curves" / "train.csv").open(encoding="utf-8", newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_two_workers_learn_as_one_does(translated: Project) -> None:
    one = losses(translated)
    assert len(set(one)) > 10
    # What one worker has learned would be taken for the beginning of what two learn.
    shutil.rmtree(translated.root / ".sluiceway" / NAME)
    translated.set(NAME, "train.workers", 2)
    translated.set(NAME, "train.cpus_per_worker", 1)
    assert translated.ran(translated.repro(f"train@{NAME}")) == [f"train@{NAME}"]
    assert losses(translated) == pytest.approx(one, rel=1e-4)


def test_an_encoder_decoder_of_transformers_goes_through_all_stages(translated: Project) -> None:
    pytest.importorskip("transformers")
    config = {"model_type": "t5", "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}
    translated.set(NAME, "train.workers", 1)
    translated.set(NAME, "model", {"name": "huggingface", "config": config})
    said = translated.repro(f"register@{NAME}")
    assert translated.ran(said) == [f"{stage}@{NAME}" for stage in ("train", "evaluate", "register")]
    evaluation = translated.json(f"reports/{NAME}/evaluation.json")
    assert set(evaluation["model"]) >= {"chrf", "bleu"}
    layers = [each["layer"] for each in evaluation["layers"]["depths"]]
    assert layers[0] == "input"
    assert {part for part in ("encoder", "decoder") if any(part in layer for layer in layers)} == {"encoder", "decoder"}
    assert not any("head" in layer for layer in layers)
    assert translated.json(f"reports/{NAME}/registration.json")["version"] == 1
    answer = translated.run("sluiceway", "show", NAME).stdout
    assert "huggingface" in answer
