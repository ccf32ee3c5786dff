"""From the raw folder to the example table: every example is read, measured and put on a side, or set aside."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sluiceway.config import DataParams
from sluiceway.data.sources import checksum, load
from sluiceway.data.splits import assign
from sluiceway.data.table import BadExample, Example, Measures

Row = dict[str, Any]


def measure_all(
    raw: Path,
    examples: Iterator[Example],
    measure: Callable[[bytes, DataParams], Measures],
    params: DataParams,
    on_example: Callable[[int], None],
) -> tuple[list[Row], list[Row]]:
    """Measure every example.

    Args:
        raw: the raw folder.
        examples: what a use case's reader listed.
        measure: measures one example's content, or raises ``BadExample``: (content, data section).
        params: the data section, with the split of examples that bring none.
        on_example: called with the number done so far.

    Returns:
        Rows of the accepted and of the quarantined, each in the order of the reader: together, all that was listed.
    """
    accepted: list[Row] = []
    quarantined: list[Row] = []
    seen: set[str] = set()
    for number, example in enumerate(examples, start=1):
        row: Row = {
            "id": example.id,
            "group": example.group,
            "source": example.source,
            "target": example.target,
            "split": None,
            "checksum": None,
        }
        try:
            if example.id in seen:
                raise BadExample("repeated_id", f"{example.id} stands more than once")
            payload = load(raw, example.source)
            row["checksum"] = checksum(payload)
            row["split"] = example.split or assign(example.group or row["checksum"], params.split)
            row |= measure(payload, params)
        except BadExample as bad:
            quarantined.append(row | {"reason": str(bad)})
        else:
            accepted.append(row)
        seen.add(example.id)
        on_example(number)
    return accepted, quarantined
