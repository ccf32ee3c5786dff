"""Raw data to the example table, and the example table to shards.

Shapes: M mel bands, T frames.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from sluiceway.data.table import BadExample, Measures, SplitName
from sluiceway.errors import DataError
from sluiceway.usecases.base import Encoding, Item, Loaded
from sluiceway.usecases.speech_classification.layouts import LAYOUTS
from sluiceway.usecases.speech_classification.params import SpeechData, SpeechEncoding
from sluiceway.usecases.speech_classification.sound import DEPTH, Floats, MelScale, open_sound, spectrogram

_SILENT = -70.0
"""Decibels of full scale below which nothing is said: a little above the last bit of 16."""
_CONSTANT = 1e-4
"""Deviation, as a share of the largest value, below which a wave stands still."""
_FULL = 0.999
"""Share of the largest value at which a sample counts as clipped, where the next one does too."""
_CLIPPED = 0.05
"""Share of the samples that may be cut off; speech that is a little too loud has less."""
_HUSH = 40.0
"""Decibels below the loudest moment at which a moment is silence."""
_MOMENT = 0.01
"""Seconds."""
_TOP = 255
"""The loudest level of a spectrogram."""


# Raw data to the example table.


def measure(payload: bytes, data: SpeechData) -> Measures:
    """Decode a sound and measure its length, level and silence.

    ``loudness`` is in decibels of full scale (root mean square without its mean), ``peak`` is of full scale;
    ``clipped`` and ``silence`` are shares of the samples and of the moments.
    """
    sound = open_sound(payload)
    samples = sound.samples  # [N, C]
    if odd := int(np.count_nonzero(~np.isfinite(samples))):
        raise BadExample("not_finite", f"{odd} of {samples.size} samples are NaN or infinite")
    peak = float(np.abs(samples).max())
    centred = samples - samples.mean(0)
    if peak > 0 and float(centred.std()) < _CONSTANT * peak:
        raise BadExample("constant", f"every sample is {float(samples.mean()):.3g}, or nearly so")
    loudness = 20 * np.log10(max(float(np.sqrt((centred**2).mean())), 1e-10))
    if loudness < _SILENT:
        raise BadExample("silent", f"{loudness:.0f} dB of full scale")
    clipped = _clipped(samples, peak)
    if clipped > _CLIPPED:
        raise BadExample("clipped", f"{clipped:.0%} of the samples are cut off at {peak:.3g}")
    return {
        "bytes": len(payload),
        "format": sound.format,
        "seconds": round(len(samples) / sound.rate, 6),
        "sample_rate": sound.rate,
        "channels": samples.shape[1],
        "loudness": round(float(loudness), 4),
        "peak": round(peak, 6),
        "clipped": round(clipped, 6),
        "silence": round(_silence(centred.mean(1), sound.rate), 6),
    }


def _clipped(samples: Floats, peak: float) -> float:
    """Return the share of samples that stay at the largest value: a wave touches it, and goes on."""
    at_top = np.abs(samples) >= _FULL * peak
    stays = np.zeros_like(at_top)
    stays[1:] |= at_top[1:] & at_top[:-1]
    stays[:-1] |= at_top[:-1] & at_top[1:]
    return float(stays.mean())


def _silence(wave: Floats, rate: int) -> float:
    """Return the share of moments that are far below the loudest."""
    size = max(1, round(_MOMENT * rate))
    whole = max(1, len(wave) // size)
    moments = wave[: whole * size].reshape(whole, -1)
    level = np.sqrt((moments**2).mean(1))
    return float((level < level.max() * 10 ** (-_HUSH / 20)).mean())


def expectations() -> list[dict[str, Any]]:
    """Expect sound to be there; its rate and channels are each data set's own."""
    return [
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "target"}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "seconds", "min_value": 0.05}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "sample_rate", "min_value": 8000}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "channels", "value_set": [1, 2]}},
    ]


# The example table to shards.


def fit(training: Iterable[Loaded], params: SpeechEncoding) -> Encoding:
    """Find the classes, and the mean and deviation of each band's level over the training sounds."""
    encoding: Encoding = {**params.model_dump(), "frames": params.frames}
    classes: set[str] = set()
    total = np.zeros((2, params.bands))
    count = 0
    for loaded in training:
        classes.add(str(loaded.example.target))
        levels = levels_of(loaded.payload, encoding) / _TOP  # [M, T]
        total += levels.sum(1), (levels**2).sum(1)
        count += levels.shape[1]
    if len(classes) < 2:
        raise DataError(f"classification needs two classes, found {len(classes)}: {sorted(classes)}", hint=LAYOUTS)
    mean = total[0] / count
    std = np.sqrt(np.maximum(total[1] / count - mean**2, 1e-4))
    return {
        **encoding,
        "classes": sorted(classes),
        "mean": [round(float(value), 6) for value in mean],
        "std": [round(float(value), 6) for value in std],
    }


def encode(examples: Iterable[Loaded], encoding: Encoding, split: SplitName) -> Iterator[Item]:
    """Give each sound's spectrogram as uint8 [M, T], and its class's number."""
    numbers = {name: number for number, name in enumerate(encoding["classes"])}
    for loaded in examples:
        target = loaded.example.target
        if target not in numbers:
            raise DataError(
                f"class {target!r} of {loaded.example.id} does not occur in the training split",
                hint="give more examples of it, or take it out",
            )
        levels = levels_of(loaded.payload, encoding)
        yield Item(loaded.row, {"levels": levels, "target": np.asarray(numbers[target], np.int64)})


def levels_of(payload: bytes, encoding: Encoding) -> npt.NDArray[np.uint8]:
    """Decode a sound to its spectrogram, 0 silent and 255 its loudest point: uint8 [M, T]."""
    scale = MelScale(
        encoding["rate"], encoding["bands"], encoding["low"], encoding["high"], encoding["window"], encoding["hop"]
    )
    decibels = spectrogram(open_sound(payload).mono(scale.rate), scale, encoding["frames"])
    return np.asarray(np.rint(decibels * (_TOP / DEPTH)), np.uint8)
