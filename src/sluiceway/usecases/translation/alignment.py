"""IBM model 1: which word stands for which, learned from pairs of sentences alone (Brown et al., 1993).

Every target word comes from one source word, or from none, whatever the order. Expectation maximisation then finds
p(target word | source word), from equal chances, and always the same maximum: the likelihood has no other.

It is a baseline of the translation, and an eye of the data gate: where the source does not help to foretell the target,
the two do not belong together.

Shapes: L links (each target word with each source word of its sentence, and with none), J target words of all
sentences, P pairs of words that share one, V words of the target vocabulary, N pairs of sentences.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = Sequence[str]

_WORD = re.compile(r"\w+|[^\w\s]")
_NONE = 0
"""Number of the empty source word, from which target words come that nothing stands for."""
_UNSEEN = 0.1
"""Share of the target's own frequencies in what is foretold: no word is impossible."""
MOST_LINKS = 40_000_000
"""Links that are learned from, at most: half a gigabyte of memory. Of more, the first pairs are taken."""


def words_of(text: str) -> list[str]:
    """Cut a text into words and marks."""
    return _WORD.findall(text)


class WordTranslation:
    """Learns p(target word | source word).

    Args:
        sources: words of each source sentence: N.
        targets: words of each target sentence: N.
        iterations: of expectation maximisation.
    """

    def __init__(self, sources: Sequence[Words], targets: Sequence[Words], iterations: int = 5) -> None:
        self._source = {word: at for at, word in enumerate(_vocabulary(sources), start=1)}
        self._target = {word: at for at, word in enumerate(_vocabulary(targets))}
        self._names = list(self._target)
        counts = Counter(word for words in targets for word in words)
        frequency = np.array([counts[word] for word in self._names], np.float64)
        self.frequency: Floats = frequency / max(1.0, frequency.sum())
        """Of each target word: [V]."""
        links = self._links(sources, targets)
        self.keys, link = _numbered(links.keys)
        """Pairs of words that share a sentence, as source x V + target, ascending: [P]."""
        self.chances: Floats = _maximise(self.keys // max(1, len(self._names)), link, links, iterations)
        """p(target word | source word) of each: [P]."""

    def _links(self, sources: Sequence[Words], targets: Sequence[Words]) -> "_Links":
        """Link words that share a sentence; those that stand in it more than once have one link, which weighs more."""
        keys, sizes, ones, others = [], [], [], []
        count = 0
        for source, target in zip(sources, targets, strict=True):
            one, other = Counter(source), Counter(target)
            count += (len(one) + 1) * len(other)
            if count > MOST_LINKS:
                break
            numbers = np.array([_NONE, *(self._source[word] for word in one)], np.int64) * len(self._names)
            wanted = np.array([self._target[word] for word in other], np.int64)
            keys.append((wanted[:, None] + numbers).reshape(-1))
            ones.append(np.tile(np.array([1, *one.values()], np.float32), len(other)))
            others.append(np.array(list(other.values()), np.float32))
            sizes.append(np.full(len(other), len(numbers), np.int64))
        if not keys:
            nothing = np.empty(0, np.float32)
            return _Links(np.empty(0, np.int64), np.empty(0, np.int64), nothing, nothing)
        return _Links(np.concatenate(keys), np.concatenate(sizes), np.concatenate(ones), np.concatenate(others))

    def likeliest(self, word: str, most: int) -> list[tuple[str, float]]:
        """Return the likeliest translations of a word with their chances, the best first; none of an unknown one."""
        number = self._source.get(word)
        if number is None:
            return []
        start, end = np.searchsorted(self.keys, [number * len(self._names), (number + 1) * len(self._names)])
        chances = self.chances[start:end]
        few = np.argpartition(-chances, min(most, len(chances)) - 1)[:most]
        order = np.sort(few)[np.argsort(-chances[np.sort(few)], kind="stable")] + start
        return [(self._names[int(self.keys[place] % len(self._names))], float(self.chances[place])) for place in order]

    def help(self, source: Words, target: Words) -> float:
        """Return by how many bits a target word is foretold better with the source than without, on average.

        Words that were never seen count as 0: neither with nor without the source is anything known of them.
        """
        known = np.array([self._target[word] for word in target if word in self._target], np.int64)
        if not len(known):
            return 0.0
        given = np.array([_NONE, *(self._source[word] for word in source if word in self._source)], np.int64)
        keys = known[:, None] + given * len(self._names)  # [target words, source words]
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        with_source = np.where(self.keys[place] == keys, self.chances[place], 0.0).mean(1)
        without = self.frequency[known]
        gain = np.log2((1 - _UNSEEN) * with_source + _UNSEEN * without) - np.log2(without)
        return float(gain.sum() / len(target))


@dataclass(frozen=True, slots=True)
class _Links:
    """Words that share a sentence."""

    keys: Ints
    """As in ``WordTranslation.keys``: [L]."""
    sizes: Ints
    """Links of each target word of a sentence: [J]."""
    ones: npt.NDArray[np.float32]
    """How often the source word of each link stands in the sentence: [L]."""
    others: npt.NDArray[np.float32]
    """How often the target word does: [J]."""


def _vocabulary(sentences: Iterable[Words]) -> list[str]:
    return sorted({word for words in sentences for word in words})


def _numbered(keys: Ints) -> tuple[Ints, Ints]:
    """Return the different keys, ascending [P], and the number among them of each [L]: faster than ``np.unique``."""
    order = np.argsort(keys)
    ordered = keys[order]
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(keys) else np.empty(0, bool)
    numbers = np.empty(len(keys), np.int64)
    numbers[order] = np.cumsum(new) - 1
    return ordered[new], numbers


def _maximise(source: Ints, link: Ints, links: _Links, iterations: int) -> Floats:
    """Return the chance [P] of each pair of words.

    Args:
        source: number of the source word of each pair: [P], ascending.
        link: number of the pair of each link: [L].
        links: of all sentences.
        iterations: of expectation maximisation.
    """
    chances = np.ones(len(source))
    if not len(source):
        return chances
    starts = np.cumsum(links.sizes) - links.sizes
    owner = np.cumsum(np.concatenate([[0], source[1:] != source[:-1]]))  # numbers without gaps
    for _ in range(iterations):
        share = chances[link] * links.ones
        share *= np.repeat(links.others / np.add.reduceat(share, starts), links.sizes)
        counts = np.bincount(link, share, len(source))
        chances = counts / np.bincount(owner, counts)[owner]
    return chances
