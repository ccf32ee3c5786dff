"""Following a file that grows: what was added since the last look, and no more is read."""

import os
from pathlib import Path
from typing import BinaryIO


class Tail:
    """Reads the lines that were added to a file since the last look.

    A torn last line is left until it is complete. A file that was replaced or cut, as a resumed attempt does with its
    curves, is read from its beginning again.

    Args:
        path: the file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._inode = 0

    def lines(self, *, whole: bool = False) -> list[bytes]:
        """Return the new lines, without their ends.

        Args:
            whole: whether nobody writes any more, so that a last line without its end counts too.

        Raises:
            OSError: the file is there and cannot be read.
        """
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return []
        with file:
            text = self._unread(file)
        end = len(text) if whole else text.rfind(b"\n") + 1
        self._offset += end
        return text[:end].splitlines()

    def _unread(self, file: BinaryIO) -> bytes:
        found = os.fstat(file.fileno())
        if found.st_ino != self._inode or found.st_size < self._offset:
            self._inode, self._offset = found.st_ino, 0
        file.seek(self._offset)
        return file.read()
