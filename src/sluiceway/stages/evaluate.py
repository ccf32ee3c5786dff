"""Stage ``evaluate``: the model and the baselines are scored on the test split, and tried at work where they can be."""

import csv
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sluiceway.data.documents import read_json
from sluiceway.data.outcomes import read_outcomes, write_outcomes
from sluiceway.data.places import emptied
from sluiceway.data.shards import ShardedSplit, digest
from sluiceway.stages.console import asked, progress, warn
from sluiceway.stages.examples import accepted_examples, loader_of_row
from sluiceway.stages.frame import Clock, done, stage
from sluiceway.stages.trial import episodes, score_episodes, try_learners
from sluiceway.usecases.base import Evidence, Outcomes, Tried
from sluiceway.usecases.pipeline import Pipeline

if TYPE_CHECKING:
    from sluiceway.evaluation.layers.probes import Told
    from sluiceway.evaluation.place import Place
    from sluiceway.evaluation.report import Evaluation
    from sluiceway.evaluation.scores import Score
    from sluiceway.tracking.run import MetricPoint
    from sluiceway.usecases.saved import LoadedModel

Scores = dict[str, dict[str, "Score"]]
"""By learner, the model first; by metric."""


def evaluate(pipeline: Pipeline) -> None:
    """Score the model beside the baselines, and write figures, predictions, plots and the report.

    Raises:
        ModelError: the model's files are not those that were trained.
        DataError: there is no test item.
    """
    from sluiceway.evaluation.place import Place
    from sluiceway.evaluation.report import evaluation_page
    from sluiceway.usecases.saved import load

    with stage("evaluate", pipeline) as clock:
        with clock("learning"):
            loaded = load(pipeline.model, pipeline.root)
            shutil.rmtree(pipeline.finished, ignore_errors=True)  # the model is on record: nothing is trained again
            place = Place.of(pipeline.params, warn)
            outcomes = _answer(pipeline, loaded, place)
            tried = place.run(loaded.model, lambda: try_learners(pipeline, loaded), in_batches=False)
            table = accepted_examples(pipeline)
            told = _probe(pipeline, loaded, table, place)
        with clock("reports"):
            learners = {pipeline.params.model.name: outcomes, **_baselines(pipeline)}
            scores = _score(pipeline, learners, tried, table)
            evaluation = _gather(pipeline, loaded, place, learners, tried, scores, table, told)
            write_outcomes(outcomes, pipeline.reports / "predictions.parquet")
            (pipeline.reports / "report.html").write_text(evaluation_page(evaluation), encoding="utf-8")
            document = _write_scores(pipeline, evaluation)
            _write_plots(pipeline.reports / "plots", evaluation)
        _log(pipeline, clock, document)
        best = pipeline.metrics[0]
        if found := evaluation.nothing:
            warn(f"{pipeline.name} seems to have learned nothing: {' '.join(found.signs)}")
        figures = ", ".join(f"{name} {best.text(each[best.name].value)}" for name, each in scores.items())
        report = (pipeline.reports / "report.html").relative_to(pipeline.root)
        done("evaluate", pipeline, clock, f"{best.title.lower()}: {figures} [dim]-> {report}[/]")


def _answer(pipeline: Pipeline, loaded: "LoadedModel", place: "Place") -> Outcomes:
    """Let the network answer the test split, with the threads that it was trained with.

    More would wait for one another where a network is small, and the longer the busier the machine is.
    """
    import torch

    from sluiceway.evaluation.predict import answer

    torch.set_num_threads(pipeline.params.train.threads(os.cpu_count() or 1, 1))
    split = ShardedSplit(pipeline.shards, "test")
    with progress("evaluate", "items", len(split)) as meter:
        return place.run(loaded.model, lambda: answer(split, loaded, place.batch, meter.update))


def _baselines(pipeline: Pipeline) -> dict[str, Outcomes]:
    paths = sorted((pipeline.shards / "baselines").glob("*.parquet"))
    return {path.stem: read_outcomes(path) for path in paths}


def _score(pipeline: Pipeline, learners: dict[str, Outcomes], tried: "Tried | None", table: pa.Table) -> Scores:
    from sluiceway.evaluation.scores import score

    settings, trials = pipeline.params.evaluate, score_episodes(pipeline, tried)
    metrics = pipeline.usecase.metrics
    tests = {
        name: score(outcomes, metrics, settings.resamples, settings.seed, _groups(outcomes["row"], table))
        for name, outcomes in learners.items()
    }
    return {name: trials.get(name, {}) | scores for name, scores in tests.items()}


def _groups(rows: npt.NDArray[Any], table: pa.Table) -> npt.NDArray[Any]:
    """Return what is resampled as one: items of one group, or of one example."""
    groups = table["group"].to_pylist()
    return np.array([groups[row] or f"row {row}" for row in rows], object)


