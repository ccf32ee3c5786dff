"""What lies in a folder, told in one sentence: the first half of the answer to a layout that is not understood."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from sluiceway.data.folders import files_below
from sluiceway.data.lists import SUFFIXES, open_list
from sluiceway.errors import UnknownLayout

PACKED = frozenset({".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar"})
_KINDS, _TABLES, _COLUMNS = 4, 2, 8
"""Of suffixes, tables and columns, how many are named."""
_WIDTH = 40
"""Characters of a column's name that are shown."""


def census(raw: Path) -> str:
    """Count files by suffix, with an example, the depth of folders, and the columns of the first tables."""
    files = files_below(raw, None)
    names = [path.relative_to(raw) for path in files]
    kinds = Counter(path.suffix.lower() or "no suffix" for path in files)
    counts = ", ".join(f"{count:,} x {kind}" for kind, count in kinds.most_common(_KINDS))
    more = f" and {len(kinds) - _KINDS} other kinds" if len(kinds) > _KINDS else ""
    depth = max(len(name.parts) for name in names) - 1
    where = "side by side" if not depth else f"{depth} folder{'s' * (depth > 1)} deep"
    size = sum(path.stat().st_size for path in files)
    tables = [said for path in files if path.suffix.lower() in SUFFIXES and (said := _columns(path, raw))]
    told = "".join(f"; {said}" for said in tables[:_TABLES])
    return f"found {counts}{more} ({_bytes(size)}, {where}, such as {names[len(names) // 2].as_posix()}){told}"


def not_understood(raw: Path, what: str, expected: str, nearest: Iterable[str] = ()) -> UnknownLayout:
    """Say what was looked for, what is there instead, what would be understood, and what comes nearest.

    Args:
        raw: the raw folder.
        what: that is lacking: ``images``.
        expected: the layouts that are understood.
        nearest: steps that would make it fit; the first that says something is shown.
    """
    near = next((each for each in nearest if each), "")
    hint = f"{f'nearest: {near}; ' if near else ''}expected {expected} (docs/layouts.md)"
    return UnknownLayout(f"no {what} below {raw}: {census(raw)}", hint=hint)


def unpack(raw: Path) -> str:
    """Return the step that opens an archive, where there is one."""
    packed = next((path.name for path in files_below(raw, PACKED)), "")
    return f"unpack {packed}" if packed else ""


def _columns(path: Path, raw: Path) -> str:
    try:
        columns = open_list(path, raw).columns
    except UnknownLayout:
        return ""
    shown = ", ".join(name[:_WIDTH] for name in columns[:_COLUMNS])
    return f"{path.relative_to(raw).as_posix()} has the columns {shown}{' ...' * (len(columns) > _COLUMNS)}"


def _bytes(size: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit != "bytes" else f"{size} bytes"
        size //= 1000
    return f"{size:,} GB"
