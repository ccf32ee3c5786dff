"""Digits by the networks on which the field grew: AlexNet's kind and a deep belief net beside the default.

    dvc repro preprocess@digits
    python benchmarks/history.py                # prints
    python benchmarks/history.py --write        # and writes benchmarks/results/history.md

The same data, split, augmentation, schedule and seed for all: only `model.name` differs. Each is trained as the stage
`train` does it, in a process of its own.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from sluiceway.data.outcomes import read_outcomes, write_outcomes
from sluiceway.data.shards import ShardedSplit, read_encoding
from sluiceway.evaluation.predict import answer
from sluiceway.evaluation.scores import paired_difference, score
from sluiceway.training import driver
from sluiceway.training.prepare import prepare
from sluiceway.usecases import saved
from sluiceway.usecases.pipeline import Pipeline

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "history.md"
NAMES = ("residual", "alexnet", "deep_belief_net")
YEARS = {"residual": "today's default", "alexnet": "2012", "deep_belief_net": "2006"}
RESAMPLES = 2000


def variant(name: str, epochs: float | None, threads: int | None) -> Pipeline:
    """Return the pipeline of the digits with another network."""
    pipeline = Pipeline.load("digits", ROOT)
    document = pipeline.params.model_dump(mode="json", by_alias=True) | {"model": {"name": name}}
    document["train"] |= {"cpus_per_worker": threads} | ({"epochs": epochs} if epochs else {})
    return replace(pipeline, params=pipeline.usecase.params.model_validate(document))


def one_run(name: str, folder: Path, epochs: float | None, threads: int | None) -> None:
    """Train one network, and leave its answers and figures."""
    pipeline = variant(name, epochs, threads)
    job = replace(prepare(pipeline), folder=str(folder / "job"))
    trained = driver.run(job, lambda point: None)
    saved.save(
        folder / "model",
        weights=trained.weights,
        usecase=pipeline.params.usecase,
        target=pipeline.params.target,
        model=pipeline.params.model,
        encoding=read_encoding(pipeline.shards),
    )
    loaded = saved.load(folder / "model", ROOT)
    write_outcomes(answer(ShardedSplit(pipeline.shards, "test"), loaded, 500), folder / "outcomes.parquet")
    figures = {
        "parameters": sum(each.numel() for each in loaded.model.parameters()),
        "seconds": trained.result["seconds"],
        "load": os.getloadavg()[1],
        "steps": job.plan.steps,
        "pretraining": job.plan.pretraining,
        "errors": _errors(trained, job),
    }
    (folder / "figures.json").write_text(json.dumps(figures), encoding="utf-8")


def _errors(trained: driver.Trained, job: Any) -> dict[str, tuple[float, float]]:
    """Return the reconstruction error of each machine, at the beginning and at the end of its pre-training."""
    found = {}
    for phase in job.plan.phases:
        name = f"train/{phase.name}/reconstruction_error"
        curve = [point.metrics[name] for point in trained.curve if name in point.metrics]
        found[phase.name] = (curve[0], curve[-1])
    return found


def report(scratch: Path, epochs: float | None, threads: int | None) -> str:
    """Train all of them, and write the table."""
    metric = Pipeline.load("digits", ROOT).usecase.metrics[0]
    default = None
    lines, notes = [], []
    for name in NAMES:
        folder = scratch / name
        command = [sys.executable, __file__, "--one", name, "--scratch", str(folder)]
        command += ["--epochs", str(epochs)] if epochs else []
        command += ["--threads", str(threads)] if threads else []
        if not (folder / "figures.json").exists():
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        outcomes = read_outcomes(folder / "outcomes.parquet")
        figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
        default = outcomes if default is None else default
        own = score(outcomes, [metric], RESAMPLES, 0)[metric.name]
        apart = paired_difference(outcomes, default, metric, RESAMPLES, 0)
        against = f"{100 * apart.value:+.2f} ({100 * apart.low:+.2f} to {100 * apart.high:+.2f})"
        cells = (
            f"`{name}` ({YEARS[name]})",
            f"{100 * own.value:.1f} % ({100 * own.low:.1f} to {100 * own.high:.1f})",
            "" if name == NAMES[0] else against,
            f"{figures['parameters']:,}",
            f"{figures['steps']:,}",
            f"{figures['seconds']:.0f}",
            f"{figures['load']:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
        if figures["pretraining"]:
            told = ", ".join(f"{machine} {a:.4f} to {b:.4f}" for machine, (a, b) in figures["errors"].items())
            notes.append(
                f"Of `{name}`, {figures['pretraining']:,} steps are pre-training without labels; reconstruction error "
                f"of each machine from its first to its last interval: {told}."
            )
    count = len(next(iter(default.values()))) if default else 0
    given = f" --threads {threads}" if threads else ""
    head = ["# Networks with a history, on digits", "", f"`python benchmarks/history.py{given} --write`", ""]
    threads = threads or os.cpu_count() or 1
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    head += [f"{machine}; each training on {threads} {'thread' if threads == 1 else 'threads'}.", ""]
    head += [
        f"{count:,} test images, 95 % intervals; the difference is paired, in points. Same data, augmentation and",
        "schedule for all: only `model.name` differs.",
        "",
        "| network | accuracy | against the default | parameters | steps | seconds | load meanwhile |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *lines, "", *notes, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=float, help="of training; default: the pipeline's")
    parser.add_argument("--threads", type=int, help="CPU threads; default: all")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help="folder that keeps what was trained, for the next call")
    arguments = parser.parse_args()
    if arguments.one:
        arguments.scratch.mkdir(parents=True, exist_ok=True)
        one_run(arguments.one, arguments.scratch, arguments.epochs, arguments.threads)
        return
    with tempfile.TemporaryDirectory() as scratch:
        page = report(arguments.scratch or Path(scratch), arguments.epochs, arguments.threads)
    print(page)
    if arguments.write:
        RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
