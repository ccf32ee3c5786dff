"""A registered model's requests and answers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluiceway.data.bpe import padded, tokenizer_of
from sluiceway.usecases.base import Encoding
from sluiceway.usecases.translation.encoding import END
from sluiceway.usecases.translation.layouts import pair_of
from sluiceway.usecases.translation.searching import translate
from sluiceway.usecases.translation.translator import translator

if TYPE_CHECKING:
    from torch import nn


def example(payloads: Sequence[bytes]) -> list[dict[str, Any]]:
    """Make request rows from the sources of pairs."""
    return [{"text": pair_of(payload).source} for payload in payloads]


def answer(
    model: "nn.Module", encoding: Encoding, rows: list[dict[str, Any]], params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Translate each text, a sentence or two long: what is longer than the network reads is cut.

    ``score`` is the logarithm of the translation's probability, divided by the penalty of its length.
    """
    import torch

    tokenizer = tokenizer_of(encoding)
    texts = [" ".join(str(row["text"]).split()) for row in rows]
    numbers = [padded([*tokenizer.encode(text).ids, END], encoding["longest"]) for text in texts]
    with torch.inference_mode():
        source = torch.from_numpy(np.stack(numbers).astype(np.int64))
        found = translate(
            translator(model), source, beam=max(1, int(params["beam"])), length_penalty=float(params["length_penalty"])
        )
    said = tokenizer.decode_batch([list(each.tokens) for each in found])
    return [
        {"text": words.strip() if text else "", "score": each.score}
        for text, words, each in zip(texts, said, found, strict=True)
    ]
