"""The options of every stage but training, whatever the use case; a use case adds to those of its own sections.

The text under each field is the documentation: ``docs/params.md`` and ``sluiceway params`` are made from it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

Seed = Annotated[int, Field(ge=0, lt=1 << 32)]
"""What every random generator that we call takes as a seed."""


class Section(BaseModel):
    """A part of ``params.yaml``. Unknown keys and values of another type are faults."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Split(Section):
    """How examples are shared out. A pure function of the example: nobody changes sides when data is added."""

    validation: float = Field(0.1, ge=0, lt=1)
    """Share of the examples that choose the best checkpoint."""
    test: float = Field(0.2, gt=0, lt=1)
    """Share of the examples that are kept for the evaluation."""
    seed: Seed = 0
    """Salt of the hash that decides. Another salt is another split: old and new scores do not compare."""
    validation_from: str | None = None
    """Time from which examples are for validation, where examples have a time: ISO 8601, or a number as in the data."""
    test_from: str | None = None
    """Time from which examples are for the test. With it, time decides sides instead of the hash."""

    @model_validator(mode="after")
    def _leaves_something(self) -> "Split":
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test is {self.validation + self.test:g}: nothing is left to train on")
        if self.validation_from is not None and self.test_from is None:
            raise ValueError("validation_from is given without test_from: give both, or neither")
        return self


class DataParams(Section):
    """What every use case needs to know of the raw data; a use case adds to it."""

    listing: ClassVar[frozenset[str]] = frozenset({"split", "group", "time"})
    """Options that decide which examples there are, and nothing of what is seen of one: contents that were looked at
    need not be looked at again when they change."""

    split: Split = Field(default_factory=Split)
    """How examples are shared out when the raw data has no split of its own."""
    group: str | None = None
    """Regular expression searched in an example's id; what its first parenthesis matches names the example's group
    (speaker, drive, user, document). Examples of one group stay on one side."""
    time: str | None = None
    """Regular expression searched in an example's id; its first parenthesis matches the example's time: ISO 8601, or a
    number. Who gives it says that time matters: the gate then checks that nothing is learned from later times."""

    @field_validator("group", "time")
    @classmethod
    def _is_an_expression(cls, value: str | None) -> str | None:
        if value is None:
            return value
        try:
            groups = re.compile(value).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if not groups:
            raise ValueError("has no parenthesis that says which part is meant: write for example ^([^/]+)/")
        return value


class Sharding(Section):
    """Where the shards go that examples are encoded to: a part of ``encode``, whatever the use case."""

    store: str | None = None
    """Where shards lie: a URL that fsspec speaks, as ``s3://bucket/shards``, or a mounted folder with its whole path.
    Null: in ``data/shards/<pipeline>``, which DVC keeps. Credentials come from the environment alone."""
    shard_bytes: int = Field(128 << 20, ge=1)
    """Bytes at which a shard is closed: large enough to read fast, small enough to fetch and hash alone."""

    @field_validator("store")
    @classmethod
    def _can_be_written_and_tells_no_secret(cls, value: str | None) -> str | None:
        if value is None:
            return value
        protocol, is_url, place = value.partition("://")
        if not is_url:
            if not Path(value).is_absolute():
                raise ValueError(f"{value!r} is neither a URL nor a whole path: workers may stand elsewhere")
            return value
        if "@" in place.partition("/")[0] or "?" in place or "#" in place or "::" in value:
            raise ValueError("has more in it than a place: give keys and passwords in the environment")
        if protocol.lower() in ("http", "https"):
            raise ValueError(f"{protocol}:// can only be read: give a store that can be written to")
        return value


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the training that comes ahead of the objective, with a loss of its own."""

    name: str
    """For its curves."""
    epochs: float
    """Passes over the training split."""
    lr: float
    """Learning rate, all through."""


class ModelParams(Section):
    """An architecture; each use case has its own, told apart by ``name``."""

    name: str
    """Which architecture."""

    @property
    def pretraining(self) -> tuple[Phase, ...]:
        """What is learned ahead of the objective, in order: for most networks nothing."""
        return ()

    @property
    def packages(self) -> tuple[str, ...]:
        """Python packages, by the name pip knows, that the network takes to answer, beside PyTorch."""
        return ()

    def placed(self, root: Path) -> Self:
        """Return the same with paths that are valid anywhere; relative ones begin at the project's root."""
        return self

    def origin(self, root: Path) -> str:
        """Return a digest of what lies outside the parameters and decides how the network begins; of most, nothing.

        Raises:
            ConfigError: it is not there.
        """
        return ""


