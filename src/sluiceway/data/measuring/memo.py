"""What earlier runs saw of contents: an example that did not change is not looked at again.

Two steps lead from an example to what was seen of it. A file whose size, times and inode are as they were has the
checksum that it had (so do git and DVC): it is not even read. And a content with a known checksum has the measures
and the sketch that it had.

Shapes: n examples, k of them sketched.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sluiceway.data.measuring.contents import DIGEST, SKETCH_COLUMNS, fact_columns
from sluiceway.data.measuring.engines import cores
from sluiceway.data.measuring.store import Keys, Rows, Store, keys_of
from sluiceway.data.sources import Shelf, files_of
from sluiceway.data.table import BadExample, MeasureKind

Flags = npt.NDArray[np.bool_]

_CHECKSUM = pa.schema([("checksum_high", pa.uint64()), ("checksum_low", pa.uint64())])
_SETTLED = 2_000_000_000
"""Nanoseconds. A file that changed less long ago may change once more without another time to show for it."""
_SLICE = 256
"""Sources that a thread reads at a time."""


class Memo:
    """Remembers contents in a folder.

    Args:
        folder: of this memo, for itself. It is named for everything but contents that decides what is seen of them:
            code, parameters, versions. Folders beside it are memos of other times: :meth:`tidy` removes them.
        measures: columns that are measured.
    """

    def __init__(self, folder: Path, measures: Mapping[str, MeasureKind]) -> None:
        self._folder = folder
        self.files = Store(folder / "files", _CHECKSUM)
        """From a file's state to the checksum of an example in it."""
        self.facts = Store(folder / "facts", fact_columns(measures))
        """From a checksum to what was measured, or why it cannot be learned from."""
        self.sketches = Store(folder / "sketches", SKETCH_COLUMNS)
        """From a checksum to its sketch."""

    def flush(self) -> None:
        """Put on disk what was added."""
        for store in (self.files, self.facts, self.sketches):
            store.flush()

    def tidy(self) -> None:
        """Put on disk what was added, after a whole run: forget what was not needed, and the memos beside this one."""
        for store in (self.files, self.facts, self.sketches):
            store.tidy()
        for other in self._folder.parent.glob("*/"):
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True)


class Stamps:
    """The states of the files that some examples lie in, taken before they are read.

    Args:
        keys: of each example's source and its file's state: [n, 2].
        usable: whether the file is there: [n].
        settled: whether any later change would show in its state: [n].
    """

    def __init__(self, keys: Keys, usable: Flags, settled: Flags) -> None:
        self.keys, self.usable, self.settled = keys, usable, settled

    @classmethod
    def take(cls, raw: Path, sources: Iterable[str]) -> Self:
        """Ask the file system."""
        folder, now = f"{raw}{os.sep}", time.time_ns()
        digests, settled = [], []
        last: tuple[str, ...] = ()
        state, old = b"", False
        for source in sources:
            names = files_of(source)
            if names != last:
                state, old = _states(folder, names, now)
                last = names
            key = hashlib.blake2b(source.encode("utf-8", "surrogateescape") + state, digest_size=DIGEST).digest()
            digests.append(key if state else bytes(DIGEST))
            settled.append(old)
        keys = keys_of(b"".join(digests))
        return cls(keys, np.asarray(keys.any(1), np.bool_), np.array(settled, np.bool_))


def _states(folder: str, names: Sequence[str], now: int) -> tuple[bytes, bool]:
    """Return the states of all files that an example lies in, nothing where one is missing; and whether all are old."""
    if len(names) == 1:
        return _state(folder + names[0], now)
    states = [_state(folder + name, now) for name in names]
    if not all(state for state, _ in states):
        return b"", False
    return b"".join(state for state, _ in states), all(old for _, old in states)


def _state(path: str, now: int) -> tuple[bytes, bool]:
    try:
        found = os.stat(path)  # noqa: PTH116  a Path object each would cost more than the question
    except OSError:
        return b"", False
    state = f"\0{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}".encode()
    return state, found.st_ctime_ns < now - _SETTLED


