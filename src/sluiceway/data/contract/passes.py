"""One pass over a Parquet file, and what is found in it: figures of columns, and the rows that offend.

Columns are seen as pandas sees them: NaN is a missing value, and whole numbers with missing ones among them are
floating-point numbers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sluiceway.data.contract.footer import Footer

if TYPE_CHECKING:
    import polars as pl

MOST = 20
"""Offenders that are named: as many as Great Expectations names in its summaries."""

Shown = tuple[list[int], list[tuple[Any, ...]]]
"""Places of rows, and what is shown of each."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a question is answered."""

    finish: Callable[["Pass"], Any]
    """Gives the answer once the pass is made."""
    figures: Mapping[str, "pl.Expr"] = field(default_factory=dict)
    """What the pass has to find out for it, under names that tell what it is."""


@dataclass(frozen=True, slots=True)
class Offending:
    """The rows that are not as expected."""

    key: str
    columns: tuple[str, ...]
    """What is shown of them."""
    which: "pl.Expr"
    """True for them."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A few rows, or all of many that are counted."""

    count: int
    places: tuple[int, ...] = ()
    """Of the first ``MOST``, ascending."""


@dataclass
class Pass:
    """One pass over a file, and what was found."""

    footer: Footer
    figures: Mapping[str, Any]
    _shown: dict[str, Shown] = field(default_factory=dict)
    _repeats: dict[tuple[str, ...], tuple[Rows, int]] = field(default_factory=dict)

    @classmethod
    def make(cls, footer: Footer, plans: Iterable[Plan]) -> "Pass":
        """Find out all that some plans need."""
        asked = {name: each for plan in plans for name, each in plan.figures.items()}
        if not asked:
            return cls(footer, {})
        found = scan(footer).select(**asked).collect(engine="streaming")
        return cls(footer, found.row(0, named=True))

    def offenders(self, offending: Offending) -> Shown:
        """Return places and values of the first rows that offend."""
        if not self.figures[offending.key]:
            return [], []
        if offending.key not in self._shown:
            rows = scan(self.footer).with_row_index("place").filter(offending.which).head(MOST)
            self._shown[offending.key] = self._show(rows, offending.columns)
        return self._shown[offending.key]

    def at(self, places: Sequence[int], columns: Sequence[str]) -> Shown:
        """Return places and values of given rows."""
        import polars as pl

        rows = scan(self.footer).with_row_index("place").filter(pl.col("place").is_in(list(places)))
        return self._show(rows, columns) if places else ([], [])

    def _show(self, rows: "pl.LazyFrame", columns: Sequence[str]) -> Shown:
        values = [value_of(self.footer, name).alias(f"value {place}") for place, name in enumerate(columns)]
        found = rows.select("place", *values).collect(engine="streaming")
        return found["place"].to_list(), found.drop("place").rows()

    def repeats(self, columns: tuple[str, ...], kept: "pl.Expr", unless: str) -> tuple[Rows, int]:
        """Return the rows whose values are there more than once, and the number of different values.

        Values are compared by hashes of 64 bits: of ten million different ones, two share a hash in 3 of a million
        tables.

        Args:
            columns: whose values, taken together.
            kept: which rows are looked at.
            unless: names those that are not.
        """
        import polars as pl

        key = (*columns, unless)
        if key not in self._repeats:
            # Zero has two signs, which are one value.
            values = [value_of(self.footer, name) for name in columns]
            values = [
                value if self.footer.kind(name) == "text" else value + 0
                for name, value in zip(columns, values, strict=True)
            ]
            whole = values[0] if len(values) == 1 else pl.struct(values)
            found = scan(self.footer).select(whole.hash(), kept=kept).collect(engine="streaming")
            kept_rows = found["kept"].to_numpy()
            hashes = found.to_series(0).to_numpy()
            self._repeats[key] = _repeats(hashes, kept_rows)
        return self._repeats[key]

    def median(self, column: str) -> float | None:
        """Return a column's median: a pass of its own, for it holds the column."""
        import polars as pl

        rows = scan(self.footer).select(value_of(self.footer, column).cast(pl.Float64)).drop_nulls()
        values = rows.collect(engine="streaming").to_series().to_numpy(writable=True)
        if not len(values):
            return None
        # Not polars' own: it gives NaN where one of the two in the middle is infinite.
        middle = [(len(values) - 1) // 2, len(values) // 2]
        values.partition(middle)
        return float(values[middle].sum() / 2)

    def disordered(self, column: str, *, down: bool, strictly: bool) -> Rows:
        """Return the rows whose value is less (or more) than that of the row before, missing ones left out."""
        found = scan(self.footer).select(value_of(self.footer, column)).collect(engine="streaming").to_series()
        places = np.flatnonzero(found.is_not_null().to_numpy())
        with np.errstate(invalid="ignore"):
            steps = np.diff(found.drop_nulls().to_numpy().astype(np.float64)) * (-1 if down else 1)
        late = places[1:][(steps <= 0) if strictly else (steps < 0)]
        return Rows(len(late), tuple(late[:MOST].tolist()))


def _repeats(hashes: npt.NDArray[np.uint64], kept: npt.NDArray[np.bool_]) -> tuple[Rows, int]:
    different, counts = np.unique(hashes[kept], return_counts=True)
    several = different[counts > 1]
    if not len(several):
        return Rows(0), len(different)
    places = np.flatnonzero(kept & np.isin(hashes, several))
    return Rows(len(places), tuple(places[:MOST].tolist())), len(different)


def scan(footer: Footer) -> "pl.LazyFrame":
    """Return the file, to be asked lazily."""
    import polars as pl

    return pl.scan_parquet(footer.path)


def value_of(footer: Footer, column: str) -> "pl.Expr":
    """Return a column as pandas sees it."""
    import polars as pl

    match footer.kind(column):
        case "number":
            return pl.col(column).fill_nan(None)
        case "integer" if footer.nulls[column]:
            return pl.col(column).cast(pl.Float64)
        case _:
            return pl.col(column)
