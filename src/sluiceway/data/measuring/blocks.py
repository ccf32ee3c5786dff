"""Blocks of the measuring pass: some examples in the reader's order, what was seen of them, and what becomes of them.

Shapes: n examples of a block, m of them put in at a time, k of them sketched.
"""

import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sluiceway.config import DataParams
from sluiceway.data.corrections import Correction
from sluiceway.data.measuring.contents import DIGEST, SKETCH_COLUMNS, Amended, Judge, Tidy
from sluiceway.data.measuring.store import Keys, Rows, sliced
from sluiceway.data.splits import Sides, read_time
from sluiceway.data.table import LEFT_OUT, BadExample, Example, SplitName

Flags = npt.NDArray[np.bool_]


class Block:
    """Some examples, and what was seen of them so far.

    Args:
        examples: as the reader listed them: [n].
        sketch_up_to: contents are sketched when their draw is at most this.
    """

    def __init__(self, examples: Sequence[Example], sketch_up_to: int) -> None:
        self.examples = examples
        self.sketch_up_to = sketch_up_to
        self.checksums: Keys = np.zeros((len(examples), 2), np.uint64)
        self.read: Flags = np.zeros(len(examples), np.bool_)
        """Which contents could be read: [n]."""
        self.seen: Flags = np.zeros(len(examples), np.bool_)
        """What was put in: [n]."""
        self._facts: list[tuple[Rows, pa.Table]] = []
        self._sketches: list[tuple[Rows, pa.Table]] = []

    @property
    def whole(self) -> bool:
        """Whether everything is seen."""
        return bool(self.seen.all())

    def put(
        self, places: Rows, checksums: Keys, read: Flags, facts: pa.Table, sketched: Rows, sketches: pa.Table
    ) -> None:
        """Put in what was seen.

        Args:
            places: of the examples in the block: [m].
            checksums: zeros of those that could not be read: [m, 2].
            read: which could be read: [m].
            facts: [m].
            sketched: places in the block of those that were sketched: [k].
            sketches: [k].
        """
        self.checksums[places], self.read[places] = checksums, read
        self.seen[places] = True
        self._facts.append((places, facts))
        self._sketches.append((sketched, sketches))

    def facts(self) -> pa.Table:
        """Return reasons and measures in the order of the examples: [n]."""
        return _joined(self._facts)[1]

    def sketches(self) -> tuple[Rows, pa.Table]:
        """Return the places of the sketched examples, ascending, and their sketches: [k] each."""
        return _joined(self._sketches) if self._sketches else (np.empty(0, np.int64), SKETCH_COLUMNS.empty_table())

    def checksum_texts(self) -> list[str | None]:
        """Return checksums in hexadecimal, None of those that could not be read: [n]."""
        text = self.checksums.astype(">u8").tobytes().hex()
        width = 2 * DIGEST
        return [text[at * width : (at + 1) * width] if read else None for at, read in enumerate(self.read.tolist())]


def _joined(pieces: list[tuple[Rows, pa.Table]]) -> tuple[Rows, pa.Table]:
    places = np.concatenate([each for each, _ in pieces])
    table = pa.concat_tables([each for _, each in pieces])
    order = np.argsort(places)
    found = sliced(table, order)
    return places[order], table.take(pa.array(order)) if found is None else found


