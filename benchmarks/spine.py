"""The figures of the spine: scores over seeds, where the time goes, one worker against two, sizes.

Runs the project's own commands in a fresh clone of the last commit, prints Markdown tables, and writes them to
``benchmarks/results/spine.md``. ``--only digits`` (or ``verses``, ``workers``, ``sizes``) runs a part and prints it.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import psutil
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "spine.md"
SEEDS = (0, 1, 2)
STEPS = 50
"""First steps over which the losses of one and of two workers are compared."""
CALLS = 5
PACKAGES = ("torch", "ray", "pytorch-lightning", "mlflow", "dvc", "great-expectations")


@dataclass(frozen=True)
class Clone:
    """A clone of the project, with this interpreter's tools."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return a user's environment; the clone's code is what runs, not that of the editable install."""
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("MLFLOW_", "SLUICEWAY_", "RAY_", "DVC_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
        return {**kept, "PATH": path, "PYTHONPATH": str(self.root / "src"), "NO_COLOR": "1"}

    def run(self, *command: str) -> float:
        """Run a command, its output going to this terminal, and return its seconds."""
        print(f"$ {' '.join(command)}", file=sys.stderr, flush=True)
        began = time.perf_counter()
        subprocess.run(command, cwd=self.root, env=self.environment, stdout=sys.stderr, check=True)
        return time.perf_counter() - began

    def set(self, pipeline: str, section: str, option: str, value: object) -> None:
        """Change an option in a pipeline's parameters."""
        path, yaml = self.root / "pipelines" / pipeline / "params.yaml", YAML()
        document = yaml.load(path)
        document[section][option] = value
        yaml.dump(document, path)

    def report(self, pipeline: str, name: str) -> dict[str, Any]:
        """Read a report."""
        document: dict[str, Any] = json.loads((self.root / "reports" / pipeline / name).read_text(encoding="utf-8"))
        return document

    def pipeline(self, name: str) -> Any:
        """Load a pipeline with the clone's code."""
        from sluiceway.usecases.pipeline import Pipeline

        return Pipeline.load(name, self.root)


@contextmanager
def clone_of(root: Path) -> Iterator[Clone]:
    """Clone the last commit into a temporary folder, and import the package from there."""
    folder = Path(tempfile.mkdtemp(prefix="sluiceway-bench-"))
    try:
        subprocess.run(["git", "clone", "--quiet", str(root), str(folder / "project")], check=True)
        clone = Clone(folder / "project")
        sys.path.insert(0, str(clone.root / "src"))
        os.environ["PYTHONPATH"] = str(clone.root / "src")  # for Ray's workers
        yield clone
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# The parts.


def digits(clone: Clone) -> list[str]:
    """Three seeds of the main job; the first from nothing."""
    rows, accuracies = [], []
    lines: list[str] = []
    for seed in SEEDS:
        clone.set("digits", "train", "seed", seed)
        seconds = clone.run("dvc", "repro", "register@digits")
        evaluation, training = clone.report("digits", "evaluation.json"), clone.report("digits", "training.json")
        model = evaluation["model"]["accuracy"]
        accuracies.append(model["value"])
        ran = "all seven" if seed == SEEDS[0] else "train to register"
        rows.append([str(seed), _percent(model), _interval(model), ran, f"{seconds:.1f}", f"{training['seconds']:.1f}"])
        if seed == SEEDS[0]:
            lines += ["", "### digits: where the time goes (first seed, from nothing)", ""]
            lines += _times(clone, "digits", seconds)
            baselines = evaluation["baselines"]
    rows.append(["**mean**", f"**{100 * statistics.mean(accuracies):.2f} %**", "", "", "", ""])
    rows += [
        [name, _percent(each["accuracy"]), _interval(each["accuracy"]), "", "", ""] for name, each in baselines.items()
    ]
    head = ["seed", "test accuracy", "95 % interval", "stages that ran", "`dvc repro`, s", "training, s"]
    return [f"## digits: {evaluation['test_items']:,} held-out images", "", *table(head, rows), *lines]


def verses(clone: Clone) -> list[str]:
    """One run of the second use case."""
    seconds = clone.run("dvc", "repro", "register@verses")
    evaluation = clone.report("verses", "evaluation.json")
    learners = {clone.pipeline("verses").params.model.name: evaluation["model"], **evaluation["baselines"]}
    rows = [
        [name, f"{each['bits_per_byte']['value']:.3f}", _interval(each["bits_per_byte"], "{:.3f}")]
        for name, each in learners.items()
    ]
    lines = [
        "## verses: bits per byte of held-out text",
        "",
        *table(["learner", "bits per byte", "95 % interval"], rows),
    ]
    return [*lines, "", "### verses: where the time goes", "", *_times(clone, "verses", seconds)]


def workers(clone: Clone) -> list[str]:
    """Losses of the first steps on one and on two workers."""
    from sluiceway.training import driver
    from sluiceway.training.prepare import prepare

    clone.set("digits", "train", "seed", SEEDS[0])
    clone.run("dvc", "repro", "preprocess@digits")
    pipeline = clone.pipeline("digits")
    losses, seconds = {}, {}
    for count in (1, 2):
        train = pipeline.params.train.model_copy(update={"log_every": 1, "workers": count})
        job = prepare(replace(pipeline, params=pipeline.params.model_copy(update={"train": train})))
        # One segment of some steps: the schedule stays that of the whole training.
        job = replace(job, folder=str(clone.root / f"workers-{count}"), plan=replace(job.plan, boundaries=(STEPS + 5,)))
        began = time.perf_counter()
        trained = driver.run(job, lambda point: None)
        seconds[count] = time.perf_counter() - began
        curve = [point.metrics["train/loss"] for point in trained.curve if "train/loss" in point.metrics]
        losses[count] = curve[:STEPS]
        if len(losses[count]) < STEPS:
            raise SystemExit(f"{count} workers left {len(losses[count])} losses, not {STEPS}")
    differences = [abs(one - two) / abs(one) for one, two in zip(losses[1], losses[2], strict=True)]
    shown = (1, 10, 20, 30, 40, 50)
    rows = [
        [str(step), f"{losses[1][step - 1]:.7f}", f"{losses[2][step - 1]:.7f}", f"{differences[step - 1]:.1e}"]
        for step in shown
    ]
    return [
        "## digits: one worker and two, the same seed and global batch",
        "",
        *table(["step", "loss, 1 worker", "loss, 2 workers (DDP)", "relative difference"], rows),
        "",
        f"Largest relative difference over the first {STEPS} steps: **{max(differences):.1e}**. "
        f"With start-up: {seconds[1]:.0f} s and {seconds[2]:.0f} s.",
    ]


def sizes(clone: Clone) -> list[str]:
    """The command line's answer, and the size of the source."""
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        subprocess.run(["sluiceway", "--help"], cwd=clone.root, env=clone.environment, capture_output=True, check=True)
        times.append(1000 * (time.perf_counter() - began))
    files = sorted((clone.root / "src").rglob("*.py"))
    lines = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    largest = max(lines, key=lambda file: lines[file])
    rows = [
        [f"`sluiceway --help`, median of {CALLS}", f"{statistics.median(times):.0f} ms (best {min(times):.0f})"],
        ["`src`", f"{sum(lines.values()):,} lines of Python in {len(files)} files"],
        ["largest file", f"`{largest.relative_to(clone.root).as_posix()}`, {lines[largest]} lines"],
    ]
    return ["## Sizes", "", *table(["what", "figure"], rows)]


PARTS: dict[str, Callable[[Clone], list[str]]] = {
    "digits": digits,
    "verses": verses,
    "workers": workers,
    "sizes": sizes,
}


# Markdown.


def table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _percent(score: dict[str, float]) -> str:
    return f"{100 * score['value']:.2f} %"


def _interval(score: dict[str, float | None], form: str = "") -> str:
    low, high = score["low"], score["high"]
    if low is None or high is None:
        return "-"
    return f"{form.format(low)} to {form.format(high)}" if form else f"{100 * low:.2f} % to {100 * high:.2f} %"


def _times(clone: Clone, name: str, seconds: float) -> list[str]:
    """Write the seconds of each stage's last run by kind of work, held against those of the whole command."""
    from sluiceway.stages.frame import Work, timings

    stages: dict[str, dict[str, float]] = timings(clone.pipeline(name))
    kinds = [kind for kind in get_args(Work) if any(kind in each for each in stages.values())]
    sums = {kind: sum(each.get(kind, 0.0) for each in stages.values()) for kind in kinds}
    total = sum(sums.values())
    rows = [
        [stage, f"{sum(each.values()):.1f}", *(f"{each[kind]:.1f}" if kind in each else "" for kind in kinds)]
        for stage, each in stages.items()
    ]
    rows.append(["**all**", f"**{total:.1f}**", *(f"{sums[kind]:.1f}" for kind in kinds)])
    work = sums.get("data", 0.0) + sums.get("learning", 0.0)
    return [
        *table(["stage", "seconds", *kinds], rows),
        "",
        f"`dvc repro register@{name}` took {seconds:.1f} s on the whole, {seconds - total:.1f} s of them DVC's own; "
        f"{work / seconds:.0%} of the whole was reading data and learning.",
    ]


def machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = (line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if line.startswith("model name"))
        model = next(named, f": {model}").partition(":")[2].strip()
    gigabytes = psutil.virtual_memory().total / 1e9
    return f"{psutil.cpu_count()} cores of {model}, {gigabytes:.0f} GB, {platform.system()}"


def origin(root: Path) -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    if git("status", "--porcelain"):
        print("note: there are uncommitted changes; the last commit is what is measured", file=sys.stderr)
    return git("rev-parse", "--short", "HEAD")


def _head() -> list[str]:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return [
        "# The spine, measured",
        "",
        f"By `make bench` at commit {origin(ROOT)}, on {machine()}; Python {platform.python_version()}, {versions}.",
        "Other machines give other seconds; accuracies differ in the last digits.",
    ]


def main() -> None:
    """Run all parts or some, print them, and write them to the results if they are all there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", action="append", choices=list(PARTS), help="run this part alone; may be repeated")
    wanted = parser.parse_args().only
    lines = _head()
    with clone_of(ROOT) as clone:
        for name in wanted or PARTS:
            lines += ["", *PARTS[name](clone)]
    text = "\n".join(lines) + "\n"
    print(text)
    if not wanted:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(text, encoding="utf-8")
        print(f"written to {RESULTS.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
