"""Raw data to the example table, and the example table to shards.

Shapes: T = context.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sluiceway.data.bpe import learned, tokenizer_of
from sluiceway.data.table import Measures, SplitName
from sluiceway.data.texts import legible, sizes
from sluiceway.errors import DataError
from sluiceway.usecases.base import Encoding, Item, Loaded
from sluiceway.usecases.text_generation.params import TextData, TextEncoding
from sluiceway.usecases.text_generation.tokens import END, taken_from, token_sizes

_SMALL = 65536
"""Tokens that 16 bits can tell apart."""


# Raw data to the example table: how it may lie is in layouts.py.


def measure(payload: bytes, data: TextData) -> Measures:
    """Measure a passage: sizes, and how much of it is words."""
    return sizes(legible(payload))


def expectations() -> list[dict[str, Any]]:
    """Expect words made of letters."""
    return [
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "words", "min_value": 1}},
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "letters", "min_value": 0.4, "mostly": 0.99},
        },
    ]


# The example table to shards.


def fit(training: Iterable[Loaded], params: TextEncoding) -> Encoding:
    """Learn the vocabulary (Sennrich et al., 2016) from the training passages, or take that of pretrained weights."""
    if params.tokenizer is not None:
        return {**taken_from(Path(params.tokenizer)), "context": params.context}
    texts = (loaded.payload.decode() for loaded in training)
    return {**learned(texts, params.vocabulary, [END]), "end": 0, "context": params.context}


def encode(examples: Iterable[Loaded], encoding: Encoding, split: SplitName) -> Iterator[Item]:
    """Cut the split's stream of tokens into windows.

    Training windows follow each other. Those of the other splits overlap by half, and each token is scored in the
    window that shows most of what stands before it. Passage ends are learned, but not scored: they are no text.

    Yields:
        ``tokens`` [T + 1], ``scored`` [T] (whether the token after each counts), ``bytes`` and ``words`` scored.
    """
    context, end = int(encoding["context"]), int(encoding["end"])
    tokens, rows = _stream(examples, encoding)
    sizes, spaces = token_sizes(encoding)
    step = context if split == "train" else max(1, context // 2)
    scored_up_to = 1  # the first token has nothing before it
    for start in range(0, max(1, len(tokens) - 1), step):
        window = tokens[start : start + context + 1]
        if split == "train" and len(window) < context + 1 and start > 0:
            break
        padded = np.concatenate([window, np.full(context + 1 - len(window), end, tokens.dtype)])
        targets = np.arange(start + 1, start + context + 1)
        counts = (targets < len(tokens)) & (targets >= (0 if split == "train" else scored_up_to))
        if split != "train":
            counts &= padded[1:] != end
        if counts.any():
            arrays = {
                "tokens": padded,
                "scored": counts,
                "bytes": np.asarray((sizes[padded[1:]] * counts).sum(), np.int64),
                "words": np.asarray((spaces[padded[1:]] * counts).sum(), np.int64),
            }
            yield Item(int(rows[start]), arrays)
        scored_up_to = start + context + 1


def _stream(examples: Iterable[Loaded], encoding: Encoding) -> tuple[np.ndarray, np.ndarray]:
    """Return all tokens of the passages, each after an END, and the example's row for each token: [tokens] each."""
    tokenizer = tokenizer_of(encoding)
    kind = np.uint16 if encoding["vocabulary"] <= _SMALL else np.int32
    tokens, rows = [], []
    for loaded in examples:
        ids = [encoding["end"], *tokenizer.encode(loaded.payload.decode(), add_special_tokens=False).ids]
        tokens.append(np.array(ids, kind))
        rows.append(np.full(len(ids), loaded.row))
    if not tokens:
        raise DataError("a split has no passages", hint="give more text, or other shares in data.split")
    return np.concatenate(tokens), np.concatenate(rows)
