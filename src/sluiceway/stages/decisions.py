"""What a person decided on labels in doubt becomes corrections: tidied and judged as targets of the raw data are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.data.corrections import Correction
from sluiceway.data.labels import label_names, parted
from sluiceway.data.sources import checksum, load
from sluiceway.data.table import BadExample
from sluiceway.errors import DataError, UsageError, nearest
from sluiceway.usecases.pipeline import Pipeline

if TYPE_CHECKING:
    import polars as pl

KEEP, DROP = "keep", "drop"
_NAMED = 5

Row = Mapping[str, str]


def corrections_of(decided: Sequence[Row], pipeline: Pipeline, shown: Path) -> list[Correction]:
    """Make corrections of decisions.

    Args:
        decided: rows of the list of doubtful labels, with a decision.
        pipeline: whose labels they are.
        shown: where the list is, for people.

    Raises:
        DataError: a decision is no target that this data could have; each is named.
        UsageError: the data has not been validated yet.
    """
    court = _Court(pipeline, decided)
    made, faults = [], []
    for row in decided:
        try:
            made.append(court.correction(row))
        except BadExample as bad:
            faults.append(f"{row['id']}: {bad}")
    if faults:
        more = f" (and {len(faults) - _NAMED} more)" if len(faults) > _NAMED else ""
        what = "a label that the data has" if court.known else "a target that the data could have"
        raise DataError(
            f"{shown}: {'; '.join(faults[:_NAMED])}{more}",
            hint=f"write {what}, {KEEP!r} or {DROP!r}; nothing was applied",
        )
    return made


def verb(correction: Correction) -> str:
    """Say in a word what a decision was."""
    return correction.note.partition(";")[0]


class _Court:
    """Judges decisions by what is known of their examples."""

    def __init__(self, pipeline: Pipeline, decided: Sequence[Row]) -> None:
        self._pipeline = pipeline
        self._usecase, self._data = pipeline.usecase, pipeline.params.data
        kind = self._usecase.target
        table = _examples(pipeline) if kind != "none" else None
        self.known: set[str] = set() if table is None or kind not in ("class", "classes") else _targets(table)
        """Classes, or labels; empty where targets are something else."""
        if kind == "classes":
            self.known = set(label_names(self.known))
        self._rows = {} if table is None else _rows(table, [row["id"] for row in decided])

    def correction(self, row: Row) -> Correction:
        """Make a correction of a decision.

        Raises:
            BadExample: it is no target that this example could have.
        """
        decision = row["decision"].strip()
        if decision.lower() == DROP:
            return Correction(row["id"], row["checksum"], None, f"left out; was {row['target'] or 'without a target'}")
        if decision.lower() == KEEP:
            if not row["target"]:
                raise BadExample("no_target", "has no target to keep")
            return Correction(row["id"], row["checksum"], row["target"], "confirmed")
        target = self._tidied(decision)
        if target == row["target"]:
            return Correction(row["id"], row["checksum"], target, "confirmed")
        self._judge(target, row)
        return Correction(row["id"], row["checksum"], target, f"corrected; was {row['target'] or 'without a target'}")

    def _tidied(self, decision: str) -> str:
        kind, tidy = self._usecase.target, self._usecase.tidy
        if kind == "none":
            raise BadExample("no_target", f"these examples have no target: write {KEEP!r} or {DROP!r}")
        target = tidy(decision, self._data) if tidy else decision
        if kind == "class" and target not in self.known:
            words = nearest(target, [*self.known, KEEP, DROP])
            raise BadExample("unknown_class", f"unknown class {target!r}, {words}")
        strange = [label for label in parted(target) if label not in self.known] if kind == "classes" else []
        if strange:
            raise BadExample("unknown_label", f"unknown label {strange[0]!r}, {nearest(strange[0], self.known)}")
        if kind == "number" and not _is_number(target):
            raise BadExample("bad_target", f"{target!r} is not a number")
        return target

    def _judge(self, target: str, row: Row) -> None:
        """Ask what ``validate`` will ask, of the content that was looked at; of another one it does not ask."""
        seen = self._rows.get(row["id"])
        if seen is None or seen["checksum"] != row["checksum"]:
            return
        measures = {name: seen.get(name) for name in self._usecase.measures}
        if self._usecase.amend:
            payload = load(self._pipeline.raw, str(seen["source"]))
            if checksum(payload) != row["checksum"]:
                return
            measures = dict(self._usecase.measure(self._usecase.amend(payload, target), self._data))
        if self._usecase.judge:
            self._usecase.judge(target, measures, self._data)


def _examples(pipeline: Pipeline) -> "pl.LazyFrame":
    import polars as pl

    path = pipeline.validated / "examples.parquet"
    if not path.exists():
        raise UsageError(
            f"pipeline {pipeline.name!r} has not been validated yet", hint=f"dvc repro validate@{pipeline.name}"
        )
    return pl.scan_parquet(path)


def _targets(table: "pl.LazyFrame") -> set[str]:
    import polars as pl

    return set(table.select(pl.col("target").drop_nulls().unique()).collect()["target"].to_list())


def _rows(table: "pl.LazyFrame", ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    import polars as pl

    wanted = pl.LazyFrame({"id": sorted(set(ids))}, schema={"id": pl.String})
    return {row["id"]: row for row in table.join(wanted, on="id", how="semi").collect().iter_rows(named=True)}


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text) and abs(float(text)) != float("inf")
    except ValueError:
        return False