def _probe(pipeline: Pipeline, loaded: "LoadedModel", table: pa.Table, place: "Place") -> "Told | None":
    params = pipeline.params
    if not params.evaluate.layers:
        return None
    from sluiceway.evaluation.layers.probes import probe_layers

    def probe() -> "Told | None":
        fitting = params.evaluate.model_copy(update={"batch": place.batch})
        settings = params.model_copy(update={"evaluate": fitting})
        return probe_layers(loaded, pipeline.shards, settings, lambda rows: _groups(rows, table))

    return place.run(loaded.model, probe)


def _thumbnails(pipeline: Pipeline, load: Callable[[int], bytes]) -> Callable[[int], str] | None:
    draw, data = pipeline.usecase.thumbnail, pipeline.params.data
    return (lambda row: draw(load(row), data)) if draw else None


def _gather(
    pipeline: Pipeline,
    loaded: "LoadedModel",
    place: "Place",
    learners: dict[str, Outcomes],
    tried: "Tried | None",
    scores: Scores,
    table: pa.Table,
    told: "Told | None",
) -> "Evaluation":
    from sluiceway.evaluation.calibration import calibrate
    from sluiceway.evaluation.confusion import confuse
    from sluiceway.evaluation.layers.figures import pictures
    from sluiceway.evaluation.learned import Course, nothing_learned
    from sluiceway.evaluation.parity import parity
    from sluiceway.evaluation.plots import training_curves
    from sluiceway.evaluation.report import Evaluation
    from sluiceway.evaluation.scores import paired_difference
    from sluiceway.evaluation.slices import slices

    settings, metric = pipeline.params.evaluate, pipeline.usecase.metrics[0]
    name, outcomes = next(iter(learners.items()))
    training = read_json(pipeline.reports / "training.json")
    data_gate = read_json(pipeline.validated / "gate.json")
    load = loader_of_row(pipeline, table)
    history, groups = _curves(pipeline.reports / "curves"), _groups(outcomes["row"], table)
    others = {other: answers for other, answers in learners.items() if other != name}
    evidence = Evidence(loaded.model, loaded.encoding, outcomes, load, others)
    shown = place.run(loaded.model, lambda: pipeline.usecase.show(evidence), in_batches=False)
    return Evaluation(
        pipeline=pipeline.name,
        model=name,
        run_id=read_json(pipeline.model / "run.json")["run_id"],
        cost=f"{training['cost']:.2g} {training['currency']} ({training['seconds']:.0f} seconds of training)",
        count=len(outcomes["row"]),
        metrics=pipeline.metrics,
        scores=scores,
        advantages=_advantages(pipeline, learners, tried, table),
        nothing=nothing_learned(
            outcomes,
            others,
            pipeline.usecase.metrics,
            partial(paired_difference, resamples=settings.resamples, seed=settings.seed, groups=groups),
            Course.of(history, training["steps"]),
            pipeline.params.train,
            pipeline.name,
        ),
        facts={"Data gate": data_gate["state"]},
        curves=training_curves(history),
        slices=slices(
            outcomes,
            table,
            metric,
            settings.resamples,
            settings.seed,
            groups=groups,
            numbers=pipeline.usecase.target == "number",
        ),
        calibration=calibrate(outcomes),
        confusion=confuse(outcomes, loaded.encoding.get("classes", [])),
        parity=parity(outcomes),
        layers=told,
        pictures=pictures(loaded.model, told, _thumbnails(pipeline, load)) if told else (),
        episodes=len(tried.model["row"]) if tried else 0,
        sliced=metric,
        panels=[*(tried.panels if tried else ()), *shown],
        parameters=pipeline.params.model_dump(mode="json", by_alias=True),
        digests={"examples": data_gate["subject"], "shards": digest(pipeline.shards)},
    )


def _advantages(
    pipeline: Pipeline, learners: dict[str, Outcomes], tried: "Tried | None", table: pa.Table
) -> "dict[str, Score]":
    """Compare the model with each baseline that answered the same items, or did the same episodes."""
    from sluiceway.evaluation.scores import paired_difference

    settings, metric = pipeline.params.evaluate, pipeline.metrics[0]
    compared = episodes(pipeline, tried) or learners
    model, *others = compared.values()
    groups = None if tried else _groups(model["row"], table)
    return {
        name: paired_difference(model, other, metric, settings.resamples, settings.seed, groups)
        for name, other in zip(list(compared)[1:], others, strict=True)
        if np.array_equal(model["row"], other["row"])
    }


