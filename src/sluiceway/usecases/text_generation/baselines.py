"""What the network must beat: byte frequencies, a 5-gram model and a compressor."""

from collections.abc import Mapping, Sequence

import numpy as np

from sluiceway.data.answers import Answers
from sluiceway.usecases.base import Encoding, Outcomes, Reader
from sluiceway.usecases.text_generation.ngram import ByteNGram
from sluiceway.usecases.text_generation.params import TextData


def baselines(reader: Reader, data: TextData, encoding: Encoding, answers: Answers) -> Mapping[str, Outcomes]:
    """Score byte frequencies and ``xz -9`` that has seen the training text; the 5-gram model has answered before."""
    training = [loaded.payload for loaded in reader("train")]
    testing = list(reader("test"))
    texts = [loaded.payload for loaded in testing]
    sizes = {
        "row": np.array([loaded.row for loaded in testing]),
        "bytes": np.array([len(text) for text in texts]),
        "words": np.array([text.count(b" ") + text.count(b"\n") for text in texts]),
    }
    whole = {name: sizes[name].sum(keepdims=True) for name in ("bytes", "words")} | {"row": sizes["row"][:1]}
    outcomes = {
        "byte frequencies": {**sizes, "bits": ByteNGram(training, order=1).bits(texts)},
        "xz -9": {**whole, "bits": np.array([_compressed_bits(training, texts)])},
    }
    if answers.surprise is not None:
        per_byte = answers.surprise[np.searchsorted(answers.rows, sizes["row"])]
        outcomes["5-gram"] = {**sizes, "bits": per_byte * sizes["bytes"]}
    return outcomes


def _compressed_bits(training: Sequence[bytes], texts: Sequence[bytes]) -> float:
    """Return how many bits longer the compressed training text becomes when the test text is put behind it."""
    import lzma

    seen = b"\n\n".join(training)
    both = seen + b"\n\n" + b"\n\n".join(texts)
    return 8.0 * (len(lzma.compress(both, preset=9)) - len(lzma.compress(seen, preset=9)))
