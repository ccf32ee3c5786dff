"""Stage ``validate``: the raw data becomes the example table, and the data gate makes up its mind.

Exits with 0 whatever the verdict, as long as the data could be read: DVC throws away the outputs of a failed command,
and a report must outlive a refusal. The stage ``gate`` acts on the verdict.
"""

import hashlib
import json
import shutil
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.data.measuring import measure_all
from sluiceway.data.table import schema, write_table
from sluiceway.gates import data as data_gate
from sluiceway.gates.verdict import Check, Severity
from sluiceway.stages.console import progress
from sluiceway.stages.frame import done, stage
from sluiceway.usecases.pipeline import Pipeline

if TYPE_CHECKING:
    from sluiceway.data.expectations import ExpectationResult


def validate(pipeline: Pipeline) -> None:
    """Measure every raw example, check the table, write table, quarantine, profile, verdict and report.

    Raises:
        NoRawData, UnknownLayout: there is nothing that could be read.
        ConfigError: the expectations cannot be used.
    """
    from sluiceway.data.expectations import read_suite, run_suite
    from sluiceway.data.profile import profile
    from sluiceway.evaluation.report import data_page

    usecase, params = pipeline.usecase, pipeline.params
    with stage("validate", pipeline) as clock:
        columns = schema(usecase.measures)
        read_suite(pipeline.expectations, columns.names)  # a fault in it is told before the long work, not after
        with clock("data"), progress("validate", "examples") as meter:
            measure = partial(usecase.measure, data=params.data)
            examples = usecase.read(pipeline.raw, params.data)
            rows, bad = measure_all(pipeline.raw, examples, measure, params.data.split, meter.update)
            table_path = pipeline.validated / "examples.parquet"
            accepted = write_table(rows, columns, table_path)
            quarantined = write_table(bad, schema(usecase.measures, quarantine=True), pipeline.validated / "quarantine.parquet")

        reports = pipeline.reports / "data"
        shutil.rmtree(reports, ignore_errors=True)
        with clock("checks"):
            results = run_suite(accepted, pipeline.expectations, reports / "expectations")
            verdict = data_gate.judge(
                accepted,
                quarantined,
                [_as_check(result) for result in results],
                params.gates.data,
                classes=usecase.target == "class",
                pipeline=pipeline.name,
                subject=_digest(table_path),
            )
            verdict.write(pipeline.validated / "verdict.json")

        with clock("reports"):
            facts = profile(accepted, usecase.measures, usecase.target)
            (pipeline.validated / "profile.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            reasons = Counter(reason.partition(":")[0] for reason in quarantined["reason"].to_pylist())
            page = data_page(verdict, facts, dict(reasons), "expectations/index.html")
            (reports / "index.html").write_text(page, encoding="utf-8")
        colour = "green" if verdict.open else "red"
        done(
            "validate",
            pipeline,
            clock,
            f"{accepted.num_rows:,} examples accepted, {quarantined.num_rows:,} quarantined; "
            f"data gate [{colour}]{verdict.state}[/]: {verdict.reason} [dim]-> {reports.relative_to(pipeline.root)}/index.html[/]",
        )


def _as_check(result: "ExpectationResult") -> Check:
    name = f"{result.type}:{result.column}" if result.column else result.type
    return Check(
        name=name,
        passed=result.passed,
        severity=Severity(result.severity),
        figure=result.observed,
        limit=result.limit,
        message=result.message,
        offenders=result.offenders,
        examples=result.ids,
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
