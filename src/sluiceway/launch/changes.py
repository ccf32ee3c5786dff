"""What is new since the job's last result, and whether that is worth a run. Pure functions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluiceway.launch.jobs import Triggers

_DATA = ("data/raw/", "data/corrections", "data/sides", "data/overrides.jsonl")
_MADE = ("data/validated/", "data/shards/", "data/reference/", "models/", "reports/")
_NAMED = 3
"""Paths that are named; the rest is counted."""
_FAILED = re.compile(r"failed to reproduce '(\w+)@[^']*'")
_EXIT = re.compile(r"exited with (\d+)")
PREEMPTED = 75
"""Exit code of a stage, and of a job, whose work is saved and that is to be queued again."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs from what ``dvc.lock`` knows."""

    data: tuple[str, ...] = ()
    """Raw data, and what people said of it."""
    code: tuple[str, ...] = ()
    """Code and parameters."""
    unfinished: bool = False
    """Whether results are missing, or not those of the last run."""

    def __bool__(self) -> bool:
        return bool(self.data or self.code or self.unfinished)


def changes_of(status: Mapping[str, Any]) -> Changes:
    """Read ``dvc status --json``."""
    data: dict[str, None] = {}
    code: dict[str, None] = {}
    unfinished = False
    for stage, entries in status.items():
        for entry in entries:
            if not isinstance(entry, dict):  # "changed command", "always changed", "changed checksum"
                code[f"{stage}: {entry}"] = None
                continue
            unfinished |= "changed outs" in entry
            for path, what in entry.get("changed deps", {}).items():
                if path.startswith(_MADE):
                    unfinished = True
                elif path.startswith(_DATA):
                    data[path] = None
                else:
                    names = [f"{path}:{option}" for option in what] if isinstance(what, dict) else [path]
                    code |= dict.fromkeys(names)
    return Changes(tuple(sorted(data, key=_weight)), tuple(code), unfinished)


def _weight(path: str) -> int:
    """Raw data is named before what people said of it: of many, not all are named."""
    return next(place for place, beginning in enumerate(_DATA) if path.startswith(beginning))


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to run, and why or why not."""

    run: bool
    why: str
    ask_drift: bool = False
    """Whether only the drift of the new data can tell."""


def decide(changes: Changes, triggers: Triggers, champion_days: float | None = None, resumes: bool = False) -> Decision:
    """Say whether the changes are worth a run.

    Args:
        changes: since the last result.
        triggers: what is worth one.
        champion_days: age of the champion; None where there is none, or nobody asked.
        resumes: whether the last run of just this was interrupted.
    """
    if not changes:
        old = f"; the champion is {champion_days:.0f} days old" if _too_old(champion_days, triggers) else ""
        return Decision(False, f"nothing changed since the last result{old}")
    if resumes:
        return Decision(True, "the last run was interrupted")
    if triggers.new_data and changes.data:
        return Decision(True, f"new data: {_named(changes.data)}")
    if triggers.new_code and changes.code:
        return Decision(True, f"changed: {_named(changes.code)}")
    if not (changes.data or changes.code):
        return Decision(True, "results of the last run are missing")
    if _too_old(champion_days, triggers):
        return Decision(True, f"the champion is {champion_days:.0f} days old, and something changed since")
    what = "new data" if changes.data else "other code"
    alone = Decision(False, f"{what} alone starts nothing: see the job's triggers")
    return Decision(False, alone.why, ask_drift=True) if triggers.drift and changes.data else alone


def drifted(drift: float, limit: float) -> Decision:
    """Say whether new data is worth a run for its drift.

    Args:
        drift: the largest distance from the last registered version, 0 to 1.
        limit: beyond which it is.
    """
    if drift > limit:
        return Decision(True, f"the new data drifted by {drift:.2f}, beyond {limit:g}")
    return Decision(False, f"the new data drifted by {drift:.2f}, within {limit:g}")


def _too_old(champion_days: float | None, triggers: Triggers) -> bool:
    limit = triggers.champion_days
    return limit is not None and champion_days is not None and champion_days > limit


def _named(paths: Sequence[str]) -> str:
    more = len(paths) - _NAMED
    return ", ".join(paths[:_NAMED]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class Failure:
    """How ``dvc repro`` failed."""

    stage: str
    """Which stage; empty where it was none."""
    code: int | None
    """The stage's exit code."""


def failure_of(output: str) -> Failure:
    """Read what a failed ``dvc repro`` said."""
    stage, code = _FAILED.findall(output), _EXIT.findall(output)
    return Failure(stage[-1] if stage else "", int(code[-1]) if code else None)


def last_error(output: str) -> str:
    """Return why a stage ended, in its own words; empty where it said nothing."""
    last = next((line for line in reversed(output.splitlines()) if line.startswith("error: ")), "")
    return last.removeprefix("error: ")


CLOSES: Mapping[str, str] = {"gate": "data", "train": "cost"}
"""By stage: the gate whose closing ends it."""
