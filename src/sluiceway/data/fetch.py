"""Contents that lie elsewhere: fetched by URI, tried again, checked, and kept for the next stage.

Keys and passwords come from the environment, as each store's own library finds them, or stand in the URI itself, as in
a presigned one. They are never part of an id, a message or a file's name: ``redaction.py`` takes them out.
"""

import hashlib
import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from sluiceway.data.places import allowed_bytes
from sluiceway.data.protocols import PROTOCOLS, URI, file_system, locks_out, words
from sluiceway.data.table import BadExample
from sluiceway.errors import DataError
from sluiceway.redaction import address, origin

LIMIT = "SLUICEWAY_FETCHED_GB"
"""Names the environment variable with the gigabytes that may be kept."""
_LIMIT_GB = 20.0
_TRIES, _WAIT = 3, 0.5
"""How often a fetch is tried, and the seconds before the second time; twice as long before each further one."""
_GIVE_UP = 20
"""Fetches from one host that fail in a row, with none before that did not, after which the host is out of reach."""
_SWEEP = 16
"""The part of the limit that is written between two looks at how much is kept: one in so many."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list says of a content beside its URI."""

    sha256: str = ""
    """In hexadecimal; empty: not said."""
    size: int | None = None
    """Bytes; None: not said."""

    @classmethod
    def read(cls, text: str) -> "Wanted":
        """Read what :meth:`__str__` wrote."""
        said = dict(part.split(":", 1) for part in text.split(",") if part)
        return cls(said.get("sha256", ""), int(said["size"]) if "size" in said else None)

    def __str__(self) -> str:
        parts = [f"sha256:{self.sha256}"] * bool(self.sha256)
        parts += [f"size:{self.size}"] * (self.size is not None)
        return ",".join(parts)

    def check(self, payload: bytes) -> None:
        """Raise ``BadExample`` when a content is another one."""
        if self.size is not None and len(payload) != self.size:
            raise BadExample("wrong_size", f"{len(payload):,} bytes came, and the list says {self.size:,}")
        if self.sha256 and (found := hashlib.sha256(payload).hexdigest()) != self.sha256:
            raise BadExample(
                "wrong_checksum", f"its SHA-256 is {found[:12]}..., and the list says {self.sha256[:12]}..."
            )


class Kept:
    """Fetched contents in a folder, each under its checksum, with the URIs that led to it; old ones make room.

    Args:
        folder: where.
        limit: bytes that may be kept; default: of the environment variable ``SLUICEWAY_FETCHED_GB``, else 20 GB.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self._folder = folder
        self._limit = limit if limit is not None else allowed_bytes(LIMIT, _LIMIT_GB)
        self._written = 0
        self._swept = False

    def find(self, uri: str) -> bytes | None:
        """Return what a URI led to; None when it is not kept, or was damaged since."""
        try:
            digest = self._name(uri).read_text(encoding="ascii")
            place = self._content(digest)
            payload = place.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(payload).hexdigest() != digest:
            return None
        with suppress(OSError):
            os.utime(place)  # the time of its last use
        return payload

    def keep(self, uri: str, payload: bytes) -> None:
        """Keep what a URI led to, if the disk allows."""
        digest = hashlib.sha256(payload).hexdigest()
        with suppress(OSError):
            _write(self._content(digest), payload)
            _write(self._name(uri), digest.encode("ascii"))
            self._written += len(payload)
            if not self._swept or self._written * _SWEEP > self._limit:
                self._sweep()
                self._swept, self._written = True, 0

    def _name(self, uri: str) -> Path:
        digest = hashlib.sha256(address(uri).encode("utf-8", "surrogatepass")).hexdigest()
        return self._folder / "names" / digest[:2] / digest

    def _content(self, digest: str) -> Path:
        return self._folder / "contents" / digest[:2] / digest

    def _sweep(self) -> None:
        """Remove what was not used for longest, down to nine tenths of the limit."""
        states = []
        for path in (self._folder / "contents").glob("*/*"):
            with suppress(OSError):
                found = path.stat()
                states.append((found.st_mtime_ns, found.st_size, path))
        total = sum(size for _, size, _ in states)
        if total <= self._limit:
            return
        for _, size, path in sorted(states):
            path.unlink(missing_ok=True)
            total -= size
            if total <= 0.9 * self._limit:
                break


def _write(path: Path, payload: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}-{time.monotonic_ns()}")
    part.write_bytes(payload)
    part.replace(path)


def fetch(uri: str, kept: Kept, wanted: Wanted) -> bytes:
    """Fetch a content, or find it among those that are kept.

    Raises:
        BadExample: it is not there, it cannot be reached, or it is not what the list says.
        DataError: its host is out of reach, or the package for the protocol is missing.
    """
    known = kept.find(uri)
    if known is not None:
        with suppress(BadExample):  # another content under the same name: it is fetched anew
            wanted.check(known)
            return known
    payload = _fetch(uri)
    wanted.check(payload)
    kept.keep(uri, payload)
    return payload


_failures: Counter[str] = Counter()
"""By host: fetches that failed in a row while none has gone well; -1 for ever after one has."""
_lock = Lock()


def _fetch(uri: str) -> bytes:
    match = URI.match(uri)
    protocol = match.group(1).lower() if match else ""
    if protocol not in PROTOCOLS or "::" in uri:
        raise BadExample("bad_uri", f"{address(uri)} is none of {', '.join(f'{name}://' for name in PROTOCOLS)}")
    host = origin(uri)
    system = file_system(protocol)
    for turn in range(_TRIES):
        try:
            payload: bytes = system.cat_file(system._strip_protocol(uri))
        except FileNotFoundError:
            _note(host, reached=True)
            raise BadExample("not_found", f"nothing is at {address(uri)}") from None
        except Exception as error:  # noqa: BLE001  each store's library has errors of its own
            fault = words(error, uri)
            if turn + 1 < _TRIES and not locks_out(error):
                time.sleep(_WAIT * 2**turn)
                continue
            _note(host, reached=False, fault=fault)
            raise BadExample("unreachable", f"{address(uri)}: {fault}") from None
        _note(host, reached=True)
        return payload
    raise AssertionError("the last try returns or raises")


def _note(host: str, *, reached: bool, fault: str = "") -> None:
    """Count what fails from a host, and give up on one that never answered."""
    with _lock:
        if reached:
            _failures[host] = -1
        elif _failures[host] >= 0:
            _failures[host] += 1
            if _failures[host] >= _GIVE_UP:
                _failures[host] = 0
                raise DataError(
                    f"{host} is out of reach: the first {_GIVE_UP} fetches failed, the last with {fault}",
                    hint="is the network up, and do the environment's credentials fit? What came before is kept",
                )
