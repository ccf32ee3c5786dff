"""A place to break trainings in: small real projects, the real ``sluiceway train``, and hands to hurt it with."""

import csv
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from projects import DIGITS_PARAMS, DIGITS_SUITE, Project, make_project, suite  # noqa: E402
from sluiceway.training.spool import Point, read  # noqa: E402

LONG = 300.0
"""Seconds after which something that should have happened will not."""
OPTIONS: dict[str, object] = {
    "epochs": 60.0,
    "log_every": 1,
    "checkpoint_every": 50,
    "validate_every": 10.0,
    "cpus_per_worker": 1,
}
_SETTINGS = {"OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
"""Ray makes workers give way to everything else; here that would measure what else the machine has to do."""
_TOKEN = secrets.token_hex()
"""Of all clusters that are started here: Ray reads it once."""
FAULT_AT = 220
"""Step at which faults come, some steps after a checkpoint."""


@dataclass
class Lab:
    """Makes trainings, all of the same data.

    Args:
        folder: an empty one.
        away: seconds for which a server is away.
    """

    folder: Path
    away: float = 600.0
    _base: Project | None = None
    _whole: dict[str, "Training"] = field(default_factory=dict)

    def base(self) -> Project:
        """Return a project whose shards are ready."""
        if self._base is None:
            root = self.folder / "base"
            root.mkdir(parents=True)
            project = make_project(root, {"digits": ("image", DIGITS_PARAMS, suite(*DIGITS_SUITE))})
            _write_digits(root / "data" / "raw" / "digits")
            project.repro("preprocess@digits")
            self._base = project
        return self._base

    def training(self, name: str, options: dict[str, object] | None = None, **env: str) -> "Training":
        """Return a training that was not started yet."""
        root = self.folder / name
        shutil.copytree(self.base().root, root, symlinks=True)
        project = Project(root)
        for option, value in (OPTIONS | (options or {})).items():
            project.set("digits", f"train.{option}", value)
        return Training(project, env)

    def undisturbed(self, options: dict[str, object] | None = None) -> "Training":
        """Return a training with these options that went through at one go; it runs once."""
        key = json.dumps(options or {}, sort_keys=True)
        if key not in self._whole:
            training = self.training(f"whole-{len(self._whole)}", options)
            assert training.start().end() == 0, training.said()
            self._whole[key] = training
        return self._whole[key]


_USECASE = '''
"""The image use case, hampered."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from sluiceway.usecases.image import FAMILY

_IMAGE = FAMILY.targets["class"]


def losses(model, batch, objective):
{code}
    return _IMAGE.losses(model, batch, objective)


USECASE = replace(_IMAGE, losses=losses)
'''


def _write_digits(folder: Path) -> None:
    """Write 40 of scikit-learn's digits of each class."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for digit in range(10):
        place = folder / str(digit)
        place.mkdir(parents=True)
        for row in np.flatnonzero(digits.target == digit)[:40]:
            pixels = np.minimum(digits.images[row] * 16, 255).astype(np.uint8)
            Image.fromarray(pixels).save(place / f"{row:04d}.png")


@dataclass
class Training:
    """``sluiceway train digits`` in a project of its own."""

    project: Project
    env: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    reached: int = 0
    """Last step before a fault, as far as it is written down."""
    command: tuple[str, ...] = ("sluiceway", "train", "digits")
    log: str = "train.log"
    """Where what it prints goes."""

    def uses(self, name: str, code: str) -> None:
        """Let it train the image use case with some code ahead of its losses; the weights are the same.

        Args:
            name: of the module that is written.
            code: knows ``model`` and ``batch``, ``np``, ``time`` and ``Path``.
        """
        module = _USECASE.format(code=indent(code.strip(), "    "))
        (self.project.root / f"{name}.py").write_text(module, encoding="utf-8")
        self.project.set("digits", "usecase", f"{name}:USECASE")

    def start(self, *, alone: bool = False) -> "Training":
        """Start it, or start it once more.

        Args:
            alone: whether it leads a group of processes of its own, which can be told and killed as a whole.
        """
        with (self.project.root / self.log).open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.project.root,
                env=self.project.environment(**_SETTINGS, **self.env),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=alone,
            )
        return self

    def said(self) -> str:
        """Return all that it printed."""
        return (self.project.root / self.log).read_text(encoding="utf-8", errors="replace")

    @property
    def folder(self) -> Path | None:
        """The job's folder, as long as it trains."""
        return next(iter(self.project.root.glob(".sluiceway/**/training/*/")), None)

    def points(self) -> list[Point]:
        """Return the curve so far."""
        return list(read(self.folder / "metrics.jsonl")) if self.folder else []

    def step(self) -> int:
        """Return the last step of the curve."""
        return max((point.step for point in self.points()), default=0)

    def until(self, true: Callable[[], Any], what: str, limit: float = LONG) -> None:
        """Wait for something to become true while it trains."""
        last = time.monotonic() + limit
        while not true():
            if time.monotonic() > last or (self.process and self.process.poll() is not None):
                raise AssertionError(f"waited in vain for {what}:\n{self.said()}")
            time.sleep(0.01)

    def at(self, step: int = FAULT_AT) -> None:
        """Wait for a step."""
        self.until(lambda: self.step() >= step, f"step {step}")

    def worker(self, rank: int) -> dict[str, Any]:
        """Say which process a worker is."""
        assert self.folder is not None
        document: dict[str, Any] = json.loads((self.folder / "workers" / f"rank-{rank:04d}.json").read_text())
        return document

    def hurt(self, rank: int, how: signal.Signals) -> float:
        """Send a signal to a worker, and return when."""
        os.kill(self.worker(rank)["pid"], how)
        return time.time()

    def goes_on(self, since: float) -> tuple[float, int]:
        """Wait for the first step of workers that started after a moment: seconds from then on, and its number."""

        def anew() -> bool:
            self.reached = self.step() or self.reached
            return self.folder is not None and self.worker(0)["started"] > since

        self.until(anew, "a new worker")
        started = 1000 * self.worker(0)["started"]
        self.until(lambda: any(point.time > started for point in self.points()), "a step of the new workers")
        first = next(point for point in self.points() if point.time > started)
        return first.time / 1000 - since, first.step

    def kill(self) -> float:
        """Kill -9 the stage, not its workers, and return when."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        return time.time()

    def end(self, limit: float = LONG) -> int:
        """Wait for its end and return the exit code."""
        assert self.process is not None
        return self.process.wait(limit)

    # What is left of it.

    def weights(self) -> str:
        """SHA-256 of the model's weights."""
        (path,) = (self.project.root / "models" / "digits").glob("*.safetensors")
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def losses(self) -> dict[int, float]:
        """Training losses by step, from the report."""
        path = self.project.root / "reports" / "digits" / "curves" / "train.csv"
        with path.open(encoding="utf-8", newline="") as file:
            return {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file)}

    def report(self) -> dict[str, Any]:
        """``training.json``."""
        return dict(self.project.json("reports/digits/training.json"))

    def in_mlflow(self) -> Counter[int]:
        """Return how often each step has a training loss in MLflow's store."""
        (path,) = (self.project.root / "mlflow" / "store").glob("*.db")
        with sqlite3.connect(path) as store:
            rows = store.execute("select step from metrics where key = 'train/loss'").fetchall()
        return Counter(step for (step,) in rows)


