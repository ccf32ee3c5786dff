"""How the data gate looks into a text: its words in threes, the letters it is made of, and how it fits the others."""

import html
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sluiceway.data.texts import shingles, visible
from sluiceway.usecases.text_generation.ngram import ByteNGram
from sluiceway.usecases.text_generation.params import TextData

FEATURES = 256
_FIRST, _LAST = 31, 127
"""Bytes below, and above, are counted as these: what is not printable, and what is not ASCII."""
_SHOWN = 280
_ORDER = 5


def features(payload: bytes, data: TextData) -> npt.NDArray[np.float32]:
    """Square roots of the shares of hashed letter trigrams [256] and of bytes [97]: their distances are Hellinger's."""
    text = payload.decode()
    grams = [text[at : at + 3] for at in range(max(1, len(text) - 2))]
    places = np.fromiter((zlib.crc32(gram.encode()) for gram in grams), np.uint32, len(grams)) % FEATURES
    trigrams = np.bincount(places, minlength=FEATURES)
    letters = np.bincount(
        np.clip(np.frombuffer(payload, np.uint8), _FIRST, _LAST) - _FIRST, minlength=_LAST - _FIRST + 1
    )
    shares = [counts / max(1, counts.sum()) for counts in (trigrams, letters)]
    return np.asarray(np.sqrt(np.concatenate(shares)), np.float32)


def parts(payload: bytes, data: TextData) -> npt.NDArray[np.uint64]:
    """Hashes of the text's words in threes, case and punctuation left out."""
    hashes = [zlib.crc32(each.encode()) for each in shingles(payload.decode())]
    return np.unique(np.array(hashes, np.uint64))


def surprise(known: Sequence[bytes], asked: Sequence[bytes]) -> npt.NDArray[np.float64]:
    """Bits per byte [asked] of each text under a 5-gram model of the known ones."""
    lengths = np.array([max(1, len(text)) for text in asked])
    return np.asarray(ByteNGram(known, order=_ORDER).bits(asked) / lengths, np.float64)


def thumbnail(payload: bytes, data: TextData) -> str:
    """The beginning of the text."""
    text = visible(payload.decode("utf-8", "replace"))
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
    return f"<blockquote>{html.escape(shown)}</blockquote>"
