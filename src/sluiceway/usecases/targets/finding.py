"""Which file a path in a list means: lists are moved, and what they name is not where it was."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from sluiceway.errors import UnknownLayout

_TRIED = 5
"""Names by which a rule is looked for; whether it holds is asked of all."""
_CLOSE = 2000
"""Files among which one of a like name is looked for."""


@dataclass(frozen=True)
class Files:
    """The files that a list may name."""

    names: frozenset[str]
    """Paths below the raw folder."""

    @classmethod
    def of(cls, names: Iterable[str]) -> "Files":
        """Take files by their paths below the raw folder."""
        return cls(frozenset(names))

    @cached_property
    def stems(self) -> Mapping[str, str]:
        """Them by their path without the suffix, where that is unique."""
        return _stems(self.names)

    def find(self, place: str) -> str | None:
        """Return the file at a place, with or without its suffix."""
        return place if place in self.names else self.stems.get(place)


@dataclass(frozen=True)
class Finder:
    """Turns the paths of one list into paths below the raw folder, all by one rule.

    One rule for all: a file that is missing is missing, and is not taken for another one of the same name elsewhere.
    """

    files: Files
    strip: str
    """What paths begin with, and is left out."""
    folder: str
    """Folder below the raw folder, with a slash behind it, that what is left lies in."""

    @classmethod
    def learn(cls, path: Path, raw: Path, names: Sequence[str], files: Files, strip: str, noun: str) -> "Finder":
        """Find the rule by which most of some names lead to files.

        Args:
            path: of the list.
            raw: the raw folder.
            names: the first ones of the list.
            files: that may be meant.
            strip: what names begin with, as the parameters say.
            noun: of a file, for messages.

        Raises:
            UnknownLayout: no name leads to a file; or they would if something was stripped, which it says.
        """
        own = path.parent.relative_to(raw).as_posix()
        here = "" if own == "." else f"{own}/"
        rules = [(strip, here), (strip, "")]
        best = _best(rules, names, files)
        if names and best is None:
            best = _best(_moved(names[:_TRIED], files.names, strip), names, files)
            if best is None:
                raise _astray(path, names[0], files.names, here, noun)
            if best[0].startswith("/") or best[0][1:2] == ":":
                raise UnknownLayout(
                    f"{path} names {names[0]}, a path of another machine",
                    hint=f"nearest: data.strip: {best[0]!r} in the parameters leads to {noun}s that are here",
                )
        return cls(files, *(best or rules[0]))

    def find(self, name: str) -> str:
        """Return the path below the raw folder of what a list names, whether or not there is such a file."""
        return _under(self.strip, self.folder, name, self.files) or _clean(_slashed(name))


def _best(rules: Iterable[tuple[str, str]], names: Sequence[str], files: Files) -> tuple[str, str] | None:
    """Return the rule that leads most names to files, the first of equals; None when none leads any."""
    counts = {rule: sum(_under(*rule, name, files) is not None for name in names) for rule in rules}
    rule = max(counts, key=lambda each: counts[each], default=None)
    return rule if rule is not None and counts[rule] else None


def _under(strip: str, folder: str, name: str, files: Files) -> str | None:
    name = _slashed(name)
    if strip and not name.startswith(strip):
        return None
    return files.find(f"{folder}{name[len(strip) :].removeprefix('./')}")


def _moved(names: Iterable[str], known: Iterable[str], strip: str) -> list[tuple[str, str]]:
    """Return the rules by which names lead to files that end alike: by the longest such end of each."""
    by_last: defaultdict[str, list[str]] = defaultdict(list)
    for file in sorted(known):
        for place in dict.fromkeys((file, _stem(file))):
            by_last[place.rpartition("/")[2]].append(place)
    rules: dict[tuple[str, str], None] = {}
    for name in map(_slashed, names):
        parts = name.removeprefix(strip).split("/")
        ends = ["/".join(parts[start:]) for start in range(len(parts))]
        alike = ([(end, place) for place in by_last[parts[-1]] if f"/{place}".endswith(f"/{end}")] for end in ends)
        for end, place in next(filter(None, alike), []):
            rules[name[: len(name) - len(end)], place[: len(place) - len(end)]] = None
    return list(rules)


def _stems(known: Iterable[str]) -> dict[str, str]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for each in known:
        found[_stem(each)].append(each)
    return {stem: files[0] for stem, files in found.items() if len(files) == 1}


def _stem(file: str) -> str:
    stem, mark, suffix = file.rpartition(".")
    return stem if mark and "/" not in suffix else file


def _slashed(name: str) -> str:
    return name.replace("\\", "/")


def _clean(name: str) -> str:
    """Return a path that stays below its folder."""
    return "/".join(part for part in name.split("/") if part not in ("", ".", "..")) or "nothing"


def _astray(path: Path, name: str, known: frozenset[str], here: str, noun: str) -> UnknownLayout:
    beside = [each.removeprefix(here) for each in sorted(known) if each.startswith(here)][:_CLOSE]
    close = get_close_matches(name, beside, n=1)
    return UnknownLayout(
        f"{path} names {name}, which is no {noun} below {path.parent}",
        hint=f"did you mean {close[0]!r}?" if close else "paths in a list begin at its own folder or the raw folder",
    )
