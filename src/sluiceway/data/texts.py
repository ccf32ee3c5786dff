"""What is asked of any text: was it decoded rightly, what does it consist of, how is it shown?"""

import html
import zlib

import numpy as np
import numpy.typing as npt

from sluiceway.data.table import BadExample, MeasureKind, Measures

_SHINGLE = 3
_SHORT, _CONSTANT = 8, 2
"""A text of more characters than the first, of which at most so many differ, says nothing."""
FEATURES = 256
_FIRST, _LAST = 31, 127
"""Bytes below, and above, are counted as these: what is not printable, and what is not ASCII."""
_SHOWN = 280

MEASURES: dict[str, MeasureKind] = {
    "characters": "integer",
    "bytes": "integer",
    "words": "integer",
    "letters": "number",
    "longest_word": "integer",
}
"""Columns that :func:`sizes` fills."""


def legible(payload: bytes) -> str:
    """Decode a text.

    Raises:
        BadExample: it is not UTF-8, no text, one character over and over, or was decoded wrongly by whoever wrote it.
    """
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadExample(
            "unreadable", f"not UTF-8 at byte {error.start}: {payload[error.start : error.start + 4]!r}"
        ) from None
    if "\x00" in text:
        raise BadExample("unreadable", "a zero byte: this is no text")
    if len(text) > _SHORT and len(set(text)) <= _CONSTANT:
        raise BadExample("constant", f"nothing but {text[:10]!r}")
    if garbled := mojibake(text):
        raise BadExample("mojibake", f"decoded otherwise than it was encoded: {garbled!r}")
    return text


def sizes(text: str) -> Measures:
    """Measure a text: sizes, and how much of it is words."""
    words = text.split()
    return {
        "characters": len(text),
        "bytes": len(text.encode()),
        "words": len(words),
        "letters": round(sum(character.isalpha() for character in text) / max(1, len(text)), 6),
        "longest_word": max(map(len, words), default=0),
    }


def mojibake(text: str) -> str:
    """Return a part that was decoded by another encoding than it was written in; empty when there is none."""
    import ftfy
    from ftfy.badness import is_bad

    lost = text.find("\ufffd")
    if lost >= 0:
        return text[max(0, lost - 10) : lost + 10]
    if text.isascii() or not is_bad(text):
        return ""
    words = text.split()
    mended = ftfy.fix_encoding(text).split()
    return next((word for word, better in zip(words, mended, strict=False) if word != better), "")


def features(payload: bytes, data: object) -> npt.NDArray[np.float32]:
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


def parts(payload: bytes, data: object) -> npt.NDArray[np.uint64]:
    """Hashes of the text's words in threes, case and punctuation left out."""
    hashes = [zlib.crc32(each.encode()) for each in shingles(payload.decode())]
    return np.unique(np.array(hashes, np.uint64))


def shingles(text: str) -> set[str]:
    """Return the text's words in threes, case and punctuation left out."""
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return {" ".join(words[at : at + _SHINGLE]) for at in range(max(1, len(words) - _SHINGLE + 1))}


BEGINNING, INSIDE, NUMBER, MARK = range(4)
"""Kinds of tokens: the beginning of a word, the inside of one, a number, a mark."""


def kind_of_piece(piece: str) -> int:
    """Sort a token of byte-level BPE, which writes a space as ``Ġ`` and a new line as ``Ċ``."""
    letters = piece.lstrip("\u0120\u010a")
    if letters[:1].isdigit():
        return NUMBER
    if letters[:1].isalpha():
        return BEGINNING if letters != piece else INSIDE
    return MARK


def visible(text: str) -> str:
    """Write out what a page would not show, such as a zero byte."""
    return "".join(
        character if character.isprintable() or character.isspace() else character.encode("unicode_escape").decode()
        for character in text
    )


def snippet(payload: bytes) -> str:
    """Show the beginning of a text, as HTML."""
    text = visible(payload.decode("utf-8", "replace"))
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
    return f"<blockquote>{html.escape(shown)}</blockquote>"


def thumbnail(payload: bytes, data: object) -> str:
    """The beginning of the text."""
    return snippet(payload)
