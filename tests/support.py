"""Plain helpers that more than one test module uses; what needs pytest's machinery stands in ``conftest.py``."""

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sluiceway.data.sources import checksum, load
from sluiceway.data.splits import assign
from sluiceway.data.table import Example, SplitName, schema
from sluiceway.gates.verdict import Check, Verdict
from sluiceway.usecases.base import Loaded, Reader


def table_of(rows: Iterable[Mapping[str, object]], *, quarantine: bool = False) -> pa.Table:
    """Return an example table without measures; what a row does not give is null."""
    return pa.Table.from_pylist(list(rows), schema({}, quarantine=quarantine))


def check_of(verdict: Verdict, name: str) -> Check:
    """Return the one check with this name."""
    (check,) = [check for check in verdict.checks if check.name == name]
    return check


def image_bytes(pixels: npt.NDArray[np.uint8], kind: str = "PNG") -> bytes:
    """Return the bytes of an image file: grey from [H, W], colour from [H, W, C]."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def loaded(payloads: Iterable[bytes], target: str | None = None) -> list[Loaded]:
    """Return contents as accepted examples, numbered from 0."""
    return [
        Loaded(Example(id=f"e{row}", source=f"e{row}", target=target), payload, row)
        for row, payload in enumerate(payloads)
    ]


def reader_of(raw: Path, examples: Iterable[Example], split: object) -> Reader:
    """Return a reader over the examples of a raw folder, shared out as ``validate`` does."""
    found = [(example, load(raw, example.source)) for example in examples]
    rows = [
        (assign(example.group or checksum(payload), split), Loaded(example, payload, row))  # type: ignore[arg-type]
        for row, (example, payload) in enumerate(found)
    ]

    def read(side: SplitName) -> Iterator[Loaded]:
        return (example for where, example in rows if where == side)

    return read
