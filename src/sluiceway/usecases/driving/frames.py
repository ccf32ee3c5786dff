"""Decoding of frames.

Shapes: H height, W width of the encoded frame.
"""

import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sluiceway.data.table import BadExample
from sluiceway.usecases.base import Encoding

if TYPE_CHECKING:
    from PIL.Image import Image


def open_frame(payload: bytes) -> "Image":
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


def pixels_of(payload: bytes, encoding: Encoding) -> npt.NDArray[np.uint8]:
    """Decode, cut and resize a frame to uint8 [3, H, W]."""
    return resized(open_frame(payload), encoding)


def resized(image: "Image", encoding: Encoding) -> npt.NDArray[np.uint8]:
    """Cut and resize a frame to uint8 [3, H, W]."""
    from PIL.Image import Resampling

    top, bottom = encoding["top"] * image.height, (1 - encoding["bottom"]) * image.height
    size = (encoding["width"], encoding["height"])
    road = image.convert("RGB").resize(size, Resampling.BILINEAR, box=(0, top, image.width, bottom))
    return np.ascontiguousarray(np.asarray(road, np.uint8).transpose(2, 0, 1))
