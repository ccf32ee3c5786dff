"""What happens when something is wrong: each fault gets one clear message, a next step and the right exit code."""

import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from projects import DIGITS_PARAMS, Project, assert_friendly, runs_of

pytestmark = pytest.mark.slow


def test_all_faults_of_params_are_told_at_once(project: Project) -> None:
    text = DIGITS_PARAMS.replace("name: residual", "name: residul").replace("lr: 0.01", "lrr: 0.01")
    text = text.replace("epochs: 3", "epochs: many").replace("register: {}", "")
    (project.root / "pipelines/digits/params.yaml").write_text(text, encoding="utf-8")
    done = project.run("sluiceway", "train", "digits", check=False)
    assert_friendly(done, 1, "pipelines/digits/params.yaml has 4 faults", "did you mean 'lr'?", "'many'", "residual")
    assert "register: is missing" in done.stdout


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (("sluiceway", "train", "digitz"), 2, ("unknown pipeline 'digitz'", "did you mean 'digits'?")),
        (("sluiceway", "sample", "nothing"), 2, ("unknown pipeline", "one of digits", "`sluiceway new` begins")),
        (("sluiceway", "params", "digits", "train.lrr"), 2, ("unknown option", "mean 'train.lr'?", "lists every")),
        (("sluiceway", "params", "digits", "trian"), 2, ("unknown option", "did you mean 'train'?")),
        (("sluiceway", "params", "digits", "zzz"), 2, ("unknown option", "try: `sluiceway params digits` lists every")),
    ],
)
def test_unknown_names(finished: Project, command: tuple[str, ...], code: int, words: tuple[str, ...]) -> None:
    assert_friendly(finished.run(*command, check=False), code, *words)


def test_wrong_usage_is_exit_code_2(finished: Project, tmp_path: Path) -> None:
    assert finished.run("sluiceway", "nonsense", check=False).returncode == 2
    assert_friendly(Project(tmp_path).run("sluiceway", "show", "digits", check=False), 2, "has no params.yaml")
    below = Project(finished.root / "pipelines")
    assert_friendly(below.run("sluiceway", "show", "digits", check=False), 2, f"run sluiceway in {finished.root},")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ("minimum: {acuracy: 0.5}", ("gates.model.minimum.acuracy: no such metric; did you mean 'accuracy'?",)),
        ("maximum: {accuracy: 0.5}", ("gates.model.maximum.accuracy", "is better when higher; write it under minimum")),
    ],
)
def test_a_threshold_that_cannot_be_meant_is_told_before_anything_runs(
    project: Project, limits: str, words: tuple[str, ...]
) -> None:
    text = DIGITS_PARAMS.replace("minimum: {accuracy: 0.05}", limits)
    (project.root / "pipelines/digits/params.yaml").write_text(text, encoding="utf-8")
    assert_friendly(project.run("sluiceway", "validate", "digits", check=False), 1, *words, "its metrics are accuracy,")


def test_missing_and_misplaced_raw_data(project: Project) -> None:
    raw = project.root / "data" / "raw" / "digits"
    shutil.rmtree(raw)
    assert_friendly(project.run("sluiceway", "validate", "digits", check=False), 1, "no raw data", "data/raw/digits")
    raw.mkdir()
    (raw / "table.csv").write_text("a,b\n", encoding="utf-8")
    done = project.run("sluiceway", "validate", "digits", check=False)
    assert_friendly(done, 1, "no images below", "1 x .csv", "a folder per class")


def test_raw_data_that_changed_behind_the_gate(project: Project) -> None:
    raw = project.root / "data" / "raw" / "digits"
    first, second = sorted((raw / "3").iterdir())[:2]
    shutil.copy(second, first)
    assert_friendly(project.run("sluiceway", "preprocess", "digits", check=False), 1, "is not what was validated")
    first.unlink()
    assert_friendly(project.run("sluiceway", "preprocess", "digits", check=False), 1, "cannot be read any more")


def test_an_expectation_on_a_missing_column(project: Project) -> None:
    path = project.root / "pipelines" / "digits" / "expectations.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"width"', '"widht"'), encoding="utf-8")
    done = project.run("sluiceway", "validate", "digits", check=False)
    assert_friendly(done, 1, "widht", "did you mean 'width'?")


