"""Dialogues of the game Fish Fillets in Dutch, from Debian: two voices, and what they say.

The sounds are in one package, the texts in the scripts of another: GPL-2 or later (ALTAR interactive and others).
"""

import csv
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from sluiceway.data.samples.fetch import unpack_deb

_SOUNDS = ("fillets-ng-data-nl=1.0.1-1.1", "afb4443fda9ab507dee578b75be857d121718a1cd6017a474f30e0eb13dc9d10")
_TEXTS = ("fillets-ng-data=1.0.1-1.1", "25de89afd8b1adf7bcace8290248a6a22c89cd42300317e69000e162c032cf84")
_GAME = "usr/share/games/fillets-ng"
_LAYOUT = "data/raw/fillets/metadata.csv (file_name, text) beside sounds"
_LINE = re.compile(r'dialogId\("([^"]+)",\s*"([^"]*)"[^\n]*\n\s*dialogStr\("((?:[^"\\]|\\.)*)"\)')
"""A dialogue: its name, who speaks by the font of the subtitle, and what is said."""
_SPEAKERS = {"font_small": "small fish", "font_big": "big fish"}


def lay_out(raw: Path) -> None:
    """Write ``<level>/<dialogue>.ogg``, and ``metadata.csv`` with ``file_name``, ``text`` and ``speaker``.

    Sounds without a text, and texts without a sound, are left out.
    """
    with TemporaryDirectory() as folder:
        for package in (_SOUNDS, _TEXTS):
            unpack_deb(*package, Path(folder), layout=_LAYOUT)
        game = Path(folder, _GAME)
        rows: dict[str, tuple[str, str, str]] = {}
        for script in sorted(game.glob("script/*/*dialogs_nl.lua")):
            level = script.parent.name
            for dialogue, font, text in _LINE.findall(script.read_text(encoding="utf-8")):
                sound = game / "sound" / level / "nl" / f"{dialogue}.ogg"
                name = f"{level}/{dialogue}.ogg"
                if sound.is_file():
                    rows[name] = (name, re.sub(r"\\(.)", r"\1", text), _SPEAKERS.get(font, font))
                    (raw / name).parent.mkdir(parents=True, exist_ok=True)
                    (raw / name).write_bytes(sound.read_bytes())
        with (raw / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["file_name", "text", "speaker"])
            table.writerows(rows[name] for name in sorted(rows))
