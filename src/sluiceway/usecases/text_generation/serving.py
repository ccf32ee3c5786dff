"""A registered model's requests and answers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sluiceway.data.bpe import tokenizer_of
from sluiceway.usecases.base import Encoding
from sluiceway.usecases.text_generation.sampling import generate

if TYPE_CHECKING:
    from torch import nn


def example(payloads: Sequence[bytes]) -> list[dict[str, Any]]:
    """Make request rows from the beginnings of passages."""
    return [{"prompt": " ".join(payload.decode().split()[:6])} for payload in payloads]


def answer(
    model: "nn.Module", encoding: Encoding, rows: list[dict[str, Any]], params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Continue each prompt."""
    tokenizer = tokenizer_of(encoding)
    answers = []
    for row in rows:
        tokens = generate(
            model,
            encoding,
            row["prompt"],
            tokens=int(params["max_tokens"]),
            temperature=float(params["temperature"]),
            top_p=float(params["top_p"]),
            seed=int(params["seed"]),
        )
        answers.append({"text": row["prompt"] + tokenizer.decode(tokens)})
    return answers
