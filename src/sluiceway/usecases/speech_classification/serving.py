"""A registered model's requests and answers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluiceway.usecases.base import Encoding
from sluiceway.usecases.speech_classification.examples import levels_of

if TYPE_CHECKING:
    from torch import nn


def example(payloads: Sequence[bytes]) -> list[dict[str, Any]]:
    """Make request rows from sound files."""
    return [{"sound": payload} for payload in payloads]


def answer(
    model: "nn.Module", encoding: Encoding, rows: list[dict[str, Any]], params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Classify sounds given as the bytes of sound files."""
    import torch

    levels = np.stack([levels_of(row["sound"], encoding) for row in rows])
    with torch.inference_mode():
        confidence, prediction = model(torch.from_numpy(levels)).softmax(1).max(1)
    return [
        {"label": encoding["classes"][number], "probability": float(sure)}
        for number, sure in zip(prediction.tolist(), confidence.tolist(), strict=True)
    ]
