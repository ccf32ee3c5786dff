"""A configuration of ``transformers`` that agrees with the data.

What follows from the data is filled in, and what says otherwise is told.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sluiceway.errors import ConfigError
from sluiceway.models.huggingface.library import library
from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.models.huggingface.source import Source

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_NOT_ARCHITECTURE = frozenset(
    {"_name_or_path", "architectures", "dtype", "id2label", "label2id", "problem_type", "transformers_version"}
)
"""What a configuration says besides: names, versions, and labels, of which the data knows how many there are."""
_LISTED = 12
"""Names that a message lists at most."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What an option of the configuration must be."""

    value: int | float | tuple[int, int] | None
    why: str
    """For people: ``encode.size is 32``."""
    at_least: bool = False
    """Whether more is right as well."""
    anew: bool = False
    """Whether pretrained weights may have been made for another value: that part is made anew."""
    of: str | None = None
    """The one architecture that it is about; None: all that have the option."""


@dataclass(frozen=True, slots=True)
class Task:
    """What networks of ``transformers`` can do for a use case."""

    what: str
    """What they are given and answer, for people."""
    auto: str
    """Name of the Auto class."""
    facts: Mapping[str, Fact]
    """What the data says of the configuration, by option; options that an architecture does not have are left out."""
    fits: frozenset[str] | None = None
    """Architectures of that class that can be given what the use case has; None: all."""
    trains_head: bool = True
    """Whether the head is learned whatever is frozen: it answers this data's classes, and no others."""


def architecture_of(config: "PretrainedConfig") -> dict[str, Any]:
    """Return all that is needed to make the same configuration again, as plain JSON."""
    return {name: value for name, value in config.to_dict().items() if name not in _NOT_ARCHITECTURE}


def configured(params: HuggingFaceParams, task: Task, source: Source | None) -> "PretrainedConfig":
    """Return the configuration.

    Args:
        params: what was asked for.
        task: what the data says.
        source: of the pretrained weights.

    Raises:
        ConfigError: there is no such architecture or option, or the configuration contradicts the data.
    """
    there = {
        name: value for name, value in (source.config() if source else {}).items() if name not in _NOT_ARCHITECTURE
    }
    kind = str(params.config.get("model_type", there.get("model_type")))
    if source and kind != there.get("model_type"):
        raise ConfigError(
            f"model.config.model_type is {kind}, and {source.name} holds a {there.get('model_type')}",
            hint="take model_type out of model.config",
        )
    made = _class_of(kind, task)
    names = _options(made)
    if unknown := [name for name in params.config if name not in names]:
        raise ConfigError(f"model.config: {kind} has no option {unknown[0]}; {_near(unknown[0], names)}", hint=_HINT)
    own = {_standard(made, name): value for name, value in params.config.items()}
    chosen = {_standard(made, name): value for name, value in there.items() if name in names} | own
    for name, fact in task.facts.items():
        if name in names and fact.of in (None, kind):
            _agree(kind, _standard(made, name), fact, chosen, own, source)
    chosen.pop("model_type", None)
    labels = chosen.pop("num_labels", None)
    try:
        return made(**chosen, **({} if labels is None else {"num_labels": labels}))
    except Exception as error:  # noqa: BLE001 - each configuration has rules of its own
        raise ConfigError(f"model.config: {kind} does not take this: {_one_line(error)}", hint=_HINT) from None


def _class_of(kind: str, task: Task) -> "type[PretrainedConfig]":
    transformers = library()
    known = getattr(transformers, task.auto)._model_mapping
    fitting = {each.model_type for each in known}
    if task.fits is not None:
        fitting &= task.fits
    if kind not in fitting:
        other = "has it for something else" if kind in transformers.CONFIG_MAPPING else "does not know it"
        raise ConfigError(
            f"model.config.model_type: {kind!r} does not fit {task.what}: transformers {other}; {_near(kind, fitting)}",
            hint=f"use one of {_listed(fitting)}",
        )
    found: type[PretrainedConfig] = transformers.CONFIG_MAPPING[kind]
    return found


def _options(made: "type[PretrainedConfig]") -> set[str]:
    return {*made().to_dict(), *made.attribute_map, "num_labels"}


def _standard(made: "type[PretrainedConfig]", name: str) -> str:
    """Return the configuration's own word for an option."""
    return str(made.attribute_map.get(name, name))


def _agree(
    kind: str, name: str, fact: Fact, chosen: dict[str, Any], own: Mapping[str, Any], source: Source | None
) -> None:
    """Fill in what the data says, or find that the configuration says otherwise."""
    if name in chosen and _same(chosen[name], fact):
        return
    if name not in chosen or (fact.anew and name not in own):
        chosen[name] = _written(fact.value)
        return
    said = chosen[name]
    where = "model.config" if name in own or source is None else f"config.json of {source.name}"
    relation = "is less than that" if fact.at_least else "does not agree"
    raise ConfigError(
        f"{where}: {name} of {kind} is {said}, which {relation}: {fact.why}",
        hint=f"take {name} out of model.config, or change the other"
        if name in own
        else f"change the other, or {_MEANT}",
    )


_MEANT = "write the option into model.config if the weights do not depend on it"
_HINT = "the options are those of the architecture's configuration in transformers"


def _same(said: object, fact: Fact) -> bool:
    if fact.at_least:
        return isinstance(said, int) and isinstance(fact.value, int) and said >= fact.value
    sides = list(fact.value) if isinstance(fact.value, tuple) else fact.value
    return said in (sides, _written(fact.value))


def _written(value: object) -> object:
    """Write two equal sides as one number, as most architectures do."""
    if isinstance(value, tuple):
        return value[0] if value[0] == value[1] else list(value)
    return value


def _near(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {_listed(known)}"


def _listed(names: Iterable[str]) -> str:
    every = sorted(names)
    more = f" and {len(every) - _LISTED} more" if len(every) > _LISTED else ""
    return f"{', '.join(every[:_LISTED])}{more}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
