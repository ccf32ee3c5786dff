"""The examples that checks name: what the report shows the worst of, and ``labels review`` lists."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = pa.schema(
    [
        ("check", pa.string()),
        ("id", pa.string()),
        ("detail", pa.string()),
        ("other", pa.string()),
        ("score", pa.float64()),
    ]
)


class Named(Protocol):
    """An example that a check names."""

    @property
    def id(self) -> str:
        """The example's."""

    @property
    def detail(self) -> str:
        """What is wrong with it."""

    @property
    def other(self) -> str | None:
        """Id of an example to be shown beside it."""

    @property
    def score(self) -> float:
        """Worst is highest."""


def write_offenders(offenders: Mapping[str, Iterable[Named]], path: Path) -> None:
    """Write ``offenders.parquet``: by check, in the order given."""
    rows = [
        (check, each.id, each.detail, each.other, each.score) for check, named in offenders.items() for each in named
    ]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(COLUMNS)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, COLUMNS, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_arrays(arrays, schema=COLUMNS), path, compression="zstd")
