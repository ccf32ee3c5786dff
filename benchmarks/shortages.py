"""Rows of the fault matrix: what a training needs is broken, or not there."""

import hashlib
import shutil
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from lab import Lab, fill, small_disk, tracking_server
from outcomes import GENTLE, TWO, Outcome, came_of


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
    outcome = came_of(training, whole, "set aside with a warning; the one before it is taken", seconds, first)
    assert "is broken" in training.said()
    # Two intervals are done again here, by design: the right one is gone.
    within = outcome.steps_lost is not None and outcome.steps_lost <= 2 * 50 + 1
    return replace(outcome, right=outcome.result == "the same bits" and within and not outcome.doubled)


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


def memory_does_not_suffice(lab: Lab) -> Outcome:
    """From some step on, more than half a micro-batch does not fit into memory."""
    whole, training = lab.undisturbed(GENTLE), lab.training("out-of-memory", GENTLE)
    training.uses("hungry", _HUNGRY)
    training.start().at()
    since = time.time()
    (training.project.root / "short-of-memory").touch()
    seconds, first = training.goes_on(since)
    assert training.end() == 0, training.said()
    assert "going on with micro-batches of" in training.said(), training.said()
    return came_of(training, whole, "goes on with smaller micro-batches, at the same global batch", seconds, first)


_HUNGRY = """
items, short = len(batch["target"]), Path(__file__).with_name("short-of-memory").exists()
if model.training and short and items > 4:
    np.empty((items, 1 << 50), np.uint8)
"""


def disk_full_in_a_checkpoint(lab: Lab) -> Outcome:
    """There is no room for checkpoints any more, and later there is again."""
    whole, training = lab.undisturbed(), lab.training("disk-full")
    state = training.project.root / ".sluiceway"
    with small_disk(state, 40_000_000):
        training.start().at()
        ballast = state / "ballast"
        fill(ballast)
        reached = training.step()
        training.until(lambda: "the next checkpoint tries again" in training.said(), "a word about the room")
        ballast.unlink()
        assert training.end() == 0, training.said()
        training.reached = training.step()
    outcome = came_of(training, whole, "says how many bytes are missing where; trains on, and saves later", 0.0, 1)
    return replace(outcome, steps_lost=0, seconds=None, right=outcome.right and reached < len(whole.losses()))


def disk_full_in_a_stage(lab: Lab) -> Outcome:
    """There is no room for shards; then there is, and the same command again."""
    training = lab.training("disk-full-stage")
    training.command = ("sluiceway", "preprocess", "digits")
    shards = training.project.root / "data" / "shards" / "digits"
    expected = _contents(shards)
    shutil.rmtree(shards)
    with small_disk(shards, 64_000):
        code = training.start().end()
    assert "no room for" in training.said(), training.said()
    since = time.time()
    assert training.start().end() == 0, training.said()
    same = _contents(shards) == expected
    happened = f"ends with {code} and says how many bytes are missing where; the same command does it"
    return Outcome(happened, None, time.time() - since, result="the same bits" * same, right=same and code == 1)


def _contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def tracking_server_away(lab: Lab) -> Outcome:
    """The tracking server is killed in mid-training and comes back; steps are slow enough to outlast that."""
    options: dict[str, object] = {"epochs": 300.0, "validate_every": 100.0}
    whole = lab.undisturbed(options)
    with tracking_server(lab.folder / "server") as (uri, stop, start):
        training = lab.training("server-away", options, MLFLOW_TRACKING_URI=uri)
        training.project.set("digits", "gates.cost.max_hours", 1.0)
        pause = 1.2 * lab.away / len(whole.losses())
        training.uses("slow", f"if model.training:\n    time.sleep({pause:.4f})")
        training.start().at()
        stop()
        since = time.time()
        while time.time() < since + lab.away and training.process and training.process.poll() is None:
            time.sleep(0.5)
        times = [point.time for point in training.points()]
        start()
        assert training.end() == 0, training.said()
        store = training.project.root / "mlflow" / "store"
        store.mkdir(parents=True, exist_ok=True)
        shutil.copy(lab.folder / "server" / "mlflow.db", store / "mlflow.db")
    during = [each for each in times if each > 1000 * since]
    longest = max(after - before for before, after in pairwise(during)) / 1000
    happened = f"away for {lab.away:.0f} s; training waits for nobody: longest gap between steps"
    outcome = came_of(training, whole, happened, longest, 1)
    return replace(outcome, right=outcome.right and longest < 1.0 + pause)
