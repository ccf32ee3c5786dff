"""Raw data to the example table, and the example table to shards.

Shapes: T = context, S = the longest history of a split, I items with 0 for none.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sluiceway.data.sides import split_names
from sluiceway.data.splits import read_time
from sluiceway.data.table import BadExample, Example, Measures, SplitName
from sluiceway.errors import DataError
from sluiceway.usecases.base import Encoding, Item, Loaded
from sluiceway.usecases.recommendation.layouts import Interaction, Table, interaction_of, tables_below, titles_below
from sluiceway.usecases.recommendation.params import InteractionData, SequenceEncoding

_LEAST = 3
"""Interactions of a user from which the last is held out for the test, and the one before for validation."""


# Raw data to the example table.


@dataclass(frozen=True, slots=True)
class _Line:
    """A line, as the reader finds it."""

    source: str
    place: str
    """File and number of the line."""
    said: Interaction | None
    """None where it cannot be learned from: ``measure`` then says why."""
    split: SplitName | None


def read(raw: Path, data: InteractionData) -> Iterator[Example]:
    """List interactions in the order of the files. The id is user and item: ``196/242``; the group is the user.

    The same user and item once more has the same id, and so is set aside; where ``repeats`` are meant to be, it has a
    number behind it. The target is the item's title, or its name where there is no catalogue; None where the rating is
    too low for a choice. Lines are read, since a user's last one is known by all of them.
    """
    tables, titles = tables_below(raw, data), titles_below(raw, data)
    sides = split_names(raw, [table.path for table in tables])
    lines = [line for table in tables for line in _lines(table, raw, sides, data)]
    names = list(_names(lines, repeats=data.repeats))
    held = {} if sides or data.split.test_from else _last_ones(lines, names, data)
    for at, (line, name) in enumerate(zip(lines, names, strict=True)):
        if line.said is None:
            yield Example(id=name, source=line.source, split=line.split)
            continue
        yield Example(
            id=name,
            source=line.source,
            target=titles.get(line.said.item, line.said.item) if _chosen(line.said, data) else None,
            group=line.said.user,
            split=line.split or held.get(at, None if data.split.test_from else "train"),
            time=line.said.time,
        )


def _lines(table: Table, raw: Path, sides: Mapping[Path, SplitName], data: InteractionData) -> Iterator[_Line]:
    split = sides.get(table.path)
    for place, source, content in table.entries():
        try:
            said = accepted(content, data)
        except BadExample:
            said = None
        yield _Line(source, place, said, split)


def _names(lines: Iterable[_Line], *, repeats: bool) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for line in lines:
        if line.said is None:
            yield line.place
            continue
        name = f"{line.said.user}/{line.said.item}"
        seen[name] += 1
        yield f"{name}-{seen[name]}" if repeats and seen[name] > 1 else name


def _last_ones(lines: Sequence[_Line], names: Sequence[str], data: InteractionData) -> dict[int, SplitName]:
    """Return the places of each user's last choice, and of the one before it."""
    users: dict[str, list[tuple[float, int]]] = {}
    met: set[str] = set()
    for at, (line, name) in enumerate(zip(lines, names, strict=True)):
        if line.said and name not in met and _chosen(line.said, data):
            met.add(name)
            users.setdefault(line.said.user, []).append((line.said.time, at))
    held: dict[int, SplitName] = {}
    for moments in users.values():
        if len(moments) >= _LEAST:
            *_, (_, before), (_, last) = sorted(moments)
            held |= {before: "validation", last: "test"}
    return held


def _chosen(said: Interaction, data: InteractionData) -> bool:
    return data.positive_from is None or said.rating is None or said.rating >= data.positive_from


def measure(payload: bytes, data: InteractionData) -> Measures:
    """Measure an interaction: its rating."""
    return {"rating": accepted(payload, data).rating}


def accepted(payload: bytes, data: InteractionData) -> Interaction:
    """Read one content.

    Raises:
        BadExample: it cannot be read, or its rating or its time is impossible.
    """
    said = interaction_of(payload)
    if said.rating is not None:
        low, high = data.lowest_rating, data.highest_rating
        if (low is not None and said.rating < low) or (high is not None and said.rating > high):
            raise BadExample("impossible_rating", f"{said.rating:g} is not in {low} to {high}")
    for edge, beyond in ((data.earliest, -1), (data.latest, 1)):
        moment = read_time(edge) if edge is not None else None
        if moment is not None and (said.time < moment if beyond < 0 else said.time >= moment):
            raise BadExample(
                "impossible_time", f"{said.time:.15g} is {'before' if beyond < 0 else 'not before'} {edge}"
            )
    return said


