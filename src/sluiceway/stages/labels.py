"""``sluiceway labels``: labels that may be wrong go to a person as a table, and come back as corrections.

Raw data is never changed. ``review`` writes ``data/corrections/<pipeline>.review.csv``; ``apply`` turns the decisions
in that file into ``data/corrections/<pipeline>.csv``, which ``validate`` reads.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sluiceway.checks.catalogue import OF_LABELS
from sluiceway.data.answers import Answers
from sluiceway.data.corrections import Correction, read_corrections, write_corrections
from sluiceway.data.labels import joined, label_names, parted
from sluiceway.errors import DataError, UsageError, nearest
from sluiceway.stages.console import console
from sluiceway.usecases.pipeline import Pipeline

if TYPE_CHECKING:
    import polars as pl

KEEP, DROP = "keep", "drop"
COLUMNS = ("id", "checksum", "target", "suggested", "confidence", "file", "decision")
_NAMED = 5
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
        DataError: a decision is not a label of this data; nothing is written then.
    """
    path = review_path(pipeline)
    shown = path.relative_to(pipeline.root)
    decided = [row for row in read_rows(path) if row["decision"].strip()]
    if not decided:
        state = "has no decisions" if path.exists() else "does not exist"
        raise UsageError(f"{shown} {state}", hint=f"`sluiceway labels review {pipeline.name}`, then fill in `decision`")
    check_decisions(decided, pipeline, shown)
    tidy = _joined if pipeline.usecase.target == "classes" else str
    merged = read_corrections(pipeline.corrections) | {row["id"]: _correction(row, tidy) for row in decided}
    write_corrections(merged.values(), pipeline.corrections)
    rest = [row for row in read_rows(path) if not row["decision"].strip()]
    if rest:
        write_rows(rest, path)
    else:
        path.unlink()
    verbs = [_verb(row) for row in decided]
    counts = ", ".join(f"{verbs.count(verb):,} {verb}" for verb in ("corrected", "confirmed", "left out"))
    written = pipeline.corrections.relative_to(pipeline.root)
    console.print(f"[bold]labels[/] {pipeline.name}: {counts}; {len(rest):,} undecided [dim]-> {written}[/]")
    console.print(f"  [cyan]git add {written} && dvc repro register@{pipeline.name}[/]")


def review_path(pipeline: Pipeline) -> Path:
    """Where the doubtful labels of a pipeline are listed."""
    return pipeline.corrections.with_name(f"{pipeline.name}.review.csv")


def check_decisions(decided: Iterable[Mapping[str, str]], pipeline: Pipeline, shown: Path) -> None:
    """Hold decisions against the labels that the data has.

    Raises:
        DataError: a decision is none of them; each is named.
    """
    kind = pipeline.usecase.target
    known = _labels(pipeline) if kind in ("class", "classes") else set()
    if kind == "classes":
        known = set(label_names(known))
    faults = []
    for row in decided:
        decision = _decision(row)
        if decision == KEEP and not row["target"]:
            faults.append(f"{row['id']}: has no target to keep")
        if decision in (KEEP, DROP):
            continue
        if kind == "class" and decision not in known:
            faults.append(f"{row['id']}: unknown class {decision!r}, {nearest(decision, [*known, KEEP, DROP])}")
        elif kind == "classes":
            strange = [label for label in parted(decision) if label not in known]
            faults += [f"{row['id']}: unknown label {each!r}, {nearest(each, known)}" for each in strange]
        elif kind == "number" and not _is_number(decision):
            faults.append(f"{row['id']}: {decision!r} is not a number")
        elif kind == "none":
            faults.append(f"{row['id']}: these examples have no target: write {KEEP!r} or {DROP!r}")
    if faults:
        more = f" (and {len(faults) - _NAMED} more)" if len(faults) > _NAMED else ""
        raise DataError(
            f"{shown}: {'; '.join(faults[:_NAMED])}{more}",
            hint=f"write a label that the data has, {KEEP!r} or {DROP!r}; nothing was applied",
        )


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
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    draft.replace(path)


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


def _labels(pipeline: Pipeline) -> set[str]:
    import polars as pl

    path = pipeline.validated / "examples.parquet"
    if not path.exists():
        raise UsageError(
            f"pipeline {pipeline.name!r} has not been validated yet", hint=f"dvc repro validate@{pipeline.name}"
        )
    return set(pl.scan_parquet(path).select(pl.col("target").drop_nulls().unique()).collect()["target"].to_list())


def _joined(decision: str) -> str:
    return joined(parted(decision))


def _correction(row: Mapping[str, str], tidy: Callable[[str], str]) -> Correction:
    verb, decision = _verb(row), _decision(row)
    target = {"confirmed": row["target"], "left out": None}.get(verb, tidy(decision))
    note = verb if verb == "confirmed" else f"{verb}; was {row['target'] or 'without a target'}"
    return Correction(row["id"], row["checksum"], target, note)


def _decision(row: Mapping[str, str]) -> str:
    text = row["decision"].strip()
    return text.lower() if text.lower() in (KEEP, DROP) else text


def _verb(row: Mapping[str, str]) -> str:
    decision = _decision(row)
    if decision == DROP:
        return "left out"
    return "confirmed" if decision in (KEEP, row["target"]) else "corrected"


def _key(row: Mapping[str, str]) -> tuple[str, str]:
    return row["id"], row["checksum"]


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text) and abs(float(text)) != float("inf")
    except ValueError:
        return False
