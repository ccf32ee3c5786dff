"""Stage ``register``: the model becomes a version in the registry, and the champion if the model gate is open."""

import json
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from sluiceway.config import Evaluate
from sluiceway.data.documents import read_json
from sluiceway.gates import model as model_gate
from sluiceway.gates.model import Standing
from sluiceway.gates.verdict import Verdict
from sluiceway.stages.console import asked
from sluiceway.stages.examples import accepted_examples, loader_of_row
from sluiceway.stages.frame import done, stage
from sluiceway.stages.reference import keep_as_reference
from sluiceway.usecases.pipeline import Pipeline

if TYPE_CHECKING:
    from sluiceway.tracking.registry import Version

_EXAMPLES = 3
"""Test examples that become the registered model's input example."""


def register(pipeline: Pipeline) -> None:
    """Judge the model, register it with its lineage unless it is already, and move ``champion`` when the gate is open.

    A closed model gate is no failure: the version is registered for whoever wants to look, and the champion stays.

    Raises:
        ModelError: the model's files were altered.
        TrackingError: the registry refuses.
    """
    from sluiceway.evaluation.report import write_verdict

    with stage("register", pipeline) as clock:
        evaluation = read_json(pipeline.reports / "evaluation.json")
        with clock("tracking"):
            from sluiceway.tracking import registry
            from sluiceway.tracking.runs import attach_run

            name = registry.registry_name(pipeline)
            champion = registry.champion(pipeline.root, name)
            with attach_run(pipeline, read_json(pipeline.model / "run.json")["run_id"]) as run:
                known = registry.registered_before(pipeline, run.id, _facts(pipeline, evaluation))
                # A model that is champion already is not asked to beat itself.
                rival = None if known and champion and known.number == champion.number else champion
                verdict = _judge(pipeline, evaluation, rival)
                run.log_verdict(verdict)
                if known:
                    registry.tag(pipeline.root, known, _verdict_tags(pipeline, verdict))
                version = known or registry.register_model(
                    pipeline,
                    run,
                    pipeline.model,
                    _example_rows(pipeline),
                    _tags(pipeline, evaluation, verdict),
                    figures=_figures(evaluation),
                    description=_description(pipeline, evaluation, verdict),
                )
                if verdict.open:
                    registry.set_alias(pipeline.root, name, registry.CHAMPION, version.number)
        with clock("reports"):
            write_verdict(verdict, pipeline.reports / "verdicts", version.run_id)
            keep_as_reference(pipeline, version.name, str(version.number))
        document = {"name": name, "version": version.number, "run_id": version.run_id, "champion": verdict.open}
        document["before"] = champion.number if champion else None
        (pipeline.reports / "registration.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        done("register", pipeline, clock, _summary(version, champion, verdict))


def _judge(pipeline: Pipeline, evaluation: dict[str, Any], champion: "Version | None") -> Verdict:
    metric = pipeline.metrics[0]

    def standing(name: str, value: float) -> Standing:
        return Standing(name, value, metric.text(value))

    scores = {name: score["value"] for name, score in evaluation["model"].items()}
    return model_gate.judge(
        metric.name,
        higher_is_better=metric.higher_is_better,
        challenger=standing("the model", scores[metric.name]),
        baselines=tuple(standing(name, each[metric.name]["value"]) for name, each in evaluation["baselines"].items()),
        champion=_champion_standing(pipeline, champion),
        scores=scores,
        limits=pipeline.params.gates.model,
        pipeline=pipeline.name,
        subject=read_json(pipeline.model / "manifest.json")["weights.safetensors"],
    )


def _champion_standing(pipeline: Pipeline, champion: "Version | None") -> Standing | None:
    """Return how the champion did, if it was scored on the same test split: other scores do not compare."""
    metric = pipeline.metrics[0]
    if champion is None or champion.tags.get(_TEST_SPLIT) != _test_split(pipeline):
        return None
    value = float(champion.tags[f"test.{metric.name}"])
    return Standing(f"version {champion.number}", value, metric.text(value))


_TEST_SPLIT = "sluiceway.test_split"


def _test_split(pipeline: Pipeline) -> str:
    """Digest of the test examples - ids, contents and targets - and of the trial's conditions, where there is one."""
    from sluiceway.training.job import fingerprint

    table = accepted_examples(pipeline)
    columns = [table[name].to_pylist() for name in ("id", "checksum", "target", "split")]
    evaluation = pipeline.params.evaluate
    conditions = [evaluation.model_dump(mode="json", exclude=set(Evaluate.model_fields))] if pipeline.trial else []
    return fingerprint([*(row[:3] for row in zip(*columns, strict=True) if row[3] == "test"), *conditions])


def _example_rows(pipeline: Pipeline) -> list[dict[str, Any]]:
    table = accepted_examples(pipeline)
    test = [row for row, split in enumerate(table["split"].to_pylist()) if split == "test"]
    load = loader_of_row(pipeline, table)
    return pipeline.usecase.serving.example([load(row) for row in test[:_EXAMPLES]])


def _tags(pipeline: Pipeline, evaluation: dict[str, Any], verdict: Verdict) -> dict[str, str]:
    from sluiceway.tracking.lineage import lineage

    # In this order MLflow's table of versions shows them, one to a line: what decides comes first.
    return {**_verdict_tags(pipeline, verdict), **_facts(pipeline, evaluation), **lineage(pipeline)}


def _facts(pipeline: Pipeline, evaluation: dict[str, Any]) -> dict[str, str]:
    """Return what tells a model of a run from another one of it: its scores, and what they were made on."""
    return {
        **{f"test.{name}": repr(score["value"]) for name, score in evaluation["model"].items()},
        "sluiceway.examples": read_json(pipeline.validated / "gate.json")["subject"],
        _TEST_SPLIT: _test_split(pipeline),
    }


def _verdict_tags(pipeline: Pipeline, verdict: Verdict) -> dict[str, str]:
    data_gate = read_json(pipeline.validated / "gate.json")
    states = {
        "data": data_gate["state"],
        "cost": Verdict.read(pipeline.reports / "verdicts" / "cost.json").state,
        "model": verdict.state,
    }
    return {
        **{f"sluiceway.verdict.{gate}": state for gate, state in states.items()},
        "sluiceway.verdict.model.reason": verdict.reason,
        **_override_tags(data_gate.get("override")),
    }


def _figures(evaluation: dict[str, Any]) -> dict[str, float]:
    values = {f"test/{name}": score["value"] for name, score in evaluation["model"].items()}
    return {name: value for name, value in values.items() if value is not None}


def _override_tags(override: dict[str, Any] | None) -> dict[str, str]:
    """Say on the version that a person let its data through a closed gate: who, when, why, past which checks."""
    if not override:
        return {}
    shown = {**override, "checks": ", ".join(override["checks"])}
    return {f"sluiceway.override.data.{name}": str(shown[name]) for name in ("who", "when", "why", "checks")}


def _description(pipeline: Pipeline, evaluation: dict[str, Any], verdict: Verdict) -> str:
    metric = pipeline.metrics[0]
    value = metric.text(evaluation["model"][metric.name]["value"])
    # MLflow's table of versions shows some 20 letters of it.
    score = f"{metric.title} {value} on {asked(evaluation)}"
    return f"{score}. Model gate {verdict.state}. Model: {pipeline.params.model.name}."


def _summary(version: "Version", champion: "Version | None", verdict: Verdict) -> str:
    said = f"{version.name} version {version.number} registered; model gate "
    if verdict.open:
        return said + f"[green]{verdict.state}[/]: it is the champion now"
    stays = f"version {champion.number} stays champion" if champion else "there is no champion yet"
    return said + f"[red]{verdict.state}[/]: {escape(verdict.reason)}; {stays}"
