"""A data set for the checks of the gate, written as the stage ``validate`` writes it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sluiceway.checks.base import Material, Reference
from sluiceway.config import DataGateParams
from sluiceway.data.learning.learner import cross_fit
from sluiceway.data.sketches import Sketches


def material_of(
    folder: Path,
    features: Any,
    targets: Sequence[str | None],
    *,
    kind: str = "class",
    columns: Mapping[str, Sequence[Any]] | None = None,
    measures: Mapping[str, str] | None = None,
    estimator: Any = None,
    corrected: frozenset[str] = frozenset(),
    learn: bool = True,
    limits: DataGateParams | None = None,
    reference: Reference | None = None,
    quarantined: Sequence[tuple[str | None, str | None]] = (),
    name: str = "examples",
) -> Material:
    """Write the example table, and let the classical learner answer.

    Args:
        folder: where the tables are written.
        features: [N, F], or None.
        targets: [N].
        kind: what targets are.
        columns: of the example table, in the place of the usual ones or beside them.
        measures: kinds of the measured columns.
        estimator: the learner.
        corrected: ids whose label a person has corrected.
        learn: whether the learner is asked.
        limits: of the gate.
        reference: the version before.
        quarantined: ids and reasons of the examples that were set aside.
        name: of the table's file: several versions may lie in one folder.
    """
    count = len(targets)
    table = pl.DataFrame(
        {
            "id": [f"e{at}" for at in range(count)],
            "split": ["test" if at % 5 == 0 else "train" for at in range(count)],
            "group": [None] * count,
            "source": [f"e{at}" for at in range(count)],
            "time": [None] * count,
            "checksum": [f"{at * 2654435761 % 2**32:08x}" for at in range(count)],
            "target": list(targets),
        },
        schema=dict.fromkeys(("id", "split", "group", "source", "time", "checksum", "target"), pl.String)
        | {"time": pl.Float64},
    )
    given = {column: _series(values) for column, values in (columns or {}).items()}
    table = table.with_columns(**{name: each.cast(table.schema.get(name, each.dtype)) for name, each in given.items()})
    path, quarantine = folder / f"{name}.parquet", folder / f"{name}-quarantine.parquet"
    table.write_parquet(path)
    aside = {"id": [each for each, _ in quarantined], "reason": [reason for _, reason in quarantined]}
    pl.DataFrame(aside, schema={"id": pl.String, "reason": pl.String}).write_parquet(quarantine)
    vectors = None if features is None else np.asarray(features, np.float32)
    sketches = Sketches(np.arange(count), vectors, None)
    material = Material(
        path,
        quarantine,
        kind,
        measures or {},
        limits or DataGateParams(),
        sketches,
        reference=reference,
        corrected=corrected,
    )
    answers = cross_fit(sketches, material.sampled, kind, estimator=estimator) if learn else None
    return replace(material, answers=answers)


def _series(values: Any) -> pl.Series:
    return values if isinstance(values, pl.Series) else pl.Series(list(values))


def registered(material: Material, name: str = "p version 1") -> Reference:
    """Take a material for the last version whose model was registered."""
    return Reference(name, material.examples, material.sketches)


def found(check: Any, material: Material) -> dict[str, Any]:
    """Return a check's findings by name."""
    return {each.check.name: each for each in check(material)}


def two_versions(
    folder: Path,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    *,
    new: Any = True,
    kind: str = "class",
    limits: DataGateParams | None = None,
) -> Material:
    """Return this version of a data set, with the one before as its reference.

    Args:
        folder: where the tables are written.
        before: columns by name, of which ``target`` and ``features`` may be left out; all others are measured, unless
            they belong to the example table anyway.
        now: the same of this version.
        new: of each example of this version, or of all: whether its content is new. Otherwise, it is the one of the
            same row before.
        kind: what targets are.
        limits: of the gate.
    """
    reference = registered(_version(folder, before, False, kind, "before", limits, None))
    return _version(folder, now, new, kind, "now", limits, reference)


def _version(
    folder: Path,
    given: Mapping[str, Any],
    new: Any,
    kind: str,
    name: str,
    limits: DataGateParams | None,
    reference: Reference | None,
) -> Material:
    columns = {column: values for column, values in given.items() if column not in ("target", "features")}
    count = len(next(iter(given.values())))
    content = np.where(np.broadcast_to(new, count), np.arange(count) + 10**9, np.arange(count))
    identity = {"id": [f"e{each}" for each in content], "checksum": [f"{each:016x}" for each in content]}
    series = {column: _series(values) for column, values in columns.items()}
    return material_of(
        folder,
        given.get("features"),
        [None if each is None else str(each) for each in given.get("target", ["a"] * count)],
        kind=kind,
        columns=identity | series,
        measures={
            column: "text" if values.dtype == pl.String else "number"
            for column, values in series.items()
            if column not in ("id", "split", "group", "source", "time", "checksum")
        },
        learn=False,
        limits=limits,
        reference=reference,
        name=name,
    )
