"""From the raw folder to the example table: every example is read, measured and put on a side, or set aside.

One pass goes block by block in the reader's order. What the memo knows of a block is taken from there, the rest is cut
into chunks for an engine; what comes back is put together, judged and written. So memory is bounded by blocks, and the
result is the same, byte for byte, on whatever engine and with whatever memo.

Shapes: n examples of a block, k of them sketched.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from sluiceway.config import DataParams
from sluiceway.data.corrections import Correction
from sluiceway.data.measuring.blocks import Block, Flags, Listing
from sluiceway.data.measuring.contents import Chunk, Look, Seen, Senses
from sluiceway.data.measuring.engines import Mapper, all_cores
from sluiceway.data.measuring.memo import Memo, Recall
from sluiceway.data.measuring.repeats import Repeats
from sluiceway.data.measuring.sample import Sample, limit
from sluiceway.data.measuring.store import Rows, keys_of
from sluiceway.data.table import Example, SplitName, TableWriter, schema
from sluiceway.errors import DataError

BLOCK = 4096
"""Examples that are looked up, judged and written together."""
_FIRST_CHUNK, _LARGEST_CHUNK = 16, 2048
_CHUNK_SECONDS = 0.15
"""How long an engine is to work on a chunk: long beside handing it over, short beside a person's patience."""


@dataclass(frozen=True)
class Measured:
    """What the pass did."""

    accepted: int
    """Rows of ``examples.parquet``."""
    quarantined: Mapping[str, int]
    """Rows of ``quarantine.parquet``, by kind of reason."""
    sketched: int
    """Rows of ``sketches.parquet``."""
    remembered: int
    """Examples that were known from an earlier run and not looked at again."""
    corrected: frozenset[str] = frozenset()
    """Ids whose target a person has corrected."""
    left_out: frozenset[str] = frozenset()
    """Ids that a person has left out."""
    stale: tuple[Correction, ...] = ()
    """Corrections of a content that is no longer the example's: they were not applied."""
    unknown: tuple[Correction, ...] = ()
    """Corrections of examples that are not there."""


def measure_all(
    usecase: Senses,
    raw: Path,
    examples: Iterator[Example],
    params: DataParams,
    folder: Path,
    *,
    compared: int,
    corrections: Mapping[str, Correction] | None = None,
    settled: Mapping[str, SplitName] | None = None,
    memo: Memo | None = None,
    engine: Mapper = all_cores,
    on_example: Callable[[int], None] = lambda done: None,
) -> Measured:
    """Write ``examples.parquet``, ``quarantine.parquet`` and ``sketches.parquet``: together, all that was listed.

    Args:
        usecase: how contents are looked at.
        raw: the raw folder.
        examples: what the use case's reader listed.
        params: the data section.
        folder: where the tables go.
        compared: examples that are sketched at most; of more, a sample is.
        corrections: what a person has corrected, by id.
        settled: sides that were written down, by group, or by checksum where there is none.
        memo: what earlier runs saw; None: everything is looked at.
        engine: where the work is done.
        on_example: called with the number done so far, now and then.

    Raises:
        ConfigError: times of the split cannot be read.
        DataError: the use case gave something that it had not announced, or nothing could be fetched.
    """
    listing = Listing(params, corrections or {}, usecase.tidy, usecase.judge, settled or {})
    look = Look.of(usecase, raw, params)
    columns = schema(usecase.measures)
    with (
        TableWriter(columns, folder / "examples.parquet") as accepted,
        TableWriter(schema(usecase.measures, quarantine=True), folder / "quarantine.parquet") as quarantined,
    ):
        sample = Sample(compared, look.kinds, usecase.name)
        run = _Pass(look, listing, accepted, quarantined, sample, compared, memo, on_example)
        try:
            # Closed in any case: processes of an engine must not outlive an interruption.
            with closing(_generator(engine(look, run.chunks(examples)))) as results:
                for seen in results:
                    run.take(seen)
        finally:
            if memo:
                memo.flush()
        sketches = sample.finish(run.listed)
        sketches.write(folder / "sketches.parquet")
    if memo:
        memo.tidy()
    if not accepted.rows and set(run.reasons) == {"unreachable"}:
        raise DataError(
            f"none of the {quarantined.rows:,} examples below {raw} could be fetched: {run.first}",
            hint="is the network up, and do the environment's credentials fit?",
        )
    return Measured(
        accepted=accepted.rows,
        quarantined=dict(sorted(run.reasons.items())),
        sketched=len(sketches),
        remembered=run.remembered,
        corrected=frozenset(listing.corrected),
        left_out=frozenset(listing.left_out),
        stale=tuple(sorted(listing.stale, key=lambda each: each.id)),
        unknown=tuple(sorted(listing.unknown(), key=lambda each: each.id)),
    )


def _generator(results: Iterator[Seen]) -> Generator[Seen, None, None]:
    yield from results


