"""Sound files to numbers: samples, a spectrogram on the mel scale, and the pitch.

Shapes: N samples, C channels, M mel bands, T frames, W samples of a window, G pitches that are tried.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sluiceway.data.table import BadExample
from sluiceway.usecases.speech.wholeness import lacking

if TYPE_CHECKING:
    import soundfile

Floats = npt.NDArray[np.float32]

DEPTH = 80.0
"""Decibels below the loudest point of a spectrogram at which it ends: what is fainter is silence."""
_VOICED = 0.45
"""Likeness of a frame to itself one period later above which it has a pitch."""
_LOWEST, _HIGHEST = 60.0, 500.0
"""Hertz between which voices speak."""
_STEPS = 32
"""Pitches per octave that are tried."""
_HIGHER, _JUMP = 0.03, 1.0
"""Likeness that an octave higher is worth, and that a jump by an octave costs."""
_FAINT = 0.05
"""Share of the loudest frame's amplitude below which a frame is no voice."""
_PITCH_RATE = 16_000
_PITCH_WINDOW, PITCH_HOP = 0.04, 0.01
"""Seconds: two periods of the lowest voice and more, and the distance of two answers."""
_PART = 2**22
"""Samples that are decoded at a time."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A decoded sound file."""

    samples: Floats
    """[N, C], full scale is -1..1."""
    rate: int
    """Samples per second."""
    format: str
    """Container and coding, such as ``WAV/PCM_16``."""

    def mono(self, rate: int) -> Floats:
        """Return the mean of the channels at another sampling rate: [N]."""
        return resampled(self.samples.mean(1), self.rate, rate)


class _Memory(io.BytesIO):
    """A file in memory that stays where it is when a broken header sends it before its beginning.

    An exception would be lost in libsndfile, with a warning on the terminal.
    """

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


def open_sound(payload: bytes) -> Sound:
    """Decode a sound file.

    Raises:
        BadExample: it is no sound file, not a whole one, or without samples.
    """
    import soundfile

    if reason := lacking(payload):
        raise BadExample(*reason)
    try:
        with soundfile.SoundFile(_Memory(payload)) as file:
            samples = _read(file)
            rate, kind, announced = file.samplerate, f"{file.format}/{file.subtype}", file.frames
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError) as error:
        said = str(error).partition(": ")[2] or str(error)
        raise BadExample("unreadable", f"not a sound file; it begins with {payload[:8]!r}: {said}") from None
    if not len(samples):
        raise BadExample("empty", "no samples")
    if kind.startswith("FLAC") and len(samples) < announced:
        raise BadExample("truncated", f"{len(samples)} of {announced} samples are there")
    return Sound(samples, int(rate), kind)


