"""Tries DVC's remote: a small file is put there as DVC puts them, read again and removed.

A script of its own, run in the project's folder: no import of ours, so that the tree of any ref can be asked, and DVC's
own answer comes back as one line of JSON.
"""

import json
import re
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_SECRET = re.compile(r"PASS|TOKEN|SECRET|KEY|CREDENTIAL|CONNECTION_STRING", re.IGNORECASE)
"""What DVC's options are called that hold a secret."""
_ADDRESS = re.compile(r"(?<=://)[^/\s@]+@|(?<=\w)\?[\w.~%-]+=\S*")
"""User and password of an address, and what follows a question mark: signatures of a cloud."""
_CONTENT = b"sluiceway: does this remote take what is pushed?\n"
_SHORTEST = 6


def tried() -> dict[str, Any]:
    """Return the ``name`` and ``url`` of the present project's remote, and what was wrong.

    ``error``: it does not take files, or gives back others. ``left``: a file that it took and does not let be removed.
    """
    from dvc.repo import Repo

    with Repo(".") as repo:
        name = repo.config["core"].get("remote")
        if not name:
            return {"name": None}
        options = repo.config["remote"].get(name, {})
        said = {"name": name, "url": str(options.get("url", ""))}
        try:
            said |= _put(repo.cloud.get_remote(name, "push"))
        except Exception as error:  # noqa: BLE001 - every file system raises its own
            said["error"] = f"{type(error).__name__}: {_cause(error)}"
        return {key: _clean(text, options) for key, text in said.items()}


def _put(remote: Any) -> dict[str, str]:
    """Put a file there and remove it; its name has no place among DVC's, which are digests."""
    fs = remote.fs
    versions = remote.worktree or getattr(fs, "version_aware", False)
    folder = remote.path if versions else remote.odb.path
    name = fs.join(folder, f".sluiceway-{secrets.token_hex(16)}")
    with tempfile.TemporaryDirectory() as here:
        path = Path(here) / "try"
        path.write_bytes(_CONTENT)
        fs.makedirs(folder, exist_ok=True)
        try:
            fs.put_file(str(path), name)
            same = fs.cat_file(name) == _CONTENT
        except Exception:
            with suppress(Exception):  # half of it may be there
                fs.remove(name)
            raise
    try:
        fs.remove(name)
    except Exception:  # noqa: BLE001 - a store that keeps everything, or HTTP: pushing needs no right to remove
        left = {"left": name}
    else:
        left = {}
    return left if same else {**left, "error": "what was read is not what was written"}


def _cause(error: BaseException) -> str:
    """Say what the store said; DVC's own words are put around it, and may be empty."""
    text = str(error).strip()
    if not text and error.__cause__ is not None:
        return _cause(error.__cause__)
    return text or "it said nothing more"


def _clean(text: str, options: Mapping[str, Any]) -> str:
    """Return a text in one line without what the remote's options and its addresses hold secret."""
    text = _ADDRESS.sub("", " ".join(text.split()))
    for name, value in options.items():
        if _SECRET.search(name) and len(str(value)) >= _SHORTEST:
            text = text.replace(str(value), "***")
    return text


if __name__ == "__main__":
    print("\n" + json.dumps(tried()))  # noqa: T201 - whoever runs this script reads it
