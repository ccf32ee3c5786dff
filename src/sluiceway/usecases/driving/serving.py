"""A registered model's requests and answers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluiceway.usecases.base import Encoding
from sluiceway.usecases.driving.frames import pixels_of

if TYPE_CHECKING:
    from torch import nn


def example(payloads: Sequence[bytes]) -> list[dict[str, Any]]:
    """Make request rows from image files."""
    return [{"image": payload} for payload in payloads]


def answer(
    model: "nn.Module", encoding: Encoding, rows: list[dict[str, Any]], params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Steer by frames given as the bytes of image files: shares of full lock, -1 is left."""
    import torch

    pixels = np.stack([pixels_of(row["image"], encoding) for row in rows])
    with torch.inference_mode():
        steering = model(torch.from_numpy(pixels)).clamp(-1, 1)
    return [{"steering": float(value)} for value in steering.tolist()]