def _read(file: "soundfile.SoundFile") -> Floats:
    """Read to the end, [N, C], in parts: a broken header may announce more samples than memory holds."""
    part = max(1, _PART // file.channels)
    parts = [file.read(part, dtype="float32", always_2d=True)]
    while len(parts[-1]) == part:
        parts.append(file.read(part, dtype="float32", always_2d=True))
    return np.concatenate(parts)


def resampled(wave: Floats, rate: int, wanted: int) -> Floats:
    """Bring a wave [N] to another sampling rate, by its Fourier series: what the new rate cannot hold is left out."""
    if rate == wanted or not len(wave):
        return wave
    count = max(1, round(len(wave) * wanted / rate))
    spectrum = np.fft.rfft(wave)[: count // 2 + 1]
    return np.asarray(np.fft.irfft(spectrum, count) * (count / len(wave)), np.float32)


@dataclass(frozen=True, slots=True)
class MelScale:
    """How a wave becomes a spectrogram."""

    rate: int
    """Samples per second of the wave."""
    bands: int
    """M."""
    low: float
    """Hertz at which the lowest band begins."""
    high: float
    """Hertz at which the highest band ends."""
    window: float
    """Seconds of sound behind each frame."""
    hop: float
    """Seconds between two frames."""


def spectrogram(wave: Floats, scale: MelScale, frames: int | None = None) -> Floats:
    """Return decibels above silence on the mel scale: [M, T], in 0..``DEPTH``, and ``DEPTH`` at the loudest point.

    So the gain of a recording drops out. Hann windows; triangular bands of equal area on O'Shaughnessy's scale.

    Args:
        wave: [N].
        scale: windows and bands.
        frames: T; a shorter sound is put into the middle of silence, a longer one loses as much at both ends.
    """
    size, hop = round(scale.window * scale.rate), round(scale.hop * scale.rate)
    if frames is None:
        frames = 1 + len(wave) // hop
    wanted = (frames - 1) * hop + size
    spare = wanted - len(wave)
    if spare < 0:
        wave = wave[-spare // 2 :][:wanted]
    padded = np.pad(wave, (spare // 2, spare - spare // 2)) if spare > 0 else wave
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:frames]  # [T, W]
    power = np.abs(np.fft.rfft(windows * np.hanning(size))) ** 2  # [T, W / 2 + 1]
    mel = _bank(scale) @ power.T  # [M, T]
    decibels = 10 * np.log10(np.maximum(mel, 1e-20))
    return np.asarray(np.maximum(decibels - decibels.max() + DEPTH, 0), np.float32)


@lru_cache(maxsize=8)
def _bank(scale: MelScale) -> npt.NDArray[np.float64]:
    """Return the weight of each frequency in each band: [M, W / 2 + 1]."""
    size = round(scale.window * scale.rate)
    edges = np.linspace(_mel(scale.low), _mel(scale.high), scale.bands + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)  # [M + 2], hertz
    heard = np.fft.rfftfreq(size, 1 / scale.rate)
    # A band narrower than the distance of two frequencies would hear nothing.
    reach = np.maximum(np.diff(edges), heard[1])
    rising = (heard - (edges[1:-1] - reach[:-1])[:, None]) / reach[:-1, None]
    falling = ((edges[1:-1] + reach[1:])[:, None] - heard) / reach[1:, None]
    weights = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(weights / weights.sum(1, keepdims=True))


def _mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))


def pitch(sound: Sound) -> Floats:
    """Return the pitch in hertz at each ``PITCH_HOP``: [T], NaN where there is none.

    Autocorrelation (Boersma, 1993), and the path through its peaks that jumps least: a voice that repeats after one
    period also repeats after two.
    """
    wave = sound.mono(_PITCH_RATE)
    size, hop = round(_PITCH_WINDOW * _PITCH_RATE), round(PITCH_HOP * _PITCH_RATE)
    padded = np.pad(wave, (size // 2, size // 2 + 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]  # [T, W]
    loud = np.sqrt((windows**2).mean(1))
    shape = np.hanning(size)
    likeness = _autocorrelation((windows - windows.mean(1, keepdims=True)) * shape)
    likeness /= np.maximum(_autocorrelation(shape[None]), 0.1)
    octaves = np.arange(0, np.log2(_HIGHEST / _LOWEST), 1 / _STEPS)
    lags = _PITCH_RATE / (_LOWEST * 2**octaves)  # [G]
    below = lags.astype(np.int64)
    part = lags - below
    heard = likeness[:, below] * (1 - part) + likeness[:, below + 1] * part  # [T, G]
    path = _smoothest(heard + _HIGHER * octaves, _JUMP * np.abs(octaves[:, None] - octaves))
    rows = np.arange(len(path))
    # The top of the peak lies between the steps.
    inner = np.clip(path, 1, len(lags) - 2)
    left, peak, right = (heard[rows, inner + step] for step in (-1, 0, 1))
    bend = np.minimum(left - 2 * peak + right, -1e-9)
    place = octaves[inner] + np.clip(0.5 * (left - right) / bend, -1, 1) / _STEPS
    voiced = (heard[rows, path] > _VOICED) & (loud > _FAINT * loud.max())
    return np.asarray(np.where(voiced, _LOWEST * 2**place, np.nan), np.float32)


def _autocorrelation(windows: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the autocorrelation of each row, 1 at lag 0: [T, W]."""
    size = windows.shape[1]
    power = np.abs(np.fft.rfft(windows, 2 * size)) ** 2
    lags = np.fft.irfft(power)[:, :size]
    return np.asarray(lags / np.maximum(lags[:, :1], 1e-12))


def _smoothest(score: npt.NDArray[np.float64], price: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the column of each row on the path of the highest score, jumps paid for (Viterbi): [T].

    Args:
        score: of each column in each row, [T, G].
        price: of going from one column to another, [G, G].
    """
    best = score[0]
    came = np.zeros(score.shape, np.int64)
    for row in range(1, len(score)):
        ways = best[:, None] - price
        came[row] = ways.argmax(0)
        best = ways.max(0) + score[row]
    path = np.zeros(len(score), np.int64)
    path[-1] = best.argmax()
    for row in range(len(score) - 1, 0, -1):
        path[row - 1] = came[row, path[row]]
    return path
