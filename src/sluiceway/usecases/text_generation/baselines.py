"""What the network must beat: byte frequencies, a 5-gram model and a compressor.

Shapes: B windows of the test split, N of its passages.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sluiceway.data.answers import Answers
from sluiceway.usecases.base import Encoding, Outcomes, Reader
from sluiceway.usecases.text_generation.examples import encode
from sluiceway.usecases.text_generation.ngram import ByteNGram
from sluiceway.usecases.text_generation.params import TextData


def baselines(reader: Reader, data: TextData, encoding: Encoding, answers: Answers) -> Mapping[str, Outcomes]:
    """Score byte frequencies and ``xz -9`` that has seen the training text; the 5-gram model has answered before.

    N-grams are scored on the network's own windows [B], so that the two are compared item by item. A compressor has one
    figure for the whole split: what it makes of a passage depends on all that it has seen, and it ends in whole bytes.
    """
    training = [loaded.payload for loaded in reader("train")]
    testing = list(reader("test"))
    texts = [loaded.payload for loaded in testing]
    windows = _windows(reader, encoding)
    lengths = np.array([len(text) for text in texts])  # [N]
    frequencies = ByteNGram(training, order=1).bits(texts)  # [N]
    outcomes = {
        "byte frequencies": {**windows, "bits": shared_out(frequencies, lengths, windows["bytes"])},
        "xz -9": {
            "row": windows["row"][:1],
            **{name: windows[name].sum(keepdims=True) for name in ("bytes", "words")},
            "bits": np.array([_compressed_bits(training, texts)]),
        },
    }
    if answers.surprise is not None:
        rows = np.array([loaded.row for loaded in testing])
        bits = answers.surprise[np.searchsorted(answers.rows, rows)] * lengths  # [N]
        outcomes["5-gram"] = {**windows, "bits": shared_out(bits, lengths, windows["bytes"])}
    return outcomes


def shared_out(
    bits: npt.NDArray[np.float64], lengths: npt.NDArray[np.int64], windows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Share out the bits of passages [N] of some lengths [N] to windows [B] of so many bytes over the same text.

    A passage's bits lie evenly on its bytes: the sum is that of the passages, and that of a window is exact where it
    ends with one. Resampling draws passages or groups of them, not bytes.
    """
    ends = np.cumsum(windows, dtype=np.float64)
    ends *= lengths.sum() / ends[-1]  # the tokens of pretrained weights may write some characters in another form
    spent = np.interp(ends, np.concatenate([[0], np.cumsum(lengths)]), np.concatenate([[0.0], np.cumsum(bits)]))
    return np.diff(spent, prepend=0.0)


def _windows(reader: Reader, encoding: Encoding) -> Outcomes:
    """Return row, bytes and words of the windows that the network answers: [B] each."""
    items = list(encode(reader("test"), encoding, "test"))
    sizes = {name: np.array([int(item.arrays[name]) for item in items]) for name in ("bytes", "words")}
    return {"row": np.array([item.row for item in items]), **sizes}


def _compressed_bits(training: Sequence[bytes], texts: Sequence[bytes]) -> float:
    """Return how many bits longer the compressed training text becomes when the test text is put behind it."""
    import lzma

    seen = b"\n\n".join(training)
    both = seen + b"\n\n" + b"\n\n".join(texts)
    return 8.0 * (len(lzma.compress(both, preset=9)) - len(lzma.compress(seen, preset=9)))
