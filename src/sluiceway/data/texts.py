"""What is asked of any text: was it decoded rightly, what does it consist of, how is it shown?"""

_SHINGLE = 3


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
