"""Raw data that is split already: by folders, by the names of its files, or by a column."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from sluiceway.data.folders import below
from sluiceway.data.table import SplitName
from sluiceway.errors import UnknownLayout

_PIECE = re.compile(r"-\d+-of-\d+$")
_SIDES: dict[str, SplitName] = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SIDES |= {"validation": "validation", "valid": "validation", "val": "validation", "dev": "validation"}


def side_of(name: str | None) -> SplitName | None:
    """Return the side that a name such as ``val`` or ``Testing`` means; None when it means none."""
    return _SIDES.get(name.strip().lower()) if name is not None else None


def split_folders(raw: Path, names: Iterable[str]) -> dict[str, SplitName]:
    """Tell whether the raw data is split already: by folders at its top that are all named for a side.

    Args:
        raw: the raw folder, for messages.
        names: paths of files below it, with slashes.

    Returns:
        The side by folder name, such as ``{"train": "train", "val": "validation", "test": "test"}``; empty when none of
        the folders at the top, or one among others (a class may be called ``train``), is named for a side.

    Raises:
        UnknownLayout: it is split by half: there is no test or no train, or something else stands beside the two.
    """
    return _whole({name.partition("/")[0] for name in names if "/" in name}, raw, "folder")


def split_names(raw: Path, files: Sequence[Path]) -> dict[Path, SplitName]:
    """Tell the side of each file: by the folder that it is in, or by its own name, up to the first dot.

    What says that a file is one of several, as in ``train-00000-of-00002``, is no part of the name.

    Returns:
        Empty when the raw data is not split already; one file alone is not, whatever it is called.

    Raises:
        UnknownLayout: it is split by half.
    """
    names = [below(raw, path) for path in files]
    if folders := split_folders(raw, names):
        return {path: folders[name.partition("/")[0]] for path, name in zip(files, names, strict=True) if "/" in name}
    stems = {path: _PIECE.sub("", path.name.partition(".")[0]) for path in files}
    named = _whole(set(stems.values()), raw, "file")
    return {path: named[stem] for path, stem in stems.items() if stem in named}


def _whole(names: set[str], raw: Path, what: str) -> dict[str, SplitName]:
    sides = {name: side for name in names if (side := side_of(name))}
    others, met = sorted(names - sides.keys()), set(sides.values())
    if not sides or len(names) == 1 or (others and len(met) < 2):
        return {}
    if others:
        raise UnknownLayout(
            f"{raw} is split by half: {what}s {', '.join(sorted(sides))}, and {', '.join(others[:3])} beside them",
            hint=f"nearest: put {others[0]} into one of them, or elsewhere",
        )
    if lost := [side for side in ("train", "test") if side not in met]:
        raise UnknownLayout(
            f"{raw} is split by half: {what}s {', '.join(sorted(sides))}, and no {lost[0]}",
            hint=f"nearest: name a {what} {lost[0]}; or take the {what}s' names away, and sides are made by hash",
        )
    return sides
