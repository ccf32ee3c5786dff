"""Makes shards ready beside training: what the next batches need is fetched and checked while this one is used.

The order of examples is a function of counters, so what comes next can be asked at any time.
"""

import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from sluiceway.data.order import Ints
from sluiceway.data.shards import ShardedSplit

_THREADS = 2
"""That fetch and hash; both are done without Python's lock."""


class Ahead:
    """Runs ahead of a reader, no further than there is room for.

    Args:
        split: what is read.
        turns: numbers of the batches, in the order in which they will be read.
        items: gives the items of a batch.
    """

    def __init__(self, split: ShardedSplit, turns: Sequence[int], items: Callable[[int], Ints]) -> None:
        self._split = split
        self._turns = turns
        self._items = items
        self._at = 0
        self._needed_at: dict[int, int] = {}
        """By shard: the last place among the turns at which it was seen to be needed."""
        self._promised: list[tuple[int, int]] = []
        """Place among the turns and bytes of what was made ready, or is, and not yet used."""
        self._change = threading.Condition()
        self._asking = threading.Lock()
        self._over = False
        self._needs = self._look()

    def __enter__(self) -> "Ahead":
        for _ in range(_THREADS if self._split.reach else 0):
            threading.Thread(target=self._run, name="ahead", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let the threads end, each with the file that it is at: nobody waits for that."""
        with self._change:
            self._over = True
            self._change.notify_all()

    def reached(self, place: int) -> None:
        """Say which batch is read now, by its place among the turns."""
        with self._change:
            self._at = place
            self._promised = [each for each in self._promised if each[0] > place]
            self._change.notify_all()

    def _run(self) -> None:
        while True:
            with self._asking:
                wanted = next(self._needs, None)
            if wanted is None:
                return
            place, shard = wanted
            if place < self._at:  # its reader came first, and it may have been dropped since
                continue
            try:
                self._split.ready(shard)
            except Exception:  # noqa: BLE001  whoever reads the shard meets it again, and says it
                return

    def _look(self) -> Iterator[tuple[int, int]]:
        """Yield place and shard in the order in which they are needed, each when there is room for it."""
        for place, turn in enumerate(self._turns):
            if place < self._at:
                continue
            for shard in map(int, np.unique(self._split.owners(self._items(turn)))):
                near = self._needed_at.get(shard, -1) >= self._at
                self._needed_at[shard] = place
                if near:
                    continue
                size = self._split.size(shard)
                with self._change:
                    self._change.wait_for(lambda: self._over or not self._is_far(place, size))  # noqa: B023
                    if self._over or not self._split.reach:
                        return
                    self._promised.append((place, size))
                yield place, shard

    def _is_far(self, place: int, size: int) -> bool:
        ahead = sum(each for at, each in self._promised if at > self._at)
        return place > self._at and ahead + size > self._split.reach
