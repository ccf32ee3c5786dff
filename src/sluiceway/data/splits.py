"""Which side an example is on: a pure function of its group, or of its content where it has no group.

Nothing else decides, so an example never changes sides when data is added, and exact copies always share one.
"""

import hashlib

from sluiceway.config import Split
from sluiceway.data.table import SplitName

_SPAN = 1 << 64


def assign(key: str, split: Split) -> SplitName:
    """Return the side of the example or group with this key.

    Args:
        key: the group's name, or the checksum of an example without a group.
        split: the shares, and the salt of the hash.
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8, salt=split.seed.to_bytes(8, "little")).digest()
    position = int.from_bytes(digest, "little") / _SPAN
    if position < split.test:
        return "test"
    return "validation" if position < split.test + split.validation else "train"
