"""Which use case would understand a raw folder: asked when the one that was chosen does not."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from sluiceway.data.folders import files_below
from sluiceway.data.sources import files_of
from sluiceway.errors import UnknownLayout
from sluiceway.usecases import BUILT_IN, targets_of
from sluiceway.usecases.base import UseCase

_ALL = 3
"""Columns without which a table is none of interactions."""
_LISTED = 5000
"""Examples of each use case that are looked at."""


def with_likeness(error: UnknownLayout, raw: Path, root: Path, chosen: UseCase) -> UnknownLayout:
    """Add to an answer which use case would understand what lies there, if another one does.

    Args:
        error: the answer of the use case that was chosen.
        raw: the raw folder.
        root: the project's.
        chosen: which did not understand it.
    """
    like = likest(raw, root, chosen)
    if not like:
        return error
    said = f"this looks like data for `{like}`: set it in params.yaml"
    named = error.hint.partition(",")[0]
    if (
        named.startswith("set data.") and named.count("data.") < _ALL
    ):  # some columns were found: naming the rest will do
        return UnknownLayout(error.message, hint=f"{error.hint}; or, if that is what it is, {said}")
    return UnknownLayout(error.message, hint=f"{said}; {error.hint}")


def likest(raw: Path, root: Path, chosen: UseCase | None = None) -> str:
    """Return the options that name the use case which finds good examples in most of the files; empty if none does."""
    shares = {
        f"usecase: {name}" + (f", target: {target}" if len(targets) > 1 else ""): _share(usecase, raw)
        for name in BUILT_IN
        for targets in [targets_of(name, root)]
        for target, usecase in targets.items()
        if usecase is not chosen
    }
    best = max(shares, key=lambda like: shares[like])
    return best if shares[best] > 0 else ""


def _share(usecase: UseCase, raw: Path) -> float:
    """Return the share of the files that good examples lie in, as the reader with its defaults lists them."""
    try:
        files = {path.relative_to(raw).as_posix() for path in files_below(raw, None)}
        listed = list(islice(usecase.read(raw, usecase.data()), _LISTED))
    except Exception:  # noqa: BLE001  a reader that stumbles over another's data must not hide the answer
        return 0.0
    good = _files(each.source for each in listed if each.fault is None) & files
    return len(good) / len(files) if len(listed) > 1 else 0.0


def _files(sources: Iterable[str]) -> set[str]:
    return {file for source in sources for file in files_of(source)}
