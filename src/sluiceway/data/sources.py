"""Where an example's bytes lie, and how they are fetched.

A source is a path below the raw folder, with byte ranges where it is not the whole file: ``3/00012.png``,
``genesis.txt#bytes=0-4096``. Several ranges are read one behind the other, so that a line of a table comes with the
header that says what it means: ``ratings.csv#bytes=0-31,8231-8253``. A row of a Parquet file has a number instead:
``pairs.parquet#row=17``, and is read as a JSON object.

One field of a record can be meant, by its key in an object, or by its place, the number of fields and the mark between
them in a line: ``pairs.jsonl#bytes=0-90&field=translation.en``, ``pairs.csv#bytes=0-90&field=1/3,``. Several sources
are joined by ``//``, which no path has, and are read with ``BETWEEN`` between:
``genesis.en#bytes=0-54//genesis.es#bytes=0-49``.

Where a field holds a URI, what lies there can be meant: ``index.csv#bytes=9-80&field=0/2,&fetch``. So a source never
spells out a URI, which may let somebody in, and a list with fresh signatures serves as well as the old one.
"""

import gzip
import hashlib
import json
import zlib
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn, Self, cast

from sluiceway.data.fetch import Kept, Wanted, fetch
from sluiceway.data.places import fetched
from sluiceway.data.records import pick, value_at
from sluiceway.data.table import BadExample

if TYPE_CHECKING:
    import pyarrow as pa

BETWEEN = b"\x1f"
"""Stands between what was read from several files: the unit separator of ASCII, which no text has."""
_RANGE, _ROW, _FIELD, _FETCH, _JOINT = "#bytes=", "#row=", "&field=", "&fetch", "//"
_MOST_OPEN = 4
PACKED = ".gz"
"""Suffix of a file that is packed by gzip. It is read from its beginning: well in order, slowly by chance."""
AT_ONCE = 8
"""Fetches that a process has under way at a time."""


def byte_range(path: str, start: int, end: int) -> str:
    """Name the bytes ``start`` (included) to ``end`` (excluded) of a file."""
    return byte_ranges(path, [(start, end)])


def byte_ranges(path: str, ranges: Iterable[tuple[int, int]]) -> str:
    """Name several ranges of a file's bytes, in the order in which they are read."""
    return f"{path}{_RANGE}{','.join(f'{start}-{end}' for start, end in ranges)}"


def table_row(path: str, row: int) -> str:
    """Name a row of a Parquet file."""
    return f"{path}{_ROW}{row}"


def field_of(source: str, key: str) -> str:
    """Name a field of a record: see :func:`pick`."""
    return f"{source}{_FIELD}{key}"


def content_at(source: str, wanted: Wanted) -> str:
    """Name what lies at the URI that a source holds."""
    return f"{source}{_FETCH}{'=' if str(wanted) else ''}{wanted}"


def joined(sources: Iterable[str]) -> str:
    """Name what lies in several places."""
    return _JOINT.join(sources)


def load(raw: Path, source: str) -> bytes:
    """Fetch the bytes of one example.

    Raises:
        BadExample: the file cannot be read, is empty, or ends before its range.
    """
    with Shelf(raw) as shelf:
        return shelf.load(source)


