"""What is seen of contents: the work of the measuring pass that goes to other cores and other machines.

Shapes: n examples of a chunk, k of them sketched, F features, P permutations of a signature.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sluiceway.config import DataParams
from sluiceway.data.measuring.minhash import signature
from sluiceway.data.sources import Shelf
from sluiceway.data.table import BadExample, MeasureKind, Measures, measure_schema
from sluiceway.errors import DataError

DIGEST = 16
"""Bytes of a checksum."""
SKETCH_COLUMNS = pa.schema(
    [("reason", pa.string()), ("features", pa.binary()), ("fingerprint", pa.binary()), ("signature", pa.binary())]
)
"""Features and fingerprints as float32 and signatures as uint32, in bytes; null where there are none."""

_Sketch = tuple[str | None, bytes | None, bytes | None, bytes | None]
Measure = Callable[[bytes, Any], Measures]
Features = Callable[[bytes, Any], npt.NDArray[np.float32]]
Parts = Callable[[bytes, Any], npt.NDArray[np.uint64]]
Tidy = Callable[[str, Any], str]
Amend = Callable[[bytes, str], bytes]
Judge = Callable[[str | None, Measures, Any], None]


class Senses(Protocol):
    """How a use case looks at contents: what this package needs of a ``UseCase``."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def measures(self) -> Mapping[str, MeasureKind]:
        """Columns that ``measure`` fills."""

    @property
    def measure(self) -> Measure:
        """Measure one content."""

    @property
    def tidy(self) -> Tidy | None:
        """Bring a target into the form of the example table."""

    @property
    def amend(self) -> Amend | None:
        """Put a corrected target into a content that holds its target."""

    @property
    def judge(self) -> Judge | None:
        """Judge a target beside what was measured of its content."""

    @property
    def features(self) -> Features | None:
        """Hand-made features of one content."""

    @property
    def fingerprint(self) -> Features | None:
        """What makes a content this one and no other, as numbers."""

    @property
    def parts(self) -> Parts | None:
        """Hashes of the parts that a content consists of."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some examples to look at, together."""

    sources: tuple[str, ...]
    sketch_up_to: int
    """Contents are sketched when their draw (:func:`draw`) is at most this."""
    amended: Mapping[int, "Amended"] = field(default_factory=dict)
    """By place within the chunk: contents that hold a target which a person has corrected."""


