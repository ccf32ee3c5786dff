"""Two versions of the data beside each other: samples of the last registered one and of this one.

Samples are drawn by a hash of the contents, so they are the same each time, and what both versions have is in both
samples as far as there is room. Millions of rows are read lazily; what is held is bounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sluiceway.checks.base import Material, Reference, count_rows

if TYPE_CHECKING:
    import polars as pl

MOST = 200_000
"""Rows of a version that are held."""
LEAST_NEW, LEAST_NEW_SHARE = 50, 0.01
"""Contents that the last version did not have are looked at by themselves from so many on, and from this share."""
ALL_NEW = 0.99
"""Share above which what is new is the whole."""
_FILES = 10
"""Files from which on those that examples lie in together are taken for documents, recordings or the like."""
_SPAN = 1 << 32


@dataclass(frozen=True)
class Version:
    """Examples of one version. N of them."""

    table: "pl.DataFrame"
    """``id``, ``checksum``, ``target``, ``cluster`` (number, the same in both versions) and what was asked for."""

    def __len__(self) -> int:
        """N."""
        return self.table.height

    @property
    def clusters(self) -> npt.NDArray[np.int64]:
        """Number of each example's cluster, from 0 and without gaps: [N]."""
        return np.unique(self.table["cluster"].to_numpy(), return_inverse=True)[1].reshape(-1)

    def only(self, chosen: npt.NDArray[np.bool_]) -> "Version":
        """Return the chosen examples."""
        import polars as pl

        return Version(self.table.filter(pl.Series(chosen)))


@dataclass(frozen=True)
class Versions:
    """The last registered version and this one."""

    before: Version
    now: Version
    new: npt.NDArray[np.bool_]
    """Whether the version before lacks an example's content: [N of now]."""

    @property
    def parts(self) -> "dict[str, Version]":
        """What is held against the version before, by its name for people."""
        found = {"the data": self.now}
        count = int(self.new.sum())
        if enough_new(count, len(self.now)) and count < ALL_NEW * len(self.now):
            found["what is new"] = self.now.only(self.new)
        return found


def enough_new(count: int, of: int) -> bool:
    """Whether new contents are enough to be looked at by themselves."""
    return count >= LEAST_NEW and count >= LEAST_NEW_SHARE * of


def versions(material: Material, reference: Reference, columns: Sequence[str]) -> Versions:
    """Sample both versions.

    Args:
        material: this version.
        reference: the version before.
        columns: measured columns, which both have.
    """
    before, now = (_sample(path, columns) for path in (reference.examples, material.examples))
    return numbered(before, now, reference.examples)


def sketched(material: Material, reference: Reference) -> Versions:
    """Return the sketched examples of both versions, in the order of the sketches."""
    import polars as pl

    wanted = pl.LazyFrame({"row": reference.sketches.rows})
    rows = pl.scan_parquet(reference.examples).with_row_index("row").cast({"row": pl.Int64})
    before = wanted.join(rows, on="row").sort("row").select(_identity()).collect(engine="streaming")
    return numbered(before, material.sampled.select(_identity()), reference.examples)


def numbered(before: "pl.DataFrame", now: "pl.DataFrame", reference: Path) -> Versions:
    """Number clusters alike in both versions, and find what is new.

    A cluster is a group, or else the file that examples lie in together: passages of one document are no independent
    examples. Where there are few files, they only contain the data.
    """
    import polars as pl

    files = before.filter(pl.col("group").is_null())["file"].n_unique() >= _FILES
    name = pl.coalesce("group", "file", "id") if files else pl.coalesce("group", "id")
    both = pl.concat([each.select(name=name)["name"] for each in (before, now)]).rank("dense").cast(pl.Int64) - 1
    known = pl.scan_parquet(reference).select("checksum")
    asked = now.lazy().select(pl.col("checksum").unique())
    old = known.join(asked, on="checksum", how="semi").unique().collect(engine="streaming")["checksum"]
    return Versions(
        Version(before.drop("group", "file").with_columns(cluster=both[: before.height])),
        Version(now.drop("group", "file").with_columns(cluster=both[before.height :])),
        ~now["checksum"].is_in(old.implode()).to_numpy(),
    )


def _sample(path: Path, columns: Sequence[str]) -> "pl.DataFrame":
    import polars as pl

    table = pl.scan_parquet(path)
    count = count_rows(table)
    if count > MOST:
        table = table.filter(pl.col("checksum").hash() % _SPAN < MOST * _SPAN // count)
    return table.select(*_identity(), *columns).collect(engine="streaming")


def _identity() -> "list[pl.Expr]":
    import polars as pl

    file = pl.col("source").str.split("#").list.first()
    return [pl.col("id"), pl.col("checksum"), pl.col("target"), pl.col("group"), file.alias("file")]
