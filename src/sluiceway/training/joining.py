"""Puts the parts of a file of safetensors together: the same bytes as the library writes of the whole.

A part has rows of tensors, and rows that follow each other are bytes that follow each other. So bytes are copied, a
bounded piece at a time, and no tensor is ever in memory.

A file is the length of its header (8 bytes, little-endian), the header (JSON: by name what a tensor is and where its
bytes begin and end), and the bytes of the tensors. The library lays out tensors by falling alignment, so by type, and
then by name.
"""

import hashlib
import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sluiceway.training.stored import check_whole, rows_in

PIECE = 1 << 24
"""Bytes that are in memory at a time."""
_METADATA = "__metadata__"
_ORDER = (
    *("U64", "I64", "F64", "C64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16"),
    *("F8_E5M2FNUZ", "F8_E4M3FNUZ", "F8_E8M0", "F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"),
)
"""Types in the order in which the library lays them out."""
_UNIT = 8
"""The header is filled up with blanks to a multiple of so many bytes."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows of a tensor in a part."""

    path: Path
    begin: int
    """Byte in the file."""
    size: int
    first: int
    count: int
    """Rows; a tensor without any dimension counts as one."""
    whole: int
    """Rows of the whole."""
    dtype: str
    shape: tuple[int, ...]


def join(parts: Sequence[Path], target: Path) -> str:
    """Write the whole of some parts, and return its SHA-256.

    Args:
        parts: files that :func:`sluiceway.training.checkpoints.write_part` has written, in any order.
        target: the file; a crash leaves some of it.

    Raises:
        ValueError: the parts do not make a whole.
    """
    pieces = _pieces(parts)
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for chunk in _bytes_of_whole(pieces):
            file.write(chunk)
            digest.update(chunk)
    return digest.hexdigest()


def _bytes_of_whole(pieces: Mapping[str, Sequence[_Piece]]) -> Iterator[bytes]:
    ordered = sorted(pieces, key=lambda name: (_ORDER.index(pieces[name][0].dtype), name.encode()))
    yield _header({name: pieces[name] for name in ordered})
    for name in ordered:
        for piece in pieces[name]:
            with piece.path.open("rb") as file:
                file.seek(piece.begin)
                yield from _read(file, piece.size)


def _header(pieces: Mapping[str, Sequence[_Piece]]) -> bytes:
    told: dict[str, dict[str, Any]] = {}
    end = 0
    for name, (first, *others) in pieces.items():
        begin, end = end, end + first.size + sum(each.size for each in others)
        shape = [first.whole, *first.shape[1:]] if first.shape else []
        told[name] = {"dtype": first.dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
    filled = text.ljust(_UNIT * math.ceil(len(text) / _UNIT))
    return struct.pack("<Q", len(filled)) + filled


def _read(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        chunk = file.read(min(size, PIECE))
        if not chunk:
            raise ValueError(f"{file.name} ends {size} bytes too early")
        size -= len(chunk)
        yield chunk


def _pieces(parts: Sequence[Path]) -> dict[str, list[_Piece]]:
    """Find the rows of each tensor, in the order of the whole."""
    found: dict[str, list[_Piece]] = {}
    for path in parts:
        for name, piece in _pieces_in(path):
            found.setdefault(name, []).append(piece)
    for name, pieces in found.items():
        pieces.sort(key=lambda each: (each.first, each.count))
        check_whole(name, [(each.first, each.count) for each in pieces], pieces[0].whole)
        if len({(each.dtype, each.shape[1:], each.whole) for each in pieces}) > 1:
            raise ValueError(f"the parts of {name} are not of one tensor")
    return found


def _pieces_in(path: Path) -> Iterator[tuple[str, _Piece]]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    rows = rows_in(header.pop(_METADATA, None))
    for name, each in header.items():
        shape, (begin, end) = tuple(each["shape"]), each["data_offsets"]
        count = shape[0] if shape else 1
        first, whole = rows.get(name, (0, count))
        yield name, _Piece(path, 8 + length + begin, end - begin, first, count, whole, each["dtype"], shape)
