"""Raw data to the example table, and the example table to shards.

Shapes: C channels, H height, W width.
"""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sluiceway.data.shards import Arrays
from sluiceway.data.table import BadExample, Example, Measures, TargetKind
from sluiceway.usecases.base import Encoding, Loaded
from sluiceway.usecases.image.params import ImageData, ImageEncoding
from sluiceway.usecases.targets.listing import Kind, read_listed

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGES = Kind(
    "image",
    frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}),
    foreign=frozenset({".heic", ".heif", ".avif", ".svg", ".psd", ".dng", ".raw", ".nef", ".cr2"}),
    convert="to .png or .jpg, for example with ImageMagick",
)


# Raw data to the example table.

_BLANK = 0.005
"""Deviation of the pixels, of 1, below which an image shows nothing: about one level of grey in 256."""


def read(raw: Path, data: ImageData, target: TargetKind) -> Iterator[Example]:
    """List images by class folder or list. The id is the path: ``7/00012.png``, or ``train/7/00012.png``."""
    return read_listed(raw, data, target, IMAGES)


def measure(payload: bytes, data: ImageData) -> Measures:
    """Decode an image and measure size, brightness and contrast, the last two in 0..1."""
    image = open_image(payload)
    pixels = np.asarray(image.convert("L"), np.float32) / 255
    contrast = float(pixels.std())
    if contrast < _BLANK:
        raise BadExample("blank", f"every pixel is {pixels.mean():.2f}, or nearly so")
    return {
        "bytes": len(payload),
        "format": image.format,
        "width": image.width,
        "height": image.height,
        "channels": len(image.getbands()),
        "brightness": round(float(pixels.mean()), 6),
        "contrast": round(contrast, 6),
    }


def open_image(payload: bytes) -> "Image":
    """Decode an image file.

    Raises:
        BadExample: it is not an image, or not a whole one.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(payload))
        image.load()
    except UnidentifiedImageError:
        raise BadExample("unreadable", f"not an image; it begins with {payload[:8]!r}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise BadExample(reason, str(error)) from None
    return image


def expectations() -> list[dict[str, Any]]:
    """Expect sizes and channels to be there; what they are is each data set's own."""
    return [
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "target"}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "width", "min_value": 4}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "height", "min_value": 4}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "channels", "value_set": [1, 3, 4]}},
    ]


# The example table to shards.


def fit(training: Iterable[Loaded], params: ImageEncoding) -> Encoding:
    """Find the mean and deviation of each channel over the training images."""
    total = np.zeros((2, params.channels))
    count = 0
    for loaded in training:
        pixels = pixels_of(loaded.payload, params.size, params.channels) / 255.0  # [C, H, W]
        total += pixels.sum((1, 2)), (pixels**2).sum((1, 2))
        count += params.size**2
    mean = total[0] / max(1, count)
    std = np.sqrt(np.maximum(total[1] / max(1, count) - mean**2, 1e-6))
    return {
        "size": params.size,
        "channels": params.channels,
        "mean": [round(float(value), 6) for value in mean],
        "std": [round(float(value), 6) for value in std],
    }


def arrays(payload: bytes, encoding: Encoding) -> Arrays:
    """Give an image as uint8 [C, H, W]."""
    return {"image": pixels_of(payload, encoding["size"], encoding["channels"])}


def pixels_of(payload: bytes, size: int, channels: int) -> npt.NDArray[np.uint8]:
    """Decode and resize to uint8 [C, size, size]."""
    image = open_image(payload).convert("L" if channels == 1 else "RGB")
    if image.size != (size, size):
        image = image.resize((size, size))
    pixels = np.asarray(image, np.uint8)
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))
