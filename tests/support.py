"""Plain helpers that more than one test module uses; what needs pytest's machinery stands in ``conftest.py``."""

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from sluiceway.config import DataParams
from sluiceway.data.answers import Answers
from sluiceway.data.learning.learner import cross_fit
from sluiceway.data.sketches import Sketches
from sluiceway.data.sources import checksum, load
from sluiceway.data.splits import assign
from sluiceway.data.table import SPLITS, Example, SplitName, schema
from sluiceway.gates.verdict import Check, Verdict
from sluiceway.usecases.base import Loaded, Reader, UseCase


def table_of(rows: Iterable[Mapping[str, object]], *, quarantine: bool = False) -> pa.Table:
    """Return an example table without measures; what a row does not give is null."""
    return pa.Table.from_pylist(list(rows), schema({}, quarantine=quarantine))


def listed(usecase: UseCase, raw: Path, data: DataParams) -> list[Example]:
    """Return the examples of a folder with their targets as the example table has them."""
    found = list(usecase.read(raw, data))
    tidy = usecase.tidy
    return [replace(each, target=tidy(each.target, data)) if tidy and each.target else each for each in found]


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


def sung(path=(200.0, 200.0), seconds=0.3, rate=8000, seed=0, hiss=0.002):
    """Sing a glide through the pitches of the path, in hertz, with ten harmonics and a little hiss: [N]."""
    random = np.random.default_rng(seed)
    count = round(seconds * rate)
    heights = np.interp(np.linspace(0, 1, count), np.linspace(0, 1, len(path)), path)
    phase = 2 * np.pi * np.cumsum(heights) / rate + random.uniform(0, 6)
    harmonics = [np.sin(k * phase) / k * (k * heights < rate / 2) for k in range(1, 11)]
    wave = np.sum(harmonics, axis=0) * np.hanning(count) ** 0.3
    return (0.3 * wave / np.abs(wave).max() + hiss * random.normal(size=count)).astype(np.float32)


def sound_bytes(wave, rate=8000, kind="WAV", subtype=None):
    """Return the bytes of a sound file."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=kind, subtype=subtype)
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


def answers_of(usecase: UseCase, reader: Reader, data: object) -> Answers:
    """Return what the use case's classical learner says, as ``validate`` asks it."""
    found = sorted(((each, split) for split in SPLITS for each in reader(split)), key=lambda pair: pair[0].row)
    examples = [each for each, _ in found]
    table = pl.DataFrame(
        {
            "split": [split for _, split in found],
            "group": pl.Series([each.example.group for each in examples], dtype=pl.String),
            "checksum": [checksum(each.payload) for each in examples],
            "target": pl.Series([each.example.target for each in examples], dtype=pl.String),
        }
    )
    vectors = [usecase.features(each.payload, data) for each in examples] if usecase.features else None
    sketches = Sketches(np.array([each.row for each in examples]), None if vectors is None else np.stack(vectors), None)
    contents = {each.row: each.payload for each in examples}
    answers = cross_fit(
        sketches,
        table,
        usecase.target,
        estimator=usecase.estimator,
        surprise=usecase.surprise,
        counts=usecase.counts,
        load=contents.__getitem__,
    )
    assert answers is not None
    return answers
