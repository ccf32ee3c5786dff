"""What a stage says to the person at the terminal: one progress bar while it works, one line when it is done."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LOG_WIDTH = 110
console = Console(highlight=False, soft_wrap=True)
if not console.is_terminal:
    console.width = _LOG_WIDTH

_QUIET_PERIOD = 15.0
"""Seconds between two lines of progress where there is no terminal to redraw a bar on."""


@dataclass
class Meter:
    """A progress bar on a terminal, a line now and then in a log."""

    total: int | None
    name: str
    bar: Progress | None
    _task: int = 0
    _said: float = field(default_factory=time.monotonic)

    def update(self, done: int, note: str = "") -> None:
        """Show how far the work is."""
        if self.bar:
            self.bar.update(self.bar.task_ids[0], completed=done, note=note)
        elif time.monotonic() - self._said > _QUIET_PERIOD:
            self._said = time.monotonic()
            of = f" of {self.total:,}" if self.total else ""
            console.print(f"{self.name}: {done:,}{of} {note}".rstrip())


@contextmanager
def progress(name: str, unit: str, total: int | None = None) -> Iterator[Meter]:
    """Show progress of work on ``total`` units; None when the number is not known beforehand."""
    if not console.is_terminal:
        yield Meter(total, name, None)
        return
    columns = (
        TextColumn(f"{name} [dim]{unit}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        bar.add_task(name, total=total, note="")
        yield Meter(total, name, bar)


def asked(evaluation: Mapping[str, int]) -> str:
    """Say what the scores of ``evaluation.json`` were made on."""
    items = f"{evaluation['test_items']:,} test items"
    return f"{evaluation['episodes']:,} episodes, {items}" if evaluation.get("episodes") else items


def warn(message: str) -> None:
    """Say something that should not be overlooked; what stands in brackets is text, as in errors of libraries."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[yellow]warning:[/] {escape(message)}")
    sys.stderr.flush()