@contextmanager
def cluster(nodes: int, *, stock: bool = False) -> Iterator[tuple[Any, list[Any], dict[str, str]]]:
    """Start a Ray cluster here: a head without CPUs, and nodes with one each.

    Args:
        nodes: how many beside the head.
        stock: whether it is as Ray comes, without our settings.

    Yields:
        The cluster, its nodes, and the environment in which a driver finds it.
    """
    from sluiceway.launch.cluster import settle

    before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)  # a node of Ray's takes the latter for itself
    os.environ |= _SETTINGS
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = _TOKEN
    os.environ["PYTHONPATH"] = str(ROOT / "src")
    if not stock:
        settle()
    from ray.cluster_utils import Cluster

    _forget_token()
    small = {"object_store_memory": 80_000_000}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    try:
        with_one = [made.add_node(num_cpus=1, **small) for _ in range(nodes)]
        names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
        yield made, with_one, {"RAY_ADDRESS": made.address} | {name: os.environ[name] for name in names}
    finally:
        made.shutdown()
        signal.signal(signal.SIGTERM, handler)
        os.environ.clear()
        os.environ.update(before)
        _forget_token()


def _forget_token() -> None:
    """Let Ray look again for the mode and the token of this process: it remembers those of an earlier cluster."""
    from ray._raylet import AuthenticationTokenLoader, Config

    AuthenticationTokenLoader.instance().reset_cache()
    Config.initialize("")


def processes_of(node: Any) -> list[psutil.Process]:
    """Return the raylet of a node and all that it started."""
    (raylet,) = node.all_processes["raylet"]
    process = psutil.Process(raylet.process.pid)
    return [process, *process.children(recursive=True)]


@contextmanager
def tracking_server(store: Path) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """Serve an MLflow store over HTTP on loopback.

    Yields:
        Its URI, what stops it, and what starts it again.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{store / 'mlflow.db'}", "--artifacts-destination", str(store / "a")]
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        running.append(subprocess.Popen(command, env=env, start_new_session=True, **quiet))
        last = time.monotonic() + LONG
        while time.monotonic() < last:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError("the tracking server does not come up")

    def stop() -> None:
        os.killpg(running[-1].pid, signal.SIGKILL)
        running[-1].wait()

    store.mkdir(parents=True)
    start()
    try:
        yield f"http://127.0.0.1:{port}", stop, start
    finally:
        stop()


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[None]:
    """Put an empty disk of so many bytes at a folder; only root can."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(path: Path) -> None:
    """Write a file that leaves no room on its disk."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
