"""Looks at surroundings, all at the same time and none for longer than its limit, and what was seen."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sluiceway.errors import SluicewayError
from sluiceway.redaction import scrub

State = Literal["ok", "warning", "fault", "left out"]
Clock = Callable[[], float]
"""Seconds since 1970."""

_LINE = 400
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look saw."""

    what: str
    state: State
    found: str
    way_out: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """A look at one thing, which may tell of several."""

    what: str
    at: Callable[[], Iterable[Seen]]
    seconds: float | None = None
    """It may take; None: the limit of all."""


@dataclass(frozen=True, slots=True)
class Said:
    """A command that ended."""

    code: int
    output: str


def look(looks: Sequence[Look], seconds: float) -> list[Seen]:
    """Take all looks at once, each in a thread, and return what was seen, in their order; a hanging one is left alone.

    Args:
        looks: to take.
        seconds: that each of them may take, unless it names its own.
    """
    seen: list[list[Seen] | None] = [None] * len(looks)

    def take(place: int) -> None:
        seen[place] = _taken(looks[place])

    began = time.monotonic()
    threads = [threading.Thread(target=take, args=(place,), daemon=True) for place in range(len(looks))]
    for thread in threads:
        thread.start()
    for place, thread in enumerate(threads):
        limit = looks[place].seconds or seconds
        thread.join(max(0.0, began + limit - time.monotonic()))
        if seen[place] is None:
            seen[place] = [_late(looks[place].what, f"no answer within {limit:g} s")]
    return [_told(each) for some in seen for each in some or ()]


_SLOW = "is a network file system or a server down? `sluiceway doctor --seconds 60` gives more time"
_BUSY = "ask again when the machine is free, or `sluiceway doctor --seconds 60`"


def _late(what: str, found: str) -> Seen:
    """Return what it means that there was no answer: on a busy machine, little."""
    load, cpus = os.getloadavg()[0], os.cpu_count() or 1
    if load > cpus:
        return Seen(what, "warning", f"{found}; the machine is busy: load {load:.0f} on {cpus} CPUs", _BUSY)
    return Seen(what, "fault", found, _SLOW)


def _taken(this: Look) -> list[Seen]:
    try:
        return list(this.at())
    except SluicewayError as error:
        return [Seen(this.what, "fault", error.message, error.hint)]
    except TimeoutError as error:
        return [_late(this.what, str(error))]
    except Exception as error:  # noqa: BLE001 - a doctor does not fall ill of what he sees
        return [Seen(this.what, "fault", f"{type(error).__name__}: {error}")]


def run(*words: str, folder: Path | None = None, seconds: float, **environment: str) -> Said:
    """Run a command and return what it said; one that takes too long is ended with all that it started.

    Raises:
        TimeoutError: it took longer.
        FileNotFoundError: there is no such program.
    """
    process = subprocess.Popen(  # noqa: S603
        words,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise TimeoutError(f"`{words[0]}` gave no answer within {seconds:g} s") from None
    return Said(process.returncode, output.strip())


def some(texts: Sequence[str]) -> str:
    """Name the first few of several, and count the rest."""
    more = f" and {len(texts) - _SHOWN} more" * (len(texts) > _SHOWN)
    return f"{', '.join(texts[:_SHOWN])}{more}"


def skew(told: float, before: float, after: float, resolution: float = 0.0) -> float:
    """Return how many seconds another clock is surely ahead of ours; negative where it is behind.

    Args:
        told: by the other clock.
        before: when it was asked, by ours.
        after: when it had answered.
        resolution: seconds by which it may have been ahead of what it told.
    """
    if told > after:
        return told - after
    return min(0.0, told + resolution - before)


def _told(seen: Seen) -> Seen:
    return replace(seen, found=_line(seen.found), way_out=_line(seen.way_out))


def _line(text: str) -> str:
    told = scrub(text)
    return told if len(told) <= _LINE else f"{told[: _LINE - 1]}…"
