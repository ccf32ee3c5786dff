"""A registered model's requests and answers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluiceway.usecases.base import Encoding
from sluiceway.usecases.image_classification.examples import pixels_of

if TYPE_CHECKING:
    from torch import nn


def example(payloads: Sequence[bytes]) -> list[dict[str, Any]]:
    """Make request rows from image files."""
    return [{"image": payload} for payload in payloads]


def answer(
    model: "nn.Module", encoding: Encoding, rows: list[dict[str, Any]], params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Classify images given as the bytes of image files."""
    import torch

    pixels = np.stack([pixels_of(row["image"], encoding["size"], encoding["channels"]) for row in rows])
    with torch.inference_mode():
        confidence, prediction = model(torch.from_numpy(pixels)).softmax(1).max(1)
    return [
        {"label": encoding["classes"][number], "probability": float(sure)}
        for number, sure in zip(prediction.tolist(), confidence.tolist(), strict=True)
    ]
