"""How drives may lie in a raw folder: Udacity's ``driving_log.csv``, or tables with images and steering.

A log says where its images lay on the machine that recorded it: the longest end of such a path that lies beside the log
is meant, whatever the slashes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sluiceway.data.census import not_understood, unpack
from sluiceway.data.folders import below, files_below
from sluiceway.data.sides import split_folders
from sluiceway.data.splits import read_time
from sluiceway.data.table import Example, SplitName
from sluiceway.errors import UnknownLayout, nearest
from sluiceway.usecases.driving.params import DrivingData

if TYPE_CHECKING:
    import polars as pl

LOG = "driving_log.csv"
UDACITY = ("center", "left", "right", "steering", "throttle", "brake", "speed")
"""Columns of Udacity's log, which some of its versions leave unsaid."""
IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
TABLES = frozenset({".csv", ".parquet", ".jsonl", ".ndjson"})
LAYOUTS = (
    f"a folder per drive with Udacity's {LOG} and IMG/ in it, data/raw/<pipeline>/<drive>/{LOG}, or a CSV, Parquet or "
    "JSONL table with a column of image paths and one of steering; below train/, validation/ and test/ where the data "
    "is split already"
)
SIDE = "#"
"""Stands in the ids of frames of a side camera, before its name: they teach, and test nobody."""

_KNOWN = {
    "image": ("center", "image", "frame", "file_name", "path", "filename"),
    "steering": ("steering", "steering_angle", "angle"),
    "drive": ("drive", "sequence"),
    "order": (),
}


@dataclass(frozen=True, slots=True)
class _Log:
    """A log, read."""

    path: Path
    table: "pl.DataFrame"
    """All columns as text, null where a cell is empty."""
    image: str
    steering: str
    drive: str | None
    order: str | None


def read(raw: Path, data: DrivingData) -> Iterator[Example]:
    """List frames log by log, line by line. The id is the image's path: ``drive_001/IMG/center_00012.png``.

    An image that no log names is listed too, and set aside: nothing says how it was steered.

    Raises:
        NoRawData: the folder is missing or empty.
        UnknownLayout: no layout fits; says what was found and what comes nearest.
    """
    files = files_below(raw, IMAGES | TABLES)
    known = {below(raw, path) for path in files if path.suffix.lower() in IMAGES}
    paths = [path for path in files if path.suffix.lower() in TABLES]
    if not known or not paths:
        what = "table that says how they were steered" if known else "images beside the tables" if paths else "frames"
        raise not_understood(raw, what, LAYOUTS, (unpack(raw),))
    logs = [_log(path, data) for path in paths]
    sides = split_folders(raw, (below(raw, path) for path in paths))
    named: set[str] = set()
    found = [each for log in logs for each in _lines(raw, log, known, named, sides, data)]
    if not any(each.source in known for each in found):
        first = next((each.source for each in found), "nothing")
        raise UnknownLayout(
            f"no image that {paths[0]} names lies below {paths[0].parent}: {first} ...", hint=f"expected {LAYOUTS}"
        )
    _apart(raw, found, data)
    yield from found
    for name in sorted(known - named):
        yield Example(id=name, source=name)


def _apart(raw: Path, found: Sequence[Example], data: DrivingData) -> None:
    """Refuse a single drive: all of it would be on one side."""
    decided = data.group or data.split.test_from or any(each.split for each in found)
    drives = {each.group for each in found}
    if not decided and len(drives) == 1 and len(found) > 1:
        raise UnknownLayout(
            f"all {len(found):,} frames below {raw} are of one drive, and a drive is on one side of the split only",
            hint="set data.stretch: 500 to cut it into stretches of 500 frames, or put each drive into a folder",
        )


# Tables.


def _log(path: Path, data: DrivingData) -> _Log:
    table = _table(path)
    wanted = {role: getattr(data, role) for role in _KNOWN}
    columns = {role: _column(path, table.columns, role, wanted[role]) for role in _KNOWN}
    image, steering = columns["image"], columns["steering"]
    assert image is not None  # noqa: S101  # _column raises where one of these is missing
    assert steering is not None  # noqa: S101
    return _Log(path, table, image, steering, columns["drive"], columns["order"])