def _write_scores(pipeline: Pipeline, evaluation: "Evaluation") -> dict[str, Any]:
    """Write ``evaluation.json``, which ``dvc metrics`` and the stage ``register`` read."""
    by_learner = {
        learner: {metric: score.document() for metric, score in each.items()}
        for learner, each in evaluation.scores.items()
    }
    model = by_learner.pop(evaluation.learner)
    document: dict[str, Any] = {"test_items": evaluation.count, "model": model, "baselines": by_learner}
    document["advantages"] = {learner: score.document() for learner, score in evaluation.advantages.items()}
    if found := evaluation.nothing:
        document["nothing_learned"] = {"signs": found.signs, "causes": found.causes}
    if evaluation.episodes:
        document["episodes"] = evaluation.episodes
    if signatures := {each.name: each.signature() for each in evaluation.metrics if each.signature}:
        document["signatures"] = signatures
    if evaluation.calibration:
        document["calibration_error"] = evaluation.calibration.ece
    if evaluation.layers:
        document["layers"] = evaluation.layers.document()
    text = json.dumps(document, indent=1, sort_keys=True)
    (pipeline.reports / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    return document


def _write_plots(folder: Path, evaluation: "Evaluation") -> None:
    """Write what ``dvc plots`` draws: the score of every learner and every slice, and what each layer tells."""
    emptied(folder)
    name = evaluation.metric.name
    learners = [(learner, each[name]) for learner, each in evaluation.scores.items()]
    parts = [(f"{part.column}: {part.label}", part.score) for part in evaluation.slices]
    for file_name, label, rows in (("scores", "learner", learners), ("slices", "slice", parts)):
        with (folder / f"{file_name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([label, "value", "low", "high"])
            writer.writerows((label, score.value, score.low, score.high) for label, score in rows)
    with (folder / "layers.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["depth", "layer", "value", "low", "high", "untrained"])
        for depth, each in enumerate(evaluation.layers.depths if evaluation.layers else ()):
            told = each.trained
            writer.writerow([depth, each.layer, told.value, told.low, told.high, each.untrained.value])


def _log(pipeline: Pipeline, clock: Clock, document: dict[str, Any]) -> None:
    """Write the scores to the run: few figures, a table in its description, the reports as artifacts."""
    with clock("tracking"):
        from sluiceway.tracking.runs import attach_run

        first = pipeline.metrics[0].name
        figures = {f"test/{name}": score["value"] for name, score in document["model"].items()}
        figures |= {f"test/{first}_{end}": document["model"][first][end] for end in ("low", "high")}
        for learner, scores in document["baselines"].items():
            figures[f"baseline/{_metric_name(learner)}"] = scores[first]["value"]
        if "calibration_error" in document:
            figures["test/calibration_error"] = document["calibration_error"]
        with attach_run(pipeline, read_json(pipeline.model / "run.json")["run_id"]) as run:
            run.log_figures({name: value for name, value in figures.items() if value is not None})
            run.log_curve(_depths(document))
            run.set_tags({"mlflow.note.content": _note(pipeline, document)})
            for name in ("report.html", "evaluation.json", "predictions.parquet"):
                run.log_artifact(pipeline.reports / name, "reports")


def _depths(document: dict[str, Any]) -> "Iterator[MetricPoint]":
    """Yield what each layer tells as points of a curve against depth, so that runs are compared on one chart."""
    from sluiceway.tracking.run import MetricPoint

    told = document.get("layers", {"metric": "", "depths": []})
    now = int(time.time() * 1000)
    for depth, each in enumerate(told["depths"]):
        for network in ("trained", "untrained"):
            if (value := each[network]["value"]) is not None:
                yield MetricPoint(f"layers/{told['metric']}_{network}", depth, value, now)


def _metric_name(learner: str) -> str:
    """Keep what MLflow allows in the name of a metric."""
    return " ".join("".join(letter if letter.isalnum() or letter in " -" else " " for letter in learner).split())


def _note(pipeline: Pipeline, document: dict[str, Any]) -> str:
    """Write the scores as a table of Markdown: the run's description in MLflow."""
    metric = pipeline.metrics[0]
    lines = [f"| {asked(document)} | {metric.title} | 95 % interval |", "|---|---|---|"]
    for learner, scores in {pipeline.params.model.name: document["model"], **document["baselines"]}.items():
        score = scores[metric.name]
        known = score["low"] is not None
        interval = f"{metric.text(score['low'])} to {metric.text(score['high'])}" if known else ""
        lines.append(f"| {learner} | {metric.text(score['value'])} | {interval} |")
    return "\n".join(lines)


def _curves(folder: Path) -> list[dict[str, float]]:
    """Read the training curves back as records with a step and named figures."""
    records = []
    for table, side in (("pretraining", "train"), ("train", "train"), ("validation", "validation")):
        with (folder / f"{table}.csv").open(encoding="utf-8") as file:
            for line in csv.DictReader(file):
                step = int(line.pop("step"))
                records.append(
                    {"step": step} | {f"{side}/{name}": float(value) for name, value in line.items() if value}
                )
    return records
