"""What can be set: the sections of the pipeline's parameters that are this use case's own."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sluiceway.config import ModelParams, Section
from sluiceway.config.shapes import refuse_uneven_heads, refuse_uneven_stages
from sluiceway.usecases.targets.listing import ListedData


class SpeechData(ListedData):
    """Sound files in a folder per class, or listed with their targets in ``metadata.csv``."""


class TranscribedData(SpeechData):
    """Sound files with what is said in them: listed in ``metadata.csv``, or as LibriSpeech or Common Voice lie."""

    case: Literal["lower", "keep"] = "lower"
    """Whether capitals become small letters: who hears no difference learns none."""
    marks: str = "'"
    """Marks that are kept beside letters, digits and single spaces; any other becomes a space."""
    script: str | None = None
    """Script that every letter must be of, as Unicode names it: LATIN, CYRILLIC, GREEK, ARABIC, HIRAGANA ..."""
    longest: float = Field(15.0, gt=0)
    """Longest sound, in seconds: a longer one is set aside, as it cannot be cut without its text."""
    fastest: float = Field(25.0, gt=0)
    """Most characters per second, a repeated one counted twice: more are another sound's text, or one cut off."""
    slowest: float = Field(0.5, ge=0)
    """Fewest characters per second: fewer are a text cut off, or a sound that goes on after it."""


class SpeechEncoding(Section):
    """Spectrograms of one size on the mel scale, in decibels, as bytes."""

    rate: int = Field(16_000, ge=1_000)
    """Samples per second that sounds are brought to."""
    seconds: float = Field(1.0, gt=0)
    """Length that sounds are brought to: shorter ones get silence around them, longer ones lose both ends."""
    bands: int = Field(64, ge=8)
    """Bands of the mel scale."""
    low: float = Field(50.0, ge=0)
    """Hertz at which the lowest band begins."""
    high: float = Field(7_600.0, gt=0)
    """Hertz at which the highest band ends; at most half of ``rate``."""
    window: float = Field(0.032, gt=0)
    """Seconds behind each frame. Long ones tell pitches apart, short ones moments."""
    hop: float = Field(0.01, gt=0)
    """Seconds between two frames."""

    @model_validator(mode="after")
    def _can_be_heard(self) -> "SpeechEncoding":
        if not self.low < self.high <= self.rate / 2:
            raise ValueError(
                f"low {self.low:g}, high {self.high:g}: low must be below high, and high at most half of rate, "
                f"{self.rate / 2:g}"
            )
        if self.hop * self.rate < 1 or self.window < self.hop:
            raise ValueError(f"hop {self.hop:g}, window {self.window:g}: a hop is a sample at least, a window a hop")
        return self

    @property
    def frames(self) -> int:
        """Frames of a spectrogram."""
        return max(1, round(self.seconds / self.hop))


class TranscribedEncoding(SpeechEncoding):
    """Spectrograms on the mel scale, in decibels, as bytes, padded behind; and the characters said."""

    seconds: float = Field(15.0, gt=0)
    """Length that sounds are padded to: at least ``data.longest``."""
    window: float = Field(0.032, gt=0)
    """Seconds behind each frame."""
    hop: float = Field(0.016, gt=0)
    """Seconds between two frames. The network answers every second frame, and each answer is one character at most: so
    two hops are at most the time of a character."""
    beam: int = Field(8, ge=1)
    """Beginnings of a text that are followed at a time when it is read out of the answers; 1: the likeliest answers."""
    order: int = Field(4, ge=0, le=8)
    """Characters of the n-grams, learned from the training texts, that help to read; 0: none."""
    language: float = Field(0.5, ge=0)
    """Weight of what the n-grams say."""
    bonus: float = Field(0.8, ge=0)
    """Nats added for each character that is read. N-grams make a text the less likely the longer it is, by about one
    and a half nats per character times their weight; without the bonus little is read of what was hardly understood."""


class ConvParams(ModelParams):
    """A compact residual network over time and pitch."""

    name: Literal["conv"] = "conv"
    """Which architecture."""
    stem: int = Field(24, ge=1)
    """Channels after the first convolution, which halves both axes."""
    widths: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [24, 48], min_length=1)
    """Channels of each stage; every stage but the first halves both axes again."""
    depths: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [1, 2], min_length=1)
    """Residual blocks of each stage."""
    groups: int = Field(8, ge=1)
    """Groups of the group norms; ``stem`` and ``widths`` are multiples of it, or below it."""

    @model_validator(mode="after")
    def _can_be_built(self) -> "ConvParams":
        refuse_uneven_stages(self.stem, self.widths, self.depths, self.groups)
        return self


class ConformerParams(ModelParams):
    """A small Conformer encoder: attention and convolution over time."""

    name: Literal["conformer"] = "conformer"
    """Which architecture."""
    channels: int = Field(96, ge=8)
    """Width of the residual stream; a multiple of twice ``heads``."""
    layers: int = Field(3, ge=1)
    """Number of blocks."""
    heads: int = Field(4, ge=1)
    """Attention heads per block."""
    kernel: int = Field(15, ge=1)
    """Frames that the convolution of a block sees, an odd number; a frame is two hops."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of each branch that is dropped in training."""

    @model_validator(mode="after")
    def _can_be_built(self) -> "ConformerParams":
        refuse_uneven_heads(self.channels, self.heads)
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} has no middle: use {self.kernel + 1}")
        return self


class _Augmentation(Section):
    stretch: float = Field(0.1, ge=0)
    """Largest change of tempo, as a share; the pitch stays."""
    pitch: float = Field(1.0, ge=0)
    """Largest shift of the spectrum, in mel bands."""
    contrast: float = Field(0.1, ge=0, lt=1)
    """Largest change of the level differences, as a share: near or far from the microphone."""
    noise: float = Field(10.0, ge=0, lt=80)
    """Most decibels by which the floor rises: what is fainter is lost, as in noise."""
    time_mask: float = Field(0.15, ge=0, le=1)
    """Longest stretch of time that is silenced, as a share of the length."""
    band_mask: float = Field(0.15, ge=0, le=1)
    """Widest range of bands that is silenced, as a share of all."""


class SpeechAugmentation(_Augmentation):
    """Random changes of the training spectrograms (Park et al., SpecAugment, 2019)."""

    shift: float = Field(0.1, ge=0, le=1)
    """Largest shift in time, as a share of the length."""


class TranscribedAugmentation(_Augmentation):
    """Random changes of the training spectrograms (Park et al., SpecAugment, 2019), from the beginning on."""

    time_mask: float = Field(0.05, ge=0, le=1)
    """Longest of two stretches of time that are silenced, as a share of the length."""
