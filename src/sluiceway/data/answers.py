"""What the classical learner says of each example that it has not learned from.

One fit on the training split answers the test split: that is the baseline of ``evaluate``. The other examples are
answered across folds of their own. So every answer is honest, and nothing is learned twice.

Shapes: M answered examples, K classes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers in the order of the example table. Of the three figures a use case's learner gives one."""

    rows: npt.NDArray[np.int64]
    """Rows in ``examples.parquet``: [M], ascending."""
    classes: tuple[str, ...] = ()
    """Names of the classes, as ``target`` has them."""
    probabilities: Floats | None = None
    """[M, K]: of each class; ``target`` is a class, or labels, each of which may be there or not."""
    predictions: Floats | None = None
    """[M]: ``target`` is a number."""
    surprise: Floats | None = None
    """[M]: how badly a simple model of the other contents fits this one. Where the target is a text: by how much its
    content misleads whoever foretells it, below 0 where it helps."""

    def __len__(self) -> int:
        """M."""
        return len(self.rows)

    def places(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Return where rows of the example table are answered [N], and whether they are: of very many, a sample is."""
        if not len(self.rows):
            return np.zeros(len(rows), np.intp), np.zeros(len(rows), bool)
        place = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return place, self.rows[place] == rows

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what :meth:`write` wrote."""
        table = pq.read_table(path)
        names = table.column_names
        classes = tuple(name.removeprefix("p:") for name in names if name.startswith("p:"))
        probabilities = np.column_stack([table[f"p:{name}"].to_numpy() for name in classes]) if classes else None
        return cls(
            rows=table["row"].to_numpy(),
            classes=classes,
            probabilities=probabilities,
            predictions=table["prediction"].to_numpy() if "prediction" in names else None,
            surprise=table["surprise"].to_numpy() if "surprise" in names else None,
        )

    def write(self, path: Path) -> None:
        """Write ``answers.parquet``; equal answers give equal bytes."""
        columns: dict[str, pa.Array] = {"row": pa.array(self.rows, pa.int64())}
        if self.probabilities is not None:
            columns |= {f"p:{name}": pa.array(self.probabilities[:, k]) for k, name in enumerate(self.classes)}
        if self.predictions is not None:
            columns["prediction"] = pa.array(self.predictions)
        if self.surprise is not None:
            columns["surprise"] = pa.array(self.surprise)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path, compression="zstd")
