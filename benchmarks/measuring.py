"""The measuring pass of the data gate: one process against all cores, with a memo, and ten million rows.

    python benchmarks/measuring.py --raw data/raw/digits                # prints
    python benchmarks/measuring.py --raw data/raw/digits --write        # and writes benchmarks/results/measuring.md
    python benchmarks/measuring.py --rows 100000                        # rows of the last part; 0 leaves it out
    python benchmarks/measuring.py --only-grown --copies 4              # looks at larger sets that grew by 1 %, alone
    python benchmarks/measuring.py --only-large                         # memory of a million ratings, 100,000 sketches

A second look is the median of three runs, and so is every figure of the first table; the others are one run. Each run
is a process of its own. Memory is the sum of the resident sets of all its processes, pages that they share counted more
than once.
"""

import argparse
import importlib
import json
import multiprocessing
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from sluiceway.config import DataParams
from sluiceway.data.measuring.engines import all_cores, cores, inline, processes
from sluiceway.data.measuring.measure_all import measure_all
from sluiceway.data.measuring.memo import Memo
from sluiceway.data.sources import byte_range
from sluiceway.data.table import Example
from sluiceway.usecases import find

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "measuring.md"
ENGINES = {"inline": inline, "all": all_cores, "pool": processes(cores())}
RUNS = 3
WIDTH = 24
"""Bytes of a synthetic row."""
RATINGS = 50_000
NEEDED = ("pandas", "polars", "sklearn.svm", "scipy.ndimage", "skimage.feature._hog", "PIL.Image")
"""What the stage imports whatever the memo knows, for the checks and the classical learner; by the names of the modules
that are meant, since ``skimage.feature`` alone imports nothing until it is asked."""


@dataclass(frozen=True)
class Cheap:
    """A use case whose examples cost nothing: what is left is the pass itself."""

    name: str = "cheap"
    data: type[DataParams] = DataParams
    measures: dict[str, Any] = field(
        default_factory=lambda: {"bytes": "integer", "first": "integer", "share": "number"}
    )
    tidy: None = None
    amend: None = None
    judge: None = None
    features: Callable[[bytes, DataParams], Any] | None = None
    fingerprint: Callable[[bytes, DataParams], Any] | None = None
    parts: None = None

    @staticmethod
    def read(raw: Path, data: DataParams) -> Iterator[Example]:
        """List the rows of the one file."""
        for row in range((raw / "rows.txt").stat().st_size // WIDTH):
            source = byte_range("rows.txt", row * WIDTH, (row + 1) * WIDTH)
            yield Example(id=f"rows.txt#{row}", source=source, target="ab"[row % 2])

    @property
    def measure(self) -> Callable[[bytes, DataParams], dict[str, float | int]]:
        """The function itself: a method would not travel to other processes."""
        return cheap


def cheap(payload: bytes, data: DataParams) -> dict[str, float | int]:
    return {"bytes": len(payload), "first": payload[0], "share": payload[1] / 255}


def long_sketch(payload: bytes, data: DataParams) -> Any:
    """As many numbers as features of an image have, at no cost."""
    return np.resize(np.frombuffer(payload, np.uint8), 441).astype(np.float32)


def short_sketch(payload: bytes, data: DataParams) -> Any:
    """As many numbers as the fingerprint of an image has."""
    return np.resize(np.frombuffer(payload, np.uint8), 256).astype(np.float32)


def usecase_of(name: str) -> Any:
    """Return a use case: one of those of this page, or a built-in one."""
    if name == "cheap":
        return Cheap()
    return replace(Cheap(), features=long_sketch, fingerprint=short_sketch) if name == "sketched" else find(name, ROOT)


def one_run(name: str, raw: Path, out: Path, engine: str, memo: Path | None) -> dict[str, Any]:
    """Measure a raw folder, and say how long it took and how much memory."""
    usecase = usecase_of(name)
    data = usecase.data()
    for module in NEEDED:
        importlib.import_module(module)
    began, worked = time.perf_counter(), cpu_seconds()
    with PeakMemory() as memory:
        measured = measure_all(
            usecase,
            raw,
            usecase.read(raw, data),
            data,
            out,
            compared=100_000,
            memo=Memo(memo, usecase.measures) if memo else None,
            engine=ENGINES[engine],
        )
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds() - worked,
        "memory": memory.peak,
        "accepted": measured.accepted,
        "remembered": measured.remembered,
    }


