"""Networks that answer spectrograms.

Shapes: B sounds, M mel bands, T frames, S = T / 2 moments, K outputs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from sluiceway.models.acoustic import standard_levels
from sluiceway.models.huggingface.borrowed import Borrowed, Taken, take
from sluiceway.models.huggingface.configuration import Fact, Task
from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.models.moments import moments, up_to

_TRANSFORMER, _WHISPER, _STACKED = "audio-spectrogram-transformer", "whisper", "wav2vec2-bert"
FITS = frozenset({_TRANSFORMER, _WHISPER, _STACKED})
"""Architectures that are given spectrograms. Those that hear samples, such as wav2vec2 and HuBERT, are not."""


class SpectrogramNetwork(Borrowed):
    """Answers spectrograms: uint8 or float in 0..1 [B, M, T] -> outputs [B, K].

    Args:
        taken: the network.
        frames: T.
        mean: of the training sounds' levels per band, in 0..1: [M].
        std: likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, taken: Taken, frames: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(taken)
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1))
        self.begin(torch.zeros(1, len(mean), frames, dtype=torch.uint8))

    def forward(self, levels: Tensor) -> Tensor:
        """Return the outputs, such as logits."""
        standard = standard_levels(levels, self.mean, self.std)
        kind = self.network.config.model_type
        if kind == _TRANSFORMER:
            logits: Tensor = self.network(input_values=standard.transpose(1, 2)).logits
            return logits
        even = F.pad(standard, (0, standard.shape[2] % 2))
        given = even if kind == _WHISPER else stacked(even)
        answered: Tensor = self.network(input_features=given).logits
        return answered


class MomentNetwork(Borrowed):
    """Answers each moment: uint8 or float in 0..1 [B, M, T] with the frames that are heard [B] -> outputs [B, S, K].

    Args:
        taken: the network.
        frames: T.
        mean: of the training sounds' levels per band, in 0..1: [M].
        std: likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, taken: Taken, frames: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(taken)
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1))
        self.begin(torch.zeros(1, len(mean), frames, dtype=torch.uint8), torch.tensor([frames]))

    def forward(self, levels: Tensor, frames: Tensor) -> Tensor:
        """Return the outputs of each moment, such as logits; what comes after the last frame is seen by none."""
        standard = standard_levels(levels, self.mean, self.std)
        given = stacked(F.pad(standard, (0, standard.shape[2] % 2)))
        heard = up_to(moments(frames), given.shape[1])
        logits: Tensor = self.network(input_features=given, attention_mask=heard.long()).logits
        return logits


def stacked(levels: Tensor) -> Tensor:
    """Put each two frames beside each other: [B, M, T] -> [B, S, 2 M], as Wav2Vec2-BERT has them."""
    batch, bands, frames = levels.shape
    return levels.transpose(1, 2).reshape(batch, frames // 2, 2 * bands)


def build(
    params: HuggingFaceParams, *, frames: int, outputs: int, mean: Sequence[float], std: Sequence[float]
) -> SpectrogramNetwork:
    """Make a network for spectrograms.

    Args:
        params: which one.
        frames: T.
        outputs: K.
        mean: of the training sounds' levels per band, in 0..1: [M].
        std: likewise.

    Raises:
        ConfigError: it cannot be built, or not for these sounds.
    """
    task = Task(
        what="spectrograms with a row of outputs each",
        auto="AutoModelForAudioClassification",
        facts={
            **_facts(len(mean), frames),
            "num_labels": Fact(outputs, f"the target has {outputs} outputs", anew=True),
        },
        fits=FITS,
    )
    return SpectrogramNetwork(take(params, task), frames, mean, std)


def build_by_moment(
    params: HuggingFaceParams, *, frames: int, outputs: int, mean: Sequence[float], std: Sequence[float]
) -> MomentNetwork:
    """Make a network that answers each moment of a sound, for connectionist temporal classification.

    Args:
        params: which one.
        frames: T.
        outputs: K, the blank among them.
        mean: of the training sounds' levels per band, in 0..1: [M].
        std: likewise.

    Raises:
        ConfigError: it cannot be built, or not for these sounds.
    """
    task = Task(
        what="spectrograms with a row of outputs for each moment",
        auto="AutoModelForCTC",
        facts={
            **_facts(len(mean), frames),
            "vocab_size": Fact(outputs, f"the target has {outputs} outputs", anew=True),
            "pad_token_id": Fact(0, "output 0 is the blank", anew=True),
        },
        fits=frozenset({_STACKED}),
    )
    return MomentNetwork(take(params, task), frames, mean, std)


def _facts(bands: int, frames: int) -> dict[str, Fact]:
    chance = "draws from NumPy's generator, and a training that goes on would draw otherwise"
    return {
        "num_mel_bins": Fact(bands, f"encode.bands is {bands}"),
        "max_length": Fact(frames, f"encode makes {frames} frames"),
        "max_source_positions": Fact(
            moments(frames), f"encode makes {frames} frames, and two are one place", of=_WHISPER
        ),
        "feature_projection_input_dim": Fact(2 * bands, f"encode.bands is {bands}, and two frames are one place"),
        "apply_spec_augment": Fact(False, f"it {chance}; the objective masks spectrograms", anew=True),
        "layerdrop": Fact(0.0, f"it {chance}", anew=True),
        "encoder_layerdrop": Fact(0.0, f"it {chance}", anew=True),
    }
