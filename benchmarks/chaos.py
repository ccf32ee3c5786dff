"""The fault matrix: each row breaks a real training of the real stage, and looks at what became of it.

    make chaos                                   # all rows
    python benchmarks/chaos.py --short           # those that `make test` runs too
    python benchmarks/chaos.py --only "node lost" --keep

Prints a table and writes it, when all rows ran, to ``benchmarks/results/chaos.md``. A row is a function from a lab to
an outcome, and a line in ``ROWS``.
"""

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from lab import FAULT_AT, OPTIONS, ROOT, Lab, Training, cluster, processes_of, tracking_server

RESULTS = ROOT / "benchmarks" / "results" / "chaos.md"
TWO: dict[str, object] = {"workers": 2}
GENTLE: dict[str, object] = {"optimizer": "sgd", "lr": 0.0002, "validate_every": 100.0}
"""A training in which errors of rounding do not grow, so that losses of another number of workers can be compared."""
ELASTIC: dict[str, object] = {**GENTLE, "workers": [1, 2]}
PACKAGES = ("ray", "torch", "pytorch-lightning", "mlflow")


@dataclass(frozen=True)
class Outcome:
    """What became of one training."""

    happened: str
    steps_lost: int | None = None
    """Steps that were done twice."""
    seconds: float | None = None
    """From the fault to the first step of the training that goes on."""
    missing: int | None = None
    """Steps without a training loss in MLflow."""
    doubled: int | None = None
    """Steps with more than one."""
    result: str = ""
    """Whether the weights are those of an undisturbed training."""
    right: bool = True
    """Whether all of this is as it should be."""


def _outcome(training: Training, whole: Training, happened: str, seconds: float, first: int) -> Outcome:
    """Compare a training that came through with an undisturbed one."""
    lost = max(0, training.reached + 1 - first)
    logged, steps = training.in_mlflow(), set(whole.losses())
    missing, doubled = len(steps - set(logged)), sum(count > 1 for count in logged.values())
    same = training.weights() == whole.weights()
    agree = same or _apart(training, whole) < TOLERANCE
    result = "the same bits" if same else f"losses within {_apart(training, whole):.0e}"
    every = OPTIONS["checkpoint_every"]
    assert isinstance(every, int)
    right = agree and not missing and not doubled and lost <= every and set(training.losses()) == steps
    return Outcome(happened, lost, seconds, missing, doubled, result, right)


TOLERANCE = 1e-5
"""Of losses where the number of workers changed: sums are taken in another order."""


def _apart(one: Training, other: Training) -> float:
    """Return the largest difference of two loss curves, as a share of the largest loss."""
    mine, theirs = one.losses(), other.losses()
    scale = max(theirs.values())
    return max(abs(mine[step] - theirs[step]) for step in mine.keys() & theirs.keys()) / scale


# The rows.


def worker_killed(lab: Lab) -> Outcome:
    """SIGKILL to one of two workers."""
    whole, training = lab.undisturbed(TWO), lab.training("worker-killed", TWO).start()
    training.at()
    since = training.hurt(1, signal.SIGKILL)
    seconds, first = training.goes_on(since)
    assert training.end() == 0, training.said()
    return _outcome(training, whole, "both workers are started anew", seconds, first)


def worker_hung(lab: Lab) -> Outcome:
    """SIGSTOP to one of two workers; counts as hung after 5 s."""
    whole, training = lab.undisturbed(TWO), lab.training("worker-hung", {**TWO, "stall_limit": 5.0}).start()
    training.at()
    since = training.hurt(1, signal.SIGSTOP)
    seconds, first = training.goes_on(since)
    assert training.end() == 0, training.said()
    return _outcome(training, whole, "noticed after stall_limit, 5 s here; then as if killed", seconds, first)


def node_lost(lab: Lab) -> Outcome:
    """One of two nodes is gone with all its processes."""
    whole = lab.undisturbed({**GENTLE, "epochs": 80.0})
    with cluster(2) as (ray, nodes, env):
        training = lab.training("node-lost", {**ELASTIC, "epochs": 80.0}, **env).start()
        training.at()
        since = time.time()
        ray.remove_node(nodes[1], allow_graceful=False)
        seconds, first = training.goes_on(since)
        assert training.end() == 0, training.said()
    return _outcome(training, whole, "goes on with one worker", seconds, first)


