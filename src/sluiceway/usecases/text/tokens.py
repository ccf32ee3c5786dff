"""The tokens of pretrained weights."""

import json
from pathlib import Path

from sluiceway.errors import ConfigError
from sluiceway.usecases.base import Encoding


def taken_from(folder: Path) -> Encoding:
    """Return the tokens of pretrained weights, whatever their kind; texts are marked as the weights are used to.

    Raises:
        ConfigError: they are not there.
    """
    from tokenizers import Tokenizer

    documents = {}
    for name in ("tokenizer.json", "config.json"):
        try:
            documents[name] = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"encode.tokenizer: {folder / name} cannot be read: {error}",
                hint="give the folder of the pretrained weights, with tokenizer.json and config.json",
            ) from None
    config = documents["config.json"]
    document = {**documents["tokenizer.json"], "truncation": None, "padding": None}
    text = json.dumps(document, ensure_ascii=False)
    # Some networks have room for more tokens than there are.
    size = max(Tokenizer.from_str(text).get_vocab_size(), int(config.get("vocab_size", 0)))
    end = config.get("eos_token_id")
    end = end[0] if isinstance(end, list) and end else end
    padding = config.get("pad_token_id")
    padding = next((each for each in (padding, end) if isinstance(each, int)), 0)
    return {
        "tokenizer": text,
        "vocabulary": size,
        "end": end if isinstance(end, int) else padding,
        "padding": padding,
        "marked": True,
    }
