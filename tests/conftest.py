"""Fixtures that more than one test module uses."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# A shared machine may be slow at any moment: a test fails for what it finds, not for how long it took.
settings.register_profile("sluiceway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sluiceway")


@pytest.fixture(scope="session")
def digits_folder() -> Callable[[Path, int], Path]:
    """A function ``(path, per_class)`` that writes scikit-learn's 8x8 digits as ``<class>/<number>.png``."""

    def write(path: Path, per_class: int) -> Path:
        from PIL import Image
        from sklearn.datasets import load_digits

        digits = load_digits()
        for digit in range(10):
            folder = path / str(digit)
            folder.mkdir(parents=True, exist_ok=True)
            for row in np.flatnonzero(digits.target == digit)[:per_class]:
                pixels = np.minimum(digits.images[row] * 16, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{row:04d}.png")
        return path

    return write
