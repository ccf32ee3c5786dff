"""Stage ``validate``: the raw data becomes the example table, and the data gate makes up its mind.

Exits with 0 whatever the verdict, as long as the data could be read: DVC throws away the outputs of a failed command,
and a report must outlive a refusal. The stage ``gate`` acts on the verdict.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from sluiceway.data.measuring import measure_all
from sluiceway.data.table import schema, write_table
from sluiceway.gates import data as data_gate
from sluiceway.gates.verdict import Check, Severity, Verdict
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
    folder, reports = pipeline.validated, pipeline.reports / "data"
    with stage("validate", pipeline) as clock:
        columns = schema(usecase.measures)
        read_suite(pipeline.expectations, columns.names)  # a fault in it is told before the long work, not after
        shutil.rmtree(reports, ignore_errors=True)
        with clock("data"), progress("validate", "examples") as meter:
            examples = usecase.read(pipeline.raw, params.data)
            rows, bad = measure_all(pipeline.raw, examples, usecase.measure, params.data, meter.update)
            accepted = write_table(rows, columns, folder / "examples.parquet")
            quarantined = write_table(bad, schema(usecase.measures, quarantine=True), folder / "quarantine.parquet")

        with clock("checks"):
            results = run_suite(accepted, pipeline.expectations, reports / "expectations")
            verdict = data_gate.judge(
                accepted,
                quarantined,
                _as_checks(results),
                params.gates.data,
                classes=usecase.target == "class",
                pipeline=pipeline.name,
                subject=_digest(folder / "examples.parquet"),
            )
            verdict.write(folder / "verdict.json")

        with clock("reports"):
            facts = profile(accepted, usecase.measures, usecase.target)
            (folder / "profile.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            reasons = Counter(reason.partition(":")[0] for reason in quarantined["reason"].to_pylist())
            page = data_page(verdict, facts, dict(reasons), "expectations/index.html")
            (reports / "index.html").write_text(page, encoding="utf-8")
        done("validate", pipeline, clock, _summary(accepted, quarantined, verdict, reports.relative_to(pipeline.root)))


def _summary(accepted: pa.Table, quarantined: pa.Table, verdict: Verdict, reports: Path) -> str:
    colour = "green" if verdict.open else "red"
    return (
        f"{accepted.num_rows:,} examples accepted, {quarantined.num_rows:,} quarantined; "
        f"data gate [{colour}]{verdict.state}[/]: {verdict.reason} [dim]-> {reports}/index.html[/]"
    )


def _as_checks(results: Sequence["ExpectationResult"]) -> list[Check]:
    """Turn results into checks; an expectation that stands twice gets a number."""
    seen: Counter[str] = Counter()
    checks = []
    for result in results:
        name = f"{result.type}:{result.column}" if result.column else result.type
        seen[name] += 1
        checks.append(_as_check(result, name if seen[name] == 1 else f"{name}:{seen[name]}"))
    return checks


def _as_check(result: "ExpectationResult", name: str) -> Check:
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
