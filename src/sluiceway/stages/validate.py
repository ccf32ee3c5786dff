"""Stage ``validate``: the raw data becomes the example table, and the data gate makes up its mind.

Exits with 0 whatever the verdict, as long as the data could be read: DVC throws away the outputs of a failed command,
and a report must outlive a refusal. The stage ``gate`` acts on the verdict.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape

from sluiceway.checks.base import Finding, Material, Offender, finding
from sluiceway.checks.catalogue import CATALOGUE, check_severities, examine
from sluiceway.data.answers import Answers
from sluiceway.data.contract.suites import names_of
from sluiceway.data.corrections import read_corrections
from sluiceway.data.learning.learner import cross_fit
from sluiceway.data.measuring.engines import Mapper, all_cores
from sluiceway.data.measuring.measure_all import Measured, measure_all
from sluiceway.data.offenders import write_offenders
from sluiceway.data.settled import read_settled
from sluiceway.data.sketches import Sketches
from sluiceway.data.table import schema
from sluiceway.gates import data as data_gate
from sluiceway.gates.verdict import Severity, Verdict
from sluiceway.stages.console import progress, warn
from sluiceway.stages.data_report import write_data_report
from sluiceway.stages.data_verdict import as_it_stands, publish
from sluiceway.stages.examples import listed_examples, loader_of_row
from sluiceway.stages.frame import done, stage
from sluiceway.stages.recall import memo_of
from sluiceway.stages.reference import reference_of
from sluiceway.usecases.pipeline import Pipeline

if TYPE_CHECKING:
    from sluiceway.data.contract.expectations import ExpectationResult


def validate(pipeline: Pipeline) -> None:
    """Measure every raw example, ask every question, and write tables, verdict and report.

    Raises:
        NoRawData, UnknownLayout: there is nothing that could be read.
        ConfigError: the expectations, the corrections or the severities cannot be used.
    """
    from sluiceway.data.contract.expectations import read_suite, run_suite

    usecase, folder, reports = pipeline.usecase, pipeline.validated, pipeline.reports / "data"
    with stage("validate", pipeline) as clock:
        # Faults in what a person wrote are told before the long work, not after.
        suite = read_suite(pipeline.expectations, schema(usecase.measures).names)
        check_severities(pipeline.params.gates.data.severity, names_of(suite))
        shutil.rmtree(reports, ignore_errors=True)
        with clock("data"):
            measured = _measure(pipeline)
        with clock("learning"):
            material = _material(pipeline, measured)
        with clock("checks"), progress("validate", "checks", len(CATALOGUE)) as meter:
            results = run_suite(folder / "examples.parquet", pipeline.expectations, reports / "expectations")
            findings = [*_contract(results), *examine(material, meter.update)]
            verdict = _judge(pipeline, measured, findings)
            # Without overrides: those are the gate's, and change without the data.
            verdict.write(folder / "verdict.json")
            write_offenders({each.check.name: each.offenders for each in findings}, folder / "offenders.parquet")
        with clock("reports"):
            profile = _write_profile(material, folder / "profile.json")
            write_data_report(pipeline, verdict, findings, material, profile)
            verdict = as_it_stands(pipeline, verdict)
            publish(pipeline, verdict)
        _mention_corrections(pipeline, measured)
        done("validate", pipeline, clock, _summary(measured, verdict, reports.relative_to(pipeline.root)))


def _measure(pipeline: Pipeline) -> Measured:
    usecase, params = pipeline.usecase, pipeline.params
    with progress("validate", "examples") as meter:
        return measure_all(
            usecase,
            pipeline.raw,
            listed_examples(pipeline),
            params.data,
            pipeline.validated,
            compared=params.gates.data.compared,
            corrections=read_corrections(pipeline.corrections),
            settled=read_settled(pipeline.sides),
            memo=memo_of(pipeline),
            engine=_engine(),
            on_example=meter.update,
        )


def _engine() -> Mapper:
    """Return where contents are looked at: on the cluster of ``RAY_ADDRESS``, or on all cores of this machine."""
    if not os.environ.get("RAY_ADDRESS"):
        return all_cores
    from sluiceway.launch.mapping import ray_map

    return ray_map


def _material(pipeline: Pipeline, measured: Measured) -> Material:
    """Gather what the checks ask: sketches, the classical learner's answers, the last registered version."""
    usecase, folder = pipeline.usecase, pipeline.validated
    sketches = Sketches.read(folder / "sketches.parquet")
    material = Material(
        examples=folder / "examples.parquet",
        quarantine=folder / "quarantine.parquet",
        target=usecase.target,
        measures=usecase.measures,
        limits=pipeline.params.gates.data,
        sketches=sketches,
        reference=reference_of(pipeline),
        corrected=measured.corrected,
    )
    answers = cross_fit(
        sketches,
        material.sampled,
        usecase.target,
        estimator=usecase.estimator,
        surprise=usecase.surprise,
        load=loader_of_row(pipeline, material.sampled) if usecase.surprise else None,
    )
    (answers or Answers(np.empty(0, np.int64))).write(folder / "answers.parquet")
    return replace(material, answers=answers)


def _contract(results: Sequence["ExpectationResult"]) -> list[Finding]:
    """Turn the results of the suite into findings."""
    return [
        finding(
            each.name,
            each.message,
            passed=each.passed,
            figure=each.observed,
            limit=each.limit,
            severity=Severity(each.severity),
            offenders=[Offender(name) for name in each.ids],
            count=each.offenders,
        )
        for each in results
    ]


def _judge(pipeline: Pipeline, measured: Measured, findings: Sequence[Finding]) -> Verdict:
    return data_gate.judge(
        [each.check for each in findings],
        pipeline.params.gates.data.severity,
        {
            "raw_examples": measured.accepted + sum(measured.quarantined.values()),
            "accepted_examples": measured.accepted,
            "quarantined_examples": sum(measured.quarantined.values()),
            "compared_examples": measured.sketched,
            "corrected_targets": len(measured.corrected),
        },
        pipeline=pipeline.name,
        subject=_digest(pipeline.validated / "examples.parquet"),
    )


def _write_profile(material: Material, path: Path) -> dict[str, Any]:
    from sluiceway.data.profile import profile

    facts = profile(material.scan(), material.measures, material.target)
    path.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return facts


def _mention_corrections(pipeline: Pipeline, measured: Measured) -> None:
    """Say which corrections were not applied: nobody's work is dropped in silence."""
    path = pipeline.corrections.relative_to(pipeline.root)
    for what, lost in (
        ("are of contents that have changed since", measured.stale),
        ("name examples that are not there", measured.unknown),
    ):
        if lost:
            warn(f"{len(lost):,} corrections in {path} {what}, and were not applied: {lost[0].id} ...")


def _summary(measured: Measured, verdict: Verdict, reports: Path) -> str:
    colour = {"open": "green", "overridden": "yellow"}.get(verdict.state, "red")
    known = f" ({measured.remembered:,} known)" if measured.remembered else ""
    return (
        f"{measured.accepted:,} examples accepted{known}, {sum(measured.quarantined.values()):,} quarantined; "
        f"data gate [{colour}]{verdict.state}[/]: {escape(verdict.reason)} [dim]-> {reports}/index.html[/]"
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
