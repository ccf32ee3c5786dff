"""What a job that was killed left behind: stages that go on alone, and DVC's locks."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from sluiceway.launch.commands import MARK


def end_leftovers(tree: Path, grace: float, say: Callable[[str], None]) -> None:
    """End processes of an earlier run, kindly first, and forget the locks that DVC took for them.

    Only whoever holds the job's lock may call this: then nobody else works in the tree.

    Args:
        tree: the job's working tree.
        grace: seconds that they are given to save their work.
        say: told of what was ended.
    """
    left = [each for each in psutil.process_iter() if _belongs(each, tree)]
    if left:
        say(f"ending what an earlier run left behind: {', '.join(str(each.pid) for each in left)}")
    inner = {each.pid for each in left}
    for each in left:
        with suppress(psutil.Error):
            if each.ppid() not in inner:
                each.terminate()
    _, stubborn = psutil.wait_procs(left, timeout=grace)
    for each in stubborn:
        with suppress(psutil.Error):
            each.kill()
    for name in ("lock", "rwlock", "rwlock.lock"):
        (tree / ".dvc" / "tmp" / name).unlink(missing_ok=True)


def _belongs(process: psutil.Process, tree: Path) -> bool:
    try:
        return process.environ().get(MARK) == str(tree)
    except (psutil.Error, OSError):
        return False
