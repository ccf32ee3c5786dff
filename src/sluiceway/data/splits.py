"""Which side an example is on: a pure function of its group, of its content where it has no group, or of its time.

Nothing else decides, so an example never changes sides when data is added, and exact copies always share one. A rare
class may then lack a side: no function of the example alone can help that, since it does not know the others. So the
few examples that :func:`stratify` puts elsewhere are written down for good (:mod:`sluiceway.data.settled`).
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from sluiceway.config import Split
from sluiceway.data.table import SPLITS, SplitName
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
        settled: sides by key that were written down, in the place of the hash.

    Raises:
        ConfigError: a time cannot be read, or validation would begin after the test.
    """

    def __init__(self, split: Split, settled: Mapping[str, SplitName] = MappingProxyType({})) -> None:
        self._split, self._settled = split, settled
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
            return self._settled.get(key) or _by_hash(_position(key, self._salt), self._split)
        if time is None:
            return None
        if time >= self._test:
            return "test"
        if self._validation is not None:
            return "validation" if time >= self._validation else "train"
        return "validation" if _position(key, self._salt) < self._split.validation else "train"


def stratify(
    classes: Mapping[str, Collection[str]],
    split: Split,
    settled: Mapping[str, SplitName],
    fixed: Collection[str] = frozenset(),
) -> dict[str, SplitName]:
    """Choose examples or groups to be put elsewhere, so that each class is on every side.

    A class with as many keys as there are sides gets one on each, as long as a key of it is free to move. Of those that
    are, the one is taken whose hash is nearest to the side; no class loses its last key of a side.

    Args:
        classes: which classes each key has, every key of the data: an example has one, a group or an example with
            several labels may have more.
        split: the shares, and the salt of the hash.
        settled: sides that were written down before; they stay.
        fixed: keys that must stay where they are: those of the last registered version.

    Returns:
        Sides by key to be written down beside ``settled``.
    """
    salt = _salt(split)
    edges = {"test": (0.0, split.test), "validation": (split.test, split.test + split.validation)}
    edges["train"] = (split.test + split.validation, 1.0)
    wanted = [side for side in SPLITS if edges[side][0] < edges[side][1]]
    place = {key: _position(key, salt) for key in classes}
    side = {key: settled.get(key) or _by_hash(place[key], split) for key in classes}
    members: dict[str, list[str]] = {}
    for key in sorted(classes):
        for name in classes[key]:
            members.setdefault(name, []).append(key)
    count = Counter((name, side[key]) for key in classes for name in classes[key])
    moves: dict[str, SplitName] = {}
    for name in sorted(members, key=lambda each: (len(members[each]), each)):
        if len(members[name]) < len(wanted):
            continue
        for target in wanted:
            if count[name, target]:
                continue
            low, high = edges[target]
            free = [
                (max(low - place[key], place[key] - high), key)
                for key in members[name]
                if key not in fixed and key not in settled and all(count[own, side[key]] > 1 for own in classes[key])
            ]
            if not free:
                continue
            _, key = min(free)
            for own in classes[key]:
                count[own, side[key]] -= 1
                count[own, target] += 1
            side[key] = moves[key] = target
    return moves


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
