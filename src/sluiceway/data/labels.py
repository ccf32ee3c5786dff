"""Targets that are any number of labels, as one text: ``cat|dog``, sorted, each once; the empty text is no label.

Shapes: N targets, K labels.
"""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import polars as pl

SEPARATOR = "|"


def joined(labels: Iterable[str]) -> str:
    """Write labels as a target."""
    return SEPARATOR.join(sorted({label.strip() for label in labels} - {""}))


def parted(target: str) -> tuple[str, ...]:
    """Read the labels of a target: parted by ``|``, or a list as JSON has it."""
    if target.lstrip().startswith("["):
        try:
            found = json.loads(target)
        except ValueError:
            found = None
        if isinstance(found, list):
            return tuple(str(each) for each in found)
    return tuple(label for label in (each.strip() for each in target.split(SEPARATOR)) if label)


def label_names(targets: Iterable[str | None]) -> tuple[str, ...]:
    """Return every label that occurs, sorted."""
    return tuple(sorted({label for target in targets if target is not None for label in parted(target)}))


def indicators(targets: Sequence[str | None], names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which labels each target has: [N, K]; labels that are not among the names are left out."""
    number = {name: at for at, name in enumerate(names)}
    found = np.zeros((len(targets), len(names)), np.bool_)
    for row, target in enumerate(targets):
        for label in parted(target) if target is not None else ():
            if label in number:
                found[row, number[label]] = True
    return found


def each_label(table: "pl.LazyFrame") -> "pl.LazyFrame":
    """Return an example table with a row for each label of each example; examples without labels are left out."""
    import polars as pl

    labelled = table.filter(pl.col("target") != "")
    return labelled.with_columns(pl.col("target").str.split(SEPARATOR)).explode("target")
