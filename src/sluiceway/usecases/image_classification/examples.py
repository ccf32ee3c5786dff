"""Raw data to the example table, and the example table to shards.

Shapes: C channels, H height, W width.
"""

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sluiceway.data.sources import files_below, split_folders
from sluiceway.data.table import BadExample, Example, Measures, SplitName
from sluiceway.errors import DataError, UnknownLayout
from sluiceway.usecases.base import Encoding, Item, Loaded
from sluiceway.usecases.image_classification.params import ImageData, ImageEncoding

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
_LAYOUT = "a folder per class with images in it: data/raw/<pipeline>/<class>/<image>.png"


# Raw data to the example table.

_BLANK = 0.005
"""Deviation of the pixels, of 1, below which an image shows nothing: about one level of grey in 256."""


def read(raw: Path, data: ImageData) -> Iterator[Example]:
    """List images by class folder. The id is the path: ``7/00012.png``, or ``train/7/00012.png`` in split folders."""
    files = files_below(raw, SUFFIXES)
    if not files:
        kinds = Counter(path.suffix.lower() or "no suffix" for path in raw.rglob("*") if path.is_file())
        found = ", ".join(f"{count} x {suffix}" for suffix, count in kinds.most_common(3))
        raise UnknownLayout(f"no images below {raw}: found {found}", hint=f"expected {_LAYOUT}")
    loose = [path.name for path in files if path.parent == raw]
    if loose:
        raise UnknownLayout(
            f"{len(loose)} images lie in {raw} itself, so their class is not known: {loose[0]} ...",
            hint=f"expected {_LAYOUT}",
        )
    sides = split_folders(raw, files)
    for path in files:
        below = path.relative_to(raw)
        *folders, _ = below.parts
        if sides and len(folders) < 2:
            raise UnknownLayout(f"{path} lies in a split folder but in no class folder", hint=f"expected {_LAYOUT}")
        name = below.as_posix()
        split, target = (sides[folders[0]], folders[1]) if sides else (None, folders[0])
        yield Example(id=name, source=name, target=target, split=split)


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
    """Find the classes, and the mean and deviation of each channel over the training images."""
    classes: set[str] = set()
    total = np.zeros((2, params.channels))
    count = 0
    for loaded in training:
        classes.add(str(loaded.example.target))
        pixels = pixels_of(loaded.payload, params.size, params.channels) / 255.0  # [C, H, W]
        total += pixels.sum((1, 2)), (pixels**2).sum((1, 2))
        count += params.size**2
    if len(classes) < 2:
        raise DataError(f"classification needs two classes, found {len(classes)}: {sorted(classes)}", hint=_LAYOUT)
    mean = total[0] / count
    std = np.sqrt(np.maximum(total[1] / count - mean**2, 1e-6))
    return {
        "classes": sorted(classes),
        "size": params.size,
        "channels": params.channels,
        "mean": [round(float(value), 6) for value in mean],
        "std": [round(float(value), 6) for value in std],
    }


def encode(examples: Iterable[Loaded], encoding: Encoding, split: SplitName) -> Iterator[Item]:
    """Give each image as uint8 [C, H, W], and its class's number."""
    numbers = {name: number for number, name in enumerate(encoding["classes"])}
    for loaded in examples:
        target = loaded.example.target
        if target not in numbers:
            raise DataError(
                f"class {target!r} of {loaded.example.id} does not occur in the training split",
                hint="give more examples of it, or take it out",
            )
        image = pixels_of(loaded.payload, encoding["size"], encoding["channels"])
        yield Item(loaded.row, {"image": image, "target": np.asarray(numbers[target], np.int64)})


def pixels_of(payload: bytes, size: int, channels: int) -> npt.NDArray[np.uint8]:
    """Decode and resize to uint8 [C, size, size]."""
    image = open_image(payload).convert("L" if channels == 1 else "RGB")
    if image.size != (size, size):
        image = image.resize((size, size))
    pixels = np.asarray(image, np.uint8)
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))
