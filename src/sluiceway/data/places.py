"""Where a project keeps what is neither data nor result, and who may write there."""

import fcntl
import math
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
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
            file.seek(0)
            raise Busy(
                f"another process ({file.read().strip() or 'unknown'}) is busy with {what}",
                hint="wait for it, or stop it: SIGTERM lets a training save and leave",
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        yield