class DataGateParams(Section):
    """Limits of the data gate."""

    max_quarantined: float = Field(0.01, ge=0, le=1)
    """Share of the raw examples that may be set aside as bad."""
    min_examples: int = Field(100, ge=1)
    """Accepted examples below which nothing should be learned."""
    min_per_class: int = Field(10, ge=1)
    """Accepted examples of each class; classification only."""
    max_imbalance: float = Field(20.0, ge=1)
    """Largest class divided by smallest; classification only."""
    max_duplicates: float = Field(0.05, ge=0, le=1)
    """Share of examples that may be exact or near copies of another one on the same side."""
    max_leaked: float = Field(0.005, ge=0, le=1)
    """Share of the held-out examples that may have a near copy among the training examples. Exact copies never may."""
    max_group_share: float = Field(0.5, gt=0, le=1)
    """Share of the examples that one group may have."""
    groups_in_turn: bool = False
    """Whether a group may be on several sides of the split, as long as it is learned from before it is tested: for what
    foretells a group's next step. Times are then compared within each group."""
    max_odd_groups: float = Field(0.01, ge=0, le=1)
    """Share of examples that may belong to groups that behave as no other does, as machines among people do, or that
    copy another group."""
    max_groups_apart: float = Field(4.0, gt=0)
    """Width of a gap between groups, in a property's mean, up to which they are of one kind: in deviations of groups
    from the mean of their own side of it, on the plain and on the logarithmic scale."""
    max_outliers: float = Field(0.005, ge=0, le=1)
    """Share of examples that may lie far outside the rest in one measured property."""
    max_strangers: float = Field(0.005, ge=0, le=1)
    """Share of examples whose content may be unlike that of all others: another kind of picture, another language."""
    max_label_errors: float = Field(0.03, ge=0, le=1)
    """Share of examples whose label may be wrong, as the classical learner sees it."""
    min_learnable: float = Field(0.1, ge=0, le=1)
    """How far from guessing (0) to knowing (1) the classical learner must come: below it, targets do not depend on
    contents."""
    max_shortcut: float = Field(0.95, gt=0, le=1)
    """How well one measured property alone may tell a class from the rest (F1), or tell a number (R2)."""
    max_drift: float = Field(0.2, gt=0, le=1)
    """Distance of a distribution from that of the last registered version: 0 is equal, 1 is apart. Significance alone
    never closes the gate."""
    max_lost: float = Field(0.2, ge=0, le=1)
    """Share of the last registered version's examples that may be gone."""
    max_changed: float = Field(0.005, ge=0, le=1)
    """Share of known examples whose id may now name another content, or whose label may be another one, corrections
    left out."""
    compared: int = Field(100_000, ge=1_000)
    """Most examples whose contents are compared with each other; of more, a sample by hash is. Bounds memory."""
    severity: dict[str, Literal["close", "warn", "off"]] = Field(default_factory=dict)
    """What a failed check does, by the check's name, where it is not to be the default."""


class CostGateParams(Section):
    """Limits of the cost gate. The price is yours: it differs by machine and contract."""

    price_per_device_hour: float = Field(0.05, ge=0)
    """Money for one worker's device (GPU, or the CPUs of one worker) for one hour. The default is near a 2-core VM."""
    currency: str = "USD"
    """What the price is counted in."""
    max_cost: float = Field(1.0, gt=0)
    """Money one training may cost, in ``currency``."""
    max_hours: float = Field(1.0, gt=0)
    """Hours one training may take."""
    probe_steps: int = Field(20, ge=2)
    """Steps that are timed, after as many warm-up steps, before the estimate is held against the limits."""


class ModelGateParams(Section):
    """Limits of the model gate."""

    minimum: dict[str, float] = Field(default_factory=dict)
    """Least value of a metric that is better when higher, by metric name."""
    maximum: dict[str, float] = Field(default_factory=dict)
    """Largest value of a metric that is better when lower, by metric name."""
    beat_baselines: bool = True
    """Whether the model must be better than every baseline in the use case's first metric."""
    champion_margin: float = Field(0.0, ge=0)
    """How much worse than the champion, in the first metric and its unit, a challenger may be and still take over."""


class Gates(Section):
    """The limits of the three gates."""

    data: DataGateParams = Field(default_factory=DataGateParams)
    """Is this data fit to learn from?"""
    cost: CostGateParams = Field(default_factory=CostGateParams)
    """Is this training worth its price?"""
    model: ModelGateParams = Field(default_factory=ModelGateParams)
    """Is the new model really better?"""


class Evaluate(Section):
    """How the model is scored."""

    batch: int = Field(500, ge=1)
    """Examples per forward pass. Memory only: it changes no figure."""
    resamples: int = Field(2000, ge=100)
    """Bootstrap resamples behind each 95 % interval."""
    seed: Seed = 0
    """Of the bootstrap."""
    layers: int = Field(1000, ge=0)
    """Most examples that linear probes of the network's layers learn from, and are asked about. 0: no probes."""


class Register(Section):
    """Where the model goes."""

    name: str | None = None
    """Name in the registry; default: the pipeline's."""
