"""Whether DVC's remote takes what is pushed: asked before anything is trained for it."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from sluiceway.launch import remote_try

TRY = (sys.executable, "-P", str(Path(remote_try.__file__)))
"""Command that asks it, in the project's folder; DVC is loaded, and may hang, in a process of its own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a small file that was put there; nothing in here is secret."""

    name: str | None
    """Of the remote; None: there is none."""
    url: str = ""
    error: str = ""
    """Why it does not take files; empty where it does."""
    left: str = ""
    """File that it does not let be removed; empty where it did."""

    @property
    def place(self) -> str:
        """Name and address."""
        return f"{self.name} ({self.url})"

    @property
    def way_out(self) -> str:
        """What to do about the error."""
        return (
            "credentials, `url` or rights: `dvc remote modify --local NAME OPTION VALUE` sets what is missing, "
            "`sluiceway doctor` asks again"
        ).replace("NAME", self.name or "NAME")


def answer_of(output: str) -> Answer:
    """Read what the command said.

    Raises:
        ValueError: it did not come to an answer.
    """
    last = output.strip().splitlines()[-1:]
    return Answer(**json.loads("".join(last)))
