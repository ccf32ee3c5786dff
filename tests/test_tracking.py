"""Runs, the shipper, lineage and the registry, against a real MLflow on SQLite in a temporary project."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, PERMISSION_DENIED, UNAUTHENTICATED

import sluiceway
from sluiceway.errors import ModelError, TrackingError
from sluiceway.gates.verdict import Check, Verdict
from sluiceway.stages.frame import Clock
from sluiceway.stages.train import _run_of
from sluiceway.tracking import export, registry, runs, store
from sluiceway.tracking.lineage import lineage, without_credentials
from sluiceway.tracking.run import MetricPoint, Run, ending, flatten
from sluiceway.tracking.shipper import Shipper
from sluiceway.usecases import saved
from sluiceway.usecases.pipeline import Pipeline

TASK = '''
"""A made-up use case: how bright are some bytes, times a learned weight?"""

from sluiceway.config import DataParams, ModelParams, Section
from sluiceway.usecases.base import Serving, UseCase, no_augmentation


class Line(ModelParams):
    name: str = "line"
    width: int = 2


def build(model, encoding):
    import torch
    return torch.nn.Linear(1, model.width)


def answer(model, encoding, rows, params):
    import torch
    from sluiceway.data.table import BadExample
    if any(not row["content"] for row in rows):
        raise BadExample("empty", "nothing is in it")
    means = torch.tensor([[sum(row["content"]) / len(row["content"])] for row in rows])
    values = params["scale"] * model(means)[:, 0] + encoding["bias"]
    return [{"value": float(value), "note": row["name"]} for value, row in zip(values, rows, strict=True)]


USECASE = UseCase(
    name="brightness", summary="", target="number", data=DataParams, read=None, measures={}, measure=None,
    expectations=list, encode_params=Section, fit=None, encode=None, models=(Line,), build=build, objective=Section,
    losses=None, draws=0, augment=no_augmentation, predict=None, metrics=(), baselines=None, show=None,
    serving=Serving(
        inputs={"content": "binary", "name": "string"}, outputs={"value": "double", "note": "string"},
        params={"scale": 1.0}, example=None, answer=answer,
    ),
)
'''
ROWS = [{"content": b"\x02\x04", "name": "first"}, {"content": b"\xff", "name": "second"}]
EXPECTED = [2 * 3 + 0.5, 2 * 255 + 0.5]
"""Of ROWS, with the weight 2 and the bias 0.5."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with one pipeline; its name has a blank, as folders of people have."""
    folder = tmp_path_factory.mktemp("a project")
    (folder / "params.yaml").write_text("pipelines:\n  dim: {code: tasks/glow.py}\n")
    (folder / "pipelines" / "dim").mkdir(parents=True)
    sections = "data: {}\nencode: {}\nmodel: {}\nobjective: {}\ngates: {data: {}, cost: {}, model: {}}\n"
    (folder / "pipelines" / "dim" / "params.yaml").write_text(
        f"usecase: tasks.glow:USECASE\ntarget: number\ntrain: {{lr: 0.5}}\n{sections}evaluate: {{}}\nregister: {{}}\n"
    )
    (folder / "tasks").mkdir()
    (folder / "tasks" / "glow.py").write_text(TASK)
    before = {
        name: os.environ.pop(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI") if name in os.environ
    }
    yield folder
    os.environ.update(before)


@pytest.fixture(scope="module")
def pipeline(root: Path) -> Pipeline:
    return Pipeline.load("dim", root)


@pytest.fixture(scope="module")
def model_folder(pipeline: Pipeline) -> Path:
    import torch
    from safetensors.torch import save_file

    network = pipeline.usecase.build(pipeline.params.model, {})
    with torch.no_grad():
        network.weight.fill_(2.0)
        network.bias.zero_()
    weights = pipeline.root / "weights.safetensors"
    save_file(network.state_dict(), weights)
    saved.save(
        pipeline.model,
        weights=weights,
        usecase=pipeline.params.usecase,
        target=pipeline.params.target,
        model=pipeline.params.model,
        encoding={"bias": 0.5},
    )
    return pipeline.model


def of(pipeline: Pipeline, run_id: str):
    return store.client(pipeline.root).get_run(run_id)


def status(pipeline: Pipeline, run_id: str) -> str:
    return of(pipeline, run_id).info.status


def history(run: Run, name: str) -> list[tuple[int, float]]:
    found = store.client(run.pipeline.root).get_metric_history(run.id, name)
    return sorted((metric.step, metric.value) for metric in found)


def verdict(*, passed: bool = True, subject: str = "abc") -> Verdict:
    check = Check(name="rows", passed=passed, figure=3, limit=10, message="3 rows, at least 10 are needed")
    return Verdict(gate="data", pipeline="dim", subject=subject, checks=(check,))


# The store.


def test_the_embedded_store_lies_in_the_project_and_outlives_temporary_copies(root: Path, monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store.tracking_uri(root) == f"sqlite:///{root}/mlflow/store/mlflow.db"
    assert store.tracking_uri(root / ".dvc" / "tmp" / "exps" / "tmp1") == store.tracking_uri(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert store.tracking_uri(root) == "http://tracking:5000"
    assert store.artifacts(root) is None


def test_making_the_store_prints_nothing_and_leaves_no_draft(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; from sluiceway.tracking import store;"
        f"print(store.experiment(Path({str(tmp_path)!r}), 'x'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment()
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow"]
    assert [path.name for path in (tmp_path / "mlflow" / "store").iterdir()] == ["mlflow.db"]


def test_a_server_that_is_away_is_one_clear_error(root: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"refused to open the experiment 'x'") as caught:
        store.experiment(root, "x")
    assert "secret" not in caught.value.message.split(" refused ")[0]
    assert "\n" not in caught.value.message


def test_a_deleted_experiment_is_named_with_the_way_back(root: Path) -> None:
    store.client(root).delete_experiment(store.experiment(root, "gone"))
    with pytest.raises(TrackingError, match="'gone' was deleted") as caught:
        store.experiment(root, "gone")
    assert "mlflow experiments restore" in caught.value.hint


def test_what_is_made_waits_longer_and_a_wish_of_the_users_stays(monkeypatch) -> None:
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES as RETRIES

    monkeypatch.setenv(RETRIES.name, store.QUIET[RETRIES.name])
    with suppress(TrackingError), store.patient():
        assert RETRIES.get() == 6
        raise TrackingError("away for longer")
    assert RETRIES.get() == 3
    monkeypatch.setenv(RETRIES.name, "1")
    with store.patient():
        assert RETRIES.get() == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (UNAUTHENTICATED, "MLFLOW_TRACKING_USERNAME"),
        (PERMISSION_DENIED, "sluiceway server user role"),
        (INTERNAL_ERROR, "is the server up"),
    ],
)
def test_a_refusal_says_what_would_help(root: Path, code: int, words: str, monkeypatch) -> None:
    with pytest.raises(TrackingError, match="sqlite") as caught, store.refusals(root, "do it"):
        raise MlflowException("no", error_code=INTERNAL_ERROR)
    assert "sluiceway doctor" in caught.value.hint  # a file is no server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(TrackingError) as caught, store.refusals(root, "do it"):
        raise MlflowException("no", error_code=code)
    assert words in caught.value.hint


# Runs and how they end.


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, "FINISHED"),
        (SystemExit(0), "FINISHED"),
        (ValueError("no"), "FAILED"),
        (SystemExit(1), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(143), "KILLED"),
        (SystemExit(15), "KILLED"),
    ],
)
def test_the_status_says_how_it_ended(error: BaseException | None, expected: str) -> None:
    assert ending(error) == expected


