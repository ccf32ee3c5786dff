"""Python and packages: whether they are in range, and whether they are those that were tested."""

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from sluiceway.launch.health.base import Seen, some

_OURS = "sluiceway"


def tested_set() -> dict[str, str]:
    """Return the tested versions by package: of the wheel, or of the checkout that the package is run from."""
    here = Path(__file__).parents[2]
    for path in (here / "constraints.txt", here.parents[1] / "constraints.txt"):
        if path.is_file():
            lines = [line.partition("==") for line in path.read_text(encoding="utf-8").splitlines()]
            return {canonicalize_name(name): pinned for name, equal, pinned in lines if equal and name[:1] != "#"}
    return {}


def compare(
    needed: list[Requirement], pinned: Mapping[str, str], installed: Mapping[str, str | None]
) -> tuple[list[str], list[str]]:
    """Return what is out of its range or missing, and what differs from the tested set.

    Args:
        needed: requirements of the package.
        pinned: the tested set, by canonical name.
        installed: versions by canonical name; None where a package is missing.
    """
    wrong = []
    for each in needed:
        found = installed.get(canonicalize_name(each.name))
        if found is None:
            wrong.append(f"{each.name} is missing")
        elif not each.specifier.contains(found, prereleases=True):
            wrong.append(f"{each.name} {found} is out of its range {each.specifier}")
    differs = [
        f"{name} {found} (tested: {tested})"
        for name, tested in pinned.items()
        if (found := installed.get(name)) and Version(found).public != Version(tested).public
    ]
    return wrong, differs


def versions(names: list[str]) -> dict[str, str | None]:
    """Return the installed versions of packages, by canonical name."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[canonicalize_name(name)] = version(name)
        except PackageNotFoundError:
            found[canonicalize_name(name)] = None
    return found


def packages() -> Iterator[Seen]:
    """Tell whether Python and packages are those that the tests ran with."""
    about = metadata(_OURS)
    python, asked = platform.python_version(), SpecifierSet(str(about["Requires-Python"]))
    known = [each.rpartition(" ")[2] for each in about.get_all("Classifier") or () if "Python :: 3." in each]
    if not asked.contains(python):
        yield Seen("Python", "fault", f"{python} is out of range {asked}", f"make PYTHON=python{known[-1]} setup")
    elif python.rpartition(".")[0] not in known:
        yield Seen("Python", "warning", f"{python}, tested with {', '.join(known)}", f"python{known[-1]} is safer")
    else:
        yield Seen("Python", "ok", python)
    needed = [each for each in map(Requirement, requires(_OURS) or ()) if not each.marker or each.marker.evaluate()]
    pinned = tested_set()
    wrong, differs = compare(needed, pinned, versions([*pinned, *(each.name for each in needed)]))
    install = "`pip install -c constraints.txt sluiceway` installs the tested set"
    if wrong:
        yield Seen("packages", "fault", some(wrong), install)
    elif differs:
        yield Seen("packages", "warning", f"{len(differs)} differ from the tested set: {some(differs)}", install)
    else:
        yield Seen("packages", "ok", f"{len(needed)} in range, none differs from the tested set")