def _filtered(table: pa.Table, kept: Flags) -> pa.Table:
    """Return the rows that are kept: the table itself when all are, and no copy."""
    return table if kept.all() else table.filter(pa.array(kept))


@dataclass
class _Pass:
    """The state of one pass."""

    look: Look
    listing: Listing
    accepted: TableWriter
    quarantined: TableWriter
    sample: Sample
    compared: int
    memo: Memo | None
    on_example: Callable[[int], None]
    reasons: Counter[str] = field(default_factory=Counter)
    first: str = ""
    """The first reason, with its detail."""
    listed: int = 0
    remembered: int = 0
    done: int = 0
    repeats: Repeats = field(default_factory=Repeats)
    blocks: deque[Block] = field(default_factory=deque)
    """Those that are begun and not yet written, in order."""
    sent: deque[tuple[Block, Recall | None, Rows]] = field(default_factory=deque)
    """What the chunks at the engine hold: places in a block."""
    size: int = _FIRST_CHUNK
    """Examples of the next chunk: no result depends on it."""

    def chunks(self, examples: Iterator[Example]) -> Iterator[Chunk]:
        """Begin block after block, and yield what must be looked at: at least one chunk, be it empty, of each block.

        So a block that is known whole is written before many more are begun.
        """
        while listed := list(islice(examples, BLOCK)):
            block = Block(listed, limit(self.listed, self.compared))
            self.listed += len(listed)
            self.blocks.append(block)
            amended = self.listing.amended(listed) if self.look.amend else {}
            recall = self._recall(block, self.memo, amended) if self.memo else None
            rest = np.flatnonzero(~block.seen)
            while True:
                places, rest = rest[: self.size], rest[self.size :]
                self.sent.append((block, recall, places))
                yield Chunk(
                    tuple(listed[place].source for place in places.tolist()),
                    block.sketch_up_to,
                    {at: amended[place] for at, place in enumerate(places.tolist()) if place in amended},
                )
                if not len(rest):
                    break

    def take(self, seen: Seen) -> None:
        """Take what an engine gives back, in the order of the chunks, and write the blocks that are whole."""
        block, recall, places = self.sent.popleft()
        if len(places):
            checksums, facts = keys_of(seen.digests), pa.Table.from_batches([seen.facts])
            sketches = pa.Table.from_batches([seen.sketches])
            block.put(places, checksums, seen.read, facts, places[seen.sketched], sketches)
            if recall:
                recall.learn(places, checksums, seen.read, facts, seen.sketched, sketches)
            self.size = min(_LARGEST_CHUNK, max(1, round(_CHUNK_SECONDS * len(places) / max(seen.seconds, 1e-9))))
            self._count(len(places))
        while self.blocks and self.blocks[0].whole:
            self._write(self.blocks.popleft())

    def _recall(self, block: Block, memo: Memo, amended: Collection[int]) -> Recall:
        """Put into a block what the memo knows of it: of contents as they are, not as a person corrected them."""
        recall = Recall(memo, self.look.raw, [each.source for each in block.examples], amended)
        wanted = (recall.checksums[:, 1] <= np.uint64(block.sketch_up_to)) & self.look.sketching
        places, facts, sketched, sketches = recall.known(wanted)
        if len(places):
            checksums = recall.checksums[places]
            block.put(places, checksums, recall.read[places], facts, sketched, sketches)
            recall.learn_files(places, checksums)
            self.remembered += len(places)
            self._count(len(places))
        return recall

    def _write(self, block: Block) -> None:
        """Judge a block and write its rows."""
        facts = block.facts()
        repeated = self.repeats.mark([each.id for each in block.examples])
        sketched, sketches = block.sketches()
        reasons = facts["reason"].to_pylist()
        if sketches["reason"].null_count < len(sketches):
            for place, reason in zip(sketched.tolist(), sketches["reason"].to_pylist(), strict=True):
                reasons[place] = reason or reasons[place]
        measured = {name: facts[name] for name in self.look.measures}
        columns, reasons = self.listing.judge(block, reasons, repeated, facts)
        good = np.array([reason is None for reason in reasons], np.bool_)
        table = pa.table(columns | measured | {"reason": reasons}, schema=self.quarantined.columns)
        if self.look.sketching:
            kept = good[sketched]
            sketched, sketches = sketched[kept], _filtered(sketches, kept)
        else:
            sketched = np.flatnonzero(good & (block.checksums[:, 1] <= np.uint64(block.sketch_up_to)))
        rows = self.accepted.rows + np.cumsum(good)[sketched] - 1
        self.sample.add(rows, block.checksums[sketched, 1], sketches)
        self.accepted.write(_filtered(table, good).drop_columns("reason"))
        if not good.all():
            self.quarantined.write(table.filter(pa.array(~good)))
            self.first = self.first or next(reason for reason in reasons if reason)
            self.reasons.update(reason.partition(":")[0] for reason in reasons if reason)

    def _count(self, examples: int) -> None:
        self.done += examples
        self.on_example(self.done)
