"""Answers of learners on the test split, kept as a Parquet file: one row per item, plain columns."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq


def write_outcomes(outcomes: Mapping[str, npt.NDArray[Any]], path: Path) -> None:
    """Write columns [N]; equal content gives equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: pa.array(column) for name, column in outcomes.items()}), path, compression="zstd")


def read_outcomes(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read columns [N]."""
    table = pq.read_table(path)
    return {name: np.asarray(table[name].to_numpy(zero_copy_only=False)) for name in table.column_names}
