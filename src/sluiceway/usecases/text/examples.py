"""Raw data to the example table, and the example table to shards.

Shapes: T tokens.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from sluiceway.data.bpe import SMALL, learned, tokenizer_of
from sluiceway.data.languages import language_met, script_missed
from sluiceway.data.shards import Arrays
from sluiceway.data.table import BadExample, Measures
from sluiceway.data.texts import legible, sizes
from sluiceway.usecases.base import Encoding, Loaded
from sluiceway.usecases.text.params import TextData, TextEncoding
from sluiceway.usecases.text.tokens import taken_from

_END = "<|end|>"
"""What a text ends with, where the vocabulary is learned."""


def measure(payload: bytes, data: TextData) -> Measures:
    """Measure a text: sizes, and how much of it is words."""
    text = legible(payload)
    said = len(text.strip().strip("\ufeff"))
    if not said:
        raise BadExample("empty", "nothing but white space")
    if said < data.shortest:
        raise BadExample("too_short", f"{said:,} characters; {data.shortest:,} are the fewest: {text[:40]!r}")
    if said > data.longest:
        raise BadExample("too_long", f"{said:,} characters; {data.longest:,} are the most")
    if data.language and (script := script_missed(text, data.language)):
        raise BadExample("wrong_script", f"not written in {script}: {text[:40]!r}")
    if data.language and (met := language_met(text, data.language)):
        raise BadExample("wrong_language", f"its little words are of {met!r}: {text[:40]!r}")
    return sizes(text)


def expectations() -> list[dict[str, Any]]:
    """Expect words made of letters, each with a target."""
    return [
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "target"}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "words", "min_value": 1}},
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "letters", "min_value": 0.4, "mostly": 0.99},
        },
    ]


def fit(training: Iterable[Loaded], params: TextEncoding) -> Encoding:
    """Learn the vocabulary from the training texts, or take that of pretrained weights."""
    if params.tokenizer is not None:
        for _ in training:  # their targets are learned from
            pass
        return {**taken_from(Path(params.tokenizer)), "longest": params.longest}
    known = learned((loaded.payload.decode() for loaded in training), params.vocabulary, [_END], spaced=True)
    return {**known, "end": 0, "padding": 0, "marked": False, "longest": params.longest}


def arrays(payload: bytes, encoding: Encoding) -> Arrays:
    """Give the numbers of a text's tokens plus one, and 0 behind them [T]; a long text keeps its beginning and END."""
    marked, longest = bool(encoding["marked"]), int(encoding["longest"])
    ids = tokenizer_of(encoding).encode(payload.decode(), add_special_tokens=marked).ids
    if not marked:
        ids.append(encoding["end"])
    if len(ids) > longest:
        ids[longest - 1] = ids[-1]
    kept = np.array(ids[:longest], np.int64) + 1
    tokens = np.zeros(longest, np.uint16 if encoding["vocabulary"] < SMALL else np.int32)
    tokens[: len(kept)] = kept
    return {"tokens": tokens}