def test_a_run_has_name_params_and_lineage_and_finishes(pipeline: Pipeline) -> None:
    with runs.open_run(pipeline, name="first", tags={"more": "yes"}) as run:
        assert status(pipeline, run.id) == "RUNNING"
    found = of(pipeline, run.id)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "first")
    assert found.data.params["train.lr"] == "0.5"
    assert found.data.params["train.early_stopping"] == "null"
    assert found.data.params["register.name"] == "null"
    assert found.data.params["usecase"] == "tasks.glow:USECASE"
    assert found.data.tags["more"] == "yes"
    assert found.data.tags["sluiceway.pipeline"] == "dim"


def test_an_error_fails_the_run_and_passes_through(pipeline: Pipeline) -> None:
    with pytest.raises(ValueError, match="bad"), runs.open_run(pipeline) as run:
        raise ValueError("bad\nthing")
    assert status(pipeline, run.id) == "FAILED"
    assert of(pipeline, run.id).data.tags["sluiceway.error"] == "ValueError: bad thing"


def test_ctrl_c_kills_the_run(pipeline: Pipeline) -> None:
    with pytest.raises(KeyboardInterrupt), runs.open_run(pipeline) as run:
        raise KeyboardInterrupt
    assert status(pipeline, run.id) == "KILLED"


