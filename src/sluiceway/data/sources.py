"""Where an example's bytes lie, and how they are fetched.

A source is a path below the raw folder, with byte ranges where it is not the whole file: ``3/00012.png``,
``genesis.txt#bytes=0-4096``. Several ranges are read one behind the other, so that a line of a table comes with the
header that says what it means: ``ratings.csv#bytes=0-31,8231-8253``.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Self

from sluiceway.data.table import BadExample, SplitName
from sluiceway.errors import NoRawData

_RANGE = "#bytes="
_SIDES: dict[str, SplitName] = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SIDES |= {"validation": "validation", "valid": "validation", "val": "validation", "dev": "validation"}


def byte_range(path: str, start: int, end: int) -> str:
    """Name the bytes ``start`` (included) to ``end`` (excluded) of a file."""
    return byte_ranges(path, [(start, end)])


def byte_ranges(path: str, ranges: Iterable[tuple[int, int]]) -> str:
    """Name several ranges of a file's bytes, in the order in which they are read."""
    return f"{path}{_RANGE}{','.join(f'{start}-{end}' for start, end in ranges)}"


def load(raw: Path, source: str) -> bytes:
    """Fetch the bytes of one example.

    Raises:
        BadExample: the file cannot be read, is empty, or ends before its range.
    """
    with Shelf(raw) as shelf:
        return shelf.load(source)


class Shelf:
    """Fetches the bytes of one example after another: a file that holds several in a row is opened once.

    Args:
        raw: the raw folder.
    """

    def __init__(self, raw: Path) -> None:
        self._raw = raw
        self._name = ""
        self._file: BinaryIO | None = None

    def load(self, source: str) -> bytes:
        """Fetch the bytes of one example.

        Raises:
            BadExample: the file cannot be read, is empty, or ends before its range.
        """
        name, _, spans = source.partition(_RANGE)
        ranges = [tuple(map(int, span.split("-"))) for span in spans.split(",")] if spans else []
        try:
            file = self._open(name)
            payload = b"".join(_slice(file, start, end) for start, end in ranges) if ranges else _slice(file, 0, None)
        except OSError as error:
            raise BadExample("unreadable", error.strerror or str(error)) from None
        if not payload:
            raise BadExample("empty", "0 bytes")
        if (missing := sum(end - start for start, end in ranges) - len(payload)) > 0:
            raise BadExample("truncated", f"{name} ends {missing} bytes too early")
        return payload

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file:
            self._file.close()

    def _open(self, name: str) -> BinaryIO:
        if self._file is None or name != self._name:
            if self._file:
                self._file.close()
            self._file = None
            self._file = Path(self._raw, name).open("rb")  # noqa: SIM115  closed with the shelf, or for the next file
            self._name = name
        return self._file


def _slice(file: BinaryIO, start: int, end: int | None) -> bytes:
    file.seek(start)
    return file.read(-1 if end is None else end - start)


def file_of(source: str) -> str:
    """Return the path, below the raw folder, of the file that a source lies in."""
    return source.partition(_RANGE)[0]


def checksum(payload: bytes) -> str:
    """Digest of an example's content: the first half of its SHA-256, in hexadecimal."""
    return hashlib.sha256(payload).hexdigest()[:32]


def files_below(raw: Path, suffixes: frozenset[str]) -> list[Path]:
    """List the files with one of these suffixes, sorted by path; hidden ones, and those in hidden folders, left out.

    Raises:
        NoRawData: the folder is missing or holds no file at all.
    """
    found = sorted(_files(raw, ()))
    if not found:
        state = "is empty" if raw.is_dir() else "does not exist"
        raise NoRawData(
            f"no raw data: {raw} {state}",
            hint=f"put your data into {raw}/, or list the pipeline under `samples` in params.yaml and run `dvc repro`",
        )
    paths = [raw.joinpath(*parts) for parts in found]
    return [path for path in paths if path.suffix.lower() in suffixes]


def split_folders(raw: Path, files: Iterable[Path]) -> dict[str, SplitName]:
    """Tell whether the raw data is split already: by folders at its top that are all named for a side.

    Returns:
        The side by folder name, such as ``{"train": "train", "val": "validation", "test": "test"}``; empty when some
        folder at the top is named otherwise, or when there is no test folder.
    """
    tops = {path.relative_to(raw).parts[0] for path in files if path.parent != raw}
    named = {top: _SIDES[top.lower()] for top in tops if top.lower() in _SIDES}
    return named if len(named) == len(tops) and "test" in named.values() else {}


def _files(folder: Path, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the parts of each path; many times faster than ``rglob``."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), (*above, entry.name))
        elif entry.is_file():
            yield (*above, entry.name)
