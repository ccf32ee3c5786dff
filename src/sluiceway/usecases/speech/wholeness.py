"""Whether a sound file is whole: decoders play what is there, and say nothing of what is lacking.

WAV says its size in its header. Ogg comes in pages, each with its size and a checksum, and marks the last one.
"""

import struct
import zlib

_HEADER = 27
"""Bytes of an Ogg page before the table of its segments."""
_LAST = 4
"""Flag of the last page of a stream."""
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_UNKNOWN = (0, 0xFFFFFFFF)
"""Sizes that who writes to a pipe puts into a WAV header."""


def lacking(payload: bytes) -> tuple[str, str] | None:
    """Return the reason and the detail why a file is not whole; None when it is, or when nothing says so.

    Args:
        payload: the file.
    """
    if payload[:4] == b"RIFF" and payload[8:12] == b"WAVE":
        return _of_wav(payload)
    if payload[:4] == b"OggS":
        return _of_ogg(payload)
    return None


def _of_wav(payload: bytes) -> tuple[str, str] | None:
    place = 12
    while place + 8 <= len(payload):
        name, size = struct.unpack_from("<4sI", payload, place)
        if name == b"data":
            lack = place + 8 + size - len(payload)
            cut = lack > 0 and size not in _UNKNOWN
            return ("truncated", f"{lack} of {size} bytes of sound are lacking") if cut else None
        place += 8 + size + size % 2
    return "truncated", "the file ends before its sound begins"


def _of_ogg(payload: bytes) -> tuple[str, str] | None:
    place, flags = 0, 0
    while place < len(payload):
        if payload[place : place + 4] != b"OggS" or len(payload) < place + _HEADER:
            return ("unreadable", f"no page at byte {place}") if flags & _LAST else _cut(place)
        flags, segments = payload[place + 5], payload[place + 26]
        body = place + _HEADER + segments
        end = body + sum(payload[place + _HEADER : body])
        if end > len(payload) or body > len(payload):
            return _cut(place)
        found = _checksum(payload[place : place + 22] + bytes(4) + payload[place + 26 : end])
        if found != struct.unpack_from("<I", payload, place + 22)[0]:
            return "unreadable", f"damaged: the page at byte {place} does not fit its checksum"
        place = end
    return None if flags & _LAST else _cut(place)


def _cut(place: int) -> tuple[str, str]:
    return "truncated", f"the page at byte {place} is not whole, or the last one is lacking"


def _checksum(page: bytes) -> int:
    """CRC-32 of Ogg: the polynomial of zlib's, but with bits in the other order and no complement."""
    value = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{value:032b}"[::-1], 2)