def test_sigterm_kills_the_run_and_the_old_handler_returns(pipeline: Pipeline) -> None:
    with pytest.raises(SystemExit) as caught, runs.open_run(pipeline) as run:
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.code == 143
    assert status(pipeline, run.id) == "KILLED"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_store_that_fails_at_the_end_does_not_hide_the_error(pipeline: Pipeline, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise TrackingError("the server is gone")

    monkeypatch.setattr(Run, "end", refuse)
    with pytest.raises(ValueError, match="bad") as caught, runs.open_run(pipeline):
        raise ValueError("bad")
    assert "the server is gone" in caught.value.__notes__[0]


def test_attaching_goes_on_with_the_same_run_and_success_takes_the_error_away(pipeline: Pipeline) -> None:
    with runs.open_run(pipeline) as first:
        pass
    with pytest.raises(ValueError, match="bad"), runs.attach_run(pipeline, first.id) as second:
        raise ValueError("bad")
    assert second.id == first.id
    assert status(pipeline, first.id) == "FAILED"
    with runs.attach_run(pipeline, first.id):
        assert status(pipeline, first.id) == "RUNNING"
    assert status(pipeline, first.id) == "FINISHED"
    assert "sluiceway.error" not in of(pipeline, first.id).data.tags


def test_an_unknown_run_gets_one_stand_in(pipeline: Pipeline) -> None:
    lost = "0123456789abcdef0123456789abcdef"
    with runs.attach_run(pipeline, lost) as evaluate:
        assert evaluate.id != lost
    with runs.attach_run(pipeline, lost) as register:
        assert register.id == evaluate.id
    found = of(pipeline, evaluate.id)
    assert found.data.tags["sluiceway.restored_from"] == lost
    assert found.data.params["train.lr"] == "0.5"
    store.client(pipeline.root).delete_run(evaluate.id)
    with runs.attach_run(pipeline, evaluate.id) as other:
        assert other.id not in (lost, evaluate.id)


def test_nested_params_become_dotted_names() -> None:
    assert flatten({"a": {"b": [1, None], "c": {}}, "d": True, "e": "x"}) == {
        "a.b": "[1, null]",
        "a.c": "{}",
        "d": "true",
        "e": "x",
    }


def test_metrics_go_in_batches(pipeline: Pipeline, monkeypatch) -> None:
    with runs.open_run(pipeline) as run:
        sizes = []
        send = run._client.log_batch
        monkeypatch.setattr(
            run._client, "log_batch", lambda *a, **k: (sizes.append(len(k.get("metrics", ()))), send(*a, **k))
        )
        run.log_metrics(MetricPoint("loss", step, step / 2, 1) for step in range(2500))
        monkeypatch.undo()
        run.log_figures({"accuracy": 0.5})
    assert sizes == [1000, 1000, 500]
    assert history(run, "loss") == [(step, step / 2) for step in range(2500)]
    assert of(pipeline, run.id).data.metrics["accuracy"] == 0.5


def test_data_sets_are_inputs_with_digests(pipeline: Pipeline) -> None:
    digest = "f" * 64
    with runs.open_run(pipeline) as run:
        run.log_dataset("dim-shards", pipeline.shards, digest, "training", profile={"num_rows": 7})
    [entry] = of(pipeline, run.id).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("dim-shards", digest[:36])
    assert json.loads(entry.dataset.source) == {"uri": "data/shards/dim", "digest": digest}
    assert json.loads(entry.dataset.profile) == {"num_rows": 7}
    assert {tag.key: tag.value for tag in entry.tags} == {"mlflow.data.context": "training"}


def test_a_verdict_is_tags_and_a_file(pipeline: Pipeline) -> None:
    with runs.open_run(pipeline) as run:
        run.log_verdict(verdict())
    tags = of(pipeline, run.id).data.tags
    assert tags["sluiceway.verdict.data"] == "open"
    assert tags["sluiceway.verdict.data.reason"] == "all 1 checks passed"
    path = store.client(pipeline.root).download_artifacts(run.id, "verdicts/data.json")
    assert Verdict.read(Path(path)) == verdict()


def test_a_refusal_leaves_one_failed_run_with_its_report(pipeline: Pipeline, tmp_path: Path) -> None:
    report = tmp_path / "report"
    report.mkdir()
    (report / "index.html").write_text("<p>too few")
    closed = verdict(passed=False)
    first = runs.record_refusal(pipeline, closed, [report])
    found = of(pipeline, first)
    assert found.info.status == "FAILED"
    assert found.data.tags["sluiceway.verdict.data"] == "closed"
    assert found.data.tags["sluiceway.error"] == "the data gate is closed: 3 rows, at least 10 are needed"
    names = {file.path for file in store.client(pipeline.root).list_artifacts(first, "report")}
    assert names == {"report/index.html"}
    assert runs.record_refusal(pipeline, closed) == first
    assert runs.record_refusal(pipeline, verdict(passed=False, subject="other")) != first


# The shipper.


def line(step: int, **metrics: float) -> str:
    return json.dumps({"step": step, "time": 1000 + step, "metrics": metrics}) + "\n"


def add(spool: Path, text: str) -> None:
    with spool.open("a") as file:
        file.write(text)


def until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_lines_that_mean_nothing_are_passed_over(pipeline: Pipeline, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    add(spool, '{"step": 1, "ti\n\n[1]\n{"step": 1}\n{"step": 1, "time": 1, "metrics": 3}\n' + line(3, loss=0.3))
    with runs.open_run(pipeline) as run, Shipper(run, spool, interval=0.05):
        until(lambda: history(run, "loss") == [(3, 0.3)])


def test_the_shipper_sends_while_training_goes_on_and_no_step_twice(pipeline: Pipeline, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with runs.open_run(pipeline) as run:
        shipper = Shipper(run, spool, interval=0.05)
        with shipper:
            add(spool, line(1, loss=1, lr=0.1) + line(2, loss=2) + line(2, loss=2.5) + '{"step": 3')
            until(lambda: history(run, "loss") == [(1, 1), (2, 2.5)])
            add(spool, ', "time": 3, "metrics": {"loss": 3}}\n' + line(2, loss=9) + line(4, loss=4))
        assert shipper.problem == ""
        expected = [(1, 1), (2, 2.5), (3, 3), (4, 4)]
        assert history(run, "loss") == expected
        # A second attempt of the driver, on the same run, with the same spool.
        with Shipper(run, spool, interval=0.05):
            add(spool, line(5, loss=5))
        assert history(run, "loss") == [*expected, (5, 5)]
        assert history(run, "lr") == [(1, 0.1)]


def test_an_answer_that_is_lost_sends_nothing_twice(pipeline: Pipeline, tmp_path: Path, monkeypatch) -> None:
    spool = tmp_path / "spool"
    with runs.open_run(pipeline) as run:
        really, calls = run.log_metrics, []

        def answer_is_lost(points) -> None:
            calls.append(1)
            really(points)
            if len(calls) == 1:
                raise TrackingError("time-out")

        monkeypatch.setattr(run, "log_metrics", answer_is_lost)
        shipper = Shipper(run, spool, interval=0.05)
        add(spool, line(1, loss=1))
        with shipper:
            until(lambda: len(calls) >= 2)
        assert history(run, "loss") == [(1, 1)]
        assert shipper.problem == ""


def test_what_the_store_dropped_is_sent_again(pipeline: Pipeline, tmp_path: Path, monkeypatch) -> None:
    spool = tmp_path / "spool"
    with runs.open_run(pipeline) as run:
        really = run.log_metrics
        monkeypatch.setattr(run, "log_metrics", lambda points: really([p for p in points if p.step != 2]))
        shipper = Shipper(run, spool, interval=0.05)
        shipper.__enter__()
        add(spool, line(1, loss=1) + line(2, loss=2) + line(3, loss=3))
        until(lambda: history(run, "loss") == [(1, 1), (3, 3)])
        monkeypatch.undo()
        assert shipper.close() == []
        assert history(run, "loss") == [(1, 1), (2, 2), (3, 3)]


def test_what_cannot_be_sent_is_returned_and_never_raised(pipeline: Pipeline, tmp_path: Path, monkeypatch) -> None:
    spool = tmp_path / "spool"
    add(spool, line(1, loss=1) + line(2, loss=2))

    def away(points: object) -> None:
        raise TrackingError("the server is away")

    with runs.open_run(pipeline) as run:
        monkeypatch.setattr(run, "log_metrics", away)
        shipper = Shipper(run, spool, interval=0.02)
        shipper.__enter__()
        until(lambda: shipper.problem == "the server is away")
        assert [point.step for point in shipper.close(tries=2)] == [1, 2]


def test_a_request_that_hangs_does_not_hold_the_stage(pipeline: Pipeline, tmp_path: Path, monkeypatch) -> None:
    spool, release, stuck = tmp_path / "spool", threading.Event(), threading.Event()
    add(spool, line(1, loss=1))

    def hang(points: object) -> None:
        stuck.set()
        release.wait(30)

    with runs.open_run(pipeline) as run:
        monkeypatch.setattr(run, "log_metrics", hang)
        shipper = Shipper(run, spool, interval=0.02)
        shipper.__enter__()
        assert stuck.wait(20)
        assert [point.step for point in shipper.close(patience=0.1)] == [1]
        assert "unanswered" in shipper.problem
        release.set()


# Lineage.


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("https://me:token@host.org/a/b.git?key=1", "https://host.org/a/b.git"),
        ("ssh://git@host.org:22/a.git", "ssh://host.org:22/a.git"),
        ("git@host.org:a/b.git", "host.org:a/b.git"),
        ("/srv/a.git", "/srv/a.git"),
    ],
)
def test_remotes_lose_their_credentials(remote: str, expected: str) -> None:
    assert without_credentials(remote) == expected


def test_lineage_names_code_data_and_environment(root: Path, pipeline: Pipeline, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MY_SECRET", "hunter2")
    copy = tmp_path / "p"
    subprocess.run(["git", "init", "-q", "-b", "trunk", copy], check=True)
    mine = Pipeline(copy, "dim", pipeline.code, pipeline.params, pipeline.usecase)
    assert "sluiceway.git.commit" not in lineage(mine)
    (copy / "file").write_text("x")
    git = ["git", "-C", str(copy), "-c", "user.name=n", "-c", "user.email=e@x"]
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "c"], check=True)
    subprocess.run([*git, "remote", "add", "origin", "https://me:hunter2@host/r"], check=True)
    (copy / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n"
        "  validate@dim:\n    cmd: x\n    deps:\n    - {path: data/raw/dim, md5: aaa.dir}\n"
        "  preprocess@dim:\n    cmd: x\n    outs:\n    - {path: data/shards/dim, md5: bbb.dir}\n"
        "  preprocess@other:\n    cmd: x\n    outs:\n    - {path: data/shards/dim, md5: ccc.dir}\n"
    )
    tags = lineage(mine)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert tags["sluiceway.git.commit"] == tags["mlflow.source.git.commit"] == commit
    assert (tags["sluiceway.git.branch"], tags["sluiceway.git.dirty"]) == ("trunk", "false")
    assert tags["mlflow.source.git.repoURL"] == "https://host/r"
    assert (tags["sluiceway.dvc.raw"], tags["sluiceway.dvc.shards"]) == ("aaa.dir", "bbb.dir")
    assert tags["sluiceway.seed"] == "0"
    assert tags["sluiceway.version.torch"].startswith("2.")
    assert "hunter2" not in json.dumps(tags)
    (copy / "file").write_text("y")
    assert lineage(mine)["sluiceway.git.dirty"] == "true"


