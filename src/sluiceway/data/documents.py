"""Small files that are there whole or not at all: a crash or a full disk leaves the one that was there before."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_whole(path: Path, text: str) -> None:
    """Write a text so that a reader sees the old file or the new one. A link is replaced, not what it leads to.

    Raises:
        OSError: it cannot be written, or its folder is not there; the old file stays as it was.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8", newline="")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON object with sorted keys, so that equal content is equal bytes; likewise whole or not at all."""
    write_whole(path, json.dumps(document, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that this package wrote.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not JSON.
    """
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