def cpu_seconds() -> float:
    """Return the seconds that this process and those that it waited for have computed: other work does not count."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


class PeakMemory:
    """Watches the resident memory of this process and those that it starts."""

    def __init__(self) -> None:
        self.peak = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._end.wait(0.1):
            total = 0
            for process in (own, *own.children(recursive=True)):
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.peak = max(self.peak, total)


def fresh_run(name: str, raw: Path, out: Path, engine: str, memo: Path | None = None) -> dict[str, Any]:
    """Run :func:`one_run` in a new process."""
    command = [sys.executable, __file__, "--one", json.dumps([name, str(raw), str(out), engine, str(memo or "")])]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(output))


def digits(raw: Path, scratch: Path) -> list[tuple[str, float, int]]:
    """Time the digits: engines, a warm memo, and 1 % new files."""
    copy, out, memo = scratch / "digits", scratch / "out", scratch / "memo" / "key"
    shutil.copytree(raw, copy)
    time.sleep(2.5)  # a file that changed a moment ago is not taken for known
    count = sum(1 for path in copy.rglob("*") if path.is_file())
    rng = np.random.default_rng(0)

    def timed(engine: str, *, warm: bool = False, fresh: bool = False, added: int = 0) -> tuple[float, int]:
        seconds, remembered = [], 0
        for _ in range(RUNS):
            if fresh:
                shutil.rmtree(memo, ignore_errors=True)
            for _ in range(added):
                pixels = rng.integers(0, 255, (28, 28), dtype=np.uint8)
                Image.fromarray(pixels).save(copy / "0" / f"new-{rng.integers(1 << 60)}.png")
            if added:
                time.sleep(2.5)
            found = fresh_run("image", copy, out, engine, memo if warm or fresh else None)
            seconds.append(found["seconds"])
            remembered = found["remembered"]
        return statistics.median(seconds), remembered

    rows = [
        ("fresh, one process", *timed("inline")),
        (f"fresh, {cores()} processes from the start", *timed("pool")),
        ("fresh, as the stage does it", *timed("all")),
        ("fresh, and remembered for the next time", *timed("all", fresh=True)),
        ("again: nothing changed", *timed("all", warm=True)),
        (f"again: {count // 100} images are new (1 %)", *timed("all", warm=True, added=count // 100)),
    ]
    for path in copy.rglob("*.png"):
        path.touch()
    time.sleep(2.5)
    found = fresh_run("image", copy, out, "all", memo)
    rows.append(("again: all files have another time, their contents are known", found["seconds"], found["remembered"]))
    return rows


def grown(raw: Path, copies: int, side: int, scratch: Path) -> tuple[int, list[tuple[str, float, int]]]:
    """Time a larger set, made of the images with a few dots put in: where the start counts for less. In CPU seconds."""
    target, out, memo = scratch / f"grown-{side}", scratch / "out", scratch / f"grown-{side}-memo" / "key"
    rng = np.random.default_rng(0)

    def add(name: str, sources: list[Path]) -> None:
        for number, path in enumerate(sources):
            pixels = np.array(Image.open(path).convert("L").resize((side, side)))
            pixels[tuple(rng.integers(0, side, (2, 3)))] = rng.integers(0, 255, 3)
            place = target / path.parent.name / f"{name}-{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place)
        time.sleep(2.5)

    images = sorted(raw.rglob("*.png"))
    add("old", images * copies)
    count = len(images) * copies
    rows = [_looks("image", target, out, memo, "fresh", lambda: None, 1)]
    rows.append(_looks("image", target, out, memo, "again: nothing changed", lambda: None, RUNS))

    def grow() -> None:
        add(f"new-{rng.integers(1 << 60)}", images[:: max(1, len(images) // (count // 100))][: count // 100])

    return count, [*rows, _looks("image", target, out, memo, "again: 1 % are new", grow, RUNS)]


def _looks(
    name: str, raw: Path, out: Path, memo: Path, title: str, change: Callable[[], None], runs: int
) -> tuple[str, float, int]:
    """Change the data and look at it, some times; return the median of CPU seconds, and what was known at last."""
    seconds = []
    for _ in range(runs):
        change()
        found = fresh_run(name, raw, out, "all", memo)
        seconds.append(found["cpu_seconds"])
        print(title, found, file=sys.stderr, flush=True)
    return title, statistics.median(seconds), found["remembered"]


def ratings(rows: int, scratch: Path) -> list[tuple[str, float, int]]:
    """Time a table of ratings, with the reader that knows what they are; a user has a hundred. In CPU seconds."""
    raw, out, memo = scratch / "ratings", scratch / "ratings-out", scratch / "ratings-memo" / "key"
    raw.mkdir()
    _append(raw, 0, rows)
    looks = [_looks("recommendation", raw, out, memo, "fresh", lambda: None, 1)]
    looks.append(_looks("recommendation", raw, out, memo, "again: nothing changed", lambda: None, 1))
    _append(raw, rows, rows // 100)
    return [*looks, _looks("recommendation", raw, out, memo, "again: 1 % are appended", lambda: None, 1)]


def _append(raw: Path, start: int, count: int) -> None:
    with (raw / "ratings.inter").open("a", encoding="utf-8") as file:
        if not start:
            file.write("user_id:token\titem_id:token\trating:float\ttimestamp:float\n")
        for row in range(start, start + count):
            file.write(f"{row // 100}\t{row * 7919 % 10007}\t{1 + row * 31 % 5}\t{880000000 + row}\n")
    time.sleep(2.5)


def large(scratch: Path, rows: int, sketched: int) -> list[tuple[str, dict[str, Any]]]:
    """Look at very many ratings, and at as many sketches as are compared at most: what memory do they take?"""
    found, out = [], scratch / "large-out"
    for title, name, count in (
        ("ratings", "recommendation", rows),
        ("rows sketched as images are", "sketched", sketched),
    ):
        raw, memo = scratch / f"large-{name}", scratch / f"large-{name}-memo" / "key"
        raw.mkdir()
        if name == "recommendation":
            _append(raw, 0, count)
        else:
            _write_rows(raw, count)
        for look in ("fresh", "again: nothing changed"):
            found.append((f"{count:,} {title}, {look}", fresh_run(name, raw, out, "all", memo)))
            print(*found[-1], file=sys.stderr, flush=True)
    return found


def _write_rows(raw: Path, rows: int) -> None:
    with (raw / "rows.txt").open("wb") as file:
        for row in range(rows):
            file.write(b"%0*d\n" % (WIDTH - 1, row * 2654435761 % (1 << 60)))
    time.sleep(2.5)


def many(rows: int, scratch: Path) -> list[tuple[str, dict[str, Any]]]:
    """Time very many cheap rows."""
    raw, memo = scratch / "many", scratch / "many-memo" / "key"
    raw.mkdir()
    _write_rows(raw, rows)
    out = scratch / "many-out"
    found = []
    for title, engine, kept in (
        ("one process", "inline", None),
        ("all cores", "all", None),
        ("all cores, and remembered for the next time", "all", memo),
        ("again: nothing changed", "all", memo),
    ):
        found.append((title, fresh_run("cheap", raw, out, engine, kept)))
        print(title, found[-1][1], file=sys.stderr, flush=True)
    return found


def looks_table(title: str, timings: list[tuple[str, float, int]]) -> list[str]:
    """Write a table of looks in CPU seconds."""
    base = timings[0][1]
    lines = [f"## {title}", "", "| | CPU seconds | of the first line | not looked at again |", "|---|---|---|---|"]
    return [*lines, *(f"| {name} | {s:.2f} | {100 * s / base:.1f} % | {known:,} |" for name, s, known in timings), ""]


def memory_table(title: str, found: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Write a table of large sets."""
    lines = [f"## {title}", "", "| | seconds | CPU seconds | peak memory, all processes |", "|---|---|---|---|"]
    for name, run in found:
        lines.append(f"| {name} | {run['seconds']:.0f} | {run['cpu_seconds']:.0f} | {run['memory'] / 1e6:,.0f} MB |")
    return [*lines, ""]


