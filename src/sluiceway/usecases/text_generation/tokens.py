"""The vocabulary that ``fit`` learned or took, made ready for use.

Shapes: V vocabulary.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluiceway.errors import ConfigError
from sluiceway.usecases.base import Encoding

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END = "<|end|>"
"""What stands between passages, where the vocabulary is learned."""


def taken_from(folder: Path) -> Encoding:
    """Return the tokens of pretrained weights; END is what ends a text for them.

    Raises:
        ConfigError: they are not there, or not byte-level, so that nobody can say how many bytes each stands for.
    """
    from tokenizers import Tokenizer

    tokens, config = (_object(folder / name) for name in ("tokenizer.json", "config.json"))
    text = json.dumps(tokens, ensure_ascii=False)
    end = config.get("eos_token_id")
    end = end[0] if isinstance(end, list) and end else end
    if '"ByteLevel"' not in json.dumps(tokens.get("decoder")) or not isinstance(end, int):
        raise ConfigError(
            f"encode.tokenizer: the tokens of {folder} are not byte-level, or its config.json names no eos_token_id",
            hint="scores are in bits per byte: take byte-level tokens, such as those of GPT-2, Llama 3 or Qwen",
        )
    try:
        size = Tokenizer.from_str(text).get_vocab_size()
    except Exception as error:  # noqa: BLE001 - the library raises nothing more special
        raise _unreadable(folder / "tokenizer.json", error) from None
    # Some networks have room for more tokens than there are.
    return {"tokenizer": text, "vocabulary": max(size, int(config.get("vocab_size", 0))), "end": end}


def _object(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not isinstance(document, dict):
        raise _unreadable(path, "no JSON object")
    return document


def _unreadable(path: Path, why: object) -> ConfigError:
    return ConfigError(
        f"encode.tokenizer: {path} cannot be read: {why}",
        hint="give the folder of the pretrained weights, with tokenizer.json and config.json",
    )


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
    sizes[encoding["end"]] = 0
    return sizes, spaces
