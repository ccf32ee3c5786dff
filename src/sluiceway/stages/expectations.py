"""``sluiceway expectations``: the contract on the example table is written from data, and checked without the rest.

``suggest`` writes ``pipelines/<pipeline>/expectations.json`` for a person to review; ``check`` runs it. Both look at
the table that ``validate`` wrote. Before the first validation there is none: then the raw data is measured for the
occasion.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from sluiceway.data.documents import write_whole
from sluiceway.data.settled import read_settled
from sluiceway.errors import GateClosed, UsageError
from sluiceway.stages.console import console, progress
from sluiceway.stages.examples import listed_examples
from sluiceway.usecases.pipeline import Pipeline

if TYPE_CHECKING:
    from sluiceway.data.contract.expectations import ExpectationResult

_NAMED = 3
"""Offenders that a row names; their number is what was found."""


def suggest(pipeline: Pipeline, *, force: bool = False) -> None:
    """Infer a suite from the data at hand, and write it for a person to review.

    Args:
        pipeline: whose data it is.
        force: whether a suite that is there is replaced; otherwise the new one is put beside it.

    Raises:
        NoRawData, UnknownLayout: there is no validated data, and no raw data that could be read.
        DataError: no example is fit to be looked at.
    """
    from sluiceway.data.contract import suggestions

    with _table(pipeline) as table:
        document = suggestions.suggest(table, pipeline.usecase.measures, pipeline.usecase.target, pipeline.name)
    suite = pipeline.expectations
    aside = _is_used(suite) and not force
    written = suite.with_name("expectations.suggested.json") if aside else suite
    written.parent.mkdir(parents=True, exist_ok=True)
    write_whole(written, render(document))
    entries = document["expectations"]
    warnings = sum(each["severity"] == "warning" for each in entries)
    console.print(
        f"[bold]expectations[/] {pipeline.name}: {len(entries)} suggested, {warnings} of them only warn "
        f"[dim]-> {written.relative_to(pipeline.root)}[/]"
    )
    for line in _advice(pipeline, written, aside=aside):
        console.print(f"  {line}")


def check(pipeline: Pipeline) -> None:
    """Run the suite alone on the data at hand, and show what was found.

    Raises:
        UsageError: there is no suite.
        ConfigError: the suite has faults.
        NoRawData, UnknownLayout: there is no validated data, and no raw data that could be read.
        GateClosed: a critical expectation failed.
    """
    from sluiceway.data.contract.expectations import read_suite, run_suite
    from sluiceway.data.table import schema

    suite = pipeline.expectations
    shown = suite.relative_to(pipeline.root)
    if not suite.exists():
        raise UsageError(f"{shown} does not exist", hint=f"sluiceway expectations suggest {pipeline.name}")
    asked = read_suite(suite, schema(pipeline.usecase.measures).names)  # a fault is told before the long work
    with _table(pipeline) as table:
        results = run_suite(table, suite, docs=None)
    console.print(_results(results, [each.get("kwargs", {}).get("mostly") for each in asked]))
    failed = [each for each in results if not each.passed]
    closing = [each for each in failed if each.severity == "close"]
    usual = len(results) - len(asked)
    own = f", {usual} of them always expected" if usual else ""
    colour = "red" if closing else "yellow" if failed else "green"
    console.print(
        f"[bold]expectations[/] {pipeline.name}: [{colour}]{len(results) - len(failed)} of {len(results)} met[/]{own}, "
        f"{len(failed) - len(closing)} warn, {len(closing)} failed [dim]<- {shown}[/]"
    )
    if closing:
        about = ", ".join(dict.fromkeys(each.column or "the table as a whole" for each in closing))
        raise GateClosed(
            f"{len(closing)} critical expectation{'s' * (len(closing) > 1)} failed, on {about}",
            hint=f"mend the data; or, where the data is right, change {shown}",
        )


def render(document: Mapping[str, Any]) -> str:
    """Write a suite as people do: the arguments of an expectation on one line."""

    def written(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    entries = [
        "    {\n" + ",\n".join(f"      {written(key)}: {written(value)}" for key, value in each.items()) + "\n    }"
        for each in document["expectations"]
    ]
    parts = {key: written(value) for key, value in document.items()}
    parts["expectations"] = "[\n" + ",\n".join(entries) + "\n  ]"
    return "{\n" + ",\n".join(f"  {written(key)}: {part}" for key, part in parts.items()) + "\n}\n"


@contextmanager
def _table(pipeline: Pipeline) -> Iterator[Path]:
    """Give the validated table; where there is none, one that is measured for the occasion."""
    validated = pipeline.validated / "examples.parquet"
    if validated.exists():
        yield validated
        return
    from sluiceway.data.corrections import read_corrections
    from sluiceway.data.measuring.measure_all import measure_all

    usecase, params = pipeline.usecase, pipeline.params
    with tempfile.TemporaryDirectory(prefix="sluiceway-") as folder:
        with progress("measure", "examples") as meter:
            measured = measure_all(
                usecase,
                pipeline.raw,
                listed_examples(pipeline),
                params.data,
                Path(folder),
                compared=params.gates.data.compared,
                corrections=read_corrections(pipeline.corrections),
                settled=read_settled(pipeline.sides),
                on_example=meter.update,
            )
        aside = sum(measured.quarantined.values())
        said = f"{measured.accepted:,} examples accepted, {aside:,} quarantined"
        console.print(f"[bold]measure[/] {pipeline.name}: {said} [dim](not validated yet, nothing is kept)[/]")
        yield Path(folder) / "examples.parquet"


def _is_used(suite: Path) -> bool:
    """Whether a file has a person's work in it: an expectation, or anything that is no suite at all."""
    text = suite.read_text(encoding="utf-8", errors="replace").strip() if suite.exists() else ""
    try:
        document = json.loads(text or "{}")
    except json.JSONDecodeError:
        return True
    return not isinstance(document, dict) or bool(document.get("expectations"))


