"""The example table to shards: a vocabulary, a lexicon, and pairs as numbers.

Shapes: S source tokens and T target tokens, padded with 0; V vocabulary, K entries of the lexicon per token.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sluiceway.data.bpe import learned, padded, tokenizer_of
from sluiceway.data.table import SplitName
from sluiceway.errors import DataError
from sluiceway.usecases.base import Encoding, Item, Loaded
from sluiceway.usecases.translation.alignment import WordTranslation
from sluiceway.usecases.translation.layouts import pair_of
from sluiceway.usecases.translation.params import PairEncoding

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PADDING, END = 0, 1
"""Numbers of the tokens that are no text: padding; and what a target begins and ends with, and a source ends with."""
_SPECIAL = ["<|padding|>", "<|end|>"]
_LEAST_CHANCE = 0.01
"""Of an entry of the lexicon."""


def fit(training: Iterable[Loaded], params: PairEncoding) -> Encoding:
    """Learn the vocabulary (Sennrich et al., 2016), and which tokens stand for which, from the training pairs."""
    pairs = [sides_of(loaded) for loaded in training]
    if not pairs:
        raise DataError("there is nothing to learn from", hint="give more pairs, or other shares in data.split")
    known = learned((text for pair in pairs for text in pair), params.vocabulary, _SPECIAL, spaced=True)
    lexicon = _lexicon(tokenizer_of(known), pairs, params.entries) if params.entries else None
    return {**known, "longest": params.longest, "lexicon": lexicon}


def _lexicon(tokenizer: "Tokenizer", pairs: Sequence[tuple[str, str]], entries: int) -> dict[str, Any]:
    """Return what each token may become, and with what chance: [V][up to K] each. END becomes END."""
    size = tokenizer.get_vocab_size()
    names = [tokenizer.id_to_token(number) or "" for number in range(size)]
    sources, targets = (
        [each.tokens for each in tokenizer.encode_batch([pair[side] for pair in pairs])] for side in (0, 1)
    )
    learned = WordTranslation(sources, targets)
    numbers = {name: number for number, name in enumerate(names)}
    becomes: list[list[int]] = []
    chances: list[list[float]] = []
    for name in names:
        found = [(word, chance) for word, chance in learned.likeliest(name, entries) if chance >= _LEAST_CHANCE]
        becomes.append([numbers[word] for word, _ in found])
        chances.append([round(chance, 3) for _, chance in found])
    becomes[END], chances[END] = [END], [1.0]
    return {"becomes": becomes, "chances": chances}


def sides_of(loaded: Loaded) -> tuple[str, str]:
    """Return source and target of an example; the target as a person may have corrected it."""
    pair = pair_of(loaded.payload)
    return pair.source, pair.target if loaded.example.target is None else loaded.example.target


def encode(examples: Iterable[Loaded], encoding: Encoding, split: SplitName) -> Iterator[Item]:
    """Turn pairs into numbers.

    Yields:
        ``source`` [S], END behind its last token; ``target`` [T + 1], END before its first and behind its last token;
        and ``bytes`` of the target. What is longer than ``longest`` is cut, and has no END.
    """
    tokenizer = tokenizer_of(encoding)
    longest = int(encoding["longest"])
    for loaded in examples:
        source, target = sides_of(loaded)
        numbers = [*tokenizer.encode(source).ids, END], [END, *tokenizer.encode(target).ids, END]
        arrays: dict[str, npt.NDArray[Any]] = {
            "source": padded(numbers[0], longest),
            "target": padded(numbers[1], longest + 1),
            "bytes": np.asarray(len(target.encode()), np.int64),
        }
        yield Item(loaded.row, arrays)
