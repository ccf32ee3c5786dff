"""How the data gate hears a sound: pitch, level and timbre, a fingerprint, and a picture for people."""

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt

from sluiceway.usecases.speech.params import SpeechData
from sluiceway.usecases.speech.sound import (
    DEPTH,
    Floats,
    MelScale,
    Sound,
    open_sound,
    pitch,
    spectrogram,
)

RATE = 16_000
"""Samples per second that sounds are looked at in, whatever they come in."""
_TIMBRE = MelScale(RATE, bands=16, low=50, high=7_600, window=0.032, hop=0.01)
_PRINT = MelScale(RATE, bands=32, low=60, high=4_000, window=0.064, hop=0.005)
_DRAWN = MelScale(RATE, bands=48, low=50, high=7_600, window=0.032, hop=0.005)
_CONTOUR, _LEVELS = 10, 6
"""Points at which pitch and level are taken."""
_LOUD = 30.0
"""Decibels below the loudest frame at which a sound begins and ends."""
_FRAMES = 32
"""Moments of a fingerprint."""
_REACH = 2.0
"""Deviations before and after the middle that a fingerprint shows: an even sound ends at 1.7."""
_FLOOR = 45.0
"""Decibels of a spectrogram below which a fingerprint sees nothing: noise, and what coding leaves."""
_SMALL = 24_000
"""Bytes up to which a sound is put into the page as it is, to be listened to."""
_MOST = 40_000
"""Bytes up to which one that was made lighter is: two or three seconds of speech."""
_SHADES = np.array([(13, 8, 35), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], np.float64)
"""From silent to loud."""


def features(payload: bytes, data: SpeechData) -> Floats:
    """Pitch contour and its shape, level contour, duration and timbre [54]: gain and sampling rate drop out.

    Each is scaled so that what matters varies by about 1: octaves times 3, decibels by 10. How much a band varies in
    time counts by its octaves: a steady tone, of which it is a tenth of what voices have, is far from all voices.
    """
    sound = open_sound(payload)
    heights = pitch(sound)
    decibels = spectrogram(sound.mono(RATE), _TIMBRE) / 10  # [M, T]
    level = decibels.max(0)
    loud = decibels[:, level > level.max() - _LOUD / 10]
    seconds = len(sound.samples) / sound.rate
    voiced = float(np.isfinite(heights).mean())
    parts = [*_melody(heights), _along(_inner(level), _LEVELS), [4 * np.log2(seconds + 0.1), 4 * voiced]]
    return np.asarray(np.concatenate([*parts, loud.mean(1), 2 * np.log2(loud.std(1) + 0.05)]), np.float32)


def _melody(heights: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the pitch at even points of the voiced span, and its slope, curvature, range and middle."""
    known = np.flatnonzero(np.isfinite(heights))
    if len(known) < 3:
        return np.zeros(_CONTOUR), np.zeros(4)
    octaves = 3 * np.log2(heights[known] / 100.0)
    octaves = np.interp(np.arange(known[0], known[-1] + 1), known, octaves)
    octaves = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(octaves, 1, "edge"), 3), axis=1)
    contour = _along(octaves, _CONTOUR)
    curvature, slope, _ = np.polyfit(np.linspace(-1, 1, len(octaves)), octaves, 2)
    return contour, np.array([slope, curvature, octaves.max() - octaves.min(), np.median(octaves)])


def _inner(level: Floats) -> Floats:
    """Leave out what is silent before and after a sound."""
    heard = np.flatnonzero(level > level.max() - _LOUD / 10)
    return level[heard[0] : heard[-1] + 1]


def _along(values: npt.NDArray[np.floating], points: int) -> npt.NDArray[np.float64]:
    """Take values at even distances from the first to the last: [points]."""
    return np.asarray(np.interp(np.linspace(0, len(values) - 1, points), np.arange(len(values)), values))


def fingerprint(payload: bytes, data: SpeechData) -> Floats:
    """The spectrogram without gain, place in time, and what is faint: [1024], of mean 0 and length 1.

    Windows are long enough to tell harmonics apart: by the pitch two syllables of one voice differ. What is heard is
    moved into the middle and brought to one length, by its moments: a sound that was cut or moved keeps its
    fingerprint.
    """
    decibels = spectrogram(open_sound(payload).mono(RATE), _PRINT)
    seen = np.maximum(decibels - _FLOOR, 0)  # [M, T]
    along = np.arange(seen.shape[1])
    weight = seen.sum(0) / seen.sum()
    middle = float(weight @ along)
    spread = max(1.0, float(np.sqrt(weight @ (along - middle) ** 2)))
    places = middle + _REACH * spread * np.linspace(-1, 1, _FRAMES)
    vector = np.stack([np.interp(places, along, band, left=0, right=0) for band in seen]).reshape(-1)
    vector = vector - vector.mean()
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), np.float32)


def forest() -> Any:
    """A random forest; rare classes weigh as much as common ones."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(500, min_samples_leaf=2, class_weight="balanced_subsample", random_state=0)


def regression_forest() -> Any:
    """A random forest for numbers."""
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(500, min_samples_leaf=2, random_state=0)


def thumbnail(payload: bytes, data: SpeechData) -> str:
    """The spectrogram, low tones below; a sound that is not long can be listened to."""
    return picture(payload)


def picture(payload: bytes) -> str:
    """Draw a sound as HTML: its spectrogram, 240 pixels wide at most, low tones below; if it is short, a player too."""
    from PIL import Image

    sound = open_sound(payload)
    image = Image.fromarray(_coloured(spectrogram(sound.mono(RATE), _DRAWN)[::-1]))
    image = image.resize((max(24, min(240, image.width)), 2 * image.height))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    seen = f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
    heard, kind = (payload, _kind(sound)) if len(payload) <= _SMALL else (_lighter(sound), "audio/flac")
    if len(heard) > _MOST:
        return seen
    coded = base64.b64encode(heard).decode()
    return f'{seen}<br><audio controls preload="none" src="data:{kind};base64,{coded}"></audio>'


def _lighter(sound: Sound) -> bytes:
    """Return a sound as FLAC of one channel, at ``RATE`` at most: nothing the spectrogram shows is lost."""
    import soundfile

    rate = min(RATE, sound.rate)
    wave, file = sound.mono(rate), io.BytesIO()
    soundfile.write(file, wave / max(1.0, float(np.abs(wave).max(initial=0.0))), rate, "PCM_16", format="FLAC")
    return file.getvalue()


def _coloured(decibels: Floats) -> npt.NDArray[np.uint8]:
    """Turn decibels [M, T] into colours [M, T, 3]."""
    steps = np.linspace(0, DEPTH, len(_SHADES))
    return np.stack([np.interp(decibels, steps, shade) for shade in _SHADES.T], axis=-1).astype(np.uint8)


def _kind(sound: Sound) -> str:
    """Return the media type."""
    container = sound.format.partition("/")[0].lower()
    return {"mp3": "audio/mpeg", "mpeg": "audio/mpeg"}.get(container, f"audio/{container}")
