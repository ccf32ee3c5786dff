"""In which script a language is written, and whether a text is."""

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
