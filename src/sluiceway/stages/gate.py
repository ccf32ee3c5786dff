"""Stage ``gate``: acts on the data gate's verdict. It exits with 1 when the gate is closed, and names the report."""

import json

from sluiceway.errors import GateClosed
from sluiceway.gates.verdict import Verdict
from sluiceway.stages.frame import done, stage
from sluiceway.usecases.pipeline import Pipeline


def gate(pipeline: Pipeline) -> None:
    """Let the pipeline go on, or stop it here.

    Raises:
        GateClosed: the data is not fit to learn from; the refusal is kept as a FAILED run in MLflow.
    """
    with stage("gate", pipeline) as clock:
        verdict = Verdict.read(pipeline.validated / "verdict.json")
        report = pipeline.reports / "data"
        if not verdict.open:
            with clock("tracking"):
                from sluiceway.tracking.runs import record_refusal

                record_refusal(pipeline, verdict, [report])
            raise GateClosed(
                f"the data gate is closed: {verdict.reason}",
                hint=f"{report.relative_to(pipeline.root)}/index.html shows why; mend the data, or change the limits "
                f"in pipelines/{pipeline.name}/ (params.yaml, expectations.json), then `dvc repro`",
            )
        # Only what later stages depend on: a warning that comes or goes must not train the model again.
        passed = {"state": verdict.state, "subject": verdict.subject}
        (pipeline.validated / "gate.json").write_text(json.dumps(passed, indent=1) + "\n", encoding="utf-8")
        done("gate", pipeline, clock, f"data gate [green]{verdict.state}[/]: {verdict.reason}")
