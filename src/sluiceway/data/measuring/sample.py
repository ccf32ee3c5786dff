"""The examples whose contents are compared with each other: all, or a sample by hash when there are very many.

A content's draw is a part of its checksum. The sample is the ``most`` smallest draws among the accepted examples: it
depends on contents alone, and of data that grows it keeps what it had as far as there is room. Which contents must be
sketched is known from an example's position, before the number of examples is: those whose draw is below twice the
share that would be taken if the data ended there. Hence ``2 x most x (1 + ln(N / 2 most))`` of N are sketched at most.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sluiceway.data.sketches import SIGNATURE, Sketches
from sluiceway.errors import DataError

Draws = npt.NDArray[np.uint64]
TYPES: Mapping[str, type[np.generic]] = {"features": np.float32, "fingerprint": np.float32, "signature": np.uint32}
"""Numbers of a sketch, by its column."""
_LARGEST = (1 << 64) - 1
_ROOM = 1.25
"""How many times the sample is held at most, before it is cut back."""


def limit(position: int, most: int) -> int:
    """Return the largest draw that is sketched at a position in the reader's order."""
    return min(_LARGEST, 2 * most * _LARGEST // max(1, position))


class Sample:
    """Gathers sketches.

    Args:
        most: examples that are kept at most.
        kinds: which sketches there are, by their column.
        usecase: its name, for messages.
    """

    def __init__(self, most: int, kinds: Sequence[str], usecase: str) -> None:
        self._most, self._usecase = most, usecase
        self._kinds = tuple(kinds)
        self._parts: list[tuple[Draws, dict[str, list[npt.NDArray[np.generic]]]]] = []
        """Draws, and the pieces of each column: [k, ...] one behind the other."""
        self._held = 0
        self._cut = _LARGEST
        self._widths: dict[str, int] = {}

    def add(self, rows: npt.NDArray[np.int64], draws: Draws, sketches: pa.Table) -> None:
        """Take sketched examples.

        Args:
            rows: in ``examples.parquet``: [k], above all before.
            draws: of their contents: [k].
            sketches: ``SKETCH_COLUMNS``: [k].

        Raises:
            DataError: features or fingerprints are not all of one length.
        """
        kept = np.flatnonzero(draws <= self._cut)
        if not len(kept):
            return
        columns: dict[str, list[npt.NDArray[np.generic]]] = {"row": [rows[kept]]}
        for kind in self._kinds:
            column = sketches[kind] if len(kept) == len(draws) else sketches[kind].take(pa.array(kept))
            columns[kind] = [self._matrix(kind, chunk) for chunk in column.chunks if len(chunk)]
        self._parts.append((draws[kept], columns))
        self._held += len(kept)
        if self._held > _ROOM * self._most:
            self._cut_back()

    def finish(self, examples: int) -> Sketches:
        """Return the sample.

        Args:
            examples: number that was listed.
        """
        self._cut = min(self._cut, limit(examples, self._most))
        self._cut_back()
        columns = {name: piece for name, (piece,) in self._parts[0][1].items()} if self._parts else {}
        none = {kind: np.zeros((0, SIGNATURE if kind == "signature" else 1), TYPES[kind]) for kind in self._kinds}
        found = none | {kind: columns[kind].astype(TYPES[kind], copy=False) for kind in self._kinds if kind in columns}
        return Sketches(
            rows=np.asarray(columns.get("row", ()), np.int64),
            features=found.get("features"),
            signatures=found.get("signature"),
            fingerprints=found.get("fingerprint"),
        )

    def _matrix(self, kind: str, column: pa.BinaryArray) -> npt.NDArray[np.generic]:
        """Return the numbers of a column where they are: [k, width]."""
        size = np.dtype(TYPES[kind]).itemsize
        ends = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
        lengths = np.unique(np.diff(ends)) // size
        widths = set(lengths.tolist()) | {self._widths.get(kind, int(lengths[0]))}
        if len(widths) > 1:
            few = " and ".join(map(str, sorted(widths)[:2]))
            raise DataError(
                f"use case {self._usecase!r} gave {kind} of differing lengths: {few}",
                hint=f"let `{kind}` return arrays of the same length for all contents",
            )
        self._widths[kind] = widths.pop()
        content = memoryview(column.buffers()[2] or b"")[ends[0] : ends[-1]]
        return np.frombuffer(content, TYPES[kind]).reshape(len(column), self._widths[kind])

    def _cut_back(self) -> None:
        """Keep the smallest draws, in the order of the table."""
        if not self._parts:
            return
        draws = np.concatenate([part for part, _ in self._parts])
        order = np.argsort(draws, kind="stable")  # of copies the first come first
        order = np.sort(order[: min(self._most, int(np.count_nonzero(draws <= self._cut)))])
        names = list(self._parts[0][1])
        columns = {}
        for name in names:  # one after another: the largest is held twice, the rest is not
            joined = np.concatenate([piece for _, part in self._parts for piece in part.pop(name)])
            columns[name] = [joined[order] if len(order) < len(joined) else joined]  # all, in order: no copy
        self._parts = [(draws[order], columns)]
        self._held = len(order)
        if self._held == self._most:
            self._cut = min(self._cut, int(draws[order].max()))