def test_raw_data_of_ones_own_is_known_by_its_dvc_file(pipeline: Pipeline, tmp_path: Path) -> None:
    mine = Pipeline(tmp_path, "dim", pipeline.code, pipeline.params, pipeline.usecase)
    mine.raw.parent.mkdir(parents=True)
    mine.raw.with_name("dim.dvc").write_text("outs:\n- md5: ddd.dir\n  path: dim\n")
    assert lineage(mine)["sluiceway.dvc.raw"] == "ddd.dir"
    (tmp_path / "dvc.lock").write_text("<<<<<<< not yaml: [")
    assert lineage(mine)["sluiceway.dvc.raw"] == "ddd.dir"


def test_lineage_names_the_shards_that_are_there(pipeline: Pipeline, tmp_path: Path) -> None:
    from sluiceway.data.shards import digest, write_manifest

    mine = Pipeline(tmp_path, "dim", pipeline.code, pipeline.params, pipeline.usecase)
    mine.shards.mkdir(parents=True)
    write_manifest(mine.shards, {}, {"classes": [1]})
    assert lineage(mine)["sluiceway.data.shards"] == digest(mine.shards)


# The registry.


@pytest.fixture(scope="module")
def version(pipeline: Pipeline, model_folder: Path) -> registry.Version:
    with runs.open_run(pipeline) as run:
        run.log_figures({"accuracy": 0.75})
        made = registry.register_model(pipeline, run, model_folder, ROWS, {"who": "test"}, {"accuracy": 0.75})
    registry.set_alias(pipeline.root, made.name, registry.CHAMPION, made.number)
    return made


