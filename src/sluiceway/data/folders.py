"""Which files a raw folder holds: of many, quickly."""

import os
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

from sluiceway.errors import NoRawData


def files_below(raw: Path, suffixes: frozenset[str] | None) -> list[Path]:
    """List the files with one of these suffixes, sorted by path; hidden ones, and those in hidden folders, left out.

    Args:
        raw: the raw folder.
        suffixes: in small letters, with their dot; None: all files.

    Raises:
        NoRawData: the folder is missing or holds no file at all.
    """
    names = names_below(raw)
    return [raw / name for name in names if suffixes is None or suffix_of(name) in suffixes]


def names_below(raw: Path) -> list[str]:
    """List the paths of all files below the raw folder, as :func:`files_below` does: of many, in a tenth of the time.

    Returns:
        Paths below the raw folder, with slashes.

    Raises:
        NoRawData: the folder is missing or holds no file at all.
    """
    found = list(_names(str(raw), ""))
    if not found:
        state = "is empty" if raw.is_dir() else "does not exist"
        raise NoRawData(
            f"no raw data: {raw} {state}",
            hint=f"put your data into {raw}/; that of a built-in pipeline is fetched by `dvc repro sample@{raw.name}`",
        )
    return found


def suffix_of(name: str) -> str:
    """Return the suffix of a path with slashes in small letters, where ``Path.suffix`` finds one."""
    name = name[name.rfind("/") + 1 :]
    dot = name.rfind(".")
    return name[dot:].lower() if 0 < dot < len(name) - 1 else ""


def below(raw: Path, path: Path) -> str:
    """Return the path of a file below the raw folder, with slashes; of many files, far faster than ``Path`` does."""
    folder, name = str(raw), str(path)
    if os.sep == "/" and name.startswith(folder) and name[len(folder) : len(folder) + 1] == "/":
        return name[len(folder) + 1 :]
    return path.relative_to(raw).as_posix()


def _names(folder: str, above: str) -> Iterator[str]:
    """Yield paths below a folder, sorted by their parts."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=attrgetter("name"))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        name = entry.name
        if name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _names(entry.path, f"{above}{name}/")
        elif entry.is_file():
            yield above + name
