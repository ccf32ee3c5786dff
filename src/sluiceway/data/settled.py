"""Sides that were written down: those of the few examples that a rare class needs elsewhere than the hash puts them.

``data/sides/<pipeline>.csv`` has the columns ``key`` (a group, or the checksum of an example without one) and ``side``.
It is in git, and lines are only ever added: who is in it keeps its side.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from sluiceway.data.documents import write_whole
from sluiceway.data.table import SPLITS, SplitName
from sluiceway.errors import ConfigError

COLUMNS = ("key", "side")


def read_settled(path: Path) -> dict[str, SplitName]:
    """Read sides by key; none when there is no file.

    Raises:
        ConfigError: it is not such a file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})", hint="save it as CSV in UTF-8") from None
    hint = f"`git checkout {path.name}` brings it back; its first line is {','.join(COLUMNS)}"
    sides: dict[str, SplitName] = {name: name for name in SPLITS}
    found: dict[str, SplitName] = {}
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    except (csv.Error, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint=hint) from None
    if tuple(header) != COLUMNS:
        raise ConfigError(f"{path}, line 1: found {', '.join(header)}", hint=hint)
    for number, row in enumerate(rows, start=2):
        if len(row) != len(COLUMNS) or row[1] not in sides or not row[0]:
            raise ConfigError(f"{path}, row {number}: {row} is no key with a side ({', '.join(SPLITS)})", hint=hint)
        if found.setdefault(row[0], sides[row[1]]) != row[1]:
            raise ConfigError(f"{path}, row {number}: {row[0]} is on {found[row[0]]} already", hint=hint)
    return found


def write_settled(sides: Mapping[str, SplitName], path: Path) -> None:
    """Write sides, sorted by key, so that equal ones give equal bytes; whole or not at all."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(sorted(sides.items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, file.getvalue())
