"""``sluiceway split``: each class on every side, by the fewest examples that are put elsewhere than the hash says."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from sluiceway.data.labels import parted
from sluiceway.data.settled import read_settled, write_settled
from sluiceway.data.splits import Sides, stratify
from sluiceway.data.table import SPLITS
from sluiceway.errors import DataError, UsageError
from sluiceway.stages.console import console
from sluiceway.usecases.pipeline import Pipeline

if TYPE_CHECKING:
    import polars as pl


def split(pipeline: Pipeline) -> None:
    """Write down in ``data/sides/<pipeline>.csv`` which examples, or groups, are put elsewhere.

    Raises:
        UsageError: the sides are not made by hash, or there are no classes.
        DataError: the data was not validated yet.
    """
    classes = _classes_by_key(pipeline)
    params, settled = pipeline.params.data.split, read_settled(pipeline.sides)
    moves = stratify(classes, params, settled, _registered(pipeline))
    sides = Sides(params, settled | moves)
    lacking = _lacking(classes, sides, params.validation > 0)
    if moves:
        write_settled(settled | moves, pipeline.sides)
        where = pipeline.sides.relative_to(pipeline.root)
        console.print(
            f"[bold]split[/] {pipeline.name}: {len(moves):,} of {len(classes):,} put elsewhere [dim]-> {where}[/]\n"
            f"  commit it, then dvc repro register@{pipeline.name}"
        )
    else:
        console.print(f"[bold]split[/] {pipeline.name}: nothing to put elsewhere")
    for name, lost in lacking.items():
        console.print(f"  class {name!r} has too few that may move to be in {' and '.join(lost)}")


def _classes_by_key(pipeline: Pipeline) -> dict[str, set[str]]:
    """Return which classes each group has, or each example without one."""
    import polars as pl

    kind, path = pipeline.usecase.target, pipeline.validated / "examples.parquet"
    if kind not in ("class", "classes"):
        raise UsageError(
            f"{pipeline.name} learns a {kind}: there are no classes to put on every side",
            hint="sides of numbers and texts are made by hash alone",
        )
    if not path.exists():
        raise DataError(f"{pipeline.name} was not validated yet", hint=f"dvc repro validate@{pipeline.name}")
    params, settled = pipeline.params.data.split, read_settled(pipeline.sides)
    sides = Sides(params, settled)
    table = pl.read_parquet(path, columns=["group", "checksum", "target", "split"]).drop_nulls("target")
    classes: dict[str, set[str]] = {}
    for key, target, side in table.select(_key(), "target", "split").iter_rows():
        if sides.by_time or sides.of(key, None) != side:
            raise UsageError(
                f"the sides of {pipeline.name} are not made by hash: raw data or time decides them",
                hint=f"or `dvc repro validate@{pipeline.name}` has not run since the last `sluiceway split`",
            )
        classes.setdefault(key, set()).update(parted(target) if kind == "classes" else (target,))
    return classes


def _key() -> "pl.Expr":
    import polars as pl

    return pl.coalesce("group", "checksum")


def _registered(pipeline: Pipeline) -> set[str]:
    """Return the keys of the last registered version."""
    import polars as pl

    path = pipeline.reference / "examples.parquet"
    if not path.exists():
        return set()
    return set(pl.read_parquet(path, columns=["group", "checksum"]).select(_key()).to_series().to_list())


def _lacking(classes: Mapping[str, Iterable[str]], sides: Sides, validation: bool) -> dict[str, list[str]]:
    """Return the sides that classes lack."""
    met: dict[str, set[str | None]] = {}
    for key, names in classes.items():
        for name in names:
            met.setdefault(name, set()).add(sides.of(key, None))
    wanted: list[str] = [side for side in SPLITS if validation or side != "validation"]
    lost = {name: [side for side in wanted if side not in found] for name, found in sorted(met.items())}
    return {name: each for name, each in lost.items() if each}
