"""Which side an example is on: a pure function of its group, of its content where it has no group, or of its time.

Nothing else decides, so an example never changes sides when data is added, and exact copies always share one.
"""

import hashlib
import math
import re
from datetime import UTC, datetime

from sluiceway.config import Split
from sluiceway.data.table import SplitName
from sluiceway.errors import ConfigError

_SPAN = 1 << 64
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMPACT_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")


def assign(key: str, split: Split) -> SplitName:
    """Return the side of the example or group with this key, by its hash.

    Args:
        key: the group's name, or the checksum of an example without a group.
        split: the shares, and the salt of the hash.
    """
    return _by_hash(_position(key, _salt(split)), split)


class Sides:
    """Puts examples on sides, by time where ``split`` names times, else by hash.

    Where only ``test_from`` is given, what comes before it is shared out to training and validation by hash.

    Args:
        split: shares, salt, and times.

    Raises:
        ConfigError: a time cannot be read, or validation would begin after the test.
    """

    def __init__(self, split: Split) -> None:
        self._split = split
        self._salt = _salt(split)
        self._test = _boundary("test_from", split.test_from)
        self._validation = _boundary("validation_from", split.validation_from)
        if self._test is not None and self._validation is not None and self._validation > self._test:
            raise ConfigError(
                f"data.split: validation_from {split.validation_from} is after test_from {split.test_from}",
                hint="training comes first, then validation, then the test: exchange them",
            )

    @property
    def by_time(self) -> bool:
        """Whether an example needs a time."""
        return self._test is not None

    def of(self, key: str, time: float | None) -> SplitName | None:
        """Return the side of an example; None when it has no time and needs one.

        Args:
            key: its group's name, or its checksum where it has no group.
            time: when it was taken, in seconds since 1970 or as the data counts.
        """
        if self._test is None:
            return _by_hash(_position(key, self._salt), self._split)
        if time is None:
            return None
        if time >= self._test:
            return "test"
        if self._validation is not None:
            return "validation" if time >= self._validation else "train"
        return "validation" if _position(key, self._salt) < self._split.validation else "train"


def read_time(text: str) -> float | None:
    """Read a time: seconds since 1970 of an ISO 8601 date or moment (UTC where it names no zone), or a number as it is.

    Eight digits that can be a date of 1900 to 2099 (``20240131``) are one. None when it is neither.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text) and not _COMPACT_DATE.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return float(text) if _NUMBER.fullmatch(text) else None


def _boundary(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    time = read_time(text)
    if time is None:
        raise ConfigError(
            f"data.split.{name}: {text!r} is not a time", hint="write it as ISO 8601 (2024-01-31), or as a number"
        )
    return time


def _salt(split: Split) -> bytes:
    return split.seed.to_bytes(8, "little")


def _position(key: str, salt: bytes) -> float:
    digest = hashlib.blake2b(key.encode(), digest_size=8, salt=salt).digest()
    return int.from_bytes(digest, "little") / _SPAN


def _by_hash(position: float, split: Split) -> SplitName:
    if position < split.test:
        return "test"
    return "validation" if position < split.test + split.validation else "train"