def test_a_version_has_signature_example_tags_and_figures(
    pipeline: Pipeline, version: registry.Version, tmp_path: Path
) -> None:
    from mlflow.models import Model

    info = Model.load(registry.fetch(pipeline.root, version, tmp_path).parent.parent)
    assert info.signature.inputs.to_dict() == [
        {"type": "binary", "name": "content", "required": True},
        {"type": "string", "name": "name", "required": True},
    ]
    assert [column["name"] for column in info.signature.outputs.to_dict()] == ["value", "note"]
    assert info.signature.params.to_dict() == [{"name": "scale", "type": "double", "default": 1.0, "shape": None}]
    assert info.saved_input_example_info["type"] == "dataframe"
    found = store.client(pipeline.root).get_model_version(version.name, str(version.number))
    assert (found.status, found.run_id, found.tags["who"]) == ("READY", version.run_id, "test")
    assert len(found.tags[registry.DIGEST]) == 64
    logged = store.client(pipeline.root).get_logged_model(version.model_id)
    assert str(logged.status) == "READY"
    assert [(metric.key, metric.value) for metric in logged.metrics] == [("accuracy", 0.75)]
    run = of(pipeline, version.run_id)
    assert [output.model_id for output in run.outputs.model_outputs] == [version.model_id]
    assert len(store.client(pipeline.root).get_metric_history(version.run_id, "accuracy")) == 1


def test_the_model_directory_holds_code_and_no_pickle(pipeline: Pipeline, version: registry.Version, tmp_path) -> None:
    folder = registry.fetch(pipeline.root, version, tmp_path)
    assert (folder / "weights.safetensors").exists()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not {path.suffix for path in files} & {".pkl", ".pickle", ".pt", ".pth", ".pt2", ".ckpt", ".bin", ".joblib"}
    # A pickle of any protocol since 2 begins with this byte; torch's zip files contain one.
    assert not [path for path in files if path.read_bytes()[:1] == b"\x80" or path.read_bytes()[:2] == b"PK"]
    model = next(tmp_path.rglob("MLmodel")).parent
    assert (model / "code" / "sluiceway" / "tracking" / "serving.py").exists()
    assert (model / "code" / "tasks" / "glow.py").exists()
    wanted = (model / "requirements.txt").read_text().split()
    assert {entry.partition("==")[0] for entry in wanted} == set(export.REQUIREMENTS)
    assert all("+" not in entry for entry in wanted)


