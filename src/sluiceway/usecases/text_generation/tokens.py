"""The vocabulary that ``fit`` learned or took, made ready for use.

Shapes: V vocabulary.
"""

import json
from pathlib import Path

import numpy as np

from sluiceway.data.bpe import documents_of, kept, tokenizer_of
from sluiceway.errors import ConfigError
from sluiceway.usecases.base import Encoding

END = "<|end|>"
"""What stands between passages, where the vocabulary is learned."""


def taken_from(folder: Path) -> Encoding:
    """Return the tokens of pretrained weights; END is what ends a text for them.

    Raises:
        ConfigError: they are not there, or not byte-level, so that nobody can say how many bytes each stands for.
    """
    tokens, config = documents_of(folder)
    end = config.get("eos_token_id")
    end = end[0] if isinstance(end, list) and end else end
    if '"ByteLevel"' not in json.dumps(tokens.get("decoder")) or not isinstance(end, int):
        raise ConfigError(
            f"encode.tokenizer: the tokens of {folder} are not byte-level, or its config.json names no eos_token_id",
            hint="scores are in bits per byte: take byte-level tokens, such as those of GPT-2, Llama 3 or Qwen",
        )
    return {**kept(folder, tokens, config), "end": end}


def token_pieces(encoding: Encoding) -> list[str]:
    """Return what each token is written as: [V]. Byte-level BPE writes a space as ``Ġ`` and a new line as ``Ċ``."""
    tokenizer = tokenizer_of(encoding)
    return [tokenizer.id_to_token(number) or "" for number in range(encoding["vocabulary"])]


def token_sizes(encoding: Encoding) -> tuple[np.ndarray, np.ndarray]:
    """Return how many bytes, and how many white spaces, each token stands for: [V] each."""
    pieces = token_pieces(encoding)
    sizes = np.array([len(piece) for piece in pieces])
    spaces = np.array([piece.count("\u0120") + piece.count("\u010a") for piece in pieces])
    sizes[encoding["end"]] = 0
    return sizes, spaces
