"""The door to ``transformers`` and ``peft``, which are an extra."""

import importlib.util
import logging
import warnings
from types import ModuleType

from sluiceway.errors import ConfigError


def library(*, lora: bool = False) -> ModuleType:
    """Return ``transformers``, which then says nothing but in errors.

    Args:
        lora: whether ``peft`` is needed as well.

    Raises:
        ConfigError: a package is not installed.
    """
    needed = ("transformers", "peft") if lora else ("transformers",)
    missing = [name for name in needed if not _installed(name)]
    if missing:
        lacking = f"{' and '.join(missing)}, which {'are' if missing[1:] else 'is'} not installed"
        raise ConfigError(
            f"model: name huggingface needs {lacking}",
            hint="pip install 'sluiceway[huggingface]'",
        )
    import transformers

    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"transformers|peft|huggingface_hub")
    return transformers


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