def _table(path: Path) -> "pl.DataFrame":
    """Read a table as text.

    Raises:
        UnknownLayout: it cannot be read.
    """
    import polars as pl

    try:
        if path.suffix.lower() == ".parquet":
            table = pl.read_parquet(path)
        elif path.suffix.lower() == ".csv":
            bare = _is_bare(path)
            table = pl.read_csv(path, infer_schema=False, has_header=not bare, truncate_ragged_lines=True)
            if bare:
                table = table.rename(dict(zip(table.columns, UDACITY, strict=False)))
        else:
            table = pl.read_ndjson(path, infer_schema_length=None)
        flat = [name for name, kind in table.schema.items() if not kind.is_nested()]
        table = table.select(flat).rename({name: name.strip() for name in flat})
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise UnknownLayout(f"{path} cannot be read as a table: {reason}", hint=f"expected {LAYOUTS}") from None
    return table.cast(pl.String, strict=False).with_columns(pl.all().str.strip_chars().replace("", None))


def _is_bare(path: Path) -> bool:
    """Whether a CSV begins with an image instead of a header."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline().split(",")[0]
    return PurePosixPath(_slashed(first)).suffix.lower() in IMAGES


def _column(path: Path, columns: Sequence[str], role: str, wanted: str | None) -> str | None:
    names = (wanted,) if wanted else _KNOWN[role]
    found = next((name for name in names if name in columns), None)
    if found is None and (wanted or role in ("image", "steering")):
        raise UnknownLayout(
            f"{path} has no column {' or '.join(names)}: found {', '.join(columns) or 'nothing'}",
            hint=f"{nearest(names[0], columns)} `data.{role}` in the pipeline's parameters names another column; "
            f"expected {LAYOUTS}",
        )
    return found


# Lines.


def _lines(
    raw: Path, log: _Log, known: set[str], named: set[str], sides: dict[str, SplitName], data: DrivingData
) -> Iterator[Example]:
    """Yield the frames of a log, and take note of the images that it names."""
    folder = log.path.parent.relative_to(raw)
    split = sides.get(folder.parts[0]) if folder.parts else None
    single = folder.as_posix() if log.path.name == LOG else log.path.relative_to(raw).as_posix()
    for number, row in enumerate(log.table.iter_rows(named=True)):
        place: object = row[log.order] if log.order else float(number)
        time = place if isinstance(place, float) else read_time(str(place)) if place is not None else None
        drive = (row[log.drive] if log.drive else None) or single
        group = f"{drive}/{number // data.stretch}" if data.stretch else drive
        for camera in ("center", "left", "right"):
            written = row.get(log.image if camera == "center" else camera)
            if written is None and camera != "center":
                continue
            source = _beside(folder, written or "", known)
            named.add(source)
            if camera != "center" and data.cameras == "center":
                continue
            turn = {"center": 0.0, "left": data.camera_correction, "right": -data.camera_correction}[camera]
            yield Example(
                id=source if camera == "center" else f"{source}{SIDE}{camera}",
                source=source,
                target=_target(row[log.steering], turn, data.full_lock),
                group=None if data.group else group,
                split=split,
                time=time,
            )


def _target(written: str | None, turn: float, full_lock: float) -> str | None:
    """Return the steering as a share of full lock, with a side camera's correction; what is none, as it is written."""
    try:
        value = float(written or "nan") / full_lock
    except ValueError:
        return written
    if not math.isfinite(value):
        return written
    return f"{value if abs(value) > 1 else min(1.0, max(-1.0, value + turn)):.6g}"


def _beside(folder: Path, written: str, known: set[str]) -> str:
    """Return the image that a log means, below the raw folder: the longest end of what is written that is there."""
    parts = [part for part in PurePosixPath(_slashed(written)).parts if part not in ("/", ".", "..")]
    for start in range(len(parts)):
        name = (folder / PurePosixPath(*parts[start:])).as_posix()
        if name in known:
            return name
    return (folder / PurePosixPath(*parts[-2:])).as_posix()


def _slashed(path: str) -> str:
    return path.strip().strip('"').replace("\\", "/")
