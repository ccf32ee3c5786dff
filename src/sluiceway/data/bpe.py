"""Byte-pair encoding on bytes (Sennrich et al., 2016), by ``tokenizers``: learned, and made ready for use.

What is learned is plain JSON, and is kept with the model.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

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
