"""Where a project keeps what is neither data nor result, and who may write there."""

import fcntl
import math
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sluiceway.errors import Busy, ConfigError

STATE = ".sluiceway"
JOBS, TREE = "jobs", "tree"
_PARAMS = "params.yaml"
_DVC_EXPERIMENTS = (".dvc", "tmp", "exps")


def home(root: Path) -> Path:
    """Return the folder that outlives copies of the project: the root, unless it is such a copy itself.

    DVC makes copies (``dvc exp run --temp``), and so do jobs, whose working trees are ``.sluiceway/jobs/<job>/tree``.
    """
    parts = root.parts
    for start in range(len(parts) - len(_DVC_EXPERIMENTS)):
        if parts[start : start + len(_DVC_EXPERIMENTS)] == _DVC_EXPERIMENTS:
            return Path(*parts[:start])
    if root.name == TREE and parts[-4:-2] == (STATE, JOBS):
        return root.parents[3]
    return root


def fetched(raw: Path) -> Path:
    """Return the folder for what was fetched from elsewhere: in the project of a raw folder, else beside that."""
    raw = raw.absolute()
    root = next((folder for folder in raw.parents if (folder / _PARAMS).is_file()), raw.parent)
    return home(root) / STATE / "fetched"


def allowed_bytes(variable: str, default: float) -> int:
    """Return the bytes that an environment variable lets something take on this host's disk.

    Args:
        variable: its name; it holds gigabytes (10^9 bytes).
        default: gigabytes, where it is not set.

    Raises:
        ConfigError: it is no number from 0 on.
    """
    said = os.environ.get(variable, "").strip()
    try:
        gigabytes = float(said) if said else default
    except ValueError:
        gigabytes = math.nan
    if not 0 <= gigabytes < math.inf:
        raise ConfigError(
            f"the environment variable {variable} is {said!r}, and should be a number of gigabytes",
            hint=f"export {variable}={default:g}",
        )
    return int(gigabytes * 1e9)


def emptied(folder: Path) -> Path:
    """Return a folder that is there, with nothing in it; a link to one stays a link.

    Raises:
        OSError: what was in it cannot be removed, which names it; it might be taken for what is written now.
    """
    place = folder.resolve()
    with suppress(FileNotFoundError):
        shutil.rmtree(place)
    place.mkdir(parents=True)
    return folder


_held: set[int] = set()
"""Descriptors of locks that this process holds."""


def _let_go() -> None:
    """In a process that was forked: a lock is held as long as any process has its file open, and this is not ours."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in _held:
        os.dup2(nothing, descriptor, inheritable=False)
    os.close(nothing)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold a lock while the block runs. The lock of a process that died is free: the kernel lets go of it.

    Args:
        path: the file that is locked, on a disk that all who may want it share.
        what: is done under the lock, in words.

    Raises:
        Busy: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                f"another process ({_holder(path)}) is busy with {what}",
                hint="wait for it, or stop it: SIGTERM lets a training save and leave",
            ) from None
        _held.add(file.fileno())
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
            yield
        finally:
            _held.discard(file.fileno())


def _holder(path: Path) -> str:
    """Read who holds a lock; it writes that down a moment after it has got it."""
    for _ in range(_LOOKS):
        if said := path.read_text(encoding="utf-8", errors="replace").strip():
            return said
        time.sleep(_LOOK)
    return "unknown"


_LOOKS, _LOOK = 50, 0.02
"""How often it is looked for the name of a lock's holder, and the seconds between."""
