"""The contract and the checks of the whole table at scale: polars against Great Expectations on pandas.

    python benchmarks/contract.py                        # ten million rows, prints
    python benchmarks/contract.py --rows 1000000
    python benchmarks/contract.py --write                # and writes benchmarks/results/contract.md

Every run is a process of its own, start and imports included. Memory is the largest resident set that it had.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from sluiceway.config import DataGateParams
from sluiceway.data.contract import expectations
from sluiceway.data.measuring.engines import cores
from sluiceway.data.sketches import Sketches
from sluiceway.data.table import ROW_GROUP, MeasureKind, TableWriter, schema

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "contract.md"
SUITE = ROOT / "pipelines" / "digits" / "expectations.json"
MEASURES: dict[str, MeasureKind] = {
    "width": "integer",
    "height": "integer",
    "channels": "integer",
    "brightness": "number",
    "contrast": "number",
}
CLASSES = [str(number) for number in range(10)]
GROUP = 40
"""Examples of a group."""


def expect(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": "critical"}


MORE = [
    expect("table_columns_to_match_set", column_set=[*schema(MEASURES).names]),
    expect("column_values_to_be_unique", column="checksum"),
    expect("column_values_to_not_be_null", column="group"),
    expect("column_values_to_not_be_null", column="source"),
    expect("column_values_to_match_regex", column="id", regex="^[0-9]/[0-9]+[.]png$"),
    expect("column_value_lengths_to_equal", column="checksum", value=64),
    expect("column_values_to_be_of_type", column="width", type_="int64"),
    expect("column_values_to_be_of_type", column="brightness", type_="float64"),
    expect("column_unique_value_count_to_be_between", column="target", min_value=10, max_value=10),
    expect("column_median_to_be_between", column="contrast", min_value=0.2, max_value=0.4),
    expect("column_stdev_to_be_between", column="brightness", min_value=0.02, max_value=0.08),
    expect("column_max_to_be_between", column="contrast", max_value=0.5),
    expect("column_values_to_be_null", column="time"),
]


def build(rows: int, path: Path) -> None:
    """Write an example table in bounded memory; one row in a hundred thousand breaks a bound."""
    rng = np.random.default_rng(0)
    with TableWriter(schema(MEASURES), path) as writer:
        for start in range(0, rows, ROW_GROUP):
            count = min(ROW_GROUP, rows - start)
            target = rng.integers(0, 10, count)
            frame = pl.DataFrame(
                {
                    "row": np.arange(start, start + count),
                    "target": target,
                    "digest": [rng.bytes(32) for _ in range(count)],
                }
            ).select(
                id=pl.format("{}/{}.png", "target", "row"),
                split=pl.when(pl.col("row") // GROUP % 10 < 7)
                .then(pl.lit("train"))
                .when(pl.col("row") // GROUP % 10 < 8)
                .then(pl.lit("validation"))
                .otherwise(pl.lit("test")),
                group=pl.format("writer {}", pl.col("row") // GROUP),
                source=pl.format("{}/{}.png", "target", "row"),
                time=pl.lit(None, pl.Float64),
                target=pl.col("target").cast(pl.String),
                checksum=pl.col("digest").bin.encode("hex"),
                width=pl.lit(28, pl.Int64),
                height=pl.lit(28, pl.Int64),
                channels=pl.lit(1, pl.Int64),
                brightness=pl.Series(rng.beta(6, 40, count)),
                contrast=pl.Series(0.15 + 0.3 * rng.beta(4, 4, count)),
            )
            writer.write(frame.to_arrow().cast(schema(MEASURES)))


def contract(path: Path, suite: Path, *, by: str) -> dict[str, Any]:
    """Hold the table against the suite."""
    if by == "pandas":
        expectations.plan = lambda question, footer: None
    results = expectations.run_suite(path, suite, None)
    return {
        "expectations": len(results),
        "translated": sum(result.engine == "polars" for result in results),
        "answers": [
            [result.type, result.column, result.passed, result.offenders, list(result.ids)] for result in results
        ],
    }


def table_checks(path: Path, quarantine: Path) -> dict[str, Any]:
    """Make the checks of the whole table."""
    from sluiceway.checks import classes, outliers, sides
    from sluiceway.checks import table as whole
    from sluiceway.checks.base import Material

    checks = (
        *(whole.enough_examples, whole.quarantined_share, whole.splits_filled, whole.exact_copies),
        *(classes.classes_present, classes.classes_alike_across_splits, sides.groups_apart, sides.time_overlap),
        outliers.outliers,
    )
    empty = Sketches(np.empty(0, np.int64), None, None)
    material = Material(path, quarantine, "class", MEASURES, DataGateParams(), empty)
    seconds = {}
    failed = []
    for check in checks:
        began = time.perf_counter()
        failed += [found.check.name for found in check(material) if not found.check.passed]
        seconds[check.__name__] = round(time.perf_counter() - began, 2)
    return {"by_check": seconds, "failed": failed}


def one_run(what: str, folder: Path) -> dict[str, Any]:
    began = time.perf_counter()
    path = folder / "examples.parquet"
    if what == "checks":
        found = table_checks(path, folder / "quarantine.parquet")
    else:
        found = contract(path, folder / "expectations.json", by=what)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": time.perf_counter() - began, "memory": memory, **found}


def fresh_run(what: str, folder: Path) -> dict[str, Any]:
    """Run :func:`one_run` in a new process."""
    command = [sys.executable, __file__, "--one", json.dumps([what, str(folder)])]
    began = time.perf_counter()
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = dict(json.loads(output))
    found["wall"] = time.perf_counter() - began
    print(what, f"{found['wall']:.1f} s, {found['memory'] / 1e6:,.0f} MB", file=sys.stderr, flush=True)
    return found


def report(rows: int, folder: Path) -> str:
    build(rows, folder / "examples.parquet")
    with TableWriter(schema(MEASURES, quarantine=True), folder / "quarantine.parquet") as writer:
        bad = {name: [None] * 100 for name in schema(MEASURES).names} | {
            "reason": ["blank: all pixels are equal"] * 100
        }
        writer.write(pa.table(bad, schema=schema(MEASURES, quarantine=True)))
    suite = json.loads(SUITE.read_text(encoding="utf-8"))
    suite["expectations"] += MORE
    (folder / "expectations.json").write_text(json.dumps(suite), encoding="utf-8")
    size = (folder / "examples.parquet").stat().st_size
    ours, theirs = fresh_run("polars", folder), fresh_run("pandas", folder)
    checks = fresh_run("checks", folder)
    lines = ["# The contract at scale", "", "`python benchmarks/contract.py --write`", ""]
    lines += [f"{rows:,} rows of {len(schema(MEASURES))} columns, {size / 1e6:,.0f} MB of Parquet."]
    lines += [f"{cores()} cores, {platform.machine()}, Python {platform.python_version()}.", ""]
    lines += [f"## {ours['expectations']} expectations", ""]
    lines += ["| | seconds, all | seconds, checking | peak memory | by polars |", "|---|---|---|---|---|"]
    for title, run in (("sluiceway", ours), ("Great Expectations on pandas", theirs)):
        lines += [
            f"| {title} | {run['wall']:.1f} | {run['seconds']:.1f} | {run['memory'] / 1e6:,.0f} MB "
            f"| {run['translated']} of {run['expectations']} |"
        ]
    lines += [
        f"| ratio | {theirs['wall'] / ours['wall']:.1f} | {theirs['seconds'] / ours['seconds']:.1f} "
        f"| {theirs['memory'] / ours['memory']:.1f} | |"
    ]
    alike = "the same" if ours["answers"] == theirs["answers"] else "NOT the same"
    lines += ["", f"Their answers, counts and first offenders are {alike}.", ""]
    lines += ["Checking has the import of Great Expectations in it. The first run has the file in no cache.", ""]
    lines += ["## Checks of the whole table", ""]
    lines += [f"{checks['wall']:.1f} seconds, at most {checks['memory'] / 1e6:,.0f} MB.", ""]
    lines += ["| check | seconds |", "|---|---|"]
    lines += [f"| {name} | {seconds:.2f} |" for name, seconds in checks["by_check"].items()]
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        what, folder = json.loads(arguments.one)
        print(json.dumps(one_run(what, Path(folder))))
        return
    with tempfile.TemporaryDirectory() as folder:
        page = report(arguments.rows, Path(folder))
    print(page)
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
