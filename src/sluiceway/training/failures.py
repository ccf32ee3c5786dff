"""What becomes of training when workers fail: decided from what each of them left, without Ray or torch.

A worker that was lost may be started again, and the rest with it. What a worker said itself, as NaN, a closed gate, a
fault of the code or too little memory, would only be said once more.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

End = Literal["lost", "hung", "cut off", "fault"]
"""How a worker ended: its process or its node is gone; it showed no sign of life; another one was missing in a
collective; it said itself what is wrong."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure of the group, as it is told and kept."""

    time: float
    """Seconds since the epoch."""
    ends: Mapping[int, End]
    """By rank, of those who did not just go on."""
    message: str
    step: int
    """Of the newest checkpoint."""
    retried: bool
    stacks: Mapping[int, str] = field(default_factory=dict)
    """By rank: where a worker stood when it was found to be hung."""


@dataclass(slots=True)
class Patience:
    """Counts crashes without progress.

    Args:
        retries: how many are put up with.
    """

    retries: int
    crashes: int = 0
    step: int = 0

    def lasts(self, ends: Mapping[int, End], step: int) -> bool:
        """Whether to try again after workers ended so, ``step`` being that of the newest checkpoint."""
        if "fault" in ends.values():
            return False
        self.crashes = 1 if step > self.step else self.crashes + 1
        self.step = step
        return self.crashes <= self.retries


def say(ends: Mapping[int, End]) -> str:
    """Say who failed; those who were only cut off are named when nobody else is."""
    words = {"lost": "killed or lost with its node", "hung": "hung", "cut off": "cut off from the others"}
    said = {rank: words.get(end, "failed") for rank, end in sorted(ends.items())}
    guilty = {rank: word for rank, word in said.items() if ends[rank] != "cut off"} or said
    return ", ".join(f"worker {rank} {'was ' if word[0] in 'kc' else ''}{word}" for rank, word in guilty.items())


def note(path: Path, failure: Failure) -> None:
    """Append a failure to the file that is kept beside the checkpoints; a full disk takes none, which ends nothing."""
    with suppress(OSError), path.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        torn = file.read(1) not in (b"", b"\n")  # by a full disk or a crash: what follows is a line of its own
        file.write(b"\n" * torn + json.dumps(asdict(failure)).encode() + b"\n")


def noted(path: Path) -> Iterator[Failure]:
    """Read what was noted; a missing file is an empty one."""
    for line in path.read_bytes().splitlines() if path.exists() else ():
        if failure := parse(line):
            yield failure


def parse(line: bytes) -> Failure | None:
    """Read a line; None: it is torn, as on a full disk, or not what was written."""
    try:
        document = json.loads(line)
        by_rank = {name: {int(rank): text for rank, text in document[name].items()} for name in ("ends", "stacks")}
        return Failure(**{**document, **by_rank})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