def test_debug_shows_the_trace(finished: Project) -> None:
    assert "Traceback" in finished.run("sluiceway", "--debug", "train", "digitz", check=False).stdout


def test_a_closed_cost_gate_fails_the_run_and_says_why(project: Project) -> None:
    project.set("digits", "gates.cost.max_hours", 1e-6)
    done = project.run("sluiceway", "train", "digits", check=False)
    assert_friendly(done, 1, "the cost gate is closed: training is predicted to take", "gates.cost.max_hours")
    newest = runs_of(project, "digits")[0]
    assert newest["status"] == "FAILED"
    assert newest["sluiceway.verdict.cost"] == "closed"
    assert "reports/digits/verdicts/cost.html has the figures, and `dvc repro register@digits` goes on" in done.stdout
    shown = project.run("sluiceway", "show", "digits").stdout
    assert "reports/digits/verdicts/cost.html" in shown
    assert "dvc repro register@digits" in shown


def test_a_closed_cost_gate_with_two_workers_is_as_clear(project: Project) -> None:
    project.set("digits", "gates.cost.max_hours", 1e-6)
    project.set("digits", "train.workers", 2)
    done = project.run("sluiceway", "train", "digits", check=False)
    assert_friendly(done, 1, "the cost gate is closed: training is predicted to take")


def test_a_worse_model_does_not_become_champion(project: Project) -> None:
    project.set("digits", "gates.model.minimum", {"accuracy": 1.01})
    project.set("digits", "train.lr", 0.02)
    said = project.repro("register@digits")
    assert "model gate closed" in said
    assert "version 1 stays champion" in said
    assert project.json("reports/digits/registration.json") | {"run_id": ""} == {
        "name": "digits",
        "version": 2,
        "run_id": "",
        "champion": False,
        "before": 1,
    }


def test_an_altered_model_is_refused(project: Project) -> None:
    path = project.root / "models" / "digits" / "weights.safetensors"
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    path.write_bytes(content)
    assert_friendly(project.run("sluiceway", "evaluate", "digits", check=False), 1, "weights.safetensors was altered")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_is_killed_and_goes_on(project: Project, stop: signal.Signals) -> None:
    project.set("digits", "train.epochs", 400)
    project.set("digits", "train.log_every", 1)
    process = subprocess.Popen(
        ["sluiceway", "train", "digits"],
        cwd=project.root,
        env=project.environment(PATH=project.environment()["PATH"]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(project.root.glob(".sluiceway/digits/training/*/checkpoints/step-*")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(stop)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 75}[stop], said
    assert "Traceback" not in said
    if stop == signal.SIGINT:
        assert re.search(r"the checkpoint of step \d+ is kept; `dvc repro register@digits` goes on from there", said)
    killed = runs_of(project, "digits")[0]
    assert killed["status"] == "KILLED"


AWAY_AT_THE_END = """
import sys
from sluiceway.cli import main
from sluiceway.errors import TrackingError
from sluiceway.tracking.run import Run

def away(run, error):
    raise TrackingError("the server is away", hint="wait")

Run.end = away
sys.argv = ["sluiceway", "train", "digits"]
main()
"""


def test_a_server_that_is_away_when_a_training_ends_costs_no_training(project: Project) -> None:
    project.set("digits", "train.epochs", 4)
    done = project.run("python", "-c", AWAY_AT_THE_END, check=False)
    assert_friendly(done, 1, "the server is away")
    (spool,) = project.root.glob(".sluiceway/digits/training/*/metrics.jsonl")
    assert list(spool.parent.glob("checkpoints/step-*"))
    (left,) = [run for run in runs_of(project, "digits") if run["status"] == "RUNNING"]
    project.run("sluiceway", "train", "digits")
    assert not spool.parent.exists()
    assert project.json("models/digits/run.json")["run_id"] == left["id"]
    assert {run["status"] for run in runs_of(project, "digits") if run["id"] == left["id"]} == {"FINISHED"}


def test_a_second_stage_on_the_same_pipeline_waits_its_turn(project: Project) -> None:
    import fcntl

    path = project.root / ".sluiceway" / "digits.lock"
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write("process 4242")
        file.flush()
        assert_friendly(project.run("sluiceway", "gate", "digits", check=False), 1, "process 4242")
