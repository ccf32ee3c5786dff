"""Mandarin syllables by one speaker, from Debian's gcin-voice: a folder per tone, a file per syllable."""

from pathlib import Path
from tempfile import TemporaryDirectory

from sluiceway.data.samples.fetch import unpack_deb

_PACKAGE = ("gcin-voice=0~20170223-3", "6a0353f0294d06f7bd901bada3d5d9eec63b66c2ec029f92da3124d93d45de70")
_FOLDER = "usr/share/gcin-voice/ogg"
_VOICE = "3.ogg"
"""The recorded voice; the other one of the package may be synthesised."""
_TONES = ("", "2", "3", "4")
"""What stands behind a syllable of the first to the fourth tone."""
LETTERS = {
    **dict(zip("ㄅㄆㄇㄈㄉㄊㄋㄌㄍㄎㄏㄐㄑㄒㄖㄗㄘㄙ", "bpmfdtnlgkhjqxrzcs", strict=True)),
    **{"ㄓ": "zh", "ㄔ": "ch", "ㄕ": "sh", "ㄧ": "i", "ㄨ": "u", "ㄩ": "v", "ㄚ": "a", "ㄛ": "o", "ㄜ": "e"},
    **{"ㄝ": "eh", "ㄞ": "ai", "ㄟ": "ei", "ㄠ": "ao", "ㄡ": "ou", "ㄢ": "an", "ㄣ": "en", "ㄤ": "ang", "ㄥ": "eng"},
    "ㄦ": "er",
}
"""Bopomofo's letters in ASCII, so that files keep their names on every system."""


def lay_out(raw: Path) -> None:
    """Write ``<tone>/<syllable>.ogg``, such as ``3/zh-u-ang.ogg``: the letters of the syllable one by one."""
    with TemporaryDirectory() as folder:
        unpack_deb(*_PACKAGE, Path(folder), layout="data/raw/tones/<class>/<sound>.wav")
        for source in sorted(Path(folder, _FOLDER).iterdir()):
            syllable = source.name.rstrip("0123456789")
            suffix = source.name[len(syllable) :]
            recording = source / _VOICE
            if suffix not in _TONES or not recording.is_file():  # suffix 1: unstressed syllables, thirteen in all
                continue
            target = raw / str(_TONES.index(suffix) + 1) / f"{'-'.join(LETTERS[each] for each in syllable)}.ogg"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(recording.read_bytes())
