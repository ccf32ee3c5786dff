"""What a person has corrected: targets, and examples to be left out. Raw data is never changed.

``data/corrections/<pipeline>.csv`` has the columns ``id``, ``checksum``, ``target`` and ``note``. An empty target
means: leave this example out. A correction holds for the content that was looked at, named by its checksum; of another
content under the same id it says nothing.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sluiceway.data.documents import write_whole
from sluiceway.errors import ConfigError

COLUMNS = ("id", "checksum", "target", "note")


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person says of one example."""

    id: str
    checksum: str
    """Of the content that was looked at."""
    target: str | None
    """What is right; None: leave the example out."""
    note: str = ""


def read_corrections(path: Path) -> dict[str, Correction]:
    """Read corrections by id; none when there is no file.

    Raises:
        ConfigError: the file is not UTF-8 or not CSV, lacks a column, or has a row that cannot be meant.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")  # spreadsheets put a mark at the beginning
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}, line {line}: is not UTF-8 text", hint="save it as CSV in UTF-8") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    found: dict[str, Correction] = {}
    lines: dict[str, int] = {}
    try:
        _check_columns(path, reader.fieldnames or ())
        for row in reader:
            correction = _correction(path, reader.line_num, row)
            if correction.id in found:
                raise ConfigError(
                    f"{path}, line {reader.line_num}: {correction.id} was corrected in line {lines[correction.id]} too",
                    hint="keep one of the two lines",
                )
            found[correction.id], lines[correction.id] = correction, reader.line_num
    except csv.Error as error:
        line = reader.reader.line_num
        raise ConfigError(f"{path}, line {line}: {error}", hint="put a text with commas into double quotes") from None
    return found


def write_corrections(corrections: Iterable[Correction], path: Path) -> None:
    """Write corrections, sorted by id, so that equal ones give equal bytes; whole or not at all, as a person's work."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in sorted(corrections, key=lambda correction: correction.id):
        writer.writerow([each.id, each.checksum, each.target or "", each.note])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, file.getvalue())


def _check_columns(path: Path, names: Iterable[str]) -> None:
    known = list(names)
    missing = [name for name in COLUMNS if name not in known]
    if missing:
        raise ConfigError(
            f"{path}, line 1: lacks the column {missing[0]}; found {', '.join(known) or 'nothing'}",
            hint=f"the first line is {','.join(COLUMNS)}, with commas between",
        )


def _correction(path: Path, line: int, row: dict[str, str]) -> Correction:
    # DictReader keeps fields beyond the last column under None, and gives None for those that are not there.
    if None in row or any(row[name] is None for name in COLUMNS):
        raise ConfigError(
            f"{path}, line {line}: has another number of fields than line 1",
            hint="put a text with commas into double quotes",
        )
    for name in ("id", "checksum"):
        if not row[name].strip():
            raise ConfigError(f"{path}, line {line}: has no {name}", hint="copy it from examples.parquet")
    target = row["target"] if row["target"].strip() else None
    return Correction(row["id"], row["checksum"].strip().lower(), target, row["note"].strip())
