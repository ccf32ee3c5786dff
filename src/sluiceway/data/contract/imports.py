"""Importing a large library without what is not needed of it."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands for a module until something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(import_module(self.__name__), name)


@contextmanager
def slim_import(*, absent: tuple[str, ...], deferred: tuple[str, ...]) -> Iterator[None]:
    """Let imports in the block do without some modules. Those that are loaded already are left alone.

    Args:
        absent: modules that are said not to be installed.
        deferred: modules that are loaded when something of them is used.
    """
    stand_ins: dict[str, Any] = dict.fromkeys(absent)
    stand_ins |= {name: _Deferred(name) for name in deferred}
    placed = {name: each for name, each in stand_ins.items() if name not in sys.modules}
    collecting = gc.isenabled()
    gc.disable()
    sys.modules.update(placed)
    try:
        yield
    finally:
        for name in placed:
            sys.modules.pop(name, None)
        if collecting:
            gc.enable()