def node_out_of_reach(lab: Lab) -> Outcome:
    """A node does not answer any more, and its connections stay open, as when its power or its network fails."""
    whole = lab.undisturbed({**GENTLE, "epochs": 80.0})
    with cluster(2) as (_, nodes, env):
        training = lab.training("node-out-of-reach", {**ELASTIC, "epochs": 80.0}, **env).start()
        training.at()
        since = time.time()
        stopped = processes_of(nodes[1])
        for process in stopped:
            process.suspend()
        seconds, first = training.goes_on(since)
        assert training.end() == 0, training.said()
        for process in stopped:
            process.kill()
    return _outcome(training, whole, "goes on with one worker", seconds, first)


def node_back(lab: Lab) -> Outcome:
    """A second node comes while one worker trains; seconds count from when it is up."""
    whole = lab.undisturbed({**GENTLE, "epochs": 250.0})
    with cluster(1) as (ray, _, env):
        training = lab.training("node-back", {**ELASTIC, "epochs": 250.0}, **env).start()
        training.at()
        ray.add_node(num_cpus=1, object_store_memory=80_000_000)
        since = time.time()
        seconds, first = training.goes_on(since)
        assert training.end() == 0, training.said()
    return _outcome(training, whole, "goes on with two workers, at a checkpoint", seconds, first)


def driver_killed(lab: Lab) -> Outcome:
    """Kill -9 to the stage itself, then the same command again; seconds count from there."""
    whole, training = lab.undisturbed(), lab.training("driver-killed").start()
    training.at()
    since = training.kill()
    seconds, first = training.start().goes_on(since)
    assert training.end() == 0, training.said()
    return _outcome(training, whole, "the same command goes on", seconds, first)


def driver_of_two_killed(lab: Lab) -> Outcome:
    """The same with two workers, who must not outlive it."""
    whole, training = lab.undisturbed(TWO), lab.training("driver-of-two-killed", TWO).start()
    training.at()
    pids = [training.worker(rank)["pid"] for rank in (0, 1)]
    since = training.kill()
    seconds, first = training.start().goes_on(since)
    left = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert training.end() == 0, training.said()
    outcome = _outcome(training, whole, "its workers end too; the same command goes on", seconds, first)
    assert not left, f"workers {left} outlived the driver"
    return outcome


def told_to_leave(lab: Lab) -> Outcome:
    """SIGTERM to the stage with two workers, then the same command again; seconds count from there."""
    whole, training = lab.undisturbed(TWO), lab.training("told-to-leave", TWO).start()
    training.at()
    assert training.process is not None
    training.process.terminate()
    code = training.end()
    since = time.time()
    seconds, first = training.start().goes_on(since)
    assert training.end() == 0, training.said()
    outcome = _outcome(training, whole, f"ends with {code}; the same command goes on", seconds, first)
    return Outcome(**{**vars(outcome), "right": outcome.right and code == 75 and outcome.steps_lost == 0})