def _advice(pipeline: Pipeline, written: Path, *, aside: bool) -> Iterator[str]:
    """Say what to do next."""
    suite, new = (path.relative_to(pipeline.root) for path in (pipeline.expectations, written))
    if aside:
        yield f"{suite} is there and was left as it is; compare, and take over what you want:"
        yield f"[cyan]git diff --no-index {suite} {new}[/]"
        yield f"[cyan]sluiceway expectations suggest {pipeline.name} --force[/]  [dim]to replace it as a whole[/]"
    else:
        yield "each expectation has a note of what was seen: keep, edit or delete it in"
        yield f"[cyan]{suite}[/]"
    yield f"[cyan]sluiceway expectations check {pipeline.name}[/]"


def _results(results: Sequence["ExpectationResult"], mostly: Sequence[float | None]) -> Table:
    """Show the results of the suite's own expectations, and of those that are always expected the failed ones."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("result", "expectation", "column", "found", "limit", "offenders"):
        table.add_column(title, overflow="fold")
    for result, share in zip_longest(results, mostly):
        if len(table.rows) < len(mostly) or not result.passed:
            table.add_row(*_row(result, share))
    return table


def _row(result: "ExpectationResult", mostly: float | None) -> tuple[str, ...]:
    from sluiceway.data.contract.wording import figure

    state = "[green]met[/]" if result.passed else "[red]failed[/]" if result.severity == "close" else "[yellow]warns[/]"
    kind = result.type.removeprefix("expect_").removeprefix("column_").removeprefix("table_").replace("_", " ")
    found = "" if result.observed is None else figure(result.observed)
    often = "" if mostly is None else f"for {100 * mostly:.4g} %"
    limit = ", ".join(part for part in (result.limit, often) if part)
    offenders = ", ".join(result.ids[:_NAMED]) + (" ..." if result.offenders > _NAMED else "")
    return state, *(escape(text) for text in (kind, result.column or "", found, limit, offenders))
