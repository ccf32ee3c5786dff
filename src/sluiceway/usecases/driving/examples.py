"""Raw data to the example table, and the example table to shards.

Shapes: H height, W width.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from sluiceway.data.table import BadExample, Measures, SplitName
from sluiceway.errors import DataError
from sluiceway.usecases.base import Encoding, Item, Loaded
from sluiceway.usecases.driving.frames import open_frame, pixels_of
from sluiceway.usecases.driving.layouts import LAYOUTS, SIDE
from sluiceway.usecases.driving.params import DrivingData, FrameEncoding

_BLANK = 0.01
"""Deviation of the pixels, of 1, below which a frame shows nothing."""


# Raw data to the example table.


def measure(payload: bytes, data: DrivingData) -> Measures:
    """Decode a frame and measure its size, brightness, contrast, saturation (each in 0..1) and sharpness (0..2).

    Sharpness is how much neighbouring steps differ, in units of the steps themselves: about 1.4 where edges are made in
    one step, as in most pictures, and half of that or less where a lens is out of focus, whatever there is to be seen.
    """
    image = open_frame(payload)
    colours = np.asarray(image.convert("RGB"), np.float32) / 255  # [H, W, 3]
    grey = np.asarray(image.convert("L"), np.float32) / 255  # [H, W]
    contrast = float(grey.std())
    if contrast < _BLANK:
        raise BadExample("blank", f"every pixel is {grey.mean():.2f}, or nearly so")
    steps, turns = (sum(float(np.abs(np.diff(grey, n, axis=axis)).sum()) for axis in (0, 1)) for n in (1, 2))
    return {
        "bytes": len(payload),
        "format": image.format,
        "width": image.width,
        "height": image.height,
        "channels": len(image.getbands()),
        "brightness": round(float(grey.mean()), 6),
        "contrast": round(contrast, 6),
        "saturation": round(float((colours.max(2) - colours.min(2)).mean()), 6),
        "sharpness": round(turns / steps, 6),
    }


def judge(target: str | None, measures: Measures, data: DrivingData) -> None:
    """Ask whether a steering is one.

    Raises:
        BadExample: it is no number, or beyond full lock.
    """
    if target is None:
        raise BadExample("no_steering", "no log says how it was steered")
    try:
        steering = float(target)
    except ValueError:
        steering = float("nan")
    if not np.isfinite(steering):
        raise BadExample("no_steering", f"{target!r} is no number")
    if abs(steering) > 1:
        raise BadExample("impossible_steering", f"{steering:g} times full lock, of {data.full_lock:g}")


def expectations() -> list[dict[str, Any]]:
    """Expect a drive, a time and a steering within the lock; what the camera gives is each data set's own."""
    return [
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "target"}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "group"}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "time"}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "width", "min_value": 16}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "height", "min_value": 16}},
    ]


# The example table to shards.


def fit(training: Iterable[Loaded], params: FrameEncoding) -> Encoding:
    """Find mean and deviation of each colour and of the steering over the training frames."""
    colours = np.zeros((2, 3))
    steering = []
    for loaded in training:
        pixels = pixels_of(loaded.payload, params.model_dump()) / 255.0  # [3, H, W]
        colours += pixels.mean((1, 2)), (pixels**2).mean((1, 2))
        steering.append(float(str(loaded.example.target)))
    if not steering or np.ptp(steering) == 0:
        raise DataError(f"there is nothing to learn from {len(steering)} frames with one steering", hint=LAYOUTS)
    mean = colours[0] / len(steering)
    std = np.sqrt(np.maximum(colours[1] / len(steering) - mean**2, 1e-6))
    return {
        **params.model_dump(),
        "mean": [round(float(value), 6) for value in mean],
        "std": [round(float(value), 6) for value in std],
        "steering_mean": round(float(np.mean(steering)), 6),
        "steering_std": round(max(float(np.std(steering)), 1e-3), 6),
    }


def encode(examples: Iterable[Loaded], encoding: Encoding, split: SplitName) -> Iterator[Item]:
    """Give each frame as uint8 [3, H, W], its steering, and the number of its drive within the split."""
    drives: dict[str | None, int] = {}
    for loaded in examples if split == "train" else ahead(examples):
        drive = drives.setdefault(loaded.example.group, len(drives))
        yield Item(
            loaded.row,
            {
                "image": pixels_of(loaded.payload, encoding),
                "target": np.asarray(float(str(loaded.example.target)), np.float32),
                "drive": np.asarray(drive, np.int64),
            },
        )


def ahead(examples: Iterable[Loaded]) -> Iterator[Loaded]:
    """Leave out what side cameras saw: their steering is made up, and tests nobody."""
    return (each for each in examples if SIDE not in each.example.id)
