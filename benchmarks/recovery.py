"""How long training stands still after a loss: Ray Train as it comes, and with our policies and settings.

    python benchmarks/recovery.py

The same worker trains the same job from the same checkpoints. Prints Markdown and writes it to
``benchmarks/results/recovery.md``.
"""

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from chaos import machine
from lab import ROOT, Lab, Training, cluster, processes_of
from outcomes import ELASTIC, TWO

_STOCK = """
import os
from pathlib import Path
import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from sluiceway.training.prepare import prepare
from sluiceway.training.worker import train_worker
from sluiceway.usecases.pipeline import Pipeline

job = prepare(Pipeline.load("digits", Path.cwd()))
Path(job.folder).mkdir(parents=True, exist_ok=True)
ray.init(address=os.environ.get("RAY_ADDRESS", "local"), log_to_driver=False)
fewest, most = job.worlds[0], job.worlds[-1]
TorchTrainer(
    train_worker,
    train_loop_config=job.packed(),
    torch_config=TorchConfig(backend="gloo"),
    scaling_config=ScalingConfig(
        num_workers=most if fewest == most else (fewest, most), resources_per_worker={"CPU": 1}
    ),
    run_config=RunConfig(name="stock", storage_path=job.folder, failure_config=FailureConfig(max_failures=3)),
).fit()
"""


def _training(lab: Lab, name: str, options: dict[str, object], env: dict[str, str], *, stock: bool) -> Training:
    training = lab.training(f"{name}-{'stock' if stock else 'ours'}", options, **env)
    if stock:
        training.command = (sys.executable, "-c", _STOCK)
    return training.start()


def _still(training: Training, hurt: Callable[[], Any]) -> float:
    """Return the seconds from a fault to the next step of training, which is ended then."""
    training.at()
    since = time.time()
    hurt()
    seconds, _ = training.goes_on(since)
    assert training.process is not None
    training.process.terminate()
    training.end()
    return seconds


def worker_killed(lab: Lab, *, stock: bool) -> float:
    training = _training(lab, "killed", {**TWO, "epochs": 400.0}, {}, stock=stock)
    return _still(training, lambda: training.hurt(1, signal.SIGKILL))


def node_lost(lab: Lab, *, stock: bool) -> float:
    with cluster(2, stock=stock) as (ray, nodes, env):
        training = _training(lab, "lost", {**ELASTIC, "epochs": 800.0}, env, stock=stock)
        return _still(training, lambda: ray.remove_node(nodes[1], allow_graceful=False))


def node_out_of_reach(lab: Lab, *, stock: bool) -> float:
    with cluster(2, stock=stock) as (_, nodes, env):
        training = _training(lab, "unreached", {**ELASTIC, "epochs": 800.0}, env, stock=stock)
        stopped = processes_of(nodes[1])
        try:
            return _still(training, lambda: [process.suspend() for process in stopped])
        finally:
            for process in stopped:
                process.kill()


ROWS = {"worker killed": worker_killed, "node lost": node_lost, "node out of reach": node_out_of_reach}


def main() -> None:
    lines = [
        "# Seconds from a loss to the next step",
        "",
        f"`python benchmarks/recovery.py` wrote this. {machine()}",
        "",
        "| loss | Ray Train as it comes | Sluiceway |",
        "|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory(prefix="sluiceway-recovery-") as folder:
        lab = Lab(Path(folder))
        for name, row in ROWS.items():
            seconds = []
            for stock in (True, False):
                try:
                    seconds.append(f"{row(lab, stock=stock):.1f}")
                except AssertionError as error:
                    print(error, file=sys.stderr)
                    seconds.append("does not go on within 300")
            lines.append(f"| {name} | {' | '.join(seconds)} |")
            print(lines[-1], flush=True)
    (ROOT / "benchmarks" / "results" / "recovery.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
