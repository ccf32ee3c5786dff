"""How the data gate looks into a pair: its words in threes, its letters, and whether the sides belong together."""

import html
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sluiceway.data.sources import BETWEEN
from sluiceway.data.texts import shingles, visible
from sluiceway.usecases.translation.alignment import WordTranslation, words_of
from sluiceway.usecases.translation.layouts import pair_of
from sluiceway.usecases.translation.params import PairData

FEATURES = 48
"""Numbers for the letters of each side, hashed by twos."""
_KNOWN = 8_000
"""Pairs that the alignment learns from: it learns anew for each fold, and words that are rarer tell little."""
_SHOWN = 280


def features(payload: bytes, data: PairData) -> npt.NDArray[np.float32]:
    """Square roots of the shares of hashed pairs of letters of both sides [2 x 48]: distances are Hellinger's."""
    pair = pair_of(payload)
    shares = []
    for text in (pair.source.lower(), pair.target.lower()):
        twos = [zlib.crc32(text[at : at + 2].encode()) % FEATURES for at in range(max(1, len(text) - 1))]
        counts = np.bincount(np.array(twos), minlength=FEATURES)
        shares.append(counts / counts.sum())
    return np.asarray(np.sqrt(np.concatenate(shares)), np.float32)


def parts(payload: bytes, data: PairData) -> npt.NDArray[np.uint64]:
    """Hashes of the words in threes of both sides: copies of one side alone are no copies."""
    pair = pair_of(payload)
    sides = {"source": pair.source, "target": pair.target}
    hashes = [zlib.crc32(f"{side} {three}".encode()) for side, text in sides.items() for three in shingles(text)]
    return np.unique(np.array(hashes, np.uint64))


def surprise(known: Sequence[bytes], asked: Sequence[bytes]) -> npt.NDArray[np.float64]:
    """Bits per target word [asked] by which the source misleads, under IBM model 1 of the known pairs.

    Below 0 the source helps. From 0 on it does not: the sides do not belong together.
    """
    pairs = [pair_of(each) for each in known[:: -(-len(known) // _KNOWN)]]
    learned = WordTranslation(
        [words_of(pair.source.lower()) for pair in pairs], [words_of(pair.target.lower()) for pair in pairs]
    )
    found = []
    for payload in asked:
        pair = pair_of(payload)
        found.append(-learned.help(words_of(pair.source.lower()), words_of(pair.target.lower())))
    return np.array(found, np.float64)


def thumbnail(payload: bytes, data: PairData) -> str:
    """Both sides, one below the other."""
    sides = [side.decode("utf-8", "replace") for side in payload.split(BETWEEN, 1)]
    shown = [f"<p>{html.escape(visible(side[:_SHOWN]))}{' ...' if len(side) > _SHOWN else ''}</p>" for side in sides]
    return f"<blockquote>{''.join(shown)}</blockquote>"
