"""Which language a text is in: by its script, and by the little words that every text has."""

import re
import unicodedata

_SCRIPTS = {
    "CYRILLIC": "ru uk bg sr mk be kk",
    "GREEK": "el grc",
    "ARABIC": "ar fa ur",
    "HEBREW": "he yi",
    "DEVANAGARI": "hi mr ne sa",
    "HANGUL": "ko",
    "CJK": "zh ja",
    "THAI": "th",
    "LATIN": "en es fr de it pt nl sv da no nb nn fi pl cs sk sl hr ro hu tr vi id ms ca gl eu la et lv lt sq af sw cy",
}
_SCRIPT_OF = {language: script for script, languages in _SCRIPTS.items() for language in languages.split()}
_ALSO = {"CJK": ("HIRAGANA", "KATAKANA", "IDEOGRAPHIC"), "LATIN": ("FEMININE", "MASCULINE")}
_LEAST_LETTERS = 4
_FOREIGN = 0.5
"""Share of the letters that must be of the language's own script."""


def script_missed(text: str, language: str) -> str:
    """Return the script of a language where a text is not written in it.

    Args:
        text: of fewer than four letters none is judged.
        language: ``en``, ``pt-BR``, ``zh_TW``: of one that is not known nothing is said.

    Returns:
        The script as people call it; empty where the text is written in it, or nothing can be said.
    """
    script = _SCRIPT_OF.get(language.lower().replace("_", "-").partition("-")[0])
    letters = [character for character in text if character.isalpha()]
    if script is None or len(letters) < _LEAST_LETTERS or (script == "LATIN" and text.isascii()):
        return ""
    names = (script, *_ALSO.get(script, ()))
    own = sum(unicodedata.name(letter, "").startswith(names) for letter in letters)
    return script.title() if own < _FOREIGN * len(letters) else ""


# Little words.

_LITTLE = {
    "en": "the and of do to that it for with as his they you have from this are at by which will not is was in he i a",
    "es": "el la los las de del que y en un una por para con su sus se lo al como pero más no es era él yo mi nos",
    "fr": "le la les de des du que et en un une pour par avec son ses se au aux comme mais pas est était il je dans",
    "de": "der die das und zu den dem von mit sich des auf für ist im nicht ein eine als auch es an er ich wir war",
    "it": "il lo la gli le di del della che e in un una per con suo si al alla come ma non è era egli io mio ci sono",
    "pt": "o a os as de do da dos que e em um uma por para com seu sua se ao como mas não é era ele eu meu nos na no",
    "nl": "de het een van en dat te op die niet met voor zijn aan er om ook als maar bij is was hij ik mijn wij dit",
    "sv": "och att det som en på är av för med till den har inte om ett men var jag han min vi de sig från",
}
"""The commonest words of a language."""
_OWN = {language: frozenset(words.split()) for language, words in _LITTLE.items()}
_WORD = re.compile(r"[^\W\d_]+")
_LEAST, _TIMES = 4, 3
"""A text is in another language when so many of its words are that one's, and so many times as many as its own."""


def language_met(text: str, language: str) -> str:
    """Return the language of a text that is in another one than it should be.

    Args:
        text: of a few words nothing can be said.
        language: ``en``, ``pt-BR``: of one without a list of little words nothing is said.

    Returns:
        Such as ``es``; empty where the text is in its language, or nothing can be said.
    """
    own = _OWN.get(language.lower().replace("_", "-").partition("-")[0])
    if own is None:
        return ""
    words = _WORD.findall(text.lower())
    hits = {name: sum(word in known for word in words) for name, known in _OWN.items() if known is not own}
    most = max(hits, key=lambda name: hits[name])
    mine = sum(word in own for word in words)
    return most if hits[most] >= max(_LEAST, _TIMES * mine) else ""
