"""What a pipeline's ``params.yaml`` is as a whole, with the sections of its use case, and that of the project."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    create_model,
    model_validator,
)

from sluiceway.config.sections import (
    DataGateParams,
    DataParams,
    Evaluate,
    Gates,
    ModelParams,
    Register,
    Section,
    Sharding,
)
from sluiceway.config.train import Train, Tune


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


OWN_SECTIONS = ("data", "encode", "model", "objective")
"""Sections whose options each use case names itself."""


TRACKED = ("target", *OWN_SECTIONS, "gates.data", "gates.cost", "gates.model", "train", "evaluate", "register")
"""Sections that DVC watches: it needs each of them to stand in the file, if only as ``{}``."""
