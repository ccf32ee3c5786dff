"""Training is exact: the same losses on one and two workers, the same bits after any number of kills."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from jobs import digest, job_of, losses, train_until
from projects import ROOT, Project
from sluiceway.errors import ConfigError, NotFinite
from sluiceway.training import driver
from sluiceway.training.prepare import prepare
from sluiceway.training.spool import read
from sluiceway.usecases.image.historic import DeepBeliefParams
from sluiceway.usecases.pipeline import Pipeline
from sluiceway.usecases.text_generation.params import GPTParams

pytestmark = pytest.mark.slow


def test_one_and_two_workers_have_the_same_losses(finished: Project, tmp_path: Path) -> None:
    """The recipe of the digits pipeline: its batch, its learning rate and its schedule over as many steps."""
    shipped = Pipeline.load("digits", ROOT).params.train.model_dump()
    items = prepare(Pipeline.load("digits", finished.root)).plan.examples
    options = shipped | {"epochs": 1000 * shipped["global_batch"] / items, "log_every": 1}
    curves = []
    for workers in (1, 2):
        job = job_of(finished, tmp_path / str(workers), **options | {"workers": workers})
        assert job.plan.steps == pytest.approx(1000, abs=1)
        curves.append(losses(driver.run(replace(job, plan=replace(job.plan, boundaries=(50,))), lambda _: None)))
    one, two = curves
    assert len(one) == len(two) == 50
    assert two == pytest.approx(one, rel=1e-4)
    assert len(set(one)) > 40  # curves, not constants


@pytest.mark.parametrize(
    "shared", [{"workers": 2, "strategy": "fsdp"}, {"workers": 2, "activation_checkpointing": True}, {"accumulate": 4}]
)
def test_dropout_belongs_to_the_examples(finished: Project, tmp_path: Path, shared: dict[str, object]) -> None:
    options: dict[str, object] = {"epochs": 2.0, "log_every": 1, "schedule": "one_cycle", "warmup": 0.5}
    model = GPTParams(channels=32, layers=1, heads=2, dropout=0.3)

    def curve(name: str, model: GPTParams, **changed: object) -> list[float]:
        job = job_of(finished, tmp_path / name, pipeline="verses", model=model, **options | changed)
        return losses(driver.run(job, lambda _: None))

    one = curve("one", model)
    assert curve("shared", model, **shared) == pytest.approx(one, rel=1e-4)
    without = curve("without", GPTParams(channels=32, layers=1, heads=2))
    assert without[5:] != pytest.approx(one[5:], rel=1e-3)  # layers begin as shortcuts


def test_accumulation_changes_no_loss(finished: Project, tmp_path: Path) -> None:
    options: dict[str, object] = {"epochs": 2.0, "log_every": 1, "lr": 1e-3}
    whole = driver.run(job_of(finished, tmp_path / "whole", **options), lambda _: None)
    parts = driver.run(job_of(finished, tmp_path / "parts", **options, accumulate=4), lambda _: None)
    assert losses(parts) == pytest.approx(losses(whole), rel=1e-4)


@pytest.mark.parametrize("processes", [0, 2])
def test_a_chain_of_kills_changes_no_bit(finished: Project, tmp_path: Path, processes: int) -> None:
    options: dict[str, object] = {
        "epochs": 8.0,
        "log_every": 1,
        "checkpoint_every": 5,
        "cpus_per_worker": 1,
        "loader_processes": processes,
        "keep": "best",
    }
    whole, broken = (job_of(finished, tmp_path / name, **options) for name in ("whole", "broken"))
    assert train_until(whole, None) == 0
    boundary = whole.plan.boundaries[2]
    for step in (7, boundary, boundary + 6, whole.plan.boundaries[5] - 1):
        assert train_until(broken, step) == -signal.SIGKILL
    assert train_until(broken, None) == 0
    assert digest(Path(broken.folder) / "weights.safetensors") == digest(Path(whole.folder) / "weights.safetensors")

    curves = [
        {(p.step, *sorted(p.metrics.items())) for p in read(Path(job.folder) / "metrics.jsonl")}
        for job in (whole, broken)
    ]
    assert curves[0] == curves[1]
    points = list(read(Path(broken.folder) / "metrics.jsonl"))
    steps = [point.step for point in points if "train/loss" in point.metrics]
    assert steps == list(range(1, whole.plan.steps + 1))
    result = json.loads((Path(broken.folder) / "result.json").read_text(encoding="utf-8"))
    assert result["attempts"] == 5


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_workers_go_on_exactly(finished: Project, tmp_path: Path, strategy: str) -> None:
    options: dict[str, object] = {
        "epochs": 3.0,
        "checkpoint_every": 5,
        "log_every": 1,
        "workers": 2,
        "cpus_per_worker": 1,
    }
    whole = job_of(finished, tmp_path / "whole", **options, strategy=strategy)
    expected = driver.run(whole, lambda _: None)
    parts = replace(whole, folder=str(tmp_path / "parts"))
    stop = whole.plan.boundaries[0] + 3
    driver.run(replace(parts, plan=replace(whole.plan, boundaries=(stop,))), lambda _: None)
    resumed = driver.run(parts, lambda _: None)
    assert resumed.result["attempts"] == 2
    assert digest(resumed.weights) == digest(expected.weights)
    assert losses(resumed) == losses(expected)


def test_another_number_of_workers_goes_on(finished: Project, tmp_path: Path) -> None:
    """From parts to a whole, and from that to parts."""
    options: dict[str, object] = {"epochs": 3.0, "checkpoint_every": 5, "log_every": 1, "lr": 1e-3}
    whole = driver.run(job_of(finished, tmp_path / "whole", **options), lambda _: None)
    two = job_of(finished, tmp_path / "parts", **options, workers=2, strategy="fsdp")
    stop = two.plan.boundaries[0]
    driver.run(replace(two, plan=replace(two.plan, boundaries=(stop,))), lambda _: None)
    newest = max((tmp_path / "parts" / "checkpoints").glob("step-*"))
    assert len(list(newest.glob("part-*-of-00002.safetensors"))) == 2
    one = job_of(finished, tmp_path / "parts", **options)
    driver.run(replace(one, plan=replace(one.plan, boundaries=(stop, two.plan.boundaries[1]))), lambda _: None)
    newest = max((tmp_path / "parts" / "checkpoints").glob("step-*"))
    assert (newest / "tensors.safetensors").exists()
    again = driver.run(two, lambda _: None)
    assert again.result["attempts"] == 3
    assert losses(again) == pytest.approx(losses(whole), rel=1e-4)
    assert len(losses(again)) == two.plan.steps


BELIEF = DeepBeliefParams(widths=[24, 16], pretrain_epochs=2.0, pretrain_lr=0.01, dropout=0.1)


def test_pretraining_goes_on_exactly_from_any_step(finished: Project, tmp_path: Path) -> None:
    options: dict[str, object] = {"epochs": 2.0, "log_every": 1, "checkpoint_every": 3, "keep": "last"}
    whole = job_of(finished, tmp_path / "whole", model=BELIEF, **options)
    trained = driver.run(whole, lambda _: None)
    parts = replace(whole, folder=str(tmp_path / "parts"))
    first, second = whole.plan.phases
    for stop in (first.end - 2, first.end, second.end - 1, second.end, second.end + 4):
        driver.run(replace(parts, plan=replace(whole.plan, boundaries=(stop,))), lambda _: None)
    resumed = driver.run(parts, lambda _: None)
    assert resumed.result["attempts"] == 6
    assert digest(resumed.weights) == digest(trained.weights)
    for phase in whole.plan.phases:
        name = f"train/{phase.name}/reconstruction_error"
        errors = {point.step: point.metrics[name] for point in trained.curve if name in point.metrics}
        assert list(errors) == list(range(phase.start + 1, phase.end + 1))
        assert errors[phase.end] < 0.9 * errors[phase.start + 1]
        assert errors == {point.step: point.metrics[name] for point in resumed.curve if name in point.metrics}
    assert len(losses(trained)) == whole.plan.steps - whole.plan.pretraining
    rates = {point.step: point.metrics["train/lr"] for point in trained.curve if "train/lr" in point.metrics}
    assert rates[second.end] == pytest.approx(0.01)
    assert json.loads((tmp_path / "whole" / "cost.json").read_text(encoding="utf-8"))["figures"]["spent_hours"] > 0


def test_workers_pretrain_alike_however_they_share_the_parameters(finished: Project, tmp_path: Path) -> None:
    options: dict[str, object] = {"epochs": 1.0, "log_every": 1, "workers": 2, "cpus_per_worker": 1}
    ddp, fsdp = (
        driver.run(job_of(finished, tmp_path / name, model=BELIEF, **options, strategy=name), lambda _: None)
        for name in ("ddp", "fsdp")
    )
    assert losses(fsdp) == pytest.approx(losses(ddp), rel=1e-4)
    name = "train/machines.1/reconstruction_error"
    curves = [[point.metrics[name] for point in each.curve if name in point.metrics] for each in (ddp, fsdp)]
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)
    assert len(curves[0]) > 10


def test_phases_that_the_use_case_does_not_know_are_refused(finished: Project, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has phases of pre-training"):
        job_of(finished, tmp_path, pipeline="verses", model=BELIEF)


def test_a_loss_that_is_no_number_stops_training(finished: Project, tmp_path: Path) -> None:
    job = job_of(
        finished, tmp_path / "wild", optimizer="sgd", lr=1e12, clip_norm=None, log_every=1, schedule="constant"
    )
    with pytest.raises(NotFinite, match=r"became (nan|inf) by step") as caught:
        driver.run(job, lambda _: None)
    assert "lower train.lr" in caught.value.hint


def test_early_stopping_and_keeping_the_last(finished: Project, tmp_path: Path) -> None:
    options: dict[str, object] = {"epochs": 30.0, "early_stopping": 1, "lr": 0.3, "schedule": "constant"}
    stopped = driver.run(job_of(finished, tmp_path / "stopped", **options), lambda _: None)
    assert stopped.result["steps"] < job_of(finished, tmp_path / "plan", **options).plan.steps
    assert stopped.result["best_step"] < stopped.result["steps"]
    last = driver.run(job_of(finished, tmp_path / "last", **options, keep="last"), lambda _: None)
    assert digest(last.weights) != digest(stopped.weights)


@pytest.mark.parametrize("options", [{"precision": "bfloat16"}, {"compile": True}, {"optimizer": "sgd", "lr": 0.2}])
def test_other_ways_to_train_learn_too(finished: Project, tmp_path: Path, options: dict[str, object]) -> None:
    trained = driver.run(
        job_of(finished, tmp_path / "job", **{"epochs": 6.0, "log_every": 1, **options}), lambda _: None
    )
    curve = losses(trained)
    assert sum(curve[-5:]) / 5 < 0.9 * curve[0]


def test_other_data_or_parameters_never_take_up_a_checkpoint(finished: Project) -> None:
    keys = {prepare(Pipeline.load("digits", finished.root)).subject}
    loaded = Pipeline.load("digits", finished.root)
    for change in ({"lr": 0.5}, {"seed": 1}, {"global_batch": 40}):
        train = loaded.params.train.model_copy(update=change)
        keys.add(prepare(replace(loaded, params=loaded.params.model_copy(update={"train": train}))).subject)
    assert len(keys) == 4
    train = loaded.params.train.model_copy(update={"workers": 2, "loader_processes": 2})
    same = prepare(replace(loaded, params=loaded.params.model_copy(update={"train": train}))).subject
    assert same in keys  # a continuation may use other workers
