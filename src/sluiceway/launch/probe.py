"""What each node of a cluster is asked: the standard library alone, so a node without our package answers too."""

import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def write(folder: str, name: str, text: str) -> str:
    """Write a file into a folder that must be there already, and return what was wrong, or nothing."""
    path = Path(folder) / name
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return "does not see it"
    except OSError as error:
        return f"cannot write there: {error.strerror or error}"
    return ""


def read(folder: str, texts: dict[str, str], others: Sequence[str]) -> dict[str, str]:
    """Return what was wrong with each file that somebody wrote, and with other paths that must be there.

    Args:
        folder: where the files lie.
        texts: what must stand in each, by its name.
        others: paths.
    """
    wrong = {}
    for name, text in texts.items():
        try:
            found = (Path(folder) / name).read_text(encoding="utf-8")
        except OSError as error:
            wrong[name] = error.strerror or str(error)
            continue
        if found != text:
            wrong[name] = "another content"
    return wrong | {path: "No such file or directory" for path in others if not Path(path).exists()}


def describe(packages: Sequence[str]) -> dict[str, Any]:
    """Return a node's Python, the versions of packages (None: not there), and its clock in seconds since 1970."""
    return {
        "python": platform.python_version(),
        "prefix": sys.prefix,
        "packages": {name: _version(name) for name in packages},
        "time": time.time(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