def test_the_alias_moves(pipeline: Pipeline, version: registry.Version, model_folder: Path) -> None:
    assert registry.champion(pipeline.root, "nobody") is None
    assert registry.champion(pipeline.root, "dim") == version
    with runs.attach_run(pipeline, "fedcba9876543210" * 2) as run:
        # As after a move to another store: the run stands in for the one that the figures were logged to.
        second = registry.register_model(pipeline, run, model_folder, ROWS, {}, {"accuracy": 0.5})
    assert second.number == version.number + 1
    assert history(run, "accuracy") == [(0, 0.5)]
    assert registry.champion(pipeline.root, "dim") == version
    registry.set_alias(pipeline.root, "dim", registry.CHAMPION, second.number)
    assert registry.champion(pipeline.root, "dim") == second
    registry.set_alias(pipeline.root, "dim", registry.CHAMPION, version.number)
    with pytest.raises(TrackingError, match="let champion name version 99 of dim"):
        registry.set_alias(pipeline.root, "dim", registry.CHAMPION, 99)


def test_a_refusal_to_mark_a_failed_model_hides_no_error(
    pipeline: Pipeline, version: registry.Version, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ModelError("the export cannot be loaded")

    def refuses(*_: object) -> None:
        raise MlflowException("no more", error_code=INTERNAL_ERROR)

    monkeypatch.setattr(registry, "export_model", broken)
    monkeypatch.setattr(type(store.client(pipeline.root)), "finalize_logged_model", refuses)
    raises = pytest.raises(ModelError, match="the export cannot be loaded")
    with raises as caught, runs.attach_run(pipeline, version.run_id) as run:
        registry.register_model(pipeline, run, model_folder, ROWS, {})
    assert caught.value.__notes__ == ["Besides, the logged model could not be marked as failed: no more"]


def test_a_damaged_upload_is_not_registered(pipeline: Pipeline, version, model_folder: Path, monkeypatch) -> None:
    really = type(store.client(pipeline.root)).log_model_artifacts

    def flip_a_bit(self, model_id: str, local_dir: str) -> None:
        weights = next(Path(local_dir).rglob("weights.safetensors"))
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        really(self, model_id, local_dir)

    monkeypatch.setattr(type(store.client(pipeline.root)), "log_model_artifacts", flip_a_bit)
    before = len(store.client(pipeline.root).search_model_versions("name='dim'"))
    with pytest.raises(ModelError, match="damaged"), runs.attach_run(pipeline, version.run_id) as run:
        registry.register_model(pipeline, run, model_folder, ROWS, {})
    assert len(store.client(pipeline.root).search_model_versions("name='dim'")) == before
    models = store.client(pipeline.root).search_logged_models([store.experiment(pipeline.root, "dim")])
    assert "FAILED" in {str(model.status) for model in models}


def test_a_model_is_registered_once(pipeline: Pipeline, version: registry.Version, monkeypatch) -> None:
    def known(run_id: str = version.run_id, **facts: str) -> registry.Version | None:
        return registry.registered_before(pipeline, run_id, facts)

    assert known(who="test") == version
    assert known(who="somebody") is None
    assert known("fedcba9876543210" * 2, who="test") is None
    registry.tag(pipeline.root, version, {"who": "test", "verdict": "open"})
    found = known(who="test")
    assert found is not None
    assert (found.number, found.tags["verdict"]) == (version.number, "open")
    monkeypatch.setattr(registry, "folder_digest", lambda folder: "other")
    assert known(who="test") is None  # what is damaged is registered again


def test_altered_files_are_not_fetched(pipeline: Pipeline, version: registry.Version, tmp_path: Path) -> None:
    altered = registry.Version(version.name, version.number, version.run_id, version.model_id, {registry.DIGEST: "0"})
    with pytest.raises(ModelError, match="damaged"):
        registry.fetch(pipeline.root, altered, tmp_path)


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that finds Sluiceway, but where nothing of this project is configured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTEST"))}
    return {**kept, "PYTHONPATH": str(Path(sluiceway.__file__).parent.parent), **more}


LOAD = """
import sys, pandas, mlflow
model = mlflow.pyfunc.load_model("models:/dim@champion")
frame = pandas.DataFrame({"content": [b"\\x02\\x04", b"\\xff"], "name": ["first", "second"]})
print(model.predict(frame).to_dict(orient="list"))
print(model.predict(frame, params={"scale": 2.0})["value"].tolist())
print(len(model.predict(frame[:0])))
print([name for name in FORBIDDEN if name in sys.modules], sys.modules["sluiceway"].__file__)
"""
FORBIDDEN = ["ray", "lightning", "pytorch_lightning", "sklearn", "great_expectations", "dvc", "skimage"]


@pytest.mark.slow
def test_a_registered_model_answers_in_a_fresh_process_without_pickle(
    pipeline: Pipeline, version: registry.Version, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD.replace("FORBIDDEN", repr(FORBIDDEN))],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(
            PYTHONPATH="",
            MLFLOW_TRACKING_URI=store.tracking_uri(pipeline.root),
            MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false",
            **store.QUIET,
        ),
    )
    assert done.returncode == 0, done.stderr
    answers, scaled, empty, loaded = done.stdout.splitlines()
    assert answers == str({"value": EXPECTED, "note": ["first", "second"]})
    assert scaled == str([4 * 3 + 0.5, 4 * 255 + 0.5])
    assert empty == "0"
    assert loaded.startswith("[] ")
    assert done.stderr == ""


