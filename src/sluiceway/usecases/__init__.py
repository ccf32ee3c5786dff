"""Use cases by name. A new one is a folder here and a line in ``BUILT_IN``; a user's own is an import path."""

import sys
from importlib import import_module
from pathlib import Path

from sluiceway.errors import ConfigError, nearest
from sluiceway.usecases.base import UseCase

BUILT_IN = {
    "image_classification": "sluiceway.usecases.image_classification:USECASE",
    "recommendation": "sluiceway.usecases.recommendation:USECASE",
    "speech_classification": "sluiceway.usecases.speech_classification:USECASE",
    "text_generation": "sluiceway.usecases.text_generation:USECASE",
}


def find(name: str, root: Path) -> UseCase:
    """Return the use case with a built-in name, or at an import path ``package.module:NAME``.

    Args:
        name: what ``usecase:`` says.
        root: the project's folder, from which a user's own module is imported.

    Raises:
        ConfigError: there is no such use case.
    """
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
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"usecase: {name!r} cannot be imported: {error}", hint=f"is it below {root}?") from error
    if not isinstance(found, UseCase):
        raise ConfigError(f"usecase: {name!r} is a {type(found).__name__}, not a UseCase", hint="see docs/usecases.md")
    return found
