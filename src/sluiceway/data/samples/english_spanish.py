"""The Bible in English and Spanish, verse by verse: two aligned text files per book, a verse per line.

The King James Version and the Reina-Valera of 1909, from Debian's modules for SWORD. Both are cut into the same verses,
so that line n of ``01-genesis.en`` and line n of ``01-genesis.es`` say the same.

A module is compressed book by book. Of each testament, ``.bzs`` says where the books lie in ``.bzz``, and ``.bzv``
where in its book each verse, title or introduction lies.
"""

import html
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from sluiceway.data.samples.fetch import unpack_deb

_PACKAGES = {
    "en": ("sword-text-kjv=14.3-1", "9f463f28ce665f6f528fc723179722bced880a4c5485f7a41bf742838315de57", "engKJV2006eb"),
    "es": (
        "sword-text-sparv=2.60-1",
        "5c87f9b2bc97457e8a872f5bae7ea7ce59cb3de1dcee73e4d4740451863694cf",
        "spaRV1909eb",
    ),
}
_FOLDER = "usr/share/sword/modules/texts/ztext"
_LAYOUT = "two aligned text files, data/raw/english-spanish/<name>.en and <name>.es"
_TESTAMENTS = ("ot", "nt")
_BLOCK, _ENTRY = struct.Struct("<III"), struct.Struct("<IIH")
_TITLE = re.compile(r'<milestone n="([^"]+)" type="x-usfm-h"')
_APART = re.compile(r"<(note|title)\b.*?</\1>", re.DOTALL)
_ADDED = re.compile(r"</?(?:transChange|l|lb|lg|q)\b[^>]*>")
"""Marks that stand between two words without a space."""
_PARAGRAPH = "¶"
_MARK = re.compile(r"<[^>]*>")
_BEFORE, _AFTER = re.compile(r"\s+([,.;:?!)])"), re.compile(r"([(¿¡])\s+")


def lay_out(raw: Path) -> None:
    """Write ``<number>-<book>.en`` and ``.es``; verses that one of the two has not are left out."""
    raw.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        sides = []
        for requirement, sha256, module in _PACKAGES.values():
            unpack_deb(requirement, sha256, Path(folder), layout=_LAYOUT)
            sides.append(Path(folder, _FOLDER, module))
        number = 0
        for testament in _TESTAMENTS:
            for title, pairs in _books(*(list(_entries(side, testament)) for side in sides)):
                number += 1
                name = f"{number:02d}-{re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')}"
                for language, lines in zip(_PACKAGES, zip(*pairs, strict=True), strict=True):
                    (raw / f"{name}.{language}").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _books(
    english: list[tuple[int, str]], spanish: list[tuple[int, str]]
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield title and pairs of verses of each book."""
    pairs: dict[int, list[tuple[str, str]]] = {}
    titles: dict[int, str] = {}
    for (book, one), (_, other) in zip(english, spanish, strict=True):
        if found := _TITLE.search(one):
            titles[book] = found[1]
        both = (_clean(one), _clean(other))
        if all(both):
            pairs.setdefault(book, []).append(both)
    for book, found_pairs in pairs.items():
        yield titles[book], found_pairs


def _entries(module: Path, testament: str) -> Iterator[tuple[int, str]]:
    """Yield number of the book and marked-up text of each entry of a testament."""
    places, index, packed = ((module / f"{testament}.{kind}").read_bytes() for kind in ("bzs", "bzv", "bzz"))
    books = [
        zlib.decompress(packed[start : start + size]) if size else b"" for start, size, _ in _BLOCK.iter_unpack(places)
    ]
    for book, start, size in _ENTRY.iter_unpack(index):
        yield book, books[book][start : start + size].decode("utf-8")


def _clean(entry: str) -> str:
    """Return a verse without notes and marks; nothing of a title or an introduction."""
    text = _MARK.sub("", _ADDED.sub(" ", _APART.sub(" ", entry)))
    text = " ".join(html.unescape(text).replace(_PARAGRAPH, " ").split())
    return _AFTER.sub(r"\1", _BEFORE.sub(r"\1", text))
