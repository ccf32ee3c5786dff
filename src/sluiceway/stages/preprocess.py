"""Stage ``preprocess``: accepted examples become shards, and the baselines answer the test split.

Deterministic: the same examples and parameters give the same bytes. Whatever is learned here - statistics, a
vocabulary, the baselines - is learned from the training split alone. Baselines stand here because they depend on the
data and not on the network: another learning rate must not fit them again. The classical one among them has answered
in ``validate`` already, where it looks for wrong labels.
"""

import shutil
from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np

from sluiceway.data.answers import Answers
from sluiceway.data.outcomes import write_outcomes
from sluiceway.data.shards import Arrays, digest, write_manifest, write_shards
from sluiceway.data.store import Store
from sluiceway.data.table import SPLITS, SplitName
from sluiceway.stages.console import progress
from sluiceway.stages.examples import accepted_examples, reader
from sluiceway.stages.frame import done, stage
from sluiceway.usecases.base import Item, Loaded, Reader
from sluiceway.usecases.pipeline import Pipeline


def preprocess(pipeline: Pipeline) -> None:
    """Encode every accepted example and write the shards of each split.

    Raises:
        DataError: an example cannot be encoded.
    """
    usecase, params = pipeline.usecase, pipeline.params
    with stage("preprocess", pipeline) as clock:
        shutil.rmtree(pipeline.shards, ignore_errors=True)
        read = reader(pipeline, accepted_examples(pipeline))
        with clock("data"):
            encoding = usecase.fit(read("train"), params.encode)
            shards = {}
            store = Store(params.encode.store) if params.encode.store else None
            with progress("preprocess", "items") as meter:
                for split in SPLITS:
                    items = usecase.encode(_examples(read, split, looks_back=usecase.looks_back), encoding, split)
                    rows = _with_rows(items, meter.update)
                    shards[split] = write_shards(rows, pipeline.shards, split, params.encode.shard_bytes, store)
            write_manifest(pipeline.shards, shards, encoding, store)
        with clock("learning"):
            answers = Answers.read(pipeline.validated / "answers.parquet")
            baselines = usecase.baselines(read, params.data, encoding, answers)
            for name, outcomes in baselines.items():
                write_outcomes(outcomes, pipeline.shards / "baselines" / f"{name}.parquet")
        counts = ", ".join(f"{sum(entry['rows'] for entry in shards[split]):,} {split}" for split in SPLITS)
        fingerprint = digest(pipeline.shards)[:12]
        summary = f"{counts} items; baselines: {', '.join(baselines)} [dim]- shards {fingerprint}[/]"
        done("preprocess", pipeline, clock, summary)


def _examples(read: Reader, split: SplitName, *, looks_back: bool) -> Iterator[Loaded]:
    """Read what a split's items are made of."""
    sides = SPLITS[: SPLITS.index(split) + 1] if looks_back else (split,)
    return chain.from_iterable(read(side) for side in sides)


def _with_rows(items: Iterator[Item], on_item: Callable[[int], None]) -> Iterator[Arrays]:
    for number, item in enumerate(items, start=1):
        on_item(number)
        yield {**item.arrays, "row": np.asarray(item.row, np.int64)}
