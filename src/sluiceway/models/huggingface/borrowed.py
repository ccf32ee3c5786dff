"""What all networks of ``transformers`` have in common here: how they are built, tuned, and settled in the end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sluiceway.errors import ConfigError
from sluiceway.models.huggingface.configuration import Task, architecture_of, configured
from sluiceway.models.huggingface.library import library
from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.models.huggingface.source import Source, source_of
from sluiceway.models.huggingface.tuning import Tuning, merged, tune

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_MOSTLY = 0.5
"""Share of a network's own tensors that pretrained weights must have."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A network of ``transformers``, with random or pretrained weights, not yet tuned."""

    params: HuggingFaceParams
    task: Task
    network: "PreTrainedModel"
    source: Source | None
    anew: frozenset[str]
    """Parameters that pretrained weights do not have, or have in another size."""

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What the pretrained weights expect of their input."""
        return self.source.preprocessing() if self.source else {}


def take(params: HuggingFaceParams, task: Task) -> Taken:
    """Build a network of ``transformers``.

    Raises:
        ConfigError: the library is missing, the configuration contradicts itself or the data, or the pretrained weights
            are not there, not safe or not of this architecture.
    """
    auto = getattr(library(lora=params.lora is not None), task.auto)
    source = source_of(params.pretrained, params.revision) if params.pretrained else None
    config = configured(params, task, source)
    with _told(f"{config.model_type} cannot be built"):
        if source is None:
            return Taken(params, task, auto.from_config(config, dtype=torch.float32), None, frozenset())
        network, found = auto.from_pretrained(
            source.folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    other = {name: (tuple(there), tuple(here)) for name, there, here in found["mismatched_keys"]}
    anew = frozenset({*found["missing_keys"], *other})
    _refuse_other_weights(source, network, anew, other)
    return Taken(params, task, network, source, anew)


def _refuse_other_weights(
    source: Source,
    network: "PreTrainedModel",
    anew: frozenset[str],
    other: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
) -> None:
    """Let no part of the body be of another size or begin at random, but the vocabulary that was asked for."""
    own = {name for name, _ in network.named_parameters() if name.startswith(f"{network.base_model_prefix}.")}
    vocabulary = _vocabulary(network)  # which `model.config` may ask to be made anew
    for name in sorted(each for each in other.keys() & own if network.get_parameter(each) is not vocabulary):
        there, here = other[name]
        raise ConfigError(
            f"model.pretrained: {name} is {list(there)} in {source.name}, and {list(here)} for this data",
            hint="change encode so that sizes agree, or model.config back to what the weights were made for",
        )
    if len(own & anew) > _MOSTLY * len(own):
        raise ConfigError(
            f"model.pretrained: {source.name} lacks {len(own & anew)} of {len(own)} tensors, such as {min(own & anew)}",
            hint="is it another architecture? its config.json says which",
        )


def _vocabulary(network: "PreTrainedModel") -> Tensor | None:
    try:
        table = network.get_input_embeddings()
    except NotImplementedError:  # it is given no tokens
        return None
    return table.weight if isinstance(table, nn.Embedding) else None


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn what a library says of a configuration into an error of ours: it may raise anything."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001
        said = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"model: {what}: {type(error).__name__}: {said}", hint="mend model.config, or the sizes in encode"
        ) from None


class Borrowed(nn.Module):
    """A network of ``transformers`` that takes and gives what a use case's own networks do.

    Args:
        taken: the network.
    """

    def __init__(self, taken: Taken) -> None:
        super().__init__()
        self.network = taken.network
        self._taken = taken
        self._tuning = Tuning()
        self.notes: list[str] = []
        """What a user should know of how it was built."""

    def begin(self, *example: Tensor) -> None:
        """Freeze, add LoRA, and leave alone what no answer depends on: call it at the end of the constructor.

        Args:
            example: an input.

        Raises:
            ConfigError: the network cannot answer it, or freezing or LoRA name what is not there.
        """
        taken = self._taken
        source = taken.source
        if source and not source.pinned:
            self.notes.append(
                f"DVC does not see when {source.name} changes: write `revision: {source.digest}` beside pretrained"
            )
        if source and taken.anew:
            self.notes.append(f"{len(taken.anew)} tensors are not in {source.name} and begin at random: {_some(taken)}")
        self._tuning = tune(self.network, taken.params, taken.anew, taken.task.trains_head)
        self._try(*example)
        self.train()
        twins: dict[int, str] = {}
        self._copies: dict[str, str] = {}
        for name, parameter in self.named_parameters(remove_duplicate=False):
            if twins.setdefault(id(parameter), name) != name:
                self._copies[name] = twins[id(parameter)]
        self.register_state_dict_post_hook(_leave_out_copies)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_put_in_copies)  # type: ignore[no-untyped-call]

    def _try(self, *example: Tensor) -> None:
        """Answer once, and leave alone the parameters that the answer does not depend on.

        A parameter without a gradient has no optimizer state, and stops workers who wait for it.
        """
        with _told(f"{self.network.config.model_type} cannot answer {self._taken.task.what}"), torch.enable_grad():
            self.eval()
            answer = self(*example)
            self.check(answer, *example)
        if torch.is_inference_mode_enabled():  # nobody will learn
            return
        reached = _reached(answer)
        if not reached:
            raise ConfigError("model.freeze: nothing is left to learn", hint="freeze fewer layers")
        for parameter in self.parameters():
            parameter.requires_grad_(id(parameter) in reached)

    def check(self, answer: Tensor, *example: Tensor) -> None:
        """Refuse a network whose answer to the example cannot be right."""

    def train(self, mode: bool = True) -> "Borrowed":
        """Norms over batches that are frozen keep the statistics they came with."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                parts = list(module.parameters())
                module.train(mode and (not parts or any(part.requires_grad for part in parts)))
        return self

    @property
    def architecture(self) -> dict[str, Any]:
        """The model section that builds this network again, without pretrained weights and without adapters."""
        return {"name": "huggingface", "config": architecture_of(self.network.config)}

    def settled(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Turn the weights that were trained into those of :attr:`architecture`: adapters are merged."""
        if self._taken.params.lora is None:
            return weights
        prefix = "network."
        inner = {name.removeprefix(prefix): each for name, each in weights.items() if name.startswith(prefix)}
        outer = {name: each for name, each in weights.items() if not name.startswith(prefix)}
        copies = {name.removeprefix(prefix): of.removeprefix(prefix) for name, of in self._copies.items()}
        inner |= {name: inner[of] for name, of in copies.items()}
        auto = getattr(library(lora=True), self._taken.task.auto)
        fresh = auto.from_config(self.network.config, dtype=torch.float32)
        found = merged(fresh, self._taken.params, self._tuning, inner)
        return {**outer, **{f"{prefix}{name}": each for name, each in found.items() if name not in copies}}


def _leave_out_copies(module: nn.Module, found: dict[str, Tensor], prefix: str, metadata: object) -> None:
    """A weight that stands in two places, such as an embedding that is also the head, is kept once."""
    assert isinstance(module, Borrowed)  # noqa: S101
    for name in module._copies:
        found.pop(prefix + name, None)


def _put_in_copies(module: nn.Module, given: dict[str, Tensor], prefix: str, *_: object) -> None:
    assert isinstance(module, Borrowed)  # noqa: S101
    for name, of in module._copies.items():
        if prefix + of in given:
            given.setdefault(prefix + name, given[prefix + of])


def _reached(answer: Tensor) -> set[int]:
    """Return the ids of the parameters that an answer depends on, and that are learned: the leaves of its graph."""
    found: set[int] = set()
    seen: set[Any] = set()
    todo: list[Any] = [answer.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        todo += [before for before, _ in node.next_functions]
    return found


def _some(taken: Taken) -> str:
    names = sorted(taken.anew)
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
