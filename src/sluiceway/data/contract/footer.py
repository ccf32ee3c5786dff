"""What a Parquet file says of its columns at its end, before a value of them is read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from sluiceway.data.table import MeasureKind
from sluiceway.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Footer:
    """The facts that cost nothing."""

    path: Path
    rows: int
    schema: pa.Schema
    nulls: Mapping[str, int]
    """Missing values by column; those not known are left out. NaN is a value to Parquet, and not counted."""
    ranges: Mapping[str, tuple[int, int]]
    """Least and greatest value of the whole-number columns that have any value."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the end of a file.

        Raises:
            DataError: the file is missing or not Parquet.
        """
        try:
            with pq.ParquetFile(path) as file:
                metadata, schema = file.metadata, file.schema_arrow
        except (FileNotFoundError, pa.ArrowInvalid) as error:
            raise DataError(f"{path} cannot be read: {error}", hint="`dvc repro` makes it again") from None
        nulls: dict[str, int] = {}
        ranges: dict[str, tuple[int, int]] = {}
        for name, chunks in _columns(metadata):
            statistics = [chunk.statistics for chunk in chunks]
            if not metadata.num_rows or all(each is not None and each.has_null_count for each in statistics):
                nulls[name] = sum(each.null_count for each in statistics if each is not None)
            if name in schema.names and schema.field(name).type == pa.int64():
                filled = [(chunk, each) for chunk, each in zip(chunks, statistics, strict=True) if _filled(chunk, each)]
                if filled and all(each is not None and each.has_min_max for _, each in filled):
                    ranges[name] = min(each.min for _, each in filled), max(each.max for _, each in filled)
        return cls(path, metadata.num_rows, schema, nulls, ranges)

    def kind(self, column: str) -> MeasureKind | None:
        """Return what a column holds; None where there is no such column, or it is not known well enough."""
        if column not in self.schema.names:
            return None
        found = self.schema.field(column).type
        if found == pa.int64() and column in self.nulls:
            return "integer"
        if found == pa.float64():
            return "number"
        return "text" if found in (pa.string(), pa.large_string()) else None

    def frame(self) -> "pd.DataFrame":
        """Return the table in pandas without its rows: the types are those that the whole would have."""
        import pandas as pd

        # A missing value changes the type of some columns.
        columns = {
            field.name: pa.nulls(1 if self.nulls.get(field.name) else 0, field.type).to_pandas()[:0]
            for field in self.schema
        }
        return pd.DataFrame(columns)


def _columns(metadata: Any) -> Iterator[tuple[str, list[Any]]]:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    for place in range(metadata.num_columns):
        yield metadata.schema.column(place).path, [group.column(place) for group in groups]


def _filled(chunk: Any, statistics: Any) -> bool:
    """Whether a piece of a column has, or may have, a value."""
    return bool(chunk.num_values) and not (
        statistics is not None and statistics.has_null_count and statistics.null_count == chunk.num_values
    )
