"""Stage ``gate``: acts on the data gate's verdict. It exits with 1 when the gate is closed, and names the report."""

import json
from datetime import UTC, datetime

from rich.markup import escape

from sluiceway.errors import GateClosed, UsageError
from sluiceway.gates.overrides import overridden, record
from sluiceway.gates.verdict import Verdict
from sluiceway.stages.console import console
from sluiceway.stages.data_verdict import drawn, limits, publish
from sluiceway.stages.frame import done, stage
from sluiceway.usecases.pipeline import Pipeline


def gate(pipeline: Pipeline) -> None:
    """Let the pipeline go on, or stop it here.

    Raises:
        GateClosed: the data is not fit to learn from; the refusal is kept as a FAILED run in MLflow.
    """
    from sluiceway.evaluation.report import write_verdict

    with stage("gate", pipeline) as clock:
        verdict = overridden(Verdict.read(pipeline.validated / "verdict.json"), pipeline.overrides)
        report = pipeline.reports / "data"
        with clock("reports"):
            write_verdict(verdict, pipeline.reports / "verdicts")
            publish(pipeline, verdict)
        if not verdict.open:
            with clock("tracking"):
                from sluiceway.tracking.runs import record_refusal

                record_refusal(pipeline, verdict, [report])
            name, where = pipeline.name, limits(pipeline, [check.name for check in verdict.closed_by])
            raise GateClosed(
                f"the data gate is closed: {verdict.reason}",
                hint=f"{report.relative_to(pipeline.root)}/index.html shows why; mend the data, or change the limits, "
                f"{where}, then `dvc repro register@{name}`; or let it through, on the record: "
                f"`sluiceway gate {name} --override 'the reason'`",
            )
        # Only what later stages depend on: a warning that comes or goes must not train the model again.
        passed: dict[str, object] = {"state": verdict.state, "subject": verdict.subject}
        if verdict.state == "overridden" and verdict.override:
            passed["override"] = verdict.override.model_dump(mode="json")
        (pipeline.validated / "gate.json").write_text(json.dumps(passed, indent=1) + "\n", encoding="utf-8")
        colour = "green" if verdict.state == "open" else "yellow"
        said = verdict.reason.removeprefix("overridden") if verdict.override else f": {verdict.reason}"
        done("gate", pipeline, clock, f"data gate [{colour}]{verdict.state}[/]{escape(said)}")


def override(pipeline: Pipeline, why: str) -> None:
    """Record that a person lets this very data through the closed gate. The next ``dvc repro`` goes on.

    Args:
        pipeline: whose data it is.
        why: the reason, in words.

    Raises:
        UsageError: there is no verdict yet, the gate is not closed, or no reason is given.
    """
    from sluiceway.tracking.lineage import person

    path = pipeline.validated / "verdict.json"
    if not why.strip():
        raise UsageError("an override needs a reason", hint=f"sluiceway gate {pipeline.name} --override 'the reason'")
    if not path.exists():
        raise UsageError(f"pipeline {pipeline.name!r} has no verdict yet", hint=f"dvc repro gate@{pipeline.name}")
    verdict = overridden(Verdict.read(path), pipeline.overrides)
    if verdict.open:
        raise UsageError(
            f"the data gate is {verdict.state}: there is nothing to override",
            hint=f"dvc repro register@{pipeline.name}",
        )
    when = datetime.now(UTC).isoformat(timespec="seconds")
    made = record(verdict, pipeline.overrides, who=person(pipeline.root), when=when, why=" ".join(why.split()))
    let_through = verdict.model_copy(update={"override": made})
    if drawn(pipeline).exists():
        publish(pipeline, let_through)
    ledger = pipeline.overrides.relative_to(pipeline.root)
    console.print(
        f"[bold]gate[/] {pipeline.name}: [yellow]{let_through.state}[/]: {escape(let_through.reason)}; it holds for "
        f"this data only (examples {made.subject[:12]}) [dim]-> {ledger}[/]"
    )
    console.print(f"  [cyan]git add {ledger} && dvc repro register@{pipeline.name}[/]")