class Listing:
    """Makes rows of what readers list: groups and times out of ids, sides, corrections.

    Args:
        params: the data section.
        corrections: what a person has corrected, by id.
        tidy: brings a target into the form of the table; None: targets are taken as they are.
        target: judges a target beside what was measured of its content; None: targets are not judged.
        settled: sides that were written down, by group, or by checksum where there is none.

    Raises:
        ConfigError: times of the split cannot be read.
    """

    def __init__(
        self,
        params: DataParams,
        corrections: Mapping[str, Correction],
        tidy: Tidy | None = None,
        target: Judge | None = None,
        settled: Mapping[str, SplitName] = MappingProxyType({}),
    ) -> None:
        self._params = params
        self._tidy = tidy
        self._target = target
        self._group = re.compile(params.group) if params.group else None
        self._time = re.compile(params.time) if params.time else None
        self._sides = Sides(params.split, settled)
        self._corrections = corrections
        self._met: set[str] = set()
        self.corrected: set[str] = set()
        self.left_out: set[str] = set()
        self.stale: list[Correction] = []

    def unknown(self) -> list[Correction]:
        """Return the corrections of examples that were not listed."""
        return [each for name, each in self._corrections.items() if name not in self._met]

    def amended(self, examples: Sequence[Example]) -> dict[int, Amended]:
        """Return what a person has put into the place of targets, by place, as the table will have it: [n]."""
        found = {}
        for place, example in enumerate(examples) if self._corrections else ():
            correction = self._corrections.get(example.id)
            if correction is not None and correction.target is not None:
                try:
                    found[place] = Amended(correction.checksum, self._tidied(correction.target))
                except BadExample:
                    continue  # told where the target is judged
        return found

    def judge(
        self, block: Block, reasons: Sequence[str | None], repeated: Flags, measures: pa.Table
    ) -> tuple[dict[str, Sequence[object]], list[str | None]]:
        """Say what becomes of a block's examples.

        Args:
            block: which is whole.
            reasons: why contents cannot be learned from: [n].
            repeated: whose ids stood before: [n].
            measures: of the contents: [n].

        Returns:
            The columns of what was listed, and why examples are set aside: [n] each. Of several reasons the first
            counts: a repeated id, left out by a person, the content, the list, a time that cannot be read, no time, the
            target.
        """
        examples, checksums = block.examples, block.checksum_texts()
        found = [reason or each.fault for reason, each in zip(reasons, examples, strict=True)]
        groups = [each.group or self._search(self._group, each.id) for each in examples]
        times = [each.time for each in examples]
        if self._time:
            self._read_times(examples, times, found)
        for place, time in enumerate(times):
            if time is not None and not math.isfinite(time):
                times[place] = None
                found[place] = found[place] or str(BadExample("bad_time", f"{time} is no time"))
        splits = [
            each.split or self._side(group or checksum, time)
            for each, group, checksum, time in zip(examples, groups, checksums, times, strict=True)
        ]
        if self._sides.by_time:
            for place, split in enumerate(splits):
                if split is None and found[place] is None:
                    found[place] = str(BadExample("no_time", "sides are decided by time, and it has none"))
        targets = [each.target for each in examples]
        if self._corrections:
            self._correct(block, checksums, targets, found, repeated)
        self._judge_targets(targets, measures, found)
        for place in np.flatnonzero(repeated).tolist():
            found[place] = str(BadExample("repeated_id", f"{examples[place].id} stands more than once"))
        columns: dict[str, Sequence[object]] = {
            "id": [each.id for each in examples],
            "split": splits,
            "group": groups,
            "source": [each.source for each in examples],
            "time": times,
            "target": targets,
            "checksum": checksums,
        }
        return columns, found

    def _search(self, expression: re.Pattern[str] | None, name: str) -> str | None:
        match = expression.search(name) if expression else None
        return match.group(1) if match else None

    def _read_times(self, examples: Sequence[Example], times: list[float | None], found: list[str | None]) -> None:
        for place, example in enumerate(examples):
            text = self._search(self._time, example.id) if times[place] is None else None
            if text is not None:
                times[place] = read_time(text)
                if times[place] is None:
                    found[place] = found[place] or str(
                        BadExample("bad_time", f"{text!r} is neither ISO 8601 nor a number")
                    )

    def _side(self, key: str | None, time: float | None) -> SplitName | None:
        return None if key is None else self._sides.of(key, time)

    def _tidied(self, target: str) -> str:
        return self._tidy(target, self._params) if self._tidy else target

    def _tidy_targets(self, targets: list[str | None], found: list[str | None]) -> None:
        for place, target in enumerate(targets):
            if target is not None:
                try:
                    targets[place] = self._tidied(target)
                except BadExample as bad:
                    found[place] = found[place] or str(bad)

    def _judge_targets(self, targets: list[str | None], measures: pa.Table, found: list[str | None]) -> None:
        """Tidy all targets, and judge those of examples that nothing else is wrong with."""
        if self._tidy:
            self._tidy_targets(targets, found)
        if self._target is None:
            return
        for place, (target, row) in enumerate(zip(targets, measures.to_pylist(), strict=True)):
            if found[place] is None:
                try:
                    self._target(target, row, self._params)
                except BadExample as bad:
                    found[place] = str(bad)

    def _correct(
        self,
        block: Block,
        checksums: Sequence[str | None],
        targets: list[str | None],
        found: list[str | None],
        repeated: Flags,
    ) -> None:
        for place, example in enumerate(block.examples):
            correction = self._corrections.get(example.id)
            if correction is None or repeated[place]:
                continue
            self._met.add(example.id)
            if correction.checksum != checksums[place]:
                self.stale.append(correction)
            elif correction.target is None:
                self.left_out.add(example.id)
                found[place] = str(BadExample(LEFT_OUT, correction.note or "by a person"))
            else:
                self.corrected.add(example.id)
                targets[place] = correction.target
