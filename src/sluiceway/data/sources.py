"""Where an example's bytes lie, and how they are fetched.

A source is a path below the raw folder, with an optional byte range: ``3/00012.png``, ``genesis.txt#bytes=0-4096``.
"""

import hashlib
from pathlib import Path

from sluiceway.data.table import BadExample
from sluiceway.errors import NoRawData

_RANGE = "#bytes="


def byte_range(path: str, start: int, end: int) -> str:
    """Name the bytes ``start`` (included) to ``end`` (excluded) of a file."""
    return f"{path}{_RANGE}{start}-{end}"


def load(raw: Path, source: str) -> bytes:
    """Fetch the bytes of one example.

    Raises:
        BadExample: the file cannot be read, is empty, or ends before its range.
    """
    name, _, span = source.partition(_RANGE)
    start, end = (int(edge) for edge in span.split("-")) if span else (0, None)
    try:
        with (raw / name).open("rb") as file:
            file.seek(start)
            payload = file.read(None if end is None else end - start)
    except OSError as error:
        raise BadExample("unreadable", error.strerror or str(error)) from None
    if not payload:
        raise BadExample("empty", "0 bytes")
    if end is not None and len(payload) < end - start:
        raise BadExample("truncated", f"{name} ends {end - start - len(payload)} bytes too early")
    return payload


def checksum(payload: bytes) -> str:
    """Digest of an example's content: the first half of its SHA-256, in hexadecimal."""
    return hashlib.sha256(payload).hexdigest()[:32]


def files_below(raw: Path, suffixes: frozenset[str]) -> list[Path]:
    """List the files with one of these suffixes, sorted by path; hidden ones, and those in hidden folders, left out.

    Raises:
        NoRawData: the folder is missing or holds no file at all.
    """
    found = sorted(path for path in raw.rglob("*") if path.is_file() and not _hidden(path.relative_to(raw)))
    if not found:
        state = "is empty" if raw.is_dir() else "does not exist"
        raise NoRawData(
            f"no raw data: {raw} {state}",
            hint=f"put your data into {raw}/, or list the pipeline under `samples` in params.yaml and run `dvc repro`",
        )
    return [path for path in found if path.suffix.lower() in suffixes]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
