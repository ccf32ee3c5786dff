"""Tables with a text in each record."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sluiceway.data.lists import List, column_of, open_list
from sluiceway.data.roles import named_lists, tables_among
from sluiceway.data.sources import checksum
from sluiceway.errors import UnknownLayout, nearest

COLUMNS = ("text", "content", "document", "article", "body", "passage", "story", "sentence")
"""Columns that hold a text, the likeliest first."""
_MARK = 10
"""Hexadecimal digits of a content's checksum in an id. Among a million texts two may share them: then the second has a
number."""

_PEEKED = 50
"""Records by which it is found out what a column holds."""
_SENTENCE = 3
"""Words of a text, on the mean."""


class Names:
    """Gives ids to the texts of a file: ``01-genesis.txt#5d41402abc``.

    By its content a text keeps its id when others are put in before it; a repeated one has a number behind it.

    Args:
        file: path below the raw folder.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._seen: Counter[str] = Counter()

    def of(self, content: bytes) -> str:
        """Return the id of the next text."""
        mark = checksum(content)[:_MARK]
        self._seen[mark] += 1
        return f"{self._file}#{mark}{f'-{self._seen[mark]}' if self._seen[mark] > 1 else ''}"


def text_tables(
    files: Sequence[Path], raw: Path, pattern: str | None, wanted: str | None, usual: Sequence[str] = COLUMNS
) -> list[List]:
    """Return the tables with a column of text.

    Args:
        files: below the raw folder.
        raw: the raw folder.
        pattern: what ``data.list`` says.
        wanted: what ``data.text_column`` says.
        usual: columns that hold a text where it says nothing.

    Raises:
        UnknownLayout: a table that the parameters name, or whose column they name, has none or cannot be read.
    """
    if pattern is not None:
        lists = named_lists(files, raw, pattern)
        for table in lists:
            text_column(table, wanted, usual)
        return lists
    lists = []
    for path in tables_among(files):
        try:
            table = open_list(path, raw)
            text_column(table, wanted, usual)
        except UnknownLayout:
            if wanted is None:  # a table of something else, which may lie there
                continue
            raise
        lists.append(table)
    return lists


def text_column(table: List, wanted: str | None, usual: Sequence[str] = COLUMNS) -> str:
    """Return the column of text.

    Raises:
        UnknownLayout: there is none.
    """
    found = column_of(table, wanted, usual, "data.text_column")
    if found is None:
        raise UnknownLayout(
            f"{table.path} has no column {' or '.join(usual[:2])}: found {', '.join(table.columns) or 'nothing'}",
            hint=f"{nearest(usual[0], table.columns)} data.text_column in the parameters names another column",
        )
    return found


def wordiest(table: List) -> str:
    """Return the column that holds most words in the first records, three and more to each; empty if none does."""
    first = [record for _, record in zip(range(_PEEKED), table.records(), strict=False)]
    words = {name: [len((record.text(name) or "").split()) for record in first] for name in table.columns}
    means = {name: sum(counts) / max(1, len(counts)) for name, counts in words.items()}
    best = max(means, key=lambda name: means[name], default="")
    return best if means.get(best, 0) >= _SENTENCE else ""
