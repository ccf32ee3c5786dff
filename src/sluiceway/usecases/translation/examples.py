"""Raw data to the example table: which pairs there are, and what can be measured of each."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sluiceway.data.languages import script_missed
from sluiceway.data.sources import Shelf, checksum
from sluiceway.data.table import BadExample, Example, Measures
from sluiceway.data.texts import mojibake
from sluiceway.usecases.translation.layouts import pair_of, places_below
from sluiceway.usecases.translation.params import PairData

_MARK = 10
"""Hexadecimal digits of a content's checksum in an id."""
_SLACK = 5
"""Characters that are added to both sides before their lengths are compared."""
_SAME = 4
"""Words from which on a side that equals the other was not translated: names and numbers may stay as they are."""


def read(raw: Path, data: PairData) -> Iterator[Example]:
    """List pairs in the order of the files. The id is file and content: ``01-genesis#5d41402abc``.

    By its content a pair keeps its id when others are put in before it. The same pair once more has the same id, and so
    is set aside; where ``repeats`` are meant to be, it has a number behind it. Where the data is split already, pairs
    of several files have ids of their own: a test pair that was learned from is a leak, and no repeat.

    The target is the text that is translated into; None where it cannot be read: ``measure`` then says why.
    """
    first: dict[str, str] = {}
    seen: Counter[str] = Counter()
    with Shelf(raw) as shelf:
        for place in places_below(raw, data):
            content, target = _understood(shelf, place.source)
            mark = checksum(content or place.source.encode())[:_MARK]
            name = f"{place.name}#{mark}"
            if content and not place.split:
                name = first.setdefault(mark, name)
            seen[name] += 1
            if data.repeats and seen[name] > 1:
                name = f"{name}-{seen[name]}"
            yield Example(id=name, source=place.source, target=target, group=place.group, split=place.split)


def _understood(shelf: Shelf, source: str) -> tuple[bytes, str | None]:
    """Return content and target, as far as they can be read."""
    content = b""
    try:
        content = shelf.load(source)
        return content, pair_of(content).target or None
    except BadExample:
        return content, None


def measure(payload: bytes, data: PairData) -> Measures:
    """Measure a pair: sizes, how they compare, and what the sides are made of."""
    pair = pair_of(payload)
    for side, text, language in (("source", pair.source, data.source), ("target", pair.target, data.target)):
        _accept(side, text, language, data)
    if pair.source == pair.target and len(pair.source.split()) >= _SAME:
        raise BadExample("not_translated", f"both sides are {pair.source[:40]!r}")
    sizes = len(pair.source), len(pair.target)
    unequal = (max(sizes) + _SLACK) / (min(sizes) + _SLACK)
    if unequal > data.most_unequal:
        raise BadExample("unequal_lengths", f"{sizes[0]} and {sizes[1]} characters: {unequal:.1f} to 1")
    words, others = pair.source.lower().split(), pair.target.lower().split()
    known = set(words)
    return {
        "source_characters": sizes[0],
        "target_characters": sizes[1],
        "source_words": len(words),
        "target_words": len(others),
        "ratio": round((sizes[1] + _SLACK) / (sizes[0] + _SLACK), 6),
        "shared_words": round(sum(word in known for word in others) / max(1, len(others)), 6),
        "source_letters": _share(pair.source, str.isalpha),
        "target_letters": _share(pair.target, str.isalpha),
        "source_accents": _share(pair.source, _accented),
        "target_accents": _share(pair.target, _accented),
    }


def _accept(side: str, text: str, language: str, data: PairData) -> None:
    if not text:
        raise BadExample("empty_side", f"no {side}")
    if len(text) > data.longest:
        raise BadExample("too_long", f"{len(text):,} characters of {side}; {data.longest:,} are the most")
    if any(unicodedata.category(character) == "Cc" for character in text.replace("\t", " ").replace("\n", " ")):
        raise BadExample("unreadable", f"control characters in the {side}: this is no text")
    if garbled := mojibake(text):
        raise BadExample("mojibake", f"{side} decoded otherwise than it was encoded: {garbled!r}")
    if script := script_missed(text, language):
        raise BadExample("wrong_script", f"{side} is not written in {script}: {text[:40]!r}")


def _share(text: str, kind: Callable[[str], bool]) -> float:
    return round(sum(map(kind, text)) / len(text), 6)


def _accented(character: str) -> bool:
    return character.isalpha() and not character.isascii()


def expectations() -> list[dict[str, Any]]:
    """Expect two sides made of letters, about equally long, and mostly not the same words."""
    return [
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "target"}},
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "source_letters", "min_value": 0.4, "mostly": 0.99},
        },
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "target_letters", "min_value": 0.4, "mostly": 0.99},
        },
        {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "shared_words", "max_value": 0.5}},
    ]