class Recall:
    """What a memo knows of some examples.

    Args:
        memo: which is asked.
        raw: the raw folder.
        sources: of the examples: [n].
        apart: places of those that it neither knows nor learns of: what is seen of them is not what their contents are.
    """

    def __init__(self, memo: Memo, raw: Path, sources: Sequence[str], apart: Collection[int] = ()) -> None:
        self._memo = memo
        self._stamps = Stamps.take(raw, sources)
        self._apart = np.zeros(len(sources), np.bool_)
        self._apart[list(apart)] = True
        self._stamps.usable[self._apart] = False
        row = memo.files.find(self._stamps.keys)
        self._from_file = (row >= 0) & self._stamps.usable
        self.checksums: Keys = np.zeros((len(sources), 2), np.uint64)
        found = memo.files.take(row[self._from_file])
        for column, name in enumerate(_CHECKSUM.names):
            self.checksums[self._from_file, column] = found[name].to_numpy()
        self.read = self._from_file.copy()
        """Which checksums are known: [n]."""
        if len(memo.facts):
            self._read_the_rest(raw, sources)

    def _read_the_rest(self, raw: Path, sources: Sequence[str]) -> None:
        """Find checksums by reading: that is little beside measuring, and in threads."""
        rest = np.flatnonzero(~self.read & self._stamps.usable)
        slices = [rest[start : start + _SLICE] for start in range(0, len(rest), _SLICE)]

        def digests(places: Rows) -> list[bytes]:
            with Shelf(raw) as shelf:
                return [_digest(load) for load in shelf.each(sources[place] for place in places.tolist())]

        with ThreadPoolExecutor(cores()) as pool:
            for places, found in zip(slices, pool.map(digests, slices), strict=True):
                self.checksums[places] = keys_of(b"".join(found))
                self.read[places] = self.checksums[places].any(1)

    def known(self, wanted: Flags) -> tuple[Rows, pa.Table, Rows, pa.Table]:
        """Return what was seen of the examples that need not be looked at.

        Args:
            wanted: which must be sketched, if they are good: [n].

        Returns:
            Places of the known examples [m] and their facts [m]; places of the sketched ones among them [k], and their
            sketches [k].
        """
        facts, sketches = self._memo.facts, self._memo.sketches
        row = np.where(self.read, facts.find(self.checksums), -1)
        places = np.flatnonzero(row >= 0)
        table = facts.take(row[places])
        needs = wanted[places] & table["reason"].is_null().to_numpy()
        sketch = np.full(len(places), -1, np.int64)
        sketch[needs] = sketches.find(self.checksums[places[needs]])
        whole = ~needs | (sketch >= 0)
        table = table.filter(pa.array(whole)) if not whole.all() else table
        sketched = sketch >= 0
        return places[whole], table, places[sketched], sketches.take(sketch[sketched])

    def learn(
        self, places: Rows, checksums: Keys, read: Flags, facts: pa.Table, sketched: Rows, sketches: pa.Table
    ) -> None:
        """Remember what was seen anew.

        Args:
            places: examples that were looked at now: [m].
            checksums: theirs: [m, 2].
            read: which could be read: [m].
            facts: [m].
            sketched: which of the m were sketched: [k].
            sketches: [k].
        """
        new = read & ~self._apart[places]
        kept = new[sketched]
        self._memo.facts.add(checksums[new], facts.filter(pa.array(new)))
        self._memo.sketches.add(checksums[sketched[kept]], sketches.filter(pa.array(kept)))
        self.learn_files(places[new], checksums[new])

    def learn_files(self, places: Rows, checksums: Keys) -> None:
        """Remember the state of the files that were read for these examples: [m], [m, 2]."""
        new = ~self._from_file[places] & self._stamps.settled[places] & self._stamps.usable[places]
        values = [pa.array(checksums[new, column]) for column in range(2)]
        self._memo.files.add(self._stamps.keys[places[new]], pa.table(values, schema=_CHECKSUM))


def _digest(load: Callable[[], bytes]) -> bytes:
    try:
        return hashlib.sha256(load()).digest()[:DIGEST]
    except BadExample:
        return bytes(DIGEST)