def expectations() -> list[dict[str, Any]]:
    """Expect users and times to be known; which ratings there are is each data set's own."""
    return [
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "group"}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "time"}},
    ]


# The example table to shards.


@dataclass(frozen=True, slots=True)
class History:
    """One user's choices in the order of time."""

    user: str
    numbers: npt.NDArray[np.int32]
    """Of the items: [n]; 0 is an item that the training split does not have."""
    rows: npt.NDArray[np.int64]
    """In ``examples.parquet``: [n]."""
    held: npt.NDArray[np.bool_]
    """Which are of the split in question: [n]."""


def fit(training: Iterable[Loaded], params: SequenceEncoding) -> Encoding:
    """Number the items, the most chosen first."""
    counts: Counter[str] = Counter()
    titles: dict[str, str] = {}
    for loaded in training:
        if loaded.example.target is not None:
            item = interaction_of(loaded.payload).item
            counts[item] += 1
            titles[item] = loaded.example.target
    if not counts:
        raise DataError("there is nothing to learn from", hint="give more interactions, or lower data.positive_from")
    items = sorted(counts, key=lambda item: (-counts[item], item))
    return {
        "items": items,
        "titles": [titles[item] for item in items],
        "counts": [counts[item] for item in items],
        "context": params.context,
        "exclude_seen": params.exclude_seen,
    }


def histories(examples: Iterable[Loaded], encoding: Encoding, split: SplitName) -> Iterator[History]:
    """Gather each user's choices, in the order in which users first come."""
    numbers = {item: number for number, item in enumerate(encoding["items"], start=1)}
    users: dict[str, list[tuple[float, int, int, bool]]] = {}
    for loaded in examples:
        if loaded.example.target is None:
            continue
        said = interaction_of(loaded.payload)
        moment = (said.time, loaded.row, numbers.get(said.item, 0), loaded.example.split == split)
        users.setdefault(said.user, []).append(moment)
    for user, moments in users.items():
        _, rows, items, held = zip(*sorted(moments), strict=True)
        yield History(user, np.array(items, np.int32), np.array(rows, np.int64), np.array(held, np.bool_))


def encode(examples: Iterable[Loaded], encoding: Encoding, split: SplitName) -> Iterator[Item]:
    """Cut histories into windows for training; elsewhere an item is a held-out choice and the history before it.

    The history of a test choice has the user's choices of all splits before it, that of validation also.

    Yields:
        ``history`` [T], 0 behind its end, and ``next`` [T], the item after each, 0 where none is to be foretold.
        Outside of training also ``seen`` [S]: all that the user chose before.
    """
    found = histories(examples, encoding, split)
    yield from _windows(found, encoding["context"]) if split == "train" else _held_out(found, encoding["context"])


def _windows(found: Iterable[History], context: int) -> Iterator[Item]:
    for one in found:
        for start in range(0, len(one.numbers) - 1, context):
            window = one.numbers[start : start + context + 1]
            yield Item(
                int(one.rows[start]), {"history": _padded(window[:-1], context), "next": _padded(window[1:], context)}
            )


def _held_out(found: Iterable[History], context: int) -> Iterator[Item]:
    held = [(one, at) for one in found for at in np.flatnonzero(one.held).tolist()]
    longest = max((at for _, at in held), default=1)
    for one, at in held:
        known = one.numbers[:at][one.numbers[:at] > 0]
        shown = known[-context:]
        target = np.zeros(context, np.int32)
        target[max(0, len(shown) - 1)] = one.numbers[at]
        arrays = {"history": _padded(shown, context), "next": target, "seen": _padded(known, max(1, longest))}
        yield Item(int(one.rows[at]), arrays)


def _padded(numbers: npt.NDArray[np.int32], length: int) -> npt.NDArray[np.int32]:
    return np.concatenate([numbers, np.zeros(length - len(numbers), np.int32)])
