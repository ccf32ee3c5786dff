"""How the data gate looks into an image: histograms of oriented gradients, a fingerprint, and a picture for people."""

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt

from sluiceway.usecases.image.examples import open_image, pixels_of
from sluiceway.usecases.image.params import ImageData

SIDE = 28
"""Pixels per side that features are taken at."""
_CELL = 4
_BLOCK = SIDE // _CELL
"""Cells per block, along a side: the whole image. Normalised as one, an image keeps where it has strong edges and where
faint ones, and grain in an empty corner stays faint."""
_DRAWN = 32
"""Pixels per side that a fingerprint is taken from."""
_PRINT = 16
"""Pixels per side of a fingerprint."""
_BLUR = 1.0
"""Deviation, in pixels, of what takes the grain away."""
_SPREAD = 0.25
"""Deviation of what is drawn from its middle, as a share of the fingerprint's side."""
_SHOWN = 96
_PICTURE = 84
"""Pixels per side in the evaluation report; twice as many are sent, for fine screens."""


def features(payload: bytes, data: ImageData) -> npt.NDArray[np.float32]:
    """Histograms of oriented gradients [441] (Dalal and Triggs, 2005) of the grey image: size and contrast drop out."""
    from skimage.feature import hog

    image = pixels_of(payload, SIDE, 1)[0]
    found = hog(image, orientations=9, pixels_per_cell=(_CELL, _CELL), cells_per_block=(_BLOCK, _BLOCK))
    return np.asarray(found, np.float32)


def fingerprint(payload: bytes, data: ImageData) -> npt.NDArray[np.float32]:
    """The grey image without its grain, size, place, brightness and contrast: [256], of mean 0 and length 1.

    What differs from the edge is moved into the middle and brought to one size, by its moments (Hu, 1962). So an image
    that was shifted, cropped, scaled or compressed keeps its fingerprint.
    """
    from scipy.ndimage import affine_transform, gaussian_filter

    image = gaussian_filter(pixels_of(payload, _DRAWN, 1)[0].astype(np.float32), _BLUR, mode="nearest")
    edge = np.median(np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]]))
    weight = (image - edge) ** 2  # squared, so that faint grain weighs nothing
    weight /= max(float(weight.sum()), 1e-6)
    along = np.arange(_DRAWN)
    rows, columns = weight.sum(1), weight.sum(0)
    middle = np.array([rows @ along, columns @ along])
    spread = np.sqrt(rows @ (along - middle[0]) ** 2 + columns @ (along - middle[1]) ** 2)
    step = max(float(spread), 1.0) / (_SPREAD * _PRINT)
    corner = middle - step * (_PRINT - 1) / 2
    drawn = affine_transform(image, [step, step], corner, output_shape=(_PRINT, _PRINT), order=1, mode="nearest")
    vector = drawn.reshape(-1) - drawn.mean()
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), np.float32)


def estimator() -> Any:
    """A support vector machine with a Gaussian kernel; rare classes weigh as much as common ones."""
    from sklearn.svm import SVC

    return SVC(C=10.0, class_weight="balanced")


def thumbnail(payload: bytes, data: ImageData) -> str:
    """The image, at most 96 pixels wide; a small one is enlarged without smoothing."""
    from PIL import Image

    image = open_image(payload)
    image = image.convert("RGBA" if "A" in image.getbands() or "transparency" in image.info else "RGB")
    scale = _SHOWN / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'


def picture(payload: bytes) -> str:
    """The image in the evaluation report."""
    image = open_image(payload).convert("RGB")
    image.thumbnail((2 * _PICTURE, 2 * _PICTURE))
    file = io.BytesIO()
    image.save(file, "PNG")
    return f'<img alt="" width="{_PICTURE}" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