@dataclass(frozen=True, slots=True)
class Amended:
    """A target that a person has put into the place of the one that a content holds."""

    checksum: str
    """Of the content that was looked at: of another one it says nothing."""
    target: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a chunk."""

    digests: bytes
    """16 of each example, zeros where it could not be read: [n x 16]."""
    read: npt.NDArray[np.bool_]
    """Which could be read: [n]."""
    facts: pa.RecordBatch
    """``reason``, null of those that are good, and the measures: [n]."""
    sketched: npt.NDArray[np.int64]
    """Places within the chunk of what was sketched: [k]."""
    sketches: pa.RecordBatch
    """``SKETCH_COLUMNS``: [k]."""
    seconds: float
    """Time it took."""


def fact_columns(measures: Mapping[str, MeasureKind]) -> pa.Schema:
    """Return the columns of what is known of a content, sketch left out."""
    return pa.schema([("reason", pa.string()), *measure_schema(measures)])


def draw(digest: bytes) -> int:
    """Return the number below 2**64 by which a content is drawn into the sample that is compared."""
    return int.from_bytes(digest[8:16], "big")


@dataclass(frozen=True)
class Look:
    """Looks at the contents of a chunk: read, checksum, measure, sketch.

    It travels to other processes whenever its functions can: when they stand at the top of a module.
    """

    usecase: str
    raw: Path
    data: DataParams
    measures: Mapping[str, MeasureKind]
    measure: Measure
    features: Features | None
    fingerprint: Features | None
    parts: Parts | None
    amend: Amend | None = None

    @classmethod
    def of(cls, usecase: Senses, raw: Path, data: DataParams) -> "Look":
        """Take what is needed out of a use case."""
        return cls(
            usecase=usecase.name,
            raw=raw,
            data=data,
            measures=dict(usecase.measures),
            measure=usecase.measure,
            features=usecase.features,
            fingerprint=usecase.fingerprint,
            parts=usecase.parts,
            amend=usecase.amend,
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which sketches are made, by their column."""
        by_kind = {"features": self.features, "fingerprint": self.fingerprint, "signature": self.parts}
        return tuple(kind for kind, function in by_kind.items() if function is not None)

    @property
    def sketching(self) -> bool:
        """Whether there is anything to sketch contents by."""
        return bool(self.kinds)

    def __call__(self, chunk: Chunk) -> Seen:
        """Look at the contents of a chunk.

        Raises:
            DataError: the use case gave something that it had not announced.
        """
        began = time.perf_counter()
        digests, rows, reasons = [], [], []
        sketched, sketches = [], []
        with Shelf(self.raw) as shelf:
            for place, (source, load) in enumerate(zip(chunk.sources, shelf.each(chunk.sources), strict=True)):
                digest: bytes | None = None
                row: Measures = {}
                reason = None
                try:
                    payload = load()
                    digest = hashlib.sha256(payload).digest()[:DIGEST]
                    if place in chunk.amended:
                        payload = self._amended(payload, digest, chunk.amended[place])
                    row = self.measure(payload, self.data)
                    if self.sketching and draw(digest) <= chunk.sketch_up_to:
                        sketches.append(self._sketch(payload))
                        sketched.append(place)
                except BadExample as bad:
                    reason = str(bad)
                except Exception as error:
                    error.add_note(f"while looking at {source} of {self.raw}")
                    raise
                digests.append(digest)
                rows.append(row)
                reasons.append(reason)
        return Seen(
            digests=b"".join(digest or bytes(DIGEST) for digest in digests),
            read=np.array([digest is not None for digest in digests], np.bool_),
            facts=self._facts(rows, reasons),
            sketched=np.array(sketched, np.int64),
            sketches=self._sketches(sketches),
            seconds=time.perf_counter() - began,
        )

    def _amended(self, payload: bytes, digest: bytes, correction: Amended) -> bytes:
        return self.amend(payload, correction.target) if self.amend and digest.hex() == correction.checksum else payload

    def _facts(self, rows: Sequence[Measures], reasons: Sequence[str | None]) -> pa.RecordBatch:
        columns = fact_columns(self.measures)
        arrays = [pa.array(reasons, pa.string())]
        for name in self.measures:
            values = [row.get(name) for row in rows]
            try:
                arrays.append(pa.array(values, columns.field(name).type))
            except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
                kind = self.measures[name]
                raise DataError(
                    f"use case {self.usecase!r} announces {name} as {kind} and measured something else: {error}",
                    hint="let `measure` give what `measures` announces",
                ) from None
        return pa.RecordBatch.from_arrays(arrays, schema=columns)

    def _sketch(self, payload: bytes) -> _Sketch:
        """Return the reason why it cannot be sketched, features, fingerprint and signature."""
        try:
            vector = None if self.features is None else self._vector("features", self.features(payload, self.data))
            image = (
                None if self.fingerprint is None else self._vector("fingerprint", self.fingerprint(payload, self.data))
            )
            hashes = None if self.parts is None else signature(self.parts(payload, self.data)).tobytes()
        except BadExample as bad:
            return str(bad), None, None, None
        return None, vector, image, hashes

    def _vector(self, what: str, numbers: npt.NDArray[np.float32]) -> bytes:
        vector = np.asarray(numbers, np.float32)
        if vector.ndim != 1:
            raise DataError(
                f"use case {self.usecase!r} gave {what} of shape {list(vector.shape)}, not one row of numbers",
                hint=f"let `{what}` return an array of one dimension",
            )
        odd = int(np.count_nonzero(~np.isfinite(vector)))
        if odd:
            raise BadExample("not_finite", f"{odd} of {len(vector)} numbers of its {what} are NaN or infinite")
        return vector.tobytes()

    def _sketches(self, sketches: Sequence[_Sketch]) -> pa.RecordBatch:
        columns = list(zip(*sketches, strict=True)) if sketches else [()] * len(SKETCH_COLUMNS)
        arrays = [pa.array(values, field.type) for values, field in zip(columns, SKETCH_COLUMNS, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=SKETCH_COLUMNS)
