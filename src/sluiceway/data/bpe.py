"""Byte-pair encoding on bytes (Sennrich et al., 2016), by ``tokenizers``: learned, or taken from pretrained weights.

What is learned is plain JSON, and is kept with the model.
"""

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sluiceway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenizers import Tokenizer

SMALL = 65536
"""Tokens that 16 bits can tell apart."""


def learned(texts: Iterable[str], vocabulary: int, special: Sequence[str], *, spaced: bool = False) -> dict[str, Any]:
    """Learn a vocabulary.

    Args:
        texts: of the training split alone.
        vocabulary: number of tokens at most.
        special: tokens that are no text, numbered from 0.
        spaced: whether a text begins as a word behind a space does.

    Returns:
        ``tokenizer`` and ``vocabulary``, the number of tokens that were learned.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return {"tokenizer": tokenizer.to_str(), "vocabulary": tokenizer.get_vocab_size()}


def documents_of(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return ``tokenizer.json`` and ``config.json`` of pretrained weights.

    Raises:
        ConfigError: they are not there, or hold no JSON object.
    """
    return _object(folder / "tokenizer.json"), _object(folder / "config.json")


def kept(folder: Path, tokens: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Return ``tokenizer`` and ``vocabulary`` of pretrained weights: some networks have room for more than there are.

    Args:
        folder: of the weights, for the message.
        tokens: ``tokenizer.json``.
        config: ``config.json``.

    Raises:
        ConfigError: the library cannot read the tokens.
    """
    from tokenizers import Tokenizer

    text = json.dumps(tokens, ensure_ascii=False)
    try:
        size = Tokenizer.from_str(text).get_vocab_size()
    except Exception as error:  # noqa: BLE001 - the library raises nothing more special
        raise _unreadable(folder / "tokenizer.json", error) from None
    return {"tokenizer": text, "vocabulary": max(size, int(config.get("vocab_size", 0)))}


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


def tokenizer_of(encoding: "Mapping[str, Any]") -> "Tokenizer":
    """Return the tokenizer. A text that spells out a special token is text."""
    return _made(encoding["tokenizer"])


@lru_cache(maxsize=4)
def _made(text: str) -> "Tokenizer":
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(text)
    tokenizer.encode_special_tokens = True
    return tokenizer


def padded(numbers: Sequence[int], length: int, padding: int = 0, vocabulary: int = SMALL) -> npt.NDArray[Any]:
    """Return numbers of tokens with padding behind them, or the first of them: [length].

    Args:
        numbers: of a text.
        length: of what is returned.
        padding: number of what is no token.
        vocabulary: how many tokens there are: of up to 65,536, two bytes each suffice.
    """
    array = np.full(length, padding, np.uint16 if vocabulary <= SMALL else np.int32)
    array[: len(numbers)] = numbers[:length]
    return array
