"""Regular expressions that mean the same to Python and to polars (the Rust crate ``regex``).

The two differ in look-around, back references, the end of a text with a last line break, what is a letter or a space,
and much else. So only a plain sort is translated: letters, classes, groups, alternatives, and how often each comes.
"""

import re

_LITERAL = r"[^\\.^$*+?{}\[\]()|]|\\[^\w\s]|\\d"
_MEMBER = r"(?:[^\\\[\]^\-&~|]|\\[^\w\s]|\\d)"
_CLASS = rf"\[\^?(?:(?!\\d){_MEMBER}-(?!\\d){_MEMBER}|{_MEMBER}|\|(?!\|))+-?\]"
_OFTEN = r"(?:[*+?]|\{\d{1,3}(?:,(?:\d{1,3})?)?\})\??(?![*+?{])"
_PLAIN = re.compile(
    rf"(?:(?:{_LITERAL}|\.|{_CLASS}|\)|\^(?![*+?{{]))(?:{_OFTEN})?|\((?:\?:)?(?![*+?{{])|\|(?![*+?{{]))*"
)


def as_rust(pattern: str) -> str | None:
    """Return what finds in Rust what a pattern finds in Python, or None where that is not certain.

    A pattern that Python refuses is not certain either.
    """
    ends = pattern.endswith("$") and not re.search(r"(?<!\\)(?:\\\\)*\\\$$", pattern)
    body = pattern[:-1] if ends else pattern
    if not _PLAIN.fullmatch(body) or "^)" in body:
        return None
    try:
        re.compile(pattern)
    except re.error:
        return None
    # In Python an end is also before the last line break.
    return rf"{body}\n?\z" if ends else body