SERVE_ALONE = """
import sys
from pathlib import Path
model = Path(sys.argv[1])
sys.path.insert(0, str(model / "code"))
from sluiceway.tracking.serving import _load_pyfunc
assert Path(sys.modules["sluiceway"].__file__).is_relative_to(model)
served = _load_pyfunc(str(next(model.glob("data/*"))))
import pandas
print(served.predict(pandas.DataFrame({"content": [b"\\x02\\x04"], "name": ["x"]}, index=[7])).to_dict())
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.slow
def test_the_answering_code_needs_only_what_it_declares(pipeline: Pipeline, version, tmp_path: Path) -> None:
    folder = registry.fetch(pipeline.root, version, tmp_path)
    script = f"import sys\nsys.argv = ['', {str(folder.parent.parent)!r}]\n{SERVE_ALONE}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment()
    )
    assert done.returncode == 0, done.stderr
    answer, loaded = done.stdout.splitlines()
    assert answer == "{'value': {7: 6.5}, 'note': {7: 'x'}}"
    assert not {"mlflow", *FORBIDDEN} & set(json.loads(loaded.replace("'", '"')))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError):
        return False


def post(url: str, document: object) -> object:
    request = urllib.request.Request(url, json.dumps(document).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def refusal(url: str, document: object) -> tuple[int, str]:
    """Ask what cannot be answered, and return the status and the words of the refusal."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(url, document)
    with refused.value as answer:
        return answer.code, json.dumps(json.loads(answer.read()), ensure_ascii=False)


SERVE = ("models", "serve", "-m", "models:/dim@champion", "--env-manager", "local", "--workers", "1", "--port")


@pytest.mark.slow
def test_mlflow_serves_the_champion(pipeline: Pipeline, version: registry.Version, tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *SERVE, str(port)],
            stdout=output,
            stderr=output,
            cwd=tmp_path,
            env=environment(
                PYTHONPATH="",
                MLFLOW_TRACKING_URI=store.tracking_uri(pipeline.root),
                MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false",
                PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                **store.QUIET,
            ),
            start_new_session=True,
        )
    try:
        request = {
            "dataframe_split": {
                "columns": ["content", "name"],
                "data": [[base64.b64encode(row["content"]).decode(), row["name"]] for row in ROWS],
            },
            "params": {"scale": 1.0},
        }
        until(lambda: server.poll() is not None or is_up(port), 120)
        assert server.poll() is None, log.read_text()
        assert post(f"http://127.0.0.1:{port}/invocations", request) == {
            "predictions": [
                {"value": EXPECTED[0], "note": "first"},
                {"value": EXPECTED[1], "note": "second"},
            ]
        }
        good = {"content": base64.b64encode(b"\x02\x04").decode(), "name": "first"}
        for bad, words in (
            ({"name": "first"}, ("content",)),
            ({**good, "name": None}, ("'name' of row 1 is nothing, where the column takes text", "try: ")),
            ({**good, "content": ""}, ("row 1: empty: nothing is in it", "try: send the bytes of a whole file")),
            ({**good, "content": 7}, ("content",)),
        ):
            status, said = refusal(f"http://127.0.0.1:{port}/invocations", {"dataframe_records": [good, bad]})
            assert status == 400, said
            assert all(word in said for word in words), said
            assert "Traceback" not in said
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


# Runs that nobody ends.

DYING = """
import os, sys; from pathlib import Path
from sluiceway.tracking.runs import open_run; from sluiceway.usecases.pipeline import Pipeline
with open_run(Pipeline.load("dim", Path.cwd()), "left", {"mine": "yes"}) as run:
    print(run.id, flush=True)
    if "stay" in sys.argv:
        sys.stdin.read()
    os._exit(9)
"""


