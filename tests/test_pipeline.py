"""Whole pipelines through real DVC, Ray Train, Lightning, MLflow and Great Expectations."""

import hashlib
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from projects import BIN, Project, suite

pytestmark = pytest.mark.slow

ALL = ("validate", "gate", "preprocess", "train", "evaluate", "register")


def digest_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def test_two_unlike_pipelines_run_through_the_same_stages(finished: Project) -> None:
    output = (finished.root / "first-run.log").read_text(encoding="utf-8")
    assert sorted(finished.ran(output)) == sorted(f"{stage}@{name}" for stage in ALL for name in ("digits", "verses"))


def test_the_main_path_is_quiet(finished: Project) -> None:
    output = (finished.root / "first-run.log").read_text(encoding="utf-8")
    noise = re.compile(r"warning|deprecat|traceback|INFO |litlogger|GPU available|alembic", re.IGNORECASE)
    assert [line for line in output.splitlines() if noise.search(line)] == []


def test_each_stage_says_one_line(finished: Project) -> None:
    lines = (finished.root / "first-run.log").read_text(encoding="utf-8").splitlines()
    for stage in ALL:
        said = [line for line in lines if line.startswith(f"{stage} digits: ")]
        assert len(said) == 1, stage
        assert re.search(r"\(\d+\.\d s\)$", said[0])


@pytest.mark.parametrize("name", ["digits", "verses"])
def test_raw_is_accepted_plus_quarantined(finished: Project, name: str) -> None:
    folder = finished.root / "data" / "validated" / name
    accepted, quarantined = (pq.read_table(folder / f"{part}.parquet") for part in ("examples", "quarantine"))
    verdict = finished.json(f"data/validated/{name}/verdict.json")
    assert accepted.num_rows + quarantined.num_rows == verdict["figures"]["raw_examples"]
    assert accepted.num_rows > 30
    assert not set(accepted["id"].to_pylist()) & set(quarantined["id"].to_pylist())


def test_nothing_runs_twice(project: Project) -> None:
    assert project.ran(project.repro()) == []


def test_another_learning_rate_runs_train_to_register_of_one_pipeline(project: Project) -> None:
    project.set("digits", "train.lr", 0.004)
    assert project.ran(project.repro()) == ["train@digits", "evaluate@digits", "register@digits"]


def test_another_expectation_runs_validation_only(project: Project) -> None:
    path = project.root / "pipelines" / "digits" / "expectations.json"
    path.write_text(suite(("expect_column_values_to_not_be_null", {"column": "target"})), encoding="utf-8")
    assert project.ran(project.repro()) == ["validate@digits", "gate@digits"]


def test_other_code_of_a_stage_runs_that_stage(project: Project) -> None:
    path = project.root / "src" / "sluiceway" / "stages" / "register.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    assert sorted(project.ran(project.repro())) == ["register@digits", "register@verses"]


def test_other_code_of_a_use_case_leaves_the_other_alone(project: Project) -> None:
    path = project.root / "src" / "sluiceway" / "usecases" / "text_generation" / "ngram.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    ran = project.ran(project.repro())
    assert ran
    assert all(stage.endswith("@verses") for stage in ran)


def test_preprocess_gives_the_same_bytes(project: Project) -> None:
    for name in ("digits", "verses"):
        folder = project.root / "data" / "shards" / name
        before = digest_of(folder)
        project.run("dvc", "repro", "--force", "--single-item", f"preprocess@{name}")
        assert digest_of(folder) == before


def test_experiments_and_diffs_show_something(project: Project) -> None:
    project.run("dvc", "exp", "run", "-S", "pipelines/digits/params.yaml:train.lr=0.003", "register@digits")
    params = json.loads(project.run("dvc", "params", "diff", "--json").stdout)
    assert params["pipelines/digits/params.yaml"]["train.lr"].items() >= {"old": 0.01, "new": 0.003}.items()
    metrics = json.loads(project.run("dvc", "metrics", "diff", "--json").stdout)
    accuracy = metrics["reports/digits/evaluation.json"]["model.accuracy.value"]
    assert {"old", "new"} <= accuracy.keys()
    page = project.run("dvc", "plots", "diff", "--out", "plots").stdout
    assert "index.html" in page
    html = (project.root / "plots" / "index.html").read_text(encoding="utf-8")
    assert "Training loss" in html
    assert "HOG + SVM" in html


def test_show_tells_the_whole_story(finished: Project) -> None:
    said = finished.run("sluiceway", "show", "digits").stdout
    for words in ("data gate", "cost gate", "model gate", "Accuracy", "95 % interval", "HOG + SVM", "commonest class"):
        assert words in said
    for words in ("digits version 1, alias champion", "USD", "start-up", "make ui", "dvc exp run -S"):
        assert words in said


def test_a_restored_cache_still_points_at_its_run(project: Project) -> None:
    first = project.json("reports/digits/registration.json")["run_id"]
    project.set("digits", "train.lr", 0.004)
    project.repro("train@digits")
    assert project.json("models/digits/run.json")["run_id"] != first
    project.set("digits", "train.lr", 0.01)
    assert "train@digits" not in [line for line in project.repro("train@digits").splitlines() if line.startswith("> ")]
    assert project.json("models/digits/run.json")["run_id"] == first


def test_more_workers_and_a_sharded_model_run_through_the_stage(project: Project) -> None:
    project.set("digits", "train.workers", 2)
    project.set("digits", "train.strategy", "fsdp")
    project.set("digits", "train.accumulate", 2)
    project.repro("evaluate@digits")
    assert project.json("reports/digits/evaluation.json")["model"]["accuracy"]["value"] > 0.15


@pytest.mark.parametrize(("name", "last"), [("digits", "blocks.1"), ("verses", "layers.0")])
def test_each_report_shows_what_the_layers_tell(finished: Project, name: str, last: str) -> None:
    evaluation = finished.json(f"reports/{name}/evaluation.json")
    assert "nothing_learned" not in evaluation  # no false alarm
    told = evaluation["layers"]
    layers = [each["layer"] for each in told["depths"]]
    assert (layers[0], layers[-1]) == ("input", last)
    assert all(0 <= each["trained"]["value"] <= 1 for each in told["depths"])
    table = (finished.root / "reports" / name / "plots" / "layers.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[1] for line in table[1:]] == layers
    page = (finished.root / "reports" / name / "report.html").read_text(encoding="utf-8")
    assert "What it learned, from simple to abstract" in page
    assert ("What the first layer looks for" in page) == (name == "digits")
    code = (
        "import sys; from pathlib import Path; from sluiceway.tracking.store import client\n"
        "history = client(Path.cwd()).get_metric_history(sys.argv[1], 'layers/accuracy_trained')\n"
        "print(sorted(metric.step for metric in history))"
    )
    run = finished.json(f"models/{name}/run.json")["run_id"]
    assert finished.run("python", "-c", code, str(run)).stdout.splitlines()[-1] == str(list(range(len(layers))))


def test_the_pages_of_all_verdicts_are_there(finished: Project) -> None:
    reports = finished.root / "reports" / "digits"
    pages = [
        "data/index.html",
        "data/expectations/index.html",
        "verdicts/cost.html",
        "verdicts/model.html",
        "report.html",
    ]
    for page in pages:
        assert "<html" in (reports / page).read_text(encoding="utf-8"), page
    assert str(finished.root) not in (reports / "report.html").read_text(encoding="utf-8")
    assert BIN.exists()
