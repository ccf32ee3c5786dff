"""What a job that was killed left behind: stages that go on alone, and DVC's locks."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from sluiceway.launch.commands import MARK, ignores_term


def left_behind(tree: Path) -> list[psutil.Process]:
    """Return the processes that work in a job's tree."""
    return [each for each in psutil.process_iter() if _belongs(each, tree)]


def end_leftovers(tree: Path, grace: float, say: Callable[[str], None]) -> bool:
    """End processes of an earlier run, kindly first, and forget the locks that DVC took for them.

    Only whoever holds the job's lock may call this: then nobody else works in the tree.

    Args:
        tree: the job's working tree.
        grace: seconds that they are given to save their work.
        say: told of what was ended.

    Returns:
        Whether there was something.
    """
    left = left_behind(tree)
    some = bool(left)
    if some:
        say(f"ending what an earlier run left behind: {', '.join(str(each.pid) for each in left)}")
    deadline, told = time.monotonic() + grace, set[int]()
    while left and time.monotonic() < deadline:
        _tell(left, told)
        _, left = psutil.wait_procs(left, timeout=0.2)
    for each in left:
        with suppress(psutil.Error):
            each.kill()
    for name in ("lock", "rwlock", "rwlock.lock"):
        (tree / ".dvc" / "tmp" / name).unlink(missing_ok=True)
    return some


def _tell(processes: list[psutil.Process], told: set[int]) -> None:
    """Tell each stage once, as soon as it listens. DVC does not: its stage would be left alone, and is told itself."""
    listening = {each.pid for each in processes if not ignores_term(each.pid)}
    for each in processes:
        with suppress(psutil.Error):
            if each.pid in listening - told and each.ppid() not in listening:
                told.add(each.pid)
                each.terminate()


def _belongs(process: psutil.Process, tree: Path) -> bool:
    try:
        return process.environ().get(MARK) == str(tree)
    except (psutil.Error, OSError):
        return False