def start_dying(root: Path, *words: str) -> "tuple[subprocess.Popen[str], str]":
    process = subprocess.Popen(
        [sys.executable, "-c", DYING, *words], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, process.stdout.readline().strip()


def test_a_run_that_a_dead_process_left_open_is_closed_and_no_other(pipeline: Pipeline) -> None:
    dead, left = start_dying(pipeline.root)
    dead.wait(timeout=300)
    alive, busy = start_dying(pipeline.root, "stay")
    registry = store.client(pipeline.root)
    where = store.experiment(pipeline.root, "dim")
    elsewhere = registry.create_run(
        where, tags={**of(pipeline, left).data.tags, "sluiceway.process.host": "another"}
    ).info
    untold = registry.create_run(where).info
    assert status(pipeline, left) == "RUNNING"
    try:
        assert runs.close_abandoned(pipeline) == [("left", "KILLED")]
        assert status(pipeline, left) == "KILLED"
        assert of(pipeline, left).data.tags["sluiceway.error"] == "its process died without a word"
        assert {status(pipeline, each) for each in (busy, elsewhere.run_id, untold.run_id)} == {"RUNNING"}
        assert runs.close_abandoned(pipeline) == []
    finally:
        alive.kill()
        alive.wait()
        registry.set_terminated(elsewhere.run_id)
        registry.set_terminated(untold.run_id)
    assert runs.close_abandoned(pipeline) == [("left", "KILLED")]


def test_a_number_that_another_process_has_now_does_not_keep_a_run_open(pipeline: Pipeline) -> None:
    dead, left = start_dying(pipeline.root)
    dead.wait(timeout=300)
    store.client(pipeline.root).set_tag(left, "sluiceway.process.pid", str(os.getpid()))
    store.client(pipeline.root).set_tag(left, "sluiceway.process.began", "1000000000.00")
    assert runs.close_abandoned(pipeline) == [("left", "KILLED")]


def test_an_unfinished_run_is_found_by_what_it_trains(pipeline: Pipeline) -> None:
    with pytest.raises(KeyboardInterrupt), runs.open_run(pipeline, tags={"training": "t1"}) as run:
        raise KeyboardInterrupt
    assert runs.unfinished(pipeline, "training", "t1") == run.id
    assert runs.unfinished(pipeline, "training", "t2") is None
    with runs.open_run(pipeline, tags={"training": "t1"}):
        pass
    assert runs.unfinished(pipeline, "training", "t1") is None


def test_what_is_written_again_stands_there_once(pipeline: Pipeline) -> None:
    """A stage that was killed before DVC had recorded it does all of it again."""
    with runs.open_run(pipeline) as run:
        for accuracy in (0.5, 0.5, 0.75):
            run.log_figures({"accuracy": accuracy})
            run.log_curve(MetricPoint("layers", depth, accuracy + depth, 1000) for depth in range(3))
    history = store.client(pipeline.root).get_metric_history
    assert [point.value for point in history(run.id, "accuracy")] == [0.5, 0.75]
    assert sorted(point.value for point in history(run.id, "layers")) == [0.5, 0.75, 1.5, 1.75, 2.5, 2.75]


def test_a_trial_is_one_run_though_its_search_was_killed_before_it_knew(pipeline: Pipeline) -> None:
    points = [MetricPoint("validation/loss", step, 1 / step, 1000 * step) for step in (10, 20)]

    def tell(parent: Run, trial: str) -> str:
        tags = {"sluiceway.tuning.trial": trial, "sluiceway.tuning.end": "finished"}
        figures = {"tuning/cost": 0.5}
        return runs.record_trial(parent, pipeline, trial, points=points, figures=figures, tags=tags, status="FINISHED")

    with runs.open_run(pipeline, "search") as search, runs.open_run(pipeline, "another search") as other:
        first = tell(search, "trial-1")
        # As the next search closes what a dead one left open.
        store.client(pipeline.root).set_tag(first, "sluiceway.error", "its process died without a word")
        assert tell(search, "trial-1") == first
        assert len({first, tell(search, "trial-2"), tell(other, "trial-1")}) == 3
    found = of(pipeline, first)
    assert found.info.status == "FINISHED"
    assert found.data.tags["mlflow.parentRunId"] == search.id
    assert "sluiceway.error" not in found.data.tags
    history = store.client(pipeline.root).get_metric_history
    assert [point.step for point in history(first, "validation/loss")] == [10, 20]
    assert len(history(first, "tuning/cost")) == 1


def test_a_run_whose_maker_died_before_its_parameters_gets_them(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Run, "log_params", lambda self, params: None)
        with runs.open_run(pipeline, "bare") as run:
            pass
    assert not of(pipeline, run.id).data.params
    with runs.attach_run(pipeline, run.id):
        pass
    assert of(pipeline, run.id).data.params["train.lr"] == "0.5"


def test_a_training_whose_run_is_not_written_down_finds_it(pipeline: Pipeline, tmp_path: Path) -> None:
    """It was killed between the two, or the file is gone."""
    job: Any = SimpleNamespace(folder=str(tmp_path / "job"), subject="f" * 16)
    with _run_of(pipeline, job, Clock()) as first:
        pass
    store.client(pipeline.root).set_terminated(first.id, "KILLED")
    assert Path(job.folder).is_dir()
    with _run_of(pipeline, job, Clock()) as second:
        assert second.id == first.id
    with _run_of(pipeline, job, Clock()) as third:  # that one is finished
        assert third.id != first.id
