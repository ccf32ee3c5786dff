"""Which classes are taken for which."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sluiceway.usecases.base import Outcomes


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of test items by true and by predicted class."""

    labels: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    """[C true, C predicted]."""

    def worst(self, most: int = 3) -> list[tuple[str, str, int]]:
        """Return the most frequent errors as (true class, predicted class, count)."""
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        places = [divmod(int(place), len(self.labels)) for place in order]
        return [
            (self.labels[true], self.labels[taken], int(wrong[true, taken]))
            for true, taken in places
            if wrong[true, taken]
        ]


def confuse(outcomes: Outcomes, labels: Sequence[str]) -> Confusion | None:
    """Count the columns ``target`` [N] and ``predicted`` [N], which hold indices into ``labels``.

    Returns:
        None when a column or the labels are absent: the use case does not classify.
    """
    if not labels or "target" not in outcomes or "predicted" not in outcomes:
        return None
    size = len(labels)
    pairs = outcomes["target"].astype(np.int64) * size + outcomes["predicted"].astype(np.int64)
    counts = np.bincount(pairs, minlength=size * size).astype(np.int64)
    return Confusion(tuple(labels), counts.reshape(size, size))
