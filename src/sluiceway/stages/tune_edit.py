"""Changes options in a ``params.yaml`` that a person wrote: comments, order and layout stay."""

import difflib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sluiceway.training.search import put


def edited(text: str, values: Mapping[str, Any]) -> str:
    """Return a YAML document with other values of some options, by dotted name."""
    yaml = _alike(text)
    document = yaml.load(text)
    plain = _dumped(yaml, document)
    for option, value in values.items():
        put(document, option, value)
    return _restored(text, plain, _dumped(yaml, document))


def difference(before: str, after: str, path: Path) -> str:
    """Write a unified diff, as git does."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{path}", f"b/{path}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _restored(text: str, plain: str, after: str) -> str:
    """Put lines back as a person laid them out, where only the writer of YAML and no edit has changed them.

    Args:
        text: as it was.
        plain: the same, written by the writer.
        after: the edited document, written by the writer.
    """
    mine, before, result = (each.splitlines(keepends=True) for each in (text, plain, after))
    same = difflib.SequenceMatcher(None, before, result, autojunk=False).get_matching_blocks()
    laid_out = difflib.SequenceMatcher(None, before, mine, autojunk=False).get_opcodes()
    for kind, start, end, first, last in reversed(laid_out):  # from below, so that lines above keep their places
        block = next((each for each in same if each.a <= start and end <= each.a + each.size), None)
        if kind != "equal" and block:
            offset = block.b - block.a
            result[start + offset : end + offset] = mine[first:last]
    return "".join(result)


def _alike(text: str) -> YAML:
    """Return what writes YAML most like this text: a person's way to indent lists is not to be changed."""
    found = []
    for sequence, offset in ((2, 0), (4, 2)):
        yaml = YAML()
        yaml.preserve_quotes = True
        yaml.width = 10_000
        yaml.indent(mapping=2, sequence=sequence, offset=offset)
        found.append(yaml)
    return max(found, key=lambda yaml: _likeness(text, _dumped(yaml, yaml.load(text))))


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one.splitlines(), other.splitlines(), autojunk=False).ratio()


def _dumped(yaml: YAML, document: Any) -> str:
    file = io.StringIO()
    yaml.dump(document, file)
    return file.getvalue()
