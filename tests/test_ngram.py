"""The n-gram baseline: probabilities that sum to one, and a slow reference written from the definition."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway.usecases.text_generation.ngram import MOST_BYTES, ByteNGram

TEXTS = st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=6)
SMALL = st.lists(st.text("abc ", min_size=1, max_size=25).map(str.encode), min_size=1, max_size=6)


class Reference:
    """Interpolated modified Kneser-Ney (Chen and Goodman, 1999), with dictionaries and recursion.

    P(w | h) = max(c(hw) - D(c(hw)), 0) / c(h.) + backoff(h) P(w | h without its oldest byte), and below the empty
    context the uniform distribution. The longest grams count occurrences, shorter ones the different bytes before them.
    """

    def __init__(self, texts, order):
        self.order = order
        occurrences = Counter(gram for text in texts for gram in self.grams(text))
        self.counts = {order: occurrences}
        for size in range(order - 1, 0, -1):
            self.counts[size] = Counter(gram[1:] for gram in self.counts[size + 1])
        self.cuts = {size: self.discounts(counts) for size, counts in self.counts.items()}
        self.after = {size: defaultdict(dict) for size in self.counts}
        for size, counts in self.counts.items():
            for gram, count in counts.items():
                self.after[size][gram[:-1]][gram[-1]] = count

    def grams(self, text):
        padded = bytes(self.order - 1) + text
        return [padded[start : start + self.order] for start in range(len(text))]

    @staticmethod
    def discounts(counts):
        n = Counter(counts.values())
        if not n[1]:
            return {1: 0.5, 2: 0.5, 3: 0.5}
        y = n[1] / (n[1] + 2 * n[2])
        cuts = {c: c - (c + 1) * y * n[c + 1] / n[c] if n[c] else 0.5 for c in (1, 2, 3)}
        return {c: min(max(cut, 0.05), c) for c, cut in cuts.items()}

    def probability(self, byte, context):
        size = len(context) + 1
        lower = self.probability(byte, context[1:]) if context else 1 / 256
        seen = self.after[size].get(context)
        if not seen:
            return lower
        total = sum(seen.values())
        cuts = self.cuts[size]
        kept = seen[byte] - cuts[min(seen[byte], 3)] if byte in seen else 0.0
        return kept / total + sum(cuts[min(count, 3)] for count in seen.values()) / total * lower

    def bits(self, text):
        return sum(-math.log2(self.probability(gram[-1], gram[:-1])) for gram in self.grams(text))


CORPUS = [
    b"the cat sat on the mat. the dog sat on the log.",
    b"a cat and a dog sat; the mat was flat, the log was not.",
    b"on the mat the cat, on the log the dog: that was that.",
] * 2


@pytest.mark.parametrize("order", [1, 2, 3, 5, MOST_BYTES])
def test_bits_are_those_of_the_definition(order):
    reference, model = Reference(CORPUS, order), ByteNGram(CORPUS, order)
    texts = [b"the cat sat on the log.", b"zebra", b"\xff\xfe", b"t", CORPUS[0]]
    assert model.bits(texts) == pytest.approx([reference.bits(text) for text in texts], rel=1e-9)


@settings(max_examples=60)
@given(training=SMALL, testing=SMALL, order=st.integers(1, MOST_BYTES))
def test_bits_are_those_of_the_definition_on_any_small_corpus(training, testing, order):
    reference = Reference(training, order)
    found = ByteNGram(training, order).bits(testing)
    assert found == pytest.approx([reference.bits(text) for text in testing], rel=1e-9)


@settings(max_examples=25)
@given(training=TEXTS, context=st.binary(max_size=12), order=st.integers(1, MOST_BYTES), seen=st.booleans())
def test_probabilities_of_all_next_bytes_sum_to_one(training, context, order, seen):
    if seen:
        context = training[0][: max(1, len(training[0]) // 2)]
    model = ByteNGram(training, order)
    nexts = model.bits([context + bytes([byte]) for byte in range(256)])
    before = model.bits([context])[0] if context else 0.0
    probabilities = 2.0 ** -(nexts - before)
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-6)
    assert (probabilities > 0).all()


@given(texts=TEXTS, order=st.integers(1, 5))
def test_texts_are_scored_each_for_itself(texts, order):
    model = ByteNGram(CORPUS, order)
    together = model.bits(texts)
    assert together == pytest.approx([model.bits([text])[0] for text in texts])
    assert together.shape == (len(texts),)
    assert (together > 0).all()


def test_an_empty_text_costs_nothing():
    assert ByteNGram(CORPUS, 3).bits([b"", b"a", b""]).tolist()[::2] == [0.0, 0.0]


def test_what_was_never_seen_costs_no_more_than_a_few_bits_above_uniform():
    unseen = ByteNGram(CORPUS, 5).bits([b"\xfe"])[0]
    assert 8 < unseen < 30
    assert np.isfinite(unseen)


def test_a_longer_memory_is_better_on_real_text():
    text = (math.__doc__ or "") + "\n".join(str(getattr(math, name).__doc__) for name in sorted(dir(math)))
    import argparse
    import statistics

    sources = [module.__doc__ or "" for module in (argparse, statistics)] + [
        str(member.__doc__) for module in (argparse, statistics) for member in vars(module).values()
    ]
    training = [source.encode() for source in sources] + [text[: len(text) // 2].encode()]
    testing = [text[len(text) // 2 :].encode()]
    costs = [ByteNGram(training, order).bits(testing)[0] / len(testing[0]) for order in (1, 2, 3, 5)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] < 8
    assert costs[3] < 0.8 * costs[0]


@pytest.mark.parametrize("order", [0, MOST_BYTES + 1])
def test_an_order_that_does_not_fit_is_refused(order):
    with pytest.raises(ValueError, match=f"order {order} is not in 1..8"):
        ByteNGram(CORPUS, order)
