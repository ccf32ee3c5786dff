"""Searches for parameters broken at random, in chains: the kind ``tune`` of ``havoc.py``.

A search has more to lose than a training: which trials have ended, what they were found to be worth, who was stopped,
and what all of it has cost. After five faults it must come to the trials, the winner and the change of one that nothing
happened to, and MLflow must have a run of each trial, once.
"""

import os
import random
import re
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from lab import Lab, Training
from sluiceway.data.places import STATE
from sluiceway.training.trials import Record, Trial

RECIPE: dict[str, object] = {"epochs": 18.0, "validate_every": 2.0, "checkpoint_every": 20, "lr": 0.001}
_TUNE: dict[str, object] = {
    "space": {"train.lr": {"choice": [0.001, 0.003, 0.01, 0.03, 1e12]}, "train.weight_decay": {"choice": [0.0, 0.1]}},
    "trials": 9,
    "grace": 0.1,
    "max_hours": 1.0,
}
_DEAF = 5.0
"""Seconds in which a command may still be starting: then SIGTERM just ends it."""


class Search(Training):
    """``sluiceway tune digits`` in a project of its own."""

    @property
    def tuning(self) -> Path:
        """Where what is known of searches lies."""
        return self.project.root / STATE / "digits" / "tuning"

    def records(self) -> dict[str, Record]:
        """What is known of each trial, by its digest."""
        return {path.name: found for path in self.tuning.glob("*/trials/*") if (found := Trial(path).read())}

    def progress(self) -> int:
        """Count decisions and ends."""
        return sum(len(record.rungs) + bool(record.end) for record in self.records().values())

    def result(self) -> dict[str, Any]:
        """``search.json``."""
        return dict(self.project.json("reports/digits/tune/search.json"))

    def change(self) -> list[str]:
        """The change of ``params.yaml``, as it was printed last."""
        lines = self.said().splitlines()
        return [line for line in lines if line.startswith(("-  lr", "+  lr", "+  weight_decay", "-  weight_decay"))][
            -3:
        ]


def begin(lab: Lab, name: str) -> Search:
    """Make a search that was not started yet."""
    made = lab.training(name, RECIPE)
    made.project.set("digits", "tune", _TUNE)
    made.project.set("digits", "gates.cost.max_hours", 1.0)
    return Search(made.project, made.env, command=("sluiceway", "tune", "digits"), log="tune.log")


_whole: dict[Path, Search] = {}


def undisturbed(lab: Lab) -> Search:
    """Return a search that went through at one go; it runs once."""
    if lab.folder not in _whole:
        search = begin(lab, "whole-search")
        assert search.start(alone=True).end() == 0, search.said()
        _whole[lab.folder] = search
    return _whole[lab.folder]


# What is done to its processes.


def strike(search: Search, dice: random.Random) -> str:
    """Kill or tell the search, its group or one of the processes below it."""
    assert search.process
    me = psutil.Process(search.process.pid)
    age = time.time() - me.create_time()
    below = me.children(recursive=True)
    how = dice.choice(["kill", "kill", "kill group", "kill below", "kill trial", "tell", "tell group"])
    trials = [each for each in below if "Trainable" in _name(each)]
    victim = dice.choice(trials) if how == "kill trial" and trials else dice.choice(below or [me])
    match how:
        case "kill":
            me.kill()
        case "kill group":
            os.killpg(me.pid, signal.SIGKILL)
        case "kill below" | "kill trial":
            said = _name(victim)
            with suppress(psutil.NoSuchProcess):
                victim.kill()
            return f"kill -9 {said}"
        case _:
            (os.killpg if how == "tell group" else os.kill)(me.pid, signal.SIGTERM)
            code = search.end()
            if code not in ((0, 75, -signal.SIGTERM) if age < _DEAF else (0, 75)):
                raise AssertionError(f"SIGTERM ended it with {code}")
            return f"{how}: {code}"
    search.end()
    return how


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return (process.cmdline() or [process.name()])[0]
    return "?"


# What is done to its files while nothing runs.


def damage(search: Search, dice: random.Random, share: float) -> list[str]:
    """Break some files; of checkpoints only the newest, and nothing of which the last copy would be gone."""
    if dice.random() >= share:
        return []
    done = []
    for _ in range(dice.choice([1, 1, 3])):
        files = sorted(path for path in search.tuning.rglob("*") if path.is_file() and _may_break(path))
        if not files:
            break
        path, how = dice.choice(files), dice.choice(WAYS)
        known, content = search.records(), path.read_bytes()
        if not content:
            continue
        break_file(path, how, dice)
        if search.records() != known:  # what it was a copy of is broken or older already
            with suppress(OSError):
                path.rmdir()
            path.write_bytes(content)
            continue
        done.append(f"{how} {path.parent.name[:6]}/{path.name}")
    return done


WAYS = ("flip", "cut", "empty", "delete", "folder")


def break_file(path: Path, how: str, dice: random.Random) -> None:
    """Flip a bit of a file, cut it, empty or remove it, or put a folder in its place; it has at least one byte."""
    changed = bytearray(path.read_bytes())
    match how:
        case "flip":
            place = dice.randrange(len(changed))
            changed[place] ^= 1 << dice.randrange(8)
            path.write_bytes(changed)
        case "cut":
            os.truncate(path, dice.randrange(len(changed)))
        case "empty":
            path.write_bytes(b"")
        case _:
            path.unlink()
            if how == "folder":
                path.mkdir()


