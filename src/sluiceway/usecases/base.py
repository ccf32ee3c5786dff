"""What a use case is: one value, with the functions and defaults that differ from one kind of learning to another.

Everything else - splits, gates, shards, training, evaluation, tracking - is written once and asks no use case's name.
A use case may be a module of yours: put its import path into ``params.yaml`` (``usecase: my_package.task:USECASE``).
Heavy libraries are imported inside the functions, so that a stage loads only what it runs.

Legend of shapes: B items of a batch, K random draws per item; the rest is each use case's own.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from sluiceway.config import DataGateParams, DataParams, Evaluate, ModelParams, PipelineParams, Section, params_type
from sluiceway.data.answers import Answers
from sluiceway.data.shards import Arrays
from sluiceway.data.table import Example, MeasureKind, Measures, SplitName, TargetKind

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Encoding = dict[str, Any]
"""What ``fit`` learned from the training split - classes, statistics, a vocabulary - as plain JSON."""

Batch = Mapping[str, "Tensor"]
"""Fields of the shards as tensors [B, ...]."""

Outcomes = dict[str, npt.NDArray[Any]]
"""What a learner answered: one row per test item, in columns [N, ...] that the use case's metrics understand."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """An accepted example with its content."""

    example: Example
    payload: bytes
    row: int
    """Its row in ``examples.parquet``."""


Reader = Callable[[SplitName], Iterator[Loaded]]
"""Reads the accepted examples of one split, in the order of the table."""


@dataclass(frozen=True, slots=True)
class Item:
    """What training reads: one example, or a window over several."""

    row: int
    """Row in ``examples.parquet`` of the example it comes from, or begins in."""
    arrays: Arrays


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of merit on the outcomes of any learner."""

    name: str
    title: str
    """For people, with its unit."""
    higher_is_better: bool
    compute: Callable[[Outcomes], float]
    percent: bool = False
    """Whether people read it as a percentage."""
    signature: Callable[[], str] | None = None
    """Writes down how it is computed, where there are several ways: figures compare where signatures are equal."""

    def better(self, one: float, other: float) -> bool:
        """Whether ``one`` is better than ``other``."""
        return one > other if self.higher_is_better else one < other

    def text(self, value: float) -> str:
        """Write a value as people read it."""
        return f"{100 * value:.2f} %" if self.percent else f"{value:.4g}"


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of the evaluation report."""

    title: str
    caption: str
    html: str
    """Escaped by whoever wrote it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a use case may use to show its results."""

    model: "nn.Module"
    encoding: Encoding
    outcomes: Outcomes
    """Of the model, on the test split; ``row`` names the example of each."""
    load: Callable[[int], bytes]
    """Content of the example in the given row of the example table."""
    baselines: Mapping[str, Outcomes] = field(default_factory=dict)
    """Of the simpler learners, on the same items where their rows are the same."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What linear probes are asked of the layers of a network about one batch: N questions."""

    item: npt.NDArray[np.int64]
    """Which item of the batch each is about: [N]."""
    target: npt.NDArray[Any]
    """The right answers: [N]. Whole numbers are classes, others values."""
    position: npt.NDArray[np.int64] | None = None
    """Which place of the network's input sequence each is about: [N]; None: they are about whole items."""


Begin = Callable[["Tensor", npt.NDArray[np.int64] | None], None]
"""Says what the layers that work from here on are given, and which of its places are asked about: ([B, ...], [N])."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What the layers of a network may have learned to tell."""

    asks: str
    """For people: "whether a word begins next"."""
    ask: Callable[[Batch, Encoding], Questions]
    """Ask about one batch, of any split."""
    work: Callable[["nn.Module", Batch, Begin], "Tensor"] | None = None
    """Let the network work on a batch, saying what it is given, and return its answer: (network, batch, begin).
    Default: ``losses``, of a network that is called as a whole."""
    alone: bool = False
    """Whether items are asked one by one: of networks that put a batch into another order, or see an item's padding."""
    least: float = 0.0
    """Where answers are labels: those that a smaller share of the items to learn from has, or lacks, are left out."""


