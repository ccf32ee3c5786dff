"""Raw data to the example table, and the example table to shards.

Shapes: M mel bands, T frames.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from sluiceway.data.shards import Arrays
from sluiceway.data.table import BadExample, Measures
from sluiceway.errors import DataError
from sluiceway.usecases.base import Encoding, Loaded
from sluiceway.usecases.speech.params import SpeechData, SpeechEncoding
from sluiceway.usecases.speech.sound import DEPTH, Floats, MelScale, open_sound, spectrogram

_SILENT = -70.0
"""Decibels of full scale below which nothing is said: a little above the last bit of 16."""
_CONSTANT = 1e-4
"""Deviation, as a share of the largest value, below which a wave stands still."""
_WILD = 1e6
"""Largest sample: files of floats that hold 16-bit numbers reach 3e4, damaged ones anything."""
_FULL = 0.999
"""Share of the largest value at which a sample counts as clipped, where the next one does too."""
_CLIPPED = 0.05
"""Share of the samples that may be cut off; speech that is a little too loud has less."""
_HUSH = 40.0
"""Decibels below the loudest moment at which a moment is silence."""
_MOMENT = 0.01
"""Seconds."""
_FEW, _EVERY = 64, 8
"""Long sounds that all are looked at for their mean levels, and of more, which."""
TOP = 255
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
    if peak > _WILD:
        raise BadExample("unreadable", f"samples reach {peak:.3g}, where full scale is 1")
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
    """Find the mean and deviation of each band's level over the training sounds."""
    encoding: Encoding = {**params.model_dump(), "frames": params.frames}
    return {**encoding, **_statistics((levels_of(each.payload, encoding) for each in training), params.bands)}


def fit_transcribed(training: Iterable[Loaded], params: SpeechEncoding) -> Encoding:
    """Find the same, of what is heard and not of the padding; of many sounds, some say it well enough."""
    encoding: Encoding = {**params.model_dump(), "frames": params.frames}
    some = (each for number, each in enumerate(training) if number < _FEW or number % _EVERY == 0)
    sounds = (transcribed_arrays(each.payload, encoding) for each in some)
    return {**encoding, **_statistics((each["levels"][:, : int(each["frames"])] for each in sounds), params.bands)}


def _statistics(sounds: Iterable[npt.NDArray[np.uint8]], bands: int) -> Encoding:
    total = np.zeros((2, bands))
    count = 0
    for sound in sounds:
        levels = sound / TOP  # [M, T]
        total += levels.sum(1), (levels**2).sum(1)
        count += levels.shape[1]
    mean = total[0] / max(1, count)
    std = np.sqrt(np.maximum(total[1] / max(1, count) - mean**2, 1e-4))
    return {"mean": [round(float(value), 6) for value in mean], "std": [round(float(value), 6) for value in std]}


def arrays(payload: bytes, encoding: Encoding) -> Arrays:
    """Give a sound's spectrogram as uint8 [M, T]."""
    return {"levels": levels_of(payload, encoding)}


def transcribed_arrays(payload: bytes, encoding: Encoding) -> Arrays:
    """Give a sound's spectrogram from its beginning on as uint8 [M, T], silence behind it, and how many are heard.

    Raises:
        DataError: it is longer than T.
    """
    scale = _scale(encoding)
    decibels = spectrogram(open_sound(payload).mono(scale.rate), scale)
    heard, frames = decibels.shape[1], int(encoding["frames"])
    if heard > frames:
        raise DataError(
            f"a sound of {heard * scale.hop:.2f} seconds does not fit into {frames * scale.hop:.2f}",
            hint="give a larger encode.seconds, or send long sounds into quarantine by data.longest",
        )
    levels = np.zeros((scale.bands, frames), np.uint8)
    levels[:, :heard] = np.rint(decibels * (TOP / DEPTH))
    return {"levels": levels, "frames": np.asarray(heard, np.int32)}


def levels_of(payload: bytes, encoding: Encoding) -> npt.NDArray[np.uint8]:
    """Decode a sound to its spectrogram, 0 silent and 255 its loudest point: uint8 [M, T]."""
    scale = _scale(encoding)
    decibels = spectrogram(open_sound(payload).mono(scale.rate), scale, encoding["frames"])
    return np.asarray(np.rint(decibels * (TOP / DEPTH)), np.uint8)


def _scale(encoding: Encoding) -> MelScale:
    return MelScale(
        encoding["rate"], encoding["bands"], encoding["low"], encoding["high"], encoding["window"], encoding["hop"]
    )