def _may_break(path: Path) -> bool:
    if path.name.startswith(("broken", "best-", ".")) or path.name in ("metrics.jsonl", "lock"):
        return False
    if "checkpoints" in path.parts:
        steps = path.parents[1] if path.parent.name.startswith("step-") else path.parent
        return path.parent == max(steps.glob("step-*"), default=None)
    return path.suffix != ".lock" and "scratch" not in path.parts


# What must be true at the end.


def wrongs(search: Search, whole: Search, seconds: float) -> list[str]:
    """Hold a search that came to its end against one that nothing happened to, and say what is not as it should be.

    Args:
        search: what was broken.
        whole: the same search, undisturbed.
        seconds: that all its processes ran.
    """
    mine, right, said = search.records(), whole.records(), search.said()
    found = [f"{len(mine)} trials in the place of {len(right)}"] if mine.keys() != right.keys() else []
    for name in mine.keys() & right.keys():
        found += _differences(mine[name], right[name])
    spent = sum(record.seconds for record in mine.values())
    if spent > seconds:
        found.append(f"{spent:.0f} s of training in {seconds:.0f} s")
    if search.result()["winner"] != whole.result()["winner"]:
        found.append("another winner")
    if search.change() != whole.change():
        found.append(f"another change: {search.change()} in place of {whole.change()}")
    runs = _runs(search)
    if sorted(runs) != sorted(_runs(whole)):
        found.append(f"in MLflow {sorted(runs)} in place of {sorted(_runs(whole))}")
    doubled = _doubled(search)
    if doubled:
        found.append(f"{doubled} points twice in MLflow")
    found += [f"it said {told[0]}" for told in re.finditer(r"^(Traceback|Exception in|\w+Error:)", said, re.MULTILINE)]
    left = [path for path in search.tuning.glob("*/trials/*/*") if path.name in ("job", "ended")]
    left += [*search.tuning.glob("*/scratch"), *search.project.root.glob("reports/**/.*")]
    if left:
        found.append(f"left over: {left}")
    return found


def _differences(one: Record, other: Record) -> Iterator[str]:
    for part in ("end", "rungs", "why"):
        mine, right = repr(getattr(one, part)), repr(getattr(other, part))  # of NaN too
        if mine != right:
            yield f"trial {one.values}: {part} {mine} in place of {right}"
    if [repr(point.metrics) for point in one.points] != [repr(point.metrics) for point in other.points]:
        yield f"trial {one.values}: another curve"
    if one.seconds < 0 or one.seconds != one.device_seconds:
        yield f"trial {one.values}: {one.seconds} seconds, {one.device_seconds} device-seconds"


def _store(search: Search) -> sqlite3.Connection:
    (path,) = (search.project.root / "mlflow" / "store").glob("*.db")
    return sqlite3.connect(path)


def _runs(search: Search) -> list[tuple[str, str]]:
    """Name and status of each run."""
    with _store(search) as store:
        return [
            ("search" if name.startswith("tune-") else name, status)
            for name, status in store.execute("select name, status from runs")
        ]


def _doubled(search: Search) -> int:
    with _store(search) as store:
        rows = "select count(*) from metrics where key like 'validation/%' group by run_uuid, key, step"
        return sum(count > 1 for (count,) in store.execute(rows))


# A chain.


def chain(lab: Lab, name: str, dice: random.Random, share: float, links: int, gone: Callable[[Training], None]) -> str:
    """Break a search some times, let it come to its end, and return what was done.

    Args:
        lab: where.
        name: of the project.
        dice: decides.
        share: of faults after which files are damaged too.
        links: faults in a chain.
        gone: waits until no process is left.

    Raises:
        AssertionError: it is not what it would have been.
    """
    whole, search = undisturbed(lab), begin(lab, name)
    last, did, seconds = whole.progress(), list[str](), 0.0
    for _ in range(links):
        began, before = time.monotonic(), search.records()
        done = _link(search, dice, last)
        gone(search)
        seconds += time.monotonic() - began
        did += done
        for trial, record in before.items():
            now = search.records().get(trial)
            if record.end and (now is None or (now.seconds, now.end) != (record.seconds, record.end)):
                raise AssertionError(f"{did}: a trial that had ended was {record}, and is {now}")
        if search.process and search.process.returncode == 0:
            break
        did += damage(search, dice, share)
    for _ in range(3):
        began = time.monotonic()
        code = search.start(alone=True).end()
        seconds += time.monotonic() - began
        if code == 0:
            break
    else:
        raise AssertionError(f"{did}: it does not come to its end:\n{search.said()}")
    gone(search)
    if wrong := wrongs(search, whole, seconds):
        raise AssertionError(f"{did}: {wrong}\n{search.said()}")
    return "; ".join(did)


def _link(search: Search, dice: random.Random, last: int) -> list[str]:
    """Start it, wait for a moment, and strike."""
    search.start(alone=True)
    assert search.process
    goal = dice.randint(search.progress(), last) if dice.random() < 0.7 else None
    until = time.monotonic() + (240 if goal is not None else dice.uniform(0, 60))
    while search.process.poll() is None and time.monotonic() < until:
        if goal is not None and search.progress() >= goal:
            time.sleep(dice.choice([0, 0, dice.uniform(0, 3)]))
            break
        time.sleep(0.005)
    if search.process.poll() is not None:
        return []
    did = [f"{strike(search, dice)} at {search.progress()} of {last}"]
    search.end()
    return did
