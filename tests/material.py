"""A data set for the checks of the gate, written as the stage ``validate`` writes it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sluiceway.checks.base import Material
from sluiceway.config import DataGateParams
from sluiceway.data.learner import cross_fit
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
) -> Material:
    """Write the example table, and let the classical learner answer."""
    count = len(targets)
    table = pl.DataFrame(
        {
            "id": [f"e{at}" for at in range(count)],
            "split": ["test" if at % 5 == 0 else "train" for at in range(count)],
            "group": pl.Series([None] * count, dtype=pl.String),
            "time": pl.Series([None] * count, dtype=pl.Float64),
            "checksum": [f"{at * 2654435761 % 2**32:08x}" for at in range(count)],
            "target": pl.Series(list(targets), dtype=pl.String),
        }
    ).with_columns(**{name: pl.Series(list(values)) for name, values in (columns or {}).items()})
    path = folder / "examples.parquet"
    table.write_parquet(path)
    vectors = None if features is None else np.asarray(features, np.float32)
    sketches = Sketches(np.arange(count), vectors, None)
    material = Material(path, path, kind, measures or {}, DataGateParams(), sketches, corrected=corrected)
    answers = cross_fit(sketches, material.sampled, kind, estimator=estimator) if learn else None
    return replace(material, answers=answers)
