"""BLEU and chrF from counts per sentence, so that a bootstrap only adds up.

The counts are made with sacrebleu's own tokenizer and n-grams, and put together by its own formulae: a test holds the
figures against ``corpus_score``. BLEU: Papineni et al., 2002; Post, 2018. chrF: Popovic, 2015.

Shapes: N sentences.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sluiceway.usecases.base import Outcomes

_WORDS, _LETTERS = 4, 6
"""Longest n-grams of BLEU, and of chrF."""
_RECALL = 2.0
"""How many times as much as precision recall counts in chrF."""
_KINDS = (("bleu", _WORDS), ("chrf", _LETTERS))
_COUNTS = ("said", "wanted", "both")


def counts_of(said: Sequence[str], wanted: Sequence[str]) -> Outcomes:
    """Count n-grams of translations, of references, and common to both: columns [N] such as ``chrf_both_3``."""
    columns: dict[str, npt.NDArray[np.int64]] = {}
    for kind, longest in _KINDS:
        grams = _grams(kind)
        rows = [_counted(kind, grams(one), grams(other), longest) for one, other in zip(said, wanted, strict=True)]
        table = np.array(rows, np.int64).reshape(len(rows), longest * len(_COUNTS))
        names = [f"{kind}_{what}_{size}" for size in range(1, longest + 1) for what in _COUNTS]
        columns |= dict(zip(names, table.T, strict=True))
    return columns


def _counted(kind: str, one: Sequence[Counter[Any]], other: Sequence[Counter[Any]], longest: int) -> list[int]:
    figures = []
    for size in range(longest):
        said, wanted = one[size].total(), other[size].total()
        if kind == "chrf" and not wanted:  # as sacrebleu has it: of a length that no reference has, none counts
            said = 0
        figures += [said, wanted, (one[size] & other[size]).total()]
    return figures


@cache
def _grams(kind: str) -> Callable[[str], list[Counter[Any]]]:
    """Return what counts the n-grams of a sentence, by their length from 1 on."""
    from sacrebleu.metrics.helpers import extract_all_char_ngrams, extract_word_ngrams
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    if kind == "chrf":
        return lambda text: list(extract_all_char_ngrams(text.rstrip(), _LETTERS, include_whitespace=False))
    tokenize: Callable[[str], str] = Tokenizer13a()  # type: ignore[no-untyped-call]
    return lambda text: [
        Counter(extract_word_ngrams(tokenize(text.rstrip()).split(), size)) for size in range(1, _WORDS + 1)
    ]


def chrf(outcomes: Outcomes) -> float:
    """Character n-gram F-score of all sentences together, 0 to 100."""
    said, wanted, both = _sums(outcomes, "chrf", _LETTERS)
    sizes = (said > 0) & (wanted > 0)
    if not sizes.any():
        return 0.0
    return float(_f_score((both[sizes] / said[sizes]).mean(), (both[sizes] / wanted[sizes]).mean()))


def sentence_chrf(outcomes: Outcomes) -> npt.NDArray[np.float64]:
    """Character n-gram F-score of each sentence: [N]."""
    said, wanted, both = (
        np.stack([outcomes[f"chrf_{what}_{size}"] for size in range(1, _LETTERS + 1)], 1).astype(np.float64)
        for what in _COUNTS
    )  # [N, 6] each
    sizes = (said > 0) & (wanted > 0)
    there = np.maximum(sizes.sum(1), 1)
    precision = np.where(sizes, both / np.maximum(said, 1), 0.0).sum(1) / there
    recall = np.where(sizes, both / np.maximum(wanted, 1), 0.0).sum(1) / there
    return np.asarray(_f_score(precision, recall), np.float64)


def _f_score(precision: Any, recall: Any) -> Any:
    below = _RECALL**2 * precision + recall
    return 100 * np.divide((1 + _RECALL**2) * precision * recall, below, out=np.zeros_like(below), where=below > 0)


def bleu(outcomes: Outcomes) -> float:
    """Word n-gram precision of all sentences together, with a penalty where they are too short, 0 to 100."""
    from sacrebleu.metrics.bleu import BLEU

    said, wanted, both = _sums(outcomes, "bleu", _WORDS)
    return float(
        BLEU.compute_bleu(
            both.astype(int).tolist(),
            said.astype(int).tolist(),
            int(said[0]),
            int(wanted[0]),
            smooth_method="exp",
            max_ngram_order=_WORDS,
        ).score
    )


def _sums(outcomes: Outcomes, kind: str, longest: int) -> list[npt.NDArray[np.float64]]:
    return [
        np.array([outcomes[f"{kind}_{what}_{size}"].sum() for size in range(1, longest + 1)], np.float64)
        for what in _COUNTS
    ]


def signature(kind: str) -> str:
    """Return how sacrebleu writes down how a figure was made: who has another one compares another thing."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    metric: Any = {"bleu": BLEU, "chrf": CHRF}[kind]()
    metric.corpus_score([""], [[""]])  # only then is the number of references known
    return str(metric.get_signature())
