"""``sluiceway labels``: labels that may be wrong go to a person as a table, and come back as corrections.

Raw data is never changed. ``review`` writes ``data/corrections/<pipeline>.review.csv``; ``apply`` turns the decisions
in that file into ``data/corrections/<pipeline>.csv``, which ``validate`` reads.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sluiceway.checks.catalogue import OF_LABELS
from sluiceway.data.answers import Answers
from sluiceway.data.corrections import read_corrections, write_corrections
from sluiceway.data.documents import write_whole
from sluiceway.data.labels import joined
from sluiceway.errors import DataError, UsageError
from sluiceway.stages.console import console
from sluiceway.stages.decisions import DROP, KEEP, corrections_of, verb
from sluiceway.usecases.pipeline import Pipeline

if TYPE_CHECKING:
    import polars as pl

COLUMNS = ("id", "checksum", "target", "suggested", "confidence", "file", "decision")
_THERE = 0.5
"""Probability from which a label is suggested."""

Row = dict[str, str]


def review(pipeline: Pipeline) -> None:
    """Write the labels that may be wrong, worst first, for a person to decide on. Decisions already typed are kept.

    Raises:
        UsageError: the data has not been validated yet.
    """
    path = review_path(pipeline)
    typed = {_key(row): row for row in read_rows(path) if row["decision"].strip()}
    settled = {(each.id, each.checksum) for each in read_corrections(pipeline.corrections).values()}
    listed = [row for row in _doubtful(pipeline) if _key(row) not in settled]
    for row in listed:
        row["decision"] = typed.pop(_key(row), row)["decision"]
    # Decisions that are not applied yet are a person's work, even where the example is doubted no longer.
    listed += [row for key, row in typed.items() if key not in settled]
    shown = path.relative_to(pipeline.root)
    if not listed:
        path.unlink(missing_ok=True)
        console.print(f"[bold]labels[/] {pipeline.name}: no label is in doubt that no one has looked at")
        return
    write_rows(listed, path)
    open_ones = sum(not row["decision"] for row in listed)
    console.print(
        f"[bold]labels[/] {pipeline.name}: {len(listed):,} labels to look at, {open_ones:,} without a decision "
        f"[dim]-> {shown}[/]"
    )
    console.print(f"  fill in `decision`: the right label, `{KEEP}` or `{DROP}`; then")
    console.print(f"  [cyan]sluiceway labels apply {pipeline.name}[/]")


def apply(pipeline: Pipeline) -> None:
    """Feed the decisions back as corrections.

    Raises:
        UsageError: there are no decisions.
        DataError: a decision is no target that this data could have; nothing is written then.
    """
    path = review_path(pipeline)
    shown = path.relative_to(pipeline.root)
    decided = [row for row in read_rows(path) if row["decision"].strip()]
    if not decided:
        state = "has no decisions" if path.exists() else "does not exist"
        raise UsageError(f"{shown} {state}", hint=f"`sluiceway labels review {pipeline.name}`, then fill in `decision`")
    made = corrections_of(decided, pipeline, shown)
    merged = read_corrections(pipeline.corrections) | {each.id: each for each in made}
    write_corrections(merged.values(), pipeline.corrections)
    rest = [row for row in read_rows(path) if not row["decision"].strip()]
    if rest:
        write_rows(rest, path)
    else:
        path.unlink()
    verbs = [verb(each) for each in made]
    counts = ", ".join(f"{verbs.count(each):,} {each}" for each in ("corrected", "confirmed", "left out"))
    written = pipeline.corrections.relative_to(pipeline.root)
    console.print(f"[bold]labels[/] {pipeline.name}: {counts}; {len(rest):,} undecided [dim]-> {written}[/]")
    console.print(f"  [cyan]git add {written} && dvc repro register@{pipeline.name}[/]")


def review_path(pipeline: Pipeline) -> Path:
    """Where the doubtful labels of a pipeline are listed."""
    return pipeline.corrections.with_name(f"{pipeline.name}.review.csv")


def read_rows(path: Path) -> list[Row]:
    """Read a list of doubtful labels that a person may have edited; nothing where there is no file.

    Raises:
        DataError: a column is missing, or it is not CSV in UTF-8.
    """
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}",
                    hint=f"it needs {', '.join(COLUMNS)}, parted by commas",
                )
            return [{name: (row[name] or "") for name in COLUMNS} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="save it as CSV in UTF-8, with commas") from None


def write_rows(rows: Iterable[Mapping[str, str]], path: Path) -> None:
    """Write the list whole or not at all: it holds a person's work."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, file.getvalue())


def _doubtful(pipeline: Pipeline) -> Iterator[Row]:
    """The offenders of the checks on labels, worst first, each once."""
    import polars as pl

    folder = pipeline.validated
    if not (folder / "offenders.parquet").exists():
        raise UsageError(
            f"pipeline {pipeline.name!r} has not been validated yet", hint=f"dvc repro validate@{pipeline.name}"
        )
    offenders = pl.read_parquet(folder / "offenders.parquet").filter(pl.col("check").is_in(list(OF_LABELS)))
    # The learner's doubts first: scores of different checks do not compare.
    order = (pl.col("check") != "label_errors", -pl.col("score"), pl.col("id"))
    offenders = offenders.sort(order).unique("id", keep="first", maintain_order=True)
    examples = (
        pl.scan_parquet(folder / "examples.parquet")
        .with_row_index("row")
        .select(pl.col("row").cast(pl.Int64), "id", "checksum", "target", "source")
        .join(offenders.lazy().select("id"), on="id", how="semi")
        .collect()
    )
    suggestions = _suggestions(pipeline, examples)
    known = {row["id"]: row for row in examples.iter_rows(named=True)}
    for offender in offenders["id"].to_list():
        if offender not in known:
            continue
        row = known[offender]
        suggested, confidence = suggestions.get(row["row"], ("", ""))
        yield {
            "id": row["id"],
            "checksum": row["checksum"] or "",
            "target": row["target"] or "",
            "suggested": suggested,
            "confidence": confidence,
            "file": (pipeline.raw / row["source"]).relative_to(pipeline.root).as_posix(),
            "decision": "",
        }


def _suggestions(pipeline: Pipeline, examples: "pl.DataFrame") -> dict[int, tuple[str, str]]:
    """What the classical learner would say, by row, with its probability; of labels, that of the most doubtful one."""
    path = pipeline.validated / "answers.parquet"
    if not path.exists():
        return {}
    answers = Answers.read(path)
    rows = examples["row"].to_numpy()
    place, there = answers.places(rows)
    found: dict[int, tuple[str, str]] = {}
    for row, at in zip(rows[there].tolist(), place[there].tolist(), strict=True):
        if answers.probabilities is not None and pipeline.usecase.target == "classes":
            sure = answers.probabilities[at]
            has = joined(name for name, each in zip(answers.classes, sure.tolist(), strict=True) if each >= _THERE)
            found[row] = (has, f"{np.maximum(sure, 1 - sure).min():.2f}")
        elif answers.probabilities is not None:
            best = int(answers.probabilities[at].argmax())
            found[row] = (answers.classes[best], f"{answers.probabilities[at, best]:.2f}")
        elif answers.predictions is not None:
            found[row] = (f"{answers.predictions[at]:.4g}", "")
    return found


def _key(row: Mapping[str, str]) -> tuple[str, str]:
    return row["id"], row["checksum"]
