"""The vocabulary that ``fit`` learned, made ready for use.

Shapes: V vocabulary.
"""

from typing import TYPE_CHECKING

import numpy as np

from sluiceway.usecases.base import Encoding

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END = "<|end|>"


def tokenizer_of(encoding: Encoding) -> "Tokenizer":
    """Return the tokenizer, which gives END for no text."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(encoding["tokenizer"])
    tokenizer.encode_special_tokens = True  # a text that spells out END is text, and does not end a passage
    return tokenizer


def token_pieces(encoding: Encoding) -> list[str]:
    """Return what each token is written as: [V]. Byte-level BPE writes a space as ``Ġ`` and a new line as ``Ċ``."""
    tokenizer = tokenizer_of(encoding)
    return [tokenizer.id_to_token(number) or "" for number in range(encoding["vocabulary"])]


def token_sizes(encoding: Encoding) -> tuple[np.ndarray, np.ndarray]:
    """Return how many bytes, and how many white spaces, each token stands for: [V] each."""
    pieces = token_pieces(encoding)
    sizes = np.array([len(piece) for piece in pieces])
    spaces = np.array([piece.count("\u0120") + piece.count("\u010a") for piece in pieces])
    sizes[0] = 0
    return sizes, spaces
