"""The two halves of a use case that has a choice of targets.

Legend of shapes: B items of a batch, K outputs of the network.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from sluiceway.config import DataParams, ModelParams, Section
from sluiceway.data.answers import Answers
from sluiceway.data.shards import Arrays
from sluiceway.data.table import Example, MeasureKind, Measures, TargetKind
from sluiceway.usecases.base import (
    Batch,
    ColumnKind,
    Encoding,
    Evidence,
    Loaded,
    Metric,
    Outcomes,
    Panel,
    Probe,
    Reader,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

Features = Callable[[bytes, Any], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Modality:
    """What contents are: how they are read, measured, seen by the data gate and given to a network."""

    name: str
    noun: str
    """Of one content, for people: ``image``."""

    data: type[DataParams]
    read: Callable[[Path, Any, TargetKind], Iterator[Example]]
    """List the examples of a raw folder: (folder, data section, what is learned)."""
    measures: Mapping[str, MeasureKind]
    measure: Callable[[bytes, Any], Measures]
    expectations: Callable[[], list[dict[str, Any]]]

    encode_params: type[Section]
    fit: Callable[[Iterable[Loaded], Any], Encoding]
    """Learn the statistics of the training contents: (examples, encode section)."""
    arrays: Callable[[bytes, Encoding], Arrays]
    """Turn one content into arrays of one shape and type per field."""
    inputs: tuple[str, ...]
    """The fields that the network takes, in their order."""

    network: str
    """What the networks are, for people."""
    models: tuple[type[ModelParams], ...]
    build: Callable[[Any, Encoding, int], "nn.Module"]
    """Make the network that training begins with: (model section, encoding, K)."""
    augmentation: type[Section]
    """Options of the random changes of training contents."""
    draws: int
    augment: Callable[[Batch, "Tensor", Any], Batch]

    features: Features
    thumbnail: Callable[[bytes, Any], str]
    picture: Callable[[bytes], str]
    """Show one content in the evaluation report, as HTML."""
    estimators: Mapping[TargetKind, Callable[[], Any]]
    """Makes the classical learner; of a target that is not named, the default of its kind."""
    classical: Mapping[TargetKind, str]
    """What the classical learner is called."""
    packages: tuple[str, ...]
    """Python packages that reading a content takes."""
    pretraining: Callable[["nn.Module", Batch, int], dict[str, "Tensor"]] | None = None
    asked: Literal["binary", "string"] = "binary"
    """How a request gives a content: as the bytes of its file, or as text."""
    fingerprint: Features | None = None
    parts: Callable[[bytes, Any], npt.NDArray[np.uint64]] | None = None
    counts: Callable[[Sequence[bytes]], Any] | None = None
    probe: Probe | None = None
    """What the layers are asked where the target has no question of its own."""


@dataclass(frozen=True)
class Target:
    """What is learned: how a target is judged and encoded, what it costs to miss it, and how well it was met."""

    kind: TargetKind
    what: str
    """For ``sluiceway usecases``, with the noun of a content put in: ``one class per {}``."""
    objective: type[Section]
    """Options of the loss."""
    fit: Callable[[Sequence[str | None]], Encoding]
    """Learn of the training split's targets."""
    encode: Callable[[Example, Encoding], Arrays]
    """Turn a target into arrays of one shape and type per field."""
    outputs: Callable[[Encoding], int]
    """K."""
    losses: Callable[["Tensor", Batch, Any, bool], dict[str, "Tensor"]]
    """Figures per item [B], one of them ``loss``: (outputs of the network, batch, objective, whether it trains)."""
    predict: Callable[["Tensor", Batch, Encoding], Outcomes]
    """Answer one batch: (outputs, batch, encoding)."""
    metrics: tuple[Metric, ...]
    baselines: Callable[[Reader, Any, Encoding, Answers, Modality], Mapping[str, Outcomes]]
    show: Callable[[Evidence, Modality], list[Panel]]
    columns: Mapping[str, ColumnKind]
    """Columns that a served model answers with."""
    answer: Callable[["Tensor", Batch, Encoding, Mapping[str, Any]], list[dict[str, Any]]]
    """Rows of them: (outputs, the batch without targets, encoding, parameters of the request)."""
    params: Mapping[str, float | int | str] = field(default_factory=dict)
    """Parameters of a request with their defaults."""
    tidy: Callable[[str, Any], str] | None = None
    """See :class:`~sluiceway.usecases.base.UseCase`."""
    complete: Callable[[Encoding], Encoding] = dict
    """Finish the encoding when both halves of it are there: contents' and targets'."""
    judge: Callable[[str | None, Measures, Any], None] | None = None
    """Raises ``BadExample``: see :class:`~sluiceway.usecases.base.UseCase`."""
    probe: Probe | None = None
    """See :class:`~sluiceway.usecases.base.UseCase`."""
    agree: Callable[[Any], None] | None = None
    """Raises ``ValueError``: see :class:`~sluiceway.usecases.base.UseCase`."""
