"""Tidies a training's folder before an attempt begins: nothing in it may stand in the attempt's way.

What is broken inside of a file is found by whoever reads it. Here it is looked for what nobody could read or write: a
folder where a file should be, a link that leads nowhere; and for what nobody will read again: drafts of a process that
is dead, and what Ray wrote for itself.
"""

import shutil
from pathlib import Path

from sluiceway.training.job import Places, set_aside

_BROKEN = "broken-"


def tidy(places: Places, subject: str) -> list[str]:
    """Set aside what is of the wrong kind, remove what was left over, and say what was set aside.

    Whoever calls holds the training's lock: nobody writes meanwhile.

    Args:
        places: the job's files.
        subject: the training, by whose name Ray calls its folder. It is none of ours: one that was cut in the middle
            of a write would keep Ray from starting for good.
    """
    said = [] if _is_folder(places.folder) else [set_aside(places.folder)]
    folders = {places.checkpoints, places.worker(0).parent}
    for path in sorted(places.folder.iterdir()) if places.folder.is_dir() else ():
        if path.name.startswith((".", subject)):
            _remove(path)
        elif not path.name.startswith(_BROKEN) and not (_is_folder if path in folders else _is_file)(path):
            said.append(set_aside(path))
    for folder in folders:
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name.startswith(".") or (folder != places.checkpoints and not _is_file(path)):
                _remove(path)
    return said


def _is_folder(path: Path) -> bool:
    return path.is_dir() or not (path.exists() or path.is_symlink())


def _is_file(path: Path) -> bool:
    return path.is_file()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
