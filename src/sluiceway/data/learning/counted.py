"""Contents as sparse counts of very many things, such as words: rows that are made when they are asked for.

Shapes: M sketched examples, F things that are counted, n rows.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sluiceway.data.learning.folds import Rows, first

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Counts = Callable[[Sequence[bytes]], "csr_matrix"]
"""Counts what each of some contents consists of: [n, F]. It learns nothing, so that no content knows of another."""

_BLOCK = 1024


class Counted:
    """A matrix [M, F] of which at most so many rows are held; the others are counted anew whenever they are asked for.

    Args:
        rows: in the example table: [M].
        rank: the order in which rows are held: [M].
        most: rows that are held.
        counts: counts contents.
        load: content of the example in a row of the example table.
    """

    def __init__(self, rows: Rows, rank: Rows, most: int, counts: Counts, load: Callable[[int], bytes]) -> None:
        from scipy.sparse import vstack

        self._rows, self._counts, self._load = rows, counts, load
        kept = first(np.arange(len(rows)), rank, most)
        self._place = np.full(len(rows), -1, np.int64)
        self._place[kept] = np.arange(len(kept))
        self._held = vstack(list(self._blocks(kept)), format="csr") if len(kept) else counts([])
        self.shape = (len(rows), self._held.shape[1])

    def __len__(self) -> int:
        """M."""
        return len(self._rows)

    def __getitem__(self, wanted: Rows) -> "csr_matrix":
        """Return rows [n, F] by their numbers [n]."""
        from scipy.sparse import vstack

        place = self._place[wanted]
        lacking = place < 0
        if not lacking.any():
            return self._held[place]
        both = vstack([self._held[place[~lacking]], *self._blocks(wanted[lacking])], format="csr")
        order = np.concatenate([np.flatnonzero(~lacking), np.flatnonzero(lacking)])
        return both[np.argsort(order)]

    def _blocks(self, wanted: Rows) -> Iterator["csr_matrix"]:
        for start in range(0, len(wanted), _BLOCK):
            yield self._counts([self._load(row) for row in self._rows[wanted[start : start + _BLOCK]].tolist()])
