"""Which files were found to be whole: a file is hashed when it is first read on a host, and not again until it changes.

A seal is a small file that says how its file looked when its hash was right: device, inode, size, times. It holds until
the host starts anew. Processes that want the same file hashed wait for the one that does it.
"""

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

FOLDER = "SLUICEWAY_SHARDS_DIR"
"""Names the environment variable with the folder, on a disk of the host's own, for seals and cached shards."""
_MOMENT = 1.0
"""Seconds."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def local_folder() -> Path:
    """Return this host's folder for seals and cached shards: of the environment, or among its temporary files.

    In a temporary folder that all users share, it is one that nobody else can write to, or a new one.
    """
    if chosen := os.environ.get(FOLDER):
        return Path(chosen)
    folder = Path(tempfile.gettempdir()) / f"sluiceway-{os.getuid()}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
        if state.st_uid == os.getuid() and not state.st_mode & 0o022 and folder.is_dir() and not folder.is_symlink():
            return folder
    return _private_folder()


@lru_cache(maxsize=1)
def _private_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="sluiceway-"))


class Seals:
    """The seals of files, by name.

    Args:
        folder: where they lie; it need not be there, nor stay.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, str] = {}
        self._used: dict[str, float] = {}

    def path(self, name: str) -> Path:
        """Return the seal's file; its time is that of the last :meth:`use`."""
        return self._folder / name

    def holds(self, name: str, descriptor: int) -> bool:
        """Whether an open file is the one that was sealed, unchanged since."""
        look = _look(descriptor)
        if self._known.get(name) != look:
            try:
                known = self.path(name).read_text(encoding="ascii")
            except (OSError, ValueError):
                return False
            if known != look:
                return False
            self._known[name] = look
        return True

    def put(self, name: str, descriptor: int) -> None:
        """Seal an open file, if the disk allows; this process remembers it in any case."""
        look = self._known[name] = _look(descriptor)
        path = self.path(name)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{name}.{os.getpid()}")
            draft.write_text(look, encoding="ascii")
            draft.replace(path)

    def use(self, name: str) -> None:
        """Note that the file is used now, unless that was noted a moment ago: a file system may make it wait."""
        now = time.monotonic()
        if now - self._used.get(name, -_MOMENT) >= _MOMENT:
            self._used[name] = now
            with suppress(OSError):
                os.utime(self.path(name))

    def fault(self, name: str, path: Path, sha256: str) -> str:
        """Return the digest of a file that is not the expected one, or nothing; hash it if nobody has on this host.

        Raises:
            OSError: it cannot be read.
        """
        with path.open("rb") as file:
            if self.holds(name, file.fileno()):
                return ""
            with self._alone(name):
                if self.holds(name, file.fileno()):
                    return ""
                found = hashlib.file_digest(file, "sha256").hexdigest()
                if found == sha256:
                    self.put(name, file.fileno())
                    return ""
        return found

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Hold back others who want to hash the same; where no lock can be had, all of them hash."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = (self._folder / f".lock-{name[:2]}").open("wb")
        except OSError:
            yield
            return
        with lock, locked(lock.fileno(), fcntl.LOCK_EX):
            yield


@contextmanager
def locked(descriptor: int, how: int) -> Iterator[None]:
    """Hold a lock of an open file. It is let go by word: a child of a fork would keep it as long as it lives."""
    fcntl.flock(descriptor, how)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _look(descriptor: int) -> str:
    state = os.fstat(descriptor)
    seen = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    return " ".join([boot(), *map(str, seen)])


@lru_cache(maxsize=1)
def boot() -> str:
    """Return what names this start of the host; where that is not known, what names this process."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return f"process-{os.getpid()}"
