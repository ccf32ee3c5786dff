"""From shards to batches.

The loaders hold no state: the training loader asks a cursor for the step it stands at and reads up to the next
boundary, the validation loader goes through its split once. A batch is one gather per field.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from sluiceway.data.ahead import Ahead
from sluiceway.data.order import Ints, Nearby, draws, examples_at, positions_of
from sluiceway.data.shards import ShardedSplit

DRAWS = "_draws"
WEIGHT = "_weight"


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of the work is this worker's."""

    rank: int
    world: int


Batch = dict[str, Tensor]


class TrainingStream(IterableDataset[Batch]):
    """Micro-batches of this worker from the cursor's step to the next boundary.

    Args:
        split: the training split.
        seed: of the order and of the augmentation's draws.
        global_batch: examples per optimizer step, all workers together.
        accumulate: micro-batches per step.
        share: this worker's part.
        draws_per_item: random numbers that each item brings along for its augmentation.
        shuffle_shards: shards whose examples are mixed with each other; None: all.
        span: returns (step to start at, step to stop before), asked each time the stream is read.
    """

    def __init__(
        self,
        split: ShardedSplit,
        *,
        seed: int,
        global_batch: int,
        accumulate: int,
        share: Share,
        draws_per_item: int,
        span: Callable[[], tuple[int, int]],
        shuffle_shards: int | None = None,
    ) -> None:
        self._split = split
        self._nearby = Nearby(split.starts, shuffle_shards, seed) if shuffle_shards else None
        self._seed = seed
        self._global_batch = global_batch
        self._accumulate = accumulate
        self._share = share
        self._draws = draws_per_item
        self._span = span

    def __iter__(self) -> Iterator[Batch]:
        start, stop = self._span()
        # A DataLoader takes turns among its processes, so process w owns every n-th micro-batch and order is kept.
        worker = get_worker_info()
        first, every = (worker.id, worker.num_workers) if worker else (0, 1)
        turns = range(start * self._accumulate + first, stop * self._accumulate, every)
        with Ahead(self._split, turns, lambda turn: self._wanted(turn)[0]) as ahead:
            for place, turn in enumerate(turns):
                ahead.reached(place)
                yield self._batch(*self._wanted(turn))

    def _wanted(self, turn: int) -> tuple[Ints, Ints]:
        """Return the items of a micro-batch, and the epoch of each."""
        step, micro = divmod(turn, self._accumulate)
        positions = positions_of(
            step,
            self._global_batch,
            rank=self._share.rank,
            world=self._share.world,
            micro=micro,
            of=self._accumulate,
        )
        if self._nearby:
            return self._nearby(positions)
        return examples_at(positions, len(self._split), self._seed)

    def _batch(self, items: Ints, epochs: Ints) -> Batch:
        batch = _tensors(self._split, items)
        if self._draws:
            batch[DRAWS] = torch.from_numpy(draws(items, epochs, self._seed, self._draws))
        return batch


class EvaluationStream(IterableDataset[Batch]):
    """This worker's part of a split, once, in order.

    Every worker gives the same number of batches: the last ones may repeat an item with weight 0, because a worker
    that stops early would leave the others waiting in a collective.
    """

    def __init__(self, split: ShardedSplit, batch: int, share: Share) -> None:
        self._split = split
        self._batch = batch
        self._share = share

    def __iter__(self) -> Iterator[Batch]:
        total = len(self._split)
        per_worker = -(-total // self._share.world)
        start = self._share.rank * per_worker
        turns = range(start, start + per_worker, self._batch)

        def wanted(low: int) -> Ints:
            return np.arange(low, min(low + self._batch, start + per_worker))

        with Ahead(self._split, turns, lambda low: np.minimum(wanted(low), total - 1)) as ahead:
            for place, low in enumerate(turns):
                ahead.reached(place)
                batch = _tensors(self._split, np.minimum(wanted(low), total - 1))
                batch[WEIGHT] = torch.from_numpy((wanted(low) < total).astype(np.float32))
                yield batch


def loader(stream: IterableDataset[Batch], processes: int = 0) -> DataLoader[Batch]:
    """Wrap a stream; batches are made by the stream itself."""
    serve = partial(_serve, os.getpid()) if processes else None
    return _Loader(stream, batch_size=None, num_workers=processes, worker_init_fn=serve)


class _Loader(DataLoader[Batch]):
    """Begins its processes deaf to signals that go to a whole group: they inherit it, so there is no moment before."""

    def __iter__(self) -> Any:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ORDERS)
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(reader: int, number: int) -> None:
    """Let a loader process leave its end to the one that reads from it.

    A training that is told to leave still needs the batches up to the step after which it saves. PyTorch lets a loader
    live for 5 s beyond its reader, and for ever if the reader is gone before the loader first looks; this one ends with
    it.
    """
    threading.Thread(target=_until_dismissed, name="dismissed", daemon=True).start()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != reader:
        os._exit(0)


def _until_dismissed() -> None:
    """End when the reader itself says so, as PyTorch does when it is done with a loader."""
    while (said := signal.sigwaitinfo(_ORDERS)).si_pid != os.getppid() or said.si_signo != signal.SIGTERM:
        pass
    os._exit(0)


_ORDERS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_PR_SET_PDEATHSIG = 1
"""From ``sys/prctl.h``: which signal comes when the thread ends that began this process."""


def _tensors(split: ShardedSplit, items: np.ndarray) -> Batch:
    return {field: torch.from_numpy(array) for field, array in split.fetch(items).items()}
