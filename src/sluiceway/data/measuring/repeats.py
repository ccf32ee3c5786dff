"""Whether an id stood before: in eight bytes an id.

Ids are compared by a 64-bit hash. Of ten million, two different ones are taken for the same with a chance of 3 in a
million.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]


class Repeats:
    """Remembers ids in sorted runs, each more than twice as long as the next: few to look through, cheap to extend."""

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def mark(self, ids: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Say of each id whether it stood before, here or in an earlier call, and remember all: [ids]."""
        import polars as pl

        hashes = pl.Series(ids, dtype=pl.String).hash(seed=0).to_numpy()
        order = np.argsort(hashes, kind="stable")  # stable: of equal ones the first comes first
        ranked = hashes[order]
        repeated = np.zeros(len(ids), np.bool_)
        repeated[1:] = ranked[1:] == ranked[:-1]
        for run in self._runs:
            place = np.minimum(np.searchsorted(run, ranked), len(run) - 1)
            repeated |= run[place] == ranked
        self._remember(ranked[~repeated])
        found = np.zeros(len(ids), np.bool_)
        found[order] = repeated
        return found

    def _remember(self, run: Hashes) -> None:
        if not len(run):
            return
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)