@dataclass(frozen=True, slots=True)
class Contenders:
    """Who stands trial, and under which conditions."""

    model: "nn.Module"
    encoding: Encoding
    regressor: Callable[[], Any]
    """Fit the classical learner on ``features`` of the training split, as it answered the test split in ``validate``:
    it has scikit-learn's ``predict``. None where targets are no numbers."""
    data: DataParams
    settings: Evaluate


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a trial: one row per episode."""

    model: Outcomes
    baselines: Mapping[str, Outcomes]
    """By the names that ``baselines`` gives them."""
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Trial:
    """Learners at work, in a world where what they answer changes what they are asked next.

    Recorded questions do not show where small errors lead to. So where there is a trial, it decides.
    """

    wanted: Callable[[Any], bool]
    """Whether one is made: (evaluate section)."""
    run: Callable[[Contenders], Tried]
    """Let the model and every baseline do the same episodes."""
    metrics: tuple[Metric, ...]
    """On the episodes. The first one decides."""


ColumnKind = Literal["binary", "string", "double", "long", "boolean"]


@dataclass(frozen=True, slots=True)
class Serving:
    """How a registered model is asked."""

    inputs: Mapping[str, ColumnKind]
    """Columns of a request."""
    outputs: Mapping[str, ColumnKind]
    """Columns of the answer."""
    params: Mapping[str, float | int | str]
    """Parameters of a request with their defaults."""
    example: Callable[[Sequence[bytes]], list[dict[str, Any]]]
    """Make request rows from the contents of some examples."""
    answer: Callable[["nn.Module", Encoding, list[dict[str, Any]], Mapping[str, Any]], list[dict[str, Any]]]
    """Answer request rows: (model, encoding, rows, params)."""
    packages: tuple[str, ...] = ()
    """Python packages, by the name pip knows, that ``answer`` imports beside NumPy and PyTorch."""


@dataclass(frozen=True)
class UseCase:
    """A kind of learning."""

    name: str
    summary: str
    """One line for ``sluiceway usecases``."""

    # Raw data to the example table.
    target: TargetKind
    """What the ``target`` column holds: decides which checks of the data gate apply."""
    data: type[DataParams]
    read: Callable[[Path, Any], Iterator[Example]]
    """List the examples of a raw folder: (folder, data section). Contents are not read."""
    measures: Mapping[str, MeasureKind]
    """Columns that ``measure`` fills."""
    measure: Callable[[bytes, Any], Measures]
    """Measure one example's content: (content, data section). Raises ``BadExample`` when it cannot be learned from."""
    expectations: Callable[[], list[dict[str, Any]]]
    """Default expectations on the example table, in Great Expectations' own form."""

    # The example table to shards.
    encode_params: type[Section]
    fit: Callable[[Iterable[Loaded], Any], Encoding]
    """Learn the encoding from the training split alone: (its examples, encode section)."""
    encode: Callable[[Iterable[Loaded], Encoding, SplitName], Iterator[Item]]
    """Turn examples into items whose arrays have one shape and type per field: (examples, encoding, split)."""

    # Shards to a model.
    models: tuple[type[ModelParams], ...]
    """Architectures; the first is the default."""
    build: Callable[[Any, Encoding], "nn.Module"]
    """Make the network that training begins with: (model section, encoding)."""
    objective: type[Section]
    losses: Callable[["nn.Module", Batch, Any], dict[str, "Tensor"]]
    """Figures per item [B]: ``loss``, which is minimised, and any others to plot: (model, batch, objective)."""
    draws: int
    """Random numbers per item that ``augment`` uses."""
    augment: Callable[[Batch, "Tensor", Any], Batch]
    """Change training items by chance: (batch, uniform draws [B, K], objective)."""

    # A model to its scores.
    predict: Callable[["nn.Module", Batch, Encoding], Outcomes]
    """Answer one batch; it lies where the network does, which may be an accelerator."""
    metrics: tuple[Metric, ...]
    """The first one decides."""
    baselines: Callable[[Reader, Any, Encoding, Answers], Mapping[str, Outcomes]]
    """Outcomes of simpler learners on the test split, by name: (reader, data section, encoding, the classical learner's
    answers on that split)."""
    show: Callable[[Evidence], list[Panel]]
    """Pictures, samples and tables for the evaluation report."""
    serving: Serving

    tidy: Callable[[str, Any], str] | None = None
    """Bring a target into the form that the example table has, be it of the raw data or a person's correction: (target,
    data section). Raises ``BadExample`` when that cannot be. Default: targets are taken as they are."""
    amend: Callable[[bytes, str], bytes] | None = None
    """Put a corrected target into a content that holds its target: (content, tidy target). So it is measured, judged
    and looked at like one that was right from the beginning."""
    judge: Callable[[str | None, Measures, Any], None] | None = None
    """Judge a target beside what was measured of its content: (target, measures, data section). Raises ``BadExample``
    when it cannot be learned: the example goes into quarantine."""

    looks_back: bool = False
    """Whether an item of validation or test is made with what stands before it: ``encode`` then also gets the examples
    of the earlier sides, ahead of the split's own (``example.split`` says which is which). So a test item may be asked
    with training and validation examples; a training item never sees others."""

    pretraining: Callable[["nn.Module", Batch, int], dict[str, "Tensor"]] | None = None
    """Figures per item [B] of a phase of pre-training: ``loss``, which is minimised, and any others to plot: (model,
    batch, number of the phase). Which phases there are, the model section says (``ModelParams.pretraining``). They are
    steps like all others: resumed exactly, paid for, and shared by the workers."""

    probe: Probe | None = None
    """What the layers are asked, to see what each one tells; default: the field ``target`` of an item, where it is one
    number."""
    evaluation: type[Evaluate] = Evaluate
    """How the model is scored, with what a trial needs."""
    trial: Trial | None = None
    """How learners are tried at work, where there is a world to try them in."""

    # How the data gate looks into contents. All optional: a check that lacks its eyes is not made.
    data_gate: type[DataGateParams] = DataGateParams
    """Limits of the data gate, with this use case's defaults."""
    features: Callable[[bytes, Any], npt.NDArray[np.float32]] | None = None
    """Hand-made features of one content [F]: (content, data section). By them near copies and strangers are found,
    drift is seen, and the classical learner learns. Of fixed length, finite, and little changed by what does not
    matter."""
    fingerprint: Callable[[bytes, Any], npt.NDArray[np.float32]] | None = None
    """What makes one content this one and no other, as numbers [D]: (content, data section). Near copies lie much
    closer than two things of one kind. Default: ``features``, which rather make things of one kind alike."""
    parts: Callable[[bytes, Any], npt.NDArray[np.uint64]] | None = None
    """Hashes of the parts that a content consists of [parts], such as its words in threes: (content, data section).
    Near copies share most of them."""
    estimator: Callable[[], Any] | None = None
    """Make the classical learner, an unfitted scikit-learn classifier or regressor on ``features``; default: by the
    kind of target."""
    surprise: Callable[[Sequence[bytes], Sequence[bytes]], npt.NDArray[np.float64]] | None = None
    """How badly a simple model of some contents fits others, in a unit that does not depend on their length: (known
    contents, asked contents) -> [asked]. The classical learner of contents without a target. Where the target is a text
    that is part of the content: by how much the rest misleads whoever foretells it, below 0 where it helps."""
    thumbnail: Callable[[bytes, Any], str] | None = None
    """Show one example as HTML, small: (content, data section). Escaped by whoever wrote it; images as data URIs."""

    agree: Callable[[Any], None] | None = None
    """Hold the sections of ``params.yaml`` against each other; raises ``ValueError`` that says what does not fit."""

    @property
    def params(self) -> type[PipelineParams]:
        """The full type of ``pipelines/<name>/params.yaml``."""
        return params_type(
            self.data,
            self.encode_params,
            self.models,
            self.objective,
            self.data_gate,
            self.target,
            self.agree,
            self.evaluation,
        )


@dataclass(frozen=True, slots=True)
class Family:
    """Use cases that look at the same contents and differ in what is learned of them: ``target:`` chooses."""

    name: str
    targets: Mapping[str, UseCase]
    """By kind of target; the first is the default."""


def no_augmentation(batch: Batch, draws: "Tensor", objective: Section) -> Batch:
    """Leave the batch as it is."""
    return batch


def device_of(model: "nn.Module") -> "torch.device":
    """Return where a network computes: what it is given must lie there too."""
    import torch

    return next((each.device for each in model.parameters()), torch.device("cpu"))


def stack_outcomes(parts: Sequence[Outcomes]) -> Outcomes:
    """Join the outcomes of several batches."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
