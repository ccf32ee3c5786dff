"""Use cases by name. A new one is a folder here and a line in ``BUILT_IN``; a user's own is an import path."""

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from sluiceway.errors import ConfigError, nearest
from sluiceway.usecases.base import Family, UseCase

BUILT_IN = {
    "driving": "sluiceway.usecases.driving:USECASE",
    "image": "sluiceway.usecases.image:FAMILY",
    "recommendation": "sluiceway.usecases.recommendation:USECASE",
    "speech": "sluiceway.usecases.speech:FAMILY",
    "text_generation": "sluiceway.usecases.text_generation:USECASE",
    "translation": "sluiceway.usecases.translation:USECASE",
}


def find(name: str, root: Path, target: str | None = None) -> UseCase:
    """Return the use case with a built-in name, or at an import path ``package.module:NAME``.

    Args:
        name: what ``usecase:`` says.
        root: the project's folder, from which a user's own module is imported.
        target: what ``target:`` says; default: the family's first.

    Raises:
        ConfigError: there is no such use case, or it does not learn such a target.
    """
    targets = targets_of(name, root)
    target = target or next(iter(targets))
    if target not in targets:
        raise ConfigError(
            f"target: usecase {name!r} does not learn {target!r}; {nearest(target, targets)}",
            hint=f"use target: {' or '.join(targets)}",
        )
    return targets[target]


def targets_of(name: str, root: Path) -> Mapping[str, UseCase]:
    """Return the use cases of a name by what they learn, the default first; of most there is one.

    Raises:
        ConfigError: there is no such use case.
    """
    found = _imported(name, root)
    if isinstance(found, Family):
        return found.targets
    if isinstance(found, UseCase):
        return {found.target: found}
    raise ConfigError(f"usecase: {name!r} is a {type(found).__name__}, not a UseCase", hint="see docs/usecases.md")


def _imported(name: str, root: Path) -> object:
    if ":" not in name:
        if name not in BUILT_IN:
            raise ConfigError(
                f"usecase: {name!r} is not a built-in use case; {nearest(name, BUILT_IN)}",
                hint=f"use one of {', '.join(sorted(BUILT_IN))}, or `package.module:NAME` of your own",
            )
        name = BUILT_IN[name]
    elif str(root) not in sys.path:
        sys.path.insert(0, str(root))
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except Exception as error:  # a module of somebody else's may raise anything, a SyntaxError first of all
        reason = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise ConfigError(f"usecase: {name!r} cannot be imported: {reason}", hint=f"is it below {root}?") from error
