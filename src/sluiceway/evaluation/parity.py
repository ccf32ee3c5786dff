"""What is answered for what, where targets are numbers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sluiceway.usecases.base import Outcomes

_Floats = npt.NDArray[np.float64]

MOST_POINTS = 2_000
"""Test items that are drawn; of more, evenly taken ones are."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Numbers and answers of test items."""

    target: _Floats
    """[n], at most ``MOST_POINTS``."""
    predicted: _Floats
    """[n]."""
    bias: float
    """Mean of answer minus number, over all items."""
    typical: float
    """Median distance of an answer from its number."""


def parity(outcomes: Outcomes) -> Parity | None:
    """Take the columns ``target`` [N] and ``predicted`` [N] when they are numbers.

    Returns:
        None when a column is absent or holds the indices of classes.
    """
    if "target" not in outcomes or "predicted" not in outcomes:
        return None
    target, predicted = outcomes["target"], outcomes["predicted"]
    if target.ndim != 1 or not (target.dtype.kind == predicted.dtype.kind == "f") or not len(target):
        return None
    error = predicted - target
    kept = np.linspace(0, len(target) - 1, min(len(target), MOST_POINTS)).astype(np.intp)
    return Parity(
        target=target[kept].astype(np.float64),
        predicted=predicted[kept].astype(np.float64),
        bias=float(error.mean()),
        typical=float(np.median(np.abs(error))),
    )
