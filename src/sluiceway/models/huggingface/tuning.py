"""What of a network is learned: freezing, and LoRA by ``peft``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from torch import Tensor, nn

from sluiceway.errors import ConfigError
from sluiceway.models.huggingface.params import HuggingFaceParams, LoraParams

if TYPE_CHECKING:
    from peft.tuners.lora import LoraModel
    from transformers import PreTrainedModel

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was done to a network."""

    adapted: list[str] = field(default_factory=list)
    """Layers that have adapters."""


def tune(network: "PreTrainedModel", params: HuggingFaceParams, anew: frozenset[str], trains_head: bool) -> Tuning:
    """Freeze what is to stay, and put adapters beside the rest.

    Args:
        network: as it was built.
        params: what was asked for.
        anew: parameters that begin at random: they are learned in any case.
        trains_head: whether the head is, too.

    Raises:
        ConfigError: a pattern, a layer or a number of layers fits nothing.
    """
    head = {name for name in _head(network) if trains_head}
    kept = frozen_by(network, params.freeze, anew)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in kept)
    if params.lora is None:
        return Tuning()
    layers = adapted_by(network, params.lora, kept)
    learned = [each for name, each in network.named_parameters() if name in (head | anew) - kept]
    _adapt(network, params.lora, layers)
    for parameter in learned:
        parameter.requires_grad_(True)
    return Tuning(layers)


def frozen_by(network: "PreTrainedModel", freeze: int | Sequence[str], anew: frozenset[str]) -> set[str]:
    """Return the names of the parameters that stay as they are.

    Args:
        network: as it was built.
        freeze: how many layers, or patterns.
        anew: parameters that begin at random.

    Raises:
        ConfigError: there are not so many layers, or a pattern fits nothing or what begins at random.
    """
    names = [name for name, _ in network.named_parameters()]
    if isinstance(freeze, int):
        return set(_before_layer(network, names, freeze)) - anew if freeze else set()
    kept: set[str] = set()
    for pattern in freeze:
        fitting = {name for name in names if fnmatchcase(name, pattern)}
        if not fitting:
            raise ConfigError(f"model.freeze: {pattern!r} fits no parameter; {_near(pattern, names)}", hint=_GLOB)
        if fitting & anew:
            raise ConfigError(
                f"model.freeze: {pattern!r} fits {min(fitting & anew)}, which begins at random and must be learned",
                hint="make the pattern narrower",
            )
        kept |= fitting
    return kept


_GLOB = "patterns are those of file names: `vit.layers.0.*`"


def _before_layer(network: "PreTrainedModel", names: list[str], count: int) -> list[str]:
    """Return all parameters up to the end of the layer with this number, in the order of the network's parts."""
    layers = [name for name in _layers(network) if any(each.startswith(f"{name}.") for each in names)]
    if count > len(layers):
        raise ConfigError(
            f"model.freeze: {count} layers are to stay, and {network.config.model_type} has {len(layers)}",
            hint=f"use at most {len(layers)}, or patterns of names" if layers else "use patterns of names",
        )
    last = layers[count - 1]
    return names[: 1 + max(at for at, name in enumerate(names) if name.startswith(f"{last}."))]


def _layers(network: "PreTrainedModel") -> list[str]:
    """Return the names of the elements of the outermost chains, in order."""
    found: list[str] = []
    for name, module in network.named_modules():
        if isinstance(module, nn.ModuleList) and not any(name.startswith(f"{each}.") for each in found):
            found += [f"{name}.{at}" for at in range(len(module))]
    return found


def adapted_by(network: "PreTrainedModel", lora: LoraParams, kept: set[str]) -> list[str]:
    """Return the names of the layers that get adapters: none that is frozen, or shares its weight with another.

    Raises:
        ConfigError: a name fits no layer, or all that fit are frozen.
    """
    from transformers.pytorch_utils import Conv1D

    head = _head(network)
    every = {name: each for name, each in network.named_modules() if getattr(each, "weight", None) is not None}
    # What stands in two places would be changed in both when adapters are merged, and they know of one.
    tied = {*network.all_tied_weights_keys, *network.all_tied_weights_keys.values()}
    free = {name for name in every if f"{name}.weight" not in kept | head | tied}
    if not lora.target_modules:
        chosen = {name for name in free if isinstance(every[name], nn.Linear | Conv1D)}
    else:
        chosen = set()
        for wanted in lora.target_modules:
            fitting = {name for name in every if name == wanted or name.endswith(f".{wanted}")}
            if not fitting:
                ends = sorted({name.rpartition(".")[2] for name in every if not name.rpartition(".")[2].isdigit()})
                raise ConfigError(
                    f"model.lora.target_modules: no layer is called {wanted!r}; {_near(wanted, ends)}",
                    hint="name the ends of layers' names, such as q_proj",
                )
            chosen |= fitting & free
    if not chosen:
        raise ConfigError("model.lora: no layer is left that could get adapters", hint="freeze fewer layers")
    return sorted(chosen)


def _head(network: "PreTrainedModel") -> set[str]:
    """Return the parameters behind the network's body; none that the body has as well."""
    return {name for name, _ in network.named_parameters() if not name.startswith(f"{network.base_model_prefix}.")}


def _adapt(network: "PreTrainedModel", lora: LoraParams, layers: Sequence[str]) -> "LoraModel":
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel
    from transformers.pytorch_utils import Conv1D

    turned = any(isinstance(network.get_submodule(name), Conv1D) for name in layers)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=list(layers),
        fan_in_fan_out=turned,
    )
    try:
        return LoraModel(network, config, "default")
    except ValueError as error:
        raise ConfigError(
            f"model.lora: {' '.join(str(error).split())[:300]}", hint="name other layers in target_modules"
        ) from None


def merged(
    fresh: "PreTrainedModel", params: HuggingFaceParams, tuning: Tuning, weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Put what adapters learned into the weights beside them, by ``peft``.

    Args:
        fresh: a network of the same configuration, without adapters; it is used up.
        params: as it was tuned.
        tuning: likewise.
        weights: with adapters.

    Returns:
        The weights of a network without adapters.
    """
    assert params.lora is not None  # noqa: S101
    adapters = _adapt(fresh, params.lora, tuning.adapted)
    fresh.load_state_dict(dict(weights))
    whole: nn.Module = adapters.merge_and_unload()
    return {name: each.detach().clone() for name, each in whole.state_dict().items()}


def _near(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=_SHOWN, cutoff=0.3) or list(known[:_SHOWN])
    return f"near it: {', '.join(close)}" if close else "there is none"
