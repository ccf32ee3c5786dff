"""Reads a text out of what a network says of each moment (connectionist temporal classification; Graves et al., 2006).

A path gives each moment a character or the blank, which is number 0; runs of one character are one, and blanks part
them. A text is as likely as all its paths together.

Shapes: S moments, K characters, the blank included.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Language = Callable[[tuple[int, ...]], Sequence[float]]
"""What may follow a text: log probabilities [K], the first of which, the blank's, is not asked."""

FIRST = 2
"""Number of the first character."""
_NEVER = -math.inf
_UNLIKELY = 12.0
"""Nats below the likeliest character of a moment at which another is not followed."""


def greedy(log_probabilities: Floats) -> tuple[int, ...]:
    """Return the text of the likeliest path through [S, K]."""
    path = log_probabilities.argmax(1)
    return tuple(int(each) for each in path[np.flatnonzero(np.diff(path, prepend=-1))] if each)


@dataclass(slots=True)
class _Beginning:
    """How likely its paths are: those that end in the blank, and those that end in its last character."""

    blank: float = _NEVER
    last: float = _NEVER
    language: float = 0.0
    """What the language model says of it, weighed, and the bonus of its characters."""

    @property
    def acoustic(self) -> float:
        return _add(self.blank, self.last)

    @property
    def score(self) -> float:
        return self.acoustic + self.language


def beam_search(
    log_probabilities: Floats, beam: int, language: Language | None = None, weight: float = 0.0, bonus: float = 0.0
) -> tuple[int, ...]:
    """Return the likeliest text found by following the best beginnings (Hannun et al., 2014).

    Args:
        log_probabilities: of each character at each moment, [S, K].
        beam: beginnings that are followed; of enough of them, without a language model, the likeliest is found.
        language: what may follow a beginning.
        weight: of what it says.
        bonus: added for each character: else a text is the likelier the shorter it is.
    """
    beginnings: dict[tuple[int, ...], _Beginning] = {(): _Beginning(blank=0.0)}
    for moment in log_probabilities.tolist():
        least = max(moment) - _UNLIKELY
        spoken = [k for k in range(1, len(moment)) if moment[k] > least]
        grown: dict[tuple[int, ...], _Beginning] = {}
        for text, old in beginnings.items():
            stays = grown.setdefault(text, _Beginning(language=old.language))
            stays.blank = _add(stays.blank, old.acoustic + moment[0])
            if text:
                stays.last = _add(stays.last, old.last + moment[text[-1]])
            following = language(text) if language else None
            for k in spoken:
                longer = (*text, k)
                new = grown.get(longer)
                if new is None:
                    said = weight * following[k] if following else 0.0
                    new = grown[longer] = _Beginning(language=old.language + said + bonus)
                # After its like, a character is only new when a blank stands between.
                before = old.blank if text and text[-1] == k else old.acoustic
                new.last = _add(new.last, before + moment[k])
        best = sorted(grown.items(), key=lambda entry: (-entry[1].score, entry[0]))[:beam]
        beginnings = dict(best)
    return max(beginnings.items(), key=lambda entry: entry[1].score)[0]


def _add(one: float, other: float) -> float:
    """Return the logarithm of the sum of two probabilities, given by theirs."""
    if one < other:
        one, other = other, one
    return one if other == _NEVER else one + math.log1p(math.exp(other - one))


class CharacterModel:
    """What characters follow each other: n-grams, each mixed with the shorter ones (Witten and Bell, 1991).

    Args:
        counts: how often a character followed a context, by context and character; numbers in JSON's texts.
        characters: K - 1, without the blank.
    """

    def __init__(self, counts: dict[str, dict[str, int]], characters: int) -> None:
        self._counts = {_context(name): {int(k): n for k, n in each.items()} for name, each in counts.items()}
        self._order = 1 + max((len(context) for context in self._counts), default=0)
        self._characters = characters
        self._known: dict[tuple[int, ...], list[float]] = {}

    @staticmethod
    def learn(texts: Sequence[Sequence[int]], order: int) -> dict[str, dict[str, int]]:
        """Count, in texts of numbers from 1 on, what follows each context of up to ``order`` - 1 characters."""
        counts: dict[str, dict[str, int]] = {}
        for text in texts:
            for at, character in enumerate(text):
                for length in range(min(order - 1, at) + 1):
                    context = " ".join(str(each) for each in text[at - length : at])
                    after = counts.setdefault(context, {})
                    after[str(character)] = after.get(str(character), 0) + 1
        return counts

    def __call__(self, text: tuple[int, ...]) -> Sequence[float]:
        """Return the log probability of each character after a text: [K], the blank's being 0."""
        context = text[max(0, len(text) - self._order + 1) :]
        if context not in self._known:
            self._known[context] = [0.0, *(math.log(each) for each in self._mixed(context))]
        return self._known[context]

    def _mixed(self, context: tuple[int, ...]) -> list[float]:
        shorter = self._mixed(context[1:]) if context else [1 / self._characters] * self._characters
        counts = self._counts.get(context)
        if not counts:
            return shorter
        total, kinds = sum(counts.values()), len(counts)
        return [(counts.get(k, 0) + kinds * each) / (total + kinds) for k, each in enumerate(shorter, start=1)]


def _context(name: str) -> tuple[int, ...]:
    return tuple(int(each) for each in name.split())
