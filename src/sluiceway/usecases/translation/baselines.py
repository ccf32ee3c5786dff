"""What the network must beat: the source as it is, and IBM model 1 word by word."""

import re
from collections.abc import Mapping
from functools import cache

import numpy as np

from sluiceway.data.answers import Answers
from sluiceway.usecases.base import Encoding, Outcomes, Reader
from sluiceway.usecases.translation.alignment import WordTranslation, words_of
from sluiceway.usecases.translation.encoding import sides_of
from sluiceway.usecases.translation.params import PairData
from sluiceway.usecases.translation.scoring import outcomes_of

_CLOSING, _OPENING = re.compile(r"\s+([^\w\s(\[{¿¡“‘«]+)"), re.compile(r"([(\[{¿¡“‘«])\s+")  # noqa: RUF001


def baselines(reader: Reader, data: PairData, encoding: Encoding, answers: Answers) -> Mapping[str, Outcomes]:
    """Copy the source; and put the likeliest word for each word, in the order of the source."""
    training = [sides_of(loaded) for loaded in reader("train")]
    learned = WordTranslation(
        [words_of(source) for source, _ in training], [words_of(target) for _, target in training]
    )
    testing = list(reader("test"))
    sources, wanted = ([pair[side] for pair in map(sides_of, testing)] for side in (0, 1))
    rows = {"row": np.array([loaded.row for loaded in testing])}
    translator = cache(lambda word: next((best for best, _ in learned.likeliest(word, 1)), word))
    word_by_word = [in_words([translator(word) for word in words_of(text)]) for text in sources]
    return {
        "copy": outcomes_of(sources, wanted, sources) | rows,
        "IBM model 1": outcomes_of(sources, wanted, word_by_word) | rows,
    }


def in_words(words: list[str]) -> str:
    """Write words and marks as a text: marks stand at the word before them, or after where they open something."""
    return _OPENING.sub(r"\1", _CLOSING.sub(r"\1", " ".join(words)))