def newest_checkpoint_broken(lab: Lab) -> Outcome:
    """A byte of the newest checkpoint is flipped while nothing runs."""
    whole, training = lab.undisturbed(), lab.training("checkpoint-broken").start()
    training.at()
    training.kill()
    assert training.folder is not None
    newest = max(training.folder.glob("checkpoints/step-*"))
    path = max(newest.iterdir(), key=lambda each: each.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    since = time.time()
    seconds, first = training.start().goes_on(since)
    assert training.end() == 0, training.said()
    outcome = _outcome(training, whole, "set aside with a warning; the one before it is taken", seconds, first)
    assert "is broken" in training.said()
    # Two intervals are done again here, by design: the right one is gone.
    within = outcome.steps_lost is not None and outcome.steps_lost <= 2 * 50 + 1
    return Outcome(**{**vars(outcome), "right": outcome.result == "the same bits" and within and not outcome.doubled})


def nan_loss(lab: Lab) -> Outcome:
    """A learning rate at which the loss is soon no number, with two workers."""
    wild = {**TWO, "optimizer": "sgd", "lr": 1e12, "clip_norm": None, "schedule": "constant"}
    training = lab.training("nan", wild).start()
    training.until(lambda: training.folder and (training.folder / "workers" / "rank-0001.json").exists(), "workers")
    since = time.time()
    code = training.end()
    seconds, said = time.time() - since, training.said()
    retried = "goes on from step" in said
    assert "lower train.lr" in said, said
    return Outcome(f"ends with {code} and says why; not tried again", None, seconds, right=code == 1 and not retried)


def tracking_server_away(lab: Lab) -> Outcome:
    """The tracking server is killed in mid-training and is back 20 s later."""
    options: dict[str, object] = {"epochs": 600.0, "validate_every": 100.0}
    whole = lab.undisturbed(options)
    with tracking_server(lab.folder / "server") as (uri, stop, start):
        training = lab.training("server-away", options, MLFLOW_TRACKING_URI=uri).start()
        training.at()
        stop()
        since, times = time.time(), []
        while time.time() < since + 20 and training.process and training.process.poll() is None:
            times = [point.time for point in training.points()] or times
            time.sleep(0.1)
        start()
        assert training.end() == 0, training.said()
        store = training.project.root / "mlflow" / "store"
        store.mkdir(parents=True, exist_ok=True)
        shutil.copy(lab.folder / "server" / "mlflow.db", store / "mlflow.db")
    during = [each for each in times if each > 1000 * since]
    longest = max(after - before for before, after in pairwise(during)) / 1000
    outcome = _outcome(training, whole, "training waits for nobody: longest gap between steps", longest, 1)
    return Outcome(**{**vars(outcome), "right": outcome.right and longest < 1.0})


ROWS: dict[str, Callable[[Lab], Outcome]] = {
    "worker killed": worker_killed,
    "worker hung": worker_hung,
    "node lost": node_lost,
    "node out of reach": node_out_of_reach,
    "node back": node_back,
    "driver killed": driver_killed,
    "driver of two workers killed": driver_of_two_killed,
    "told to leave": told_to_leave,
    "newest checkpoint broken": newest_checkpoint_broken,
    "NaN loss": nan_loss,
    "tracking server away": tracking_server_away,
}
SHORT = ("worker killed", "worker hung", "driver killed", "NaN loss")


def table(outcomes: dict[str, Outcome]) -> list[str]:
    """Write outcomes as Markdown."""
    head = ("fault", "what happens", "steps done twice", "seconds", "points lost", "points doubled", "result", "right")
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, outcome in outcomes.items():
        seconds = "" if outcome.seconds is None else f"{outcome.seconds:.1f}"
        counts = ["" if each is None else str(each) for each in (outcome.missing, outcome.doubled)]
        lost = "" if outcome.steps_lost is None else str(outcome.steps_lost)
        right = "yes" if outcome.right else "**no**"
        lines.append(f"| {' | '.join((name, outcome.happened, lost, seconds, *counts, outcome.result, right))} |")
    return lines


def machine() -> str:
    """Say what this ran on."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    cores = f"{os.cpu_count()} cores under a load of {os.getloadavg()[2]:.0f}"
    return f"{cores}, {platform.system()}, Python {platform.python_version()}, {versions}."


def main() -> int:
    """Run the rows that are asked for; the exit code says whether all came out right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ROWS, help="these rows")
    parser.add_argument("--short", action="store_true", help="the rows that are tests")
    parser.add_argument("--keep", action="store_true", help="leave the projects and say where")
    chosen = parser.parse_args()
    names = chosen.only or (SHORT if chosen.short else ROWS)
    folder = Path(tempfile.mkdtemp(prefix="sluiceway-chaos-"))
    outcomes: dict[str, Outcome] = {}
    lab = Lab(folder)
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            outcomes[name] = ROWS[name](lab)
        except Exception as error:  # noqa: BLE001 - the other rows are still to come
            outcomes[name] = Outcome(f"{type(error).__name__}: {str(error).splitlines()[0]}", right=False)
            print(error, file=sys.stderr, flush=True)
        print(table({name: outcomes[name]})[-1], flush=True)
    text = "\n".join(
        [
            "# Faults put into trainings, and what became of them",
            "",
            f"`make chaos` wrote this. {machine()}",
            f"Faults come at step {FAULT_AT} or soon after; a checkpoint is made every {OPTIONS['checkpoint_every']}.",
            "",
            *table(outcomes),
            "",
        ]
    )
    print(text)
    if set(names) == set(ROWS):
        RESULTS.write_text(text, encoding="utf-8")
    if chosen.keep:
        print(f"projects are in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return int(not all(outcome.right for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
