"""Who answers whom when a learner is cross-fitted: pure functions of splits, groups and checksums.

Shapes: M examples.
"""

import hashlib
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import polars as pl

Rows = npt.NDArray[np.int64]

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Job:
    """One fit."""

    known: Rows
    """Positions to learn from."""
    asked: Rows
    """Positions to answer."""
    across: bool
    """Whether it is one of the folds."""


def plan(splits: Sequence[str], keys: Sequence[str]) -> list[Job]:
    """Say which examples answer which: the training split the test split, the others each other across folds.

    Args:
        splits: of each example.
        keys: what must not be torn apart: group, else checksum.
    """
    side = np.array(splits)
    held_out = side == "test"
    fold = folds(keys, ~held_out)
    jobs = [Job(np.flatnonzero(side == "train"), np.flatnonzero(held_out), across=False)]
    for number in range(FOLDS):
        known = np.flatnonzero((fold >= 0) & (fold != number))
        jobs.append(Job(known, np.flatnonzero(fold == number), across=True))
    return [job for job in jobs if len(job.asked)]


def folds(keys: Sequence[str], wanted: npt.NDArray[np.bool_]) -> Rows:
    """Return each example's fold [M]: equal keys share one, and folds are as equally large as keys allow."""
    names, place = np.unique(np.array(keys)[wanted], return_inverse=True)
    sizes = np.bincount(place, minlength=len(names))
    order = sorted(range(len(names)), key=lambda at: (-int(sizes[at]), _hash(str(names[at]))))
    lightest = [(0, number) for number in range(FOLDS)]
    given = np.zeros(len(names), np.int64)
    for at in order:
        load, number = heapq.heappop(lightest)
        given[at] = number
        heapq.heappush(lightest, (load + int(sizes[at]), number))
    fold = np.full(len(keys), -1, np.int64)
    fold[wanted] = given[place]
    return fold


def keys_of(table: "pl.DataFrame", checksums: Sequence[str]) -> list[str]:
    """Return what must not be torn apart: group, else checksum."""
    groups = table["group"].to_list()
    taking_part = {group for group, split in zip(groups, table["split"], strict=True) if split != "test"}
    if len(taking_part) < 2:  # one group has no other to be answered by: then only copies are held together
        return list(checksums)
    return [f"c:{own}" if group is None else f"g:{group}" for group, own in zip(groups, checksums, strict=True)]


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def ranks(checksums: Sequence[str]) -> Rows:
    """Return each example's place [M] in an order by hash."""
    order = np.argsort([_hash(value) for value in checksums], kind="stable")
    return np.argsort(order, kind="stable").astype(np.int64)


def first(known: Rows, rank: Rows, most: int) -> Rows:
    """Return the ``most`` of some examples that come first by rank, in the order of the table."""
    return known if len(known) <= most else np.sort(known[np.argsort(rank[known])[:most]])
