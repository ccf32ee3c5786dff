"""How the data gate looks into a frame: histograms of oriented gradients, a fingerprint, and a picture."""

import base64
import html
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sluiceway.usecases.driving.frames import open_frame
from sluiceway.usecases.driving.params import DrivingData

if TYPE_CHECKING:
    from PIL.Image import Image

_GRID = (48, 42)
"""Pixels that features are taken from, columns and rows."""
_CELL = 6
_PRINT = (32, 32)
_SHOWN = 120
"""Pixels of a picture's width."""


def features(payload: bytes, data: DrivingData) -> npt.NDArray[np.float32]:
    """Histograms of oriented gradients of the grey frame (Dalal and Triggs, 2005), normalised as a whole: [504].

    They say where edges lie, whatever the light and the colours.
    """
    return seen(open_frame(payload))


def seen(image: "Image") -> npt.NDArray[np.float32]:
    """Return :func:`features` of a frame that is decoded."""
    from PIL.Image import Resampling
    from skimage.feature import hog

    grey = np.asarray(image.convert("L").resize(_GRID, Resampling.BOX))
    block = (_GRID[1] // _CELL, _GRID[0] // _CELL)
    found = hog(grey, orientations=9, pixels_per_cell=(_CELL, _CELL), cells_per_block=block)
    return np.asarray(found, np.float32)


def fingerprint(payload: bytes, data: DrivingData) -> npt.NDArray[np.float32]:
    """The grey frame without brightness and contrast, in [1024] pixels, of mean 0 and length 1."""
    from PIL.Image import Resampling

    grey = np.asarray(open_frame(payload).convert("L").resize(_PRINT, Resampling.BOX), np.float32).reshape(-1)
    grey -= grey.mean()
    vector = grey / max(float(np.linalg.norm(grey)), 1e-6)
    return np.asarray(vector, np.float32)


def estimator() -> Any:
    """A straight line: ridge regression, on the principal components of the features."""
    from sklearn.linear_model import Ridge

    return Ridge(alpha=0.01)


def thumbnail(payload: bytes, data: DrivingData) -> str:
    """The frame, 120 pixels wide."""
    return picture(open_frame(payload))


def picture(image: "Image", label: str = "") -> str:
    """Return a frame as an HTML image, 120 pixels wide; a small one is enlarged without smoothing.

    Args:
        image: the frame.
        label: says in words what it shows.
    """
    from PIL.Image import Resampling

    height = max(1, round(image.height * _SHOWN / image.width))
    way = Resampling.NEAREST if image.width < _SHOWN else Resampling.LANCZOS
    file = io.BytesIO()
    image.convert("RGB").resize((_SHOWN, height), way).save(file, "PNG", optimize=True)
    source = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{html.escape(label)}" src="data:image/png;base64,{source}">'