class Shelf:
    """Fetches the bytes of one example after another: a file that holds several in a row is opened once.

    Args:
        raw: the raw folder.
    """

    def __init__(self, raw: Path) -> None:
        self._raw = raw
        self._files: dict[str, BinaryIO] = {}

    def load(self, source: str) -> bytes:
        """Fetch the bytes of one example.

        Raises:
            BadExample: a file cannot be read, is empty, or ends before its range or row; what is elsewhere cannot be
                fetched.
            DataError: the place where it lies is out of reach altogether.
        """
        return next(self.each([source]))()

    def each(self, sources: Iterable[str]) -> Iterator[Callable[[], bytes]]:
        """Return, one after another, functions that give the bytes of each example, or raise as :meth:`load` does.

        What is elsewhere is fetched ahead, ``AT_ONCE`` at a time; what is here is read when the function is called,
        which must be before the next one is asked for.
        """
        ahead: deque[Callable[[], bytes]] = deque()
        pool: ThreadPoolExecutor | None = None
        try:
            for source in sources:
                if _FETCH in source:
                    pool = pool or ThreadPoolExecutor(AT_ONCE)
                    ahead.append(self._begin(source, pool))
                elif not ahead:
                    yield partial(self._here, source)
                    continue
                else:
                    ahead.append(partial(self._here, source))
                if len(ahead) > AT_ONCE:
                    yield ahead.popleft()
            while ahead:
                yield ahead.popleft()
        finally:
            if pool:
                pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, source: str, pool: ThreadPoolExecutor) -> Callable[[], bytes]:
        """Begin to fetch what lies at a URI."""
        held, _, wanted = source.partition(_FETCH)
        try:
            uri = self._load(held).decode("utf-8").strip()
        except (BadExample, UnicodeDecodeError) as error:
            return partial(_raise, error if isinstance(error, BadExample) else BadExample("bad_uri", "not UTF-8"))
        return pool.submit(_fetched, uri, _kept(fetched(self._raw)), Wanted.read(wanted.removeprefix("="))).result

    def _here(self, source: str) -> bytes:
        parts = [self._load(each) for each in source.split(_JOINT)]
        if not any(parts):
            raise BadExample("empty", "0 bytes")
        return BETWEEN.join(parts)

    def _load(self, source: str) -> bytes:
        source, _, key = source.partition(_FIELD)
        if _ROW in source:
            name, _, row = source.partition(_ROW)
            return self._row(name, int(row), key)
        record = self._record(source)
        return pick(record, key) if key and record else record

    def _record(self, source: str) -> bytes:
        name, _, spans = source.partition(_RANGE)
        ranges = [tuple(map(int, span.split("-"))) for span in spans.split(",")] if spans else []
        try:
            file = self._open(name)
            payload = b"".join(_slice(file, start, end) for start, end in ranges) if ranges else _slice(file, 0, None)
        except (OSError, EOFError, zlib.error) as error:
            raise BadExample("unreadable", getattr(error, "strerror", None) or str(error)) from None
        missing = sum(end - start for start, end in ranges) - len(payload)
        if missing > 0 and payload:
            raise BadExample("truncated", f"{name} ends {missing} bytes too early")
        return payload

    def _row(self, name: str, row: int, key: str) -> bytes:
        """Return a row of a table as a JSON object, or one field of it."""
        import pyarrow as pa

        path = Path(self._raw, name)
        try:
            stamp = path.stat().st_mtime_ns
            group, start = _row_group(str(path), stamp, row)
            table = _rows(str(path), stamp, group, key)
        except (OSError, pa.ArrowException) as error:
            raise BadExample("unreadable", str(error).partition(". Detail")[0]) from None
        except IndexError:
            raise BadExample("truncated", f"{name} has no row {row}") from None
        values = table.slice(row - start, 1).to_pylist()[0]
        if key and isinstance(content := value_at(values, key), bytes):
            return content
        record = json.dumps(values, ensure_ascii=False, default=str).encode()
        return pick(record, key) if key else record

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        while self._files:
            self._files.popitem()[1].close()

    def _open(self, name: str) -> BinaryIO:
        if name not in self._files:
            while len(self._files) >= _MOST_OPEN:
                self._files.pop(next(iter(self._files))).close()
            self._files[name] = opened(Path(self._raw, name))
        return self._files[name]


def _fetched(uri: str, kept: Kept, wanted: Wanted) -> bytes:
    payload = fetch(uri, kept, wanted)
    if not payload:
        raise BadExample("empty", "0 bytes")
    return payload


@lru_cache(maxsize=8)
def _kept(folder: Path) -> Kept:
    """Return what is kept in a folder: one value per process, which knows how much it has written."""
    return Kept(folder)


def _raise(error: BadExample) -> NoReturn:
    raise error


def _row_group(path: str, stamp: int, row: int) -> tuple[int, int]:
    """Return the row group of a Parquet file that holds a row, and the group's first row."""
    starts = _starts(path, stamp)
    if row >= starts[-1]:
        raise IndexError(row)
    group = bisect_right(starts, row) - 1
    return group, starts[group]


@lru_cache(maxsize=16)
def _starts(path: str, stamp: int) -> list[int]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    return list(accumulate(sizes, initial=0))


@lru_cache(maxsize=4)
def _rows(path: str, stamp: int, group: int, key: str) -> "pa.Table":
    """Read a row group, or the column of it that a key begins with; the last few are held."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        column = key if key in file.schema_arrow.names else key.partition(".")[0]
        return file.read_row_group(group, [column] if column else None)


def opened(path: Path) -> BinaryIO:
    """Open a file for reading; one that is packed, as what is in it."""
    return cast("BinaryIO", gzip.open(path, "rb")) if path.suffix.lower() == PACKED else path.open("rb")


def _slice(file: BinaryIO, start: int, end: int | None) -> bytes:
    file.seek(start)
    return file.read(-1 if end is None else end - start)


def files_of(source: str) -> tuple[str, ...]:
    """Return the paths, below the raw folder, of the files that a source lies in."""
    if "#" not in source and _JOINT not in source:  # a whole file: so of very many
        return (source,)
    return tuple(part.partition(_RANGE)[0].partition(_ROW)[0] for part in source.split(_JOINT))


def checksum(payload: bytes) -> str:
    """Digest of an example's content: the first half of its SHA-256, in hexadecimal."""
    return hashlib.sha256(payload).hexdigest()[:32]
