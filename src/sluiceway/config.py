"""The typed form of ``params.yaml``: every option with its unit, its scope and the reason for its default.

The text under each field is the documentation: ``docs/params.md`` and ``sluiceway params`` are made from it.
A use case adds its own sections (``data``, ``encode``, ``model``, ``objective``); the rest is the same for all.
All faults of a file are found in one reading, each with its key, its value and a way out.
"""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, Union, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sluiceway.errors import ConfigError, nearest

Model = TypeVar("Model", bound=BaseModel)
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


class Train(Section):
    """How the model is trained. Nothing here but ``seed`` changes which examples make up a global batch."""

    seed: Seed = 0
    """Of the initial weights, the order of examples, augmentation and dropout."""
    epochs: float = Field(10.0, gt=0)
    """Passes over the training split; a fraction is allowed."""
    global_batch: int = Field(128, ge=1)
    """Examples per optimizer step, all workers together: the workers share it, so more workers change no result."""
    shuffle_shards: int | None = Field(None, ge=1)
    """Shards whose examples are mixed with each other; shards come in another order in each epoch. Null: all are mixed.
    For shards elsewhere that are more than a host's cache holds: twice as many as are mixed should fit into it."""
    workers: int | list[int] = 1
    """Ray Train workers; each takes one device. One worker starts no cluster. A pair, as in ``[1, 4]``, is the least
    and the most: training starts with what the cluster has, goes on with fewer when a node is lost, and with more when
    one comes, at the next checkpoint."""
    cpus_per_worker: int | None = Field(None, ge=1)
    """CPU threads of a worker; default: the machine's cores shared out evenly. The evaluation takes as many."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to train; ``auto`` takes GPUs when there is one for each worker."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """How workers work together: ``auto`` is ddp; ``fsdp`` also shares out the parameters of a large model."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the arithmetic; weights stay float32. ``auto`` is bfloat16 on a GPU that has it, and float32 elsewhere."""
    compile: bool = False
    """Whether ``torch.compile`` is used. It costs half a minute before the first step: for long trainings."""
    accumulate: int = Field(1, ge=1)
    """Micro-batches per optimizer step. Saves memory; the global batch stays."""
    activation_checkpointing: bool = False
    """Whether each block of a network is computed again for the gradient, and not remembered: much less memory for a
    third more computing, and no other result."""
    out_of_memory: Literal["smaller", "stop"] = "smaller"
    """When a micro-batch does not fit: go on from the last checkpoint with micro-batches of half the size or less, as
    if ``accumulate`` were higher, down to one example; or stop and say so."""
    clip_norm: float | None = Field(1.0, gt=0)
    """Norm to which gradients are clipped; null: not at all."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """``sgd`` is with Nesterov momentum."""
    lr: float = Field(1e-3, gt=0)
    """Highest learning rate."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of ``sgd``, and the first beta of ``adamw``."""
    beta2: float = Field(0.99, ge=0, lt=1)
    """Second beta of ``adamw``; short trainings do better below its customary 0.999."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay, on matrices and kernels only: not on biases and norms."""
    schedule: Literal["constant", "linear", "cosine", "one_cycle"] = "cosine"
    """Shape of the learning rate after the warm-up; ``one_cycle`` is ``cosine`` with a warm-up that begins gently."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises: along a line, or half a cosine in ``one_cycle``."""
    final_lr: float = Field(0.0, ge=0, le=1)
    """Learning rate after the last step, as a share of ``lr``."""
    validate_every: float = Field(1.0, gt=0)
    """Epochs between two validations."""
    early_stopping: int | None = Field(None, ge=1)
    """Validations without improvement after which training stops; null: never."""
    keep: Literal["best", "last"] = "best"
    """Which weights become the model: those of the lowest validation loss, or the last."""
    checkpoint_every: int = Field(200, ge=1)
    """Optimizer steps between two checkpoints: what a crash can cost at most."""
    keep_every: int | None = Field(None, ge=1)
    """Optimizer steps between checkpoints that are kept, beside the newest two; when the training is over they are in
    ``.sluiceway/<pipeline>/kept``. Null: none."""
    keep_most: int = Field(10, ge=1)
    """Checkpoints kept by ``keep_every`` at most, the newest of them: each takes three times the weights' room."""
    log_every: int = Field(10, ge=1)
    """Optimizer steps between two points of the training curves."""
    loader_processes: int = Field(0, ge=0)
    """Processes per worker that fetch batches. Shards are memory-mapped, so 0 is fastest unless fetching decodes."""
    retries: int = Field(3, ge=0)
    """Crashes in a row, without a new checkpoint between them, after which training is given up: killed or hung workers
    and lost nodes. What would fail again, as NaN or a fault of the code, is never tried again. 0: never."""
    stall_limit: float | None = Field(None, gt=0)
    """Seconds without a step, a validated batch or a saved checkpoint after which a worker counts as hung; null: 30
    times the longest wait so far, and 5 minutes at least."""

    @field_validator("workers", mode="before")
    @classmethod
    def _is_a_number_or_a_pair(cls, value: Any) -> Any:
        pair = value if isinstance(value, list) else [value]
        if not all(type(each) is int and each >= 1 for each in pair):
            raise ValueError(f"{value!r} should be a number of workers from 1 on, or a pair as in [1, 4]")
        if isinstance(value, list) and (len(value) != 2 or value[0] >= value[1]):
            raise ValueError(f"{value!r} should be a number of workers, or the least and the most as in [1, 4]")
        return value

    @property
    def fewest(self) -> int:
        """Workers without which training waits."""
        return self.workers if isinstance(self.workers, int) else self.workers[0]

    @property
    def most(self) -> int:
        """Workers that training ever uses."""
        return self.workers if isinstance(self.workers, int) else self.workers[1]

    @property
    def worlds(self) -> tuple[int, ...]:
        """Numbers of workers that can share the global batch, rising."""
        numbers = range(self.fewest, self.most + 1)
        return tuple(each for each in numbers if not self.global_batch % (each * self.accumulate))

    def threads(self, cores: int, processes: int) -> int:
        """CPU threads of each of some processes that share a machine's cores."""
        return self.cpus_per_worker or max(1, cores // processes)

    @model_validator(mode="after")
    def _half_is_whole(self) -> "Train":
        if self.strategy == "fsdp" and self.precision == "float16":
            raise ValueError("precision float16 does not go with strategy fsdp: use bfloat16")
        return self

    @model_validator(mode="after")
    def _batch_divides(self) -> "Train":
        share = math.lcm(self.fewest, self.most) * self.accumulate
        if self.global_batch % share:
            raise ValueError(
                f"global_batch {self.global_batch} does not divide by workers x accumulate = {share}: "
                f"use {share * max(1, round(self.global_batch / share))}"
            )
        return self


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


class Domain(Section):
    """Values that an option may take in a search: one of these four."""

    choice: list[JsonValue] | None = Field(None, min_length=1)
    """One of these values."""
    uniform: list[float] | None = Field(None, min_length=2, max_length=2)
    """A number between the least and the largest, all equally likely."""
    loguniform: list[float] | None = Field(None, min_length=2, max_length=2)
    """Likewise, all orders of magnitude equally likely: for learning rates, decay, widths of priors."""
    randint: list[int] | None = Field(None, min_length=2, max_length=2)
    """An integer from the least to the largest, both included."""

    @model_validator(mode="after")
    def _is_one_range(self) -> Self:
        given = self.model_dump(exclude_none=True)
        if len(given) != 1:
            raise ValueError("give one of choice, uniform, loguniform, randint")
        ends = self.ends
        if ends and ends[0] >= ends[1]:
            raise ValueError(f"{ends[0]:g} is not less than {ends[1]:g}")
        if self.loguniform and self.loguniform[0] <= 0:
            raise ValueError("loguniform begins above 0")
        return self

    @property
    def ends(self) -> "Sequence[float] | None":
        """The least and the largest value; None: it is a choice."""
        return self.uniform or self.loguniform or self.randint


class Tune(Section):
    """How ``sluiceway tune`` searches for better parameters. No stage reads it: a change runs nothing again."""

    space: dict[str, Domain] = Field(default_factory=dict)
    """What is searched: by dotted name, options of ``model``, ``objective`` and ``train``."""
    trials: int = Field(20, ge=1)
    """Trainings that are begun; the first has the present parameters."""
    metric: str = "loss"
    """Figure of the validation that decides."""
    best: Literal["lowest", "highest"] = "lowest"
    """Which value of it is the best."""
    grace: float = Field(0.1, gt=0, le=1)
    """Share of a training before which no trial is stopped."""
    reduction: int = Field(3, ge=2)
    """Of so many trials that come to a decision, one goes on; the next decision is when it has trained as many times
    longer."""
    parallel: int = Field(1, ge=1)
    """Trials at a time. On one machine they share its cores."""
    max_hours: float | None = Field(None, gt=0)
    """Hours of training, all trials added up, after which no trial goes on; null: ``gates.cost.max_hours``."""
    max_cost: float | None = Field(None, gt=0)
    """Likewise money, in ``gates.cost.currency``; null: ``gates.cost.max_cost``."""
    seed: Seed = 0
    """Of the values that are tried. Trainings keep ``train.seed``."""


class PipelineParams(Section):
    """``pipelines/<name>/params.yaml``."""

    usecase: str
    """A built-in use case, or ``package.module:NAME`` of your own."""
    target: str
    """What is learned of each example: decides the head, the loss and the measures where a use case has several."""
    data: DataParams = Field(default_factory=DataParams)
    """What the raw data is, and how it is split."""
    encode: Sharding = Field(default_factory=Sharding)
    """How an example becomes numbers, and where they go."""
    model: ModelParams
    """The architecture."""
    objective: Section = Field(default_factory=Section)
    """What is learned: the loss, and the augmentation of training examples."""
    gates: Gates = Field(default_factory=Gates)
    """The limits of the three gates."""
    train: Train = Field(default_factory=Train)
    """How the model is trained."""
    evaluate: Evaluate = Field(default_factory=Evaluate)
    """How the model is scored."""
    register_: Register = Field(default_factory=Register, alias="register")
    """Where the model goes."""
    tune: Tune = Field(default_factory=Tune)
    """How better parameters are searched for."""


def params_type(
    data: type[DataParams],
    encode: type[Section],
    models: Sequence[type[ModelParams]],
    objective: type[Section],
    data_gate: type[DataGateParams] = DataGateParams,
    target: str = "none",
    agree: Callable[[Any], None] | None = None,
    evaluation: type[Evaluate] = Evaluate,
) -> type[PipelineParams]:
    """Build the full parameter type of one use case.

    Args:
        data: its own sections.
        encode: likewise.
        models: likewise; the first is the default.
        objective: likewise.
        data_gate: likewise.
        target: what it learns, the only value of that option.
        agree: raises ``ValueError`` when the sections do not fit each other.
        evaluation: how the model is scored.
    """
    model: Any = models[0]
    if len(models) > 1:
        default = models[0].model_fields["name"].default

        def named(section: Any) -> Any:
            return {"name": default, **section} if isinstance(section, Mapping) else section

        chosen: Any = Annotated[Union[tuple(models)], Field(discriminator="name")]
        model = Annotated[chosen, BeforeValidator(named)]
    limits = Field(default_factory=data_gate, description=Gates.model_fields["data"].description)
    encode = create_model(encode.__name__, __base__=Sharding if encode is Section else (encode, Sharding))
    gates: type[Gates] = create_model("Gates", __base__=Gates, data=(data_gate, limits))
    about, about_encode = (PipelineParams.model_fields[name].description for name in ("target", "encode"))
    fields: dict[str, Any] = {
        "target": (Literal[target], Field(target, description=about)),
        "gates": (gates, Field(default_factory=gates, description=PipelineParams.model_fields["gates"].description)),
        "data": (data, Field(default_factory=data, description="What the raw data is, and how it is split.")),
        "encode": (
            encode,
            Field(default_factory=encode, description=about_encode),
        ),
        "model": (model, Field(default_factory=models[0], description="The architecture.")),
        "objective": (objective, Field(default_factory=objective, description="The loss, and the augmentation.")),
        "evaluate": (evaluation, Field(default_factory=evaluation, description="How the model is scored.")),
    }

    def fits(params: PipelineParams) -> PipelineParams:
        if agree:
            agree(params)
        return params

    validators: dict[str, Any] = {"fits": model_validator(mode="after")(fits)}
    return create_model("PipelineParams", __base__=PipelineParams, __validators__=validators, **fields)


class ProjectParams(BaseModel):
    """``params.yaml`` at the root of a project."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    pipelines: dict[str, "PipelineEntry"]
    """The pipelines by name; each is a folder ``pipelines/<name>/``."""
    samples: list[str] = Field(default_factory=list)
    """Pipelines whose raw data is a sample that ``sluiceway sample`` fetches."""


class PipelineEntry(BaseModel):
    """What DVC must know of a pipeline."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    code: str
    """File or folder that holds the use case: when it changes, DVC runs the pipeline's stages again."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping, as DVC reads it.

    Raises:
        ConfigError: the file is missing, not YAML, repeats a key, or is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", hint="a pipeline is a folder with params.yaml in it") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})", hint="save the file as UTF-8") from None
    try:
        document = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {_one_line(error)}", hint="mend the line named above") from None
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds a {type(document).__name__}, not keys with values", hint="write `key: value`")
    return document


OWN_SECTIONS = ("data", "encode", "model", "objective")
"""Sections whose options each use case names itself."""
TRACKED = ("target", *OWN_SECTIONS, "gates.data", "gates.cost", "gates.model", "train", "evaluate", "register")
"""Sections that DVC watches: it needs each of them to stand in the file, if only as ``{}``."""


def parse(
    kind: type[Model],
    document: Mapping[str, Any],
    where: Path,
    sections: Sequence[str] = (),
    hint: str = "`sluiceway params` lists every option with its meaning",
) -> Model:
    """Check a document against its type.

    Args:
        kind: the type.
        document: what was read.
        where: the file, for the message.
        sections: dotted names of sections that must stand in the document.
        hint: where options are explained.

    Raises:
        ConfigError: with every fault of the document, each on its own line.
    """
    absent = _absent(document, sections)
    faults = [f"{name}: is missing; DVC watches it, so write at least {_least(kind, name)}" for name in absent]
    try:
        value = kind.model_validate(document)
    except ValidationError as error:
        faults += [_fault(kind, detail) for detail in error.errors()]
    else:
        if not faults:
            return value
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    lines = "\n".join(f"  {fault}" for fault in faults)
    raise ConfigError(f"{where} has {count}:\n{lines}", hint=hint)


def _least(kind: type[BaseModel], name: str) -> str:
    """What stands for an option that is left at its default."""
    field = kind.model_fields.get(name)
    return f"{name}: {field.default}" if field and isinstance(field.default, str) else f"{name}: {{}}"


def _absent(document: Mapping[str, Any], sections: Sequence[str]) -> list[str]:
    absent = []
    for name in sections:
        place: Any = document
        for part in name.split("."):
            place = place.get(part) if isinstance(place, Mapping) else None
        if place is None:
            absent.append(name)
    return absent


def _one_line(error: YAMLError) -> str:
    return " ".join(str(error).split())


def _fault(kind: type[BaseModel], detail: ErrorDetails) -> str:
    """Say one fault: key, value, what is allowed and the nearest valid name."""
    path = [part for part in detail["loc"] if isinstance(part, str | int)]
    value, context = detail["input"], detail.get("ctx", {})
    key = ".".join(str(part) for part in _without_tags(kind, path))
    match detail["type"]:
        case "extra_forbidden":
            return f"{key}: no such option; {nearest(str(path[-1]), options_of(kind, path[:-1]))}"
        case "missing":
            return f"{key}: is missing"
        case "literal_error" | "union_tag_invalid":
            allowed = context.get("expected") or context.get("expected_tags", "")
            found = context.get("tag", value)
            names = [name.strip(" '") for name in str(allowed).replace(" or ", ", ").split(",")]
            return f"{key}: {found!r} is not one of {', '.join(names)}; {nearest(str(found), names)}"
        case "value_error":
            message = detail["msg"].removeprefix("Value error, ")
            return f"{key}: {message}" if key else message
        case _:
            message = detail["msg"].removeprefix("Input should be ")
            return f"{key}: {value!r} should be {message}"


def _without_tags(kind: type[BaseModel], path: Sequence[str | int]) -> list[str | int]:
    """Drop the union tags that pydantic puts into locations (``model.residual.width`` -> ``model.width``)."""
    models = _sections(kind, "model")
    tags = {each.model_fields["name"].default for each in models} if len(models) > 1 else set()
    kept: list[str | int] = []
    for position, part in enumerate(path):
        if not (position == 1 and path[0] == "model" and part in tags):
            kept.append(part)
    return kept


def options_of(kind: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Names of the options under ``path`` (``['train']``) of a parameter type."""
    kinds: list[type[BaseModel]] = [kind]
    keyed = False
    for part in path:
        if keyed:  # a name that the user chose
            keyed = False
            continue
        keyed = any(_is_mapping(each, str(part)) for each in kinds)
        inner = [found for each in kinds for found in _sections(each, str(part))]
        # A union tag selects one of the models just found.
        tagged = [each for each in kinds if str(part) == str(each.model_fields.get("name", _NO_FIELD).default)]
        kinds = inner or tagged or []
    return sorted({field.alias or name for each in kinds for name, field in each.model_fields.items()})


class _NoField:
    default = None


_NO_FIELD = _NoField()


def _is_mapping(kind: type[BaseModel], name: str) -> bool:
    field = kind.model_fields.get(name)
    return field is not None and get_origin(field.annotation) is dict


def _sections(kind: type[BaseModel], name: str) -> list[type[BaseModel]]:
    for field_name, field in kind.model_fields.items():
        if name in (field_name, field.alias):
            annotation = field.annotation
            candidates = [annotation, *getattr(annotation, "__args__", ())]
            return [each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)]
    return []
