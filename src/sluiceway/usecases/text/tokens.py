"""The tokens of pretrained weights."""

from pathlib import Path

from sluiceway.data.bpe import documents_of, kept
from sluiceway.usecases.base import Encoding


def taken_from(folder: Path) -> Encoding:
    """Return the tokens of pretrained weights, whatever their kind; texts are marked as the weights are used to.

    Raises:
        ConfigError: they are not there, or cannot be read.
    """
    tokens, config = documents_of(folder)
    end = config.get("eos_token_id")
    end = end[0] if isinstance(end, list) and end else end
    padding = next((each for each in (config.get("pad_token_id"), end) if isinstance(each, int)), 0)
    whole = kept(folder, {**tokens, "truncation": None, "padding": None}, config)
    return {**whole, "end": end if isinstance(end, int) else padding, "padding": padding, "marked": True}