def report(arguments: argparse.Namespace, scratch: Path) -> str:
    raw: Path | None = arguments.raw if arguments.raw.exists() else None
    whole = not (arguments.only_grown or arguments.only_large)
    lines = ["# The measuring pass", "", "`python benchmarks/measuring.py --write`", ""]
    lines += [f"{cores()} cores, {platform.machine()}, Python {platform.python_version()}.", ""]
    if raw and whole:
        timings = digits(raw, scratch)
        base = timings[0][1]
        lines += ["## 5,000 digits", "", "| | seconds | of the first line | not looked at again |", "|---|---|---|---|"]
        lines += [f"| {title} | {s:.2f} | {100 * s / base:.0f} % | {known:,} |" for title, s, known in timings]
        lines += [
            "",
            "Listing the files and writing the tables is in every line, imports are in none; medians of three runs.",
            "",
        ]
    if not arguments.only_large:
        copies = arguments.copies
        for number, side in ((copies, 28), (-(-copies // 4), 256)) if raw and copies else ():
            count, timings = grown(raw, number, side, scratch)
            lines += looks_table(f"{count:,} digits of {side} x {side} pixels", timings)
        if copies:
            lines += looks_table(f"{RATINGS:,} ratings in one table", ratings(RATINGS, scratch))
    if arguments.only_large or whole:
        lines += memory_table("Large sets", large(scratch, 1_000_000, 100_000))
    if arguments.rows and whole:
        title = f"{arguments.rows:,} rows of a file, with a measure that costs nothing"
        lines += memory_table(title, many(arguments.rows, scratch))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--raw", type=Path, default=ROOT / "data" / "raw" / "digits")
    parser.add_argument("--copies", type=int, default=10, help="of each image, in a larger set; 0 leaves it out")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--only-grown", action="store_true", help="the larger sets alone")
    parser.add_argument("--only-large", action="store_true", help="a million ratings and 100,000 sketches alone")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, raw, out, engine, memo = json.loads(arguments.one)
        print(json.dumps(one_run(name, Path(raw), Path(out), engine, Path(memo) if memo else None)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        page = report(arguments, Path(scratch))
    print(page)
    if arguments.write:
        RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__" and multiprocessing.parent_process() is None:
    main()
