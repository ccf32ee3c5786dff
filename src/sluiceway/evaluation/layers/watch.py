"""What each layer of a network makes of its input, seen by forward hooks: no network has to know that it is watched.

A layer is a module with weights: an element of a chain of blocks (``nn.Sequential``, ``nn.ModuleList``), or a part of
the network that is in no chain and holds none. What comes behind it without weights, a rectifier or a pooling, belongs
to it. Norms, which scale, are no layers. What gives the network's own answer is none either: features are for it.

Shapes: B items, C channels, T positions, H height, W width, D numbers of a feature, N questions.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from sluiceway.usecases.base import Questions

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

INPUT = "input"
"""The name of depth 0."""
WIDTH = 512
"""Most numbers of a feature: wider outputs are averaged over neighbours, or projected at random."""
_CHAINS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_NAMES = 4096
"""Tokens or items that are told apart; of more, some share their code."""
_POOLS: dict[int, Callable[..., Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}
_PASSIVE: tuple[type[nn.Module], ...] = (
    *(nn.Flatten, nn.Identity, nn.modules.dropout._DropoutNd),
    *(nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm, nn.modules.batchnorm._NormBase),
)
_CHANNELS_FIRST = (nn.Conv1d, nn.ConvTranspose1d)


def parts_of(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts of a network by name: elements of its chains, and what holds no chain."""
    if isinstance(network, _CHAINS):
        yield from _elements(network)
        return
    children = dict(network.named_children())
    for name, child in children.items():
        holds = len(children) == 1 or any(isinstance(each, _CHAINS) for each in child.modules())
        inside = dict(parts_of(child))
        if holds and inside:
            yield from ((f"{name}.{below}", part) for below, part in inside.items())
        else:
            yield name, child


def _elements(chain: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in chain.named_children():
        if isinstance(child, _CHAINS):
            yield from ((f"{name}.{below}", part) for below, part in _elements(child))
        else:
            yield name, child


@dataclass(frozen=True, slots=True)
class Seen:
    """What one layer made of a batch."""

    features: Tensor
    """A row per question: [N, D], at most ``WIDTH`` wide."""
    peaks: Tensor
    """The strongest response of each channel to each item: [B, C]."""


class Watch:
    """Watches a network while it works on one batch after another.

    Args:
        network: in evaluation mode.
        stretch: whether sequences may be of any length: features are then of one width all the same.
    """

    def __init__(self, network: nn.Module, *, stretch: bool = False) -> None:
        self._network = network
        self._stretch = stretch
        self._handles: list[RemovableHandle] = []
        self._questions: Questions | None = None
        self._seen: dict[str, Seen] = {}
        self._last: tuple[str, Tensor] | None = None
        self._length = 1
        self._finished = False
        self._channels_first = False
        self.shape: tuple[int, ...] = ()
        """Of what the network is given, without the batch."""

    def __enter__(self) -> Self:
        network = self._network
        self._handles = [network.register_forward_pre_hook(self._begin, with_kwargs=True)]
        for name, part in parts_of(network):
            if not isinstance(part, _PASSIVE):
                self._handles.append(part.register_forward_hook(partial(self._note, name)))
        self._handles.append(network.register_forward_hook(self._end))
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()

    def ask(self, questions: Questions) -> None:
        """Forget the last batch; the next one is asked this."""
        self._questions, self._seen, self._last, self._finished = questions, {}, None, False

    def take(self) -> dict[str, Seen]:
        """Return what the input and each layer were for the batch, in the order in which they worked."""
        return self._seen

    def begin(self, given: Tensor, places: npt.NDArray[np.int64] | None = None) -> None:
        """Take note of what the layers that work from here on are given; the first of it is the input.

        Args:
            given: [B, ...].
            places: which of its places each question is about: [N]; None: those that were asked about.
        """
        if self._finished or self._questions is None:
            return
        if places is not None:
            self._questions = replace(self._questions, position=places)
        self._length = given.shape[1] if given.ndim > 1 else 1
        if INPUT not in self._seen:
            self.shape = tuple(given.shape[1:])
            self._seen[INPUT] = _seen(given, self._questions, self._length, of_input=True, stretch=self._stretch)

    def finish(self, answer: object) -> None:
        """Take note of the network's answer: what gave it is no layer, and what works from here on is not asked."""
        if not self._finished and self._last and _same(self._last[1], answer):
            self._seen.pop(self._last[0])
        self._finished = True

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found = next((each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)), None)
        if found is not None:
            self.begin(found)

    def _note(self, name: str, module: nn.Module, args: object, output: object) -> None:
        tensor = output if isinstance(output, Tensor) else _first_of(output)
        if self._finished or tensor is None or not self._fits(tensor):
            return
        if next(module.parameters(), None) is None:  # it belongs to the layer before
            if self._last is None:
                return
            name = self._last[0]
        elif name in self._seen:  # used twice: the first time counts
            return
        else:
            self._channels_first = isinstance(module, _CHANNELS_FIRST)
        by_place = tensor.transpose(1, 2) if self._channels_first and tensor.ndim == 3 else tensor
        assert self._questions is not None  # noqa: S101 - it fits
        self._seen[name] = _seen(by_place, self._questions, self._length, stretch=self._stretch)
        self._last = (name, tensor)

    def _fits(self, tensor: Tensor) -> bool:
        """Whether an output has a row for each item, and for each position where those are asked about."""
        if self._questions is None or INPUT not in self._seen or not tensor.is_floating_point():
            return False
        least = 2 if self._questions.position is None else 3
        return tensor.ndim >= least and len(tensor) == len(self._seen[INPUT].peaks)

    def _end(self, module: nn.Module, args: object, output: object) -> None:
        self.finish(output)


def _same(one: Tensor, other: object) -> bool:
    """Whether two answers are one, be it that a network has put it together anew."""
    return one is other or (isinstance(other, Tensor) and torch.equal(one, other))


def _first_of(output: object) -> Tensor | None:
    """Return the first tensor of several outputs, as of a recurrent layer."""
    parts = output if isinstance(output, tuple | list) else ()
    return next((part for part in parts if isinstance(part, Tensor)), None)


def _seen(output: Tensor, questions: Questions, length: int, *, of_input: bool = False, stretch: bool = False) -> Seen:
    output = output.detach()
    items = torch.from_numpy(questions.item).to(output.device)
    if questions.position is None or output.ndim < (2 if of_input else 3):
        features = features_of(output, of_input=of_input, stretch=stretch)[items]
    else:
        # A layer may have fewer positions than the input: a convolution with a stride.
        places = torch.from_numpy(questions.position).to(output.device) * output.shape[1] // length
        features = features_of(output[items, places], of_input=of_input)
    return Seen(features, _peaks(output, of_input=of_input))


def _peaks(output: Tensor, *, of_input: bool) -> Tensor:
    if of_input:
        return output.new_zeros(len(output), 0)
    if output.ndim == 3:
        return output.amax(1)
    return output.flatten(2).amax(2) if output.ndim > 3 else output.flatten(1)


def features_of(output: Tensor, *, of_input: bool = False, stretch: bool = False) -> Tensor:
    """Bring a layer's output to rows of numbers that a linear probe reads: [B, D].

    Maps are averaged on a grid that leaves each channel as many places as fit. Numbers of tokens or items are names:
    each has a random code, and those of an item are added up.

    Args:
        output: [B], [B, C], [B, T, C] or [B, C, H, W]; of the input also [B, H, W], and whole numbers [B] or [B, T].
        of_input: whether this is what the network was given.
        stretch: whether a short sequence is brought to as many places as a long one.
    """
    if output.dtype in (torch.int32, torch.int64):
        names = output.reshape(len(output), -1).long() % _NAMES
        return _directions(_NAMES, output.device)[names].sum(1)
    output = output.float()
    if output.ndim == 3:  # a plane without a name for its axes, or positions
        output = output.unsqueeze(1) if of_input else output.transpose(1, 2)
    sides = output.shape[2:]
    if len(sides) in _POOLS:
        places = max(1, WIDTH // output.shape[1])
        scale = min(1.0, (places / sides.numel()) ** (1 / len(sides)))
        grid = (places,) if stretch and len(sides) == 1 else tuple(max(1, int(side * scale)) for side in sides)
        output = _POOLS[len(sides)](output, grid)
    return _narrowed(output.reshape(len(output), -1))


def _narrowed(features: Tensor) -> Tensor:
    """Project what is still too wide at random, which keeps distances (Johnson and Lindenstrauss, 1984)."""
    width = features.shape[1]
    if width <= WIDTH:
        return features
    return features @ _directions(width, features.device)


def _directions(count: int, device: torch.device) -> Tensor:
    """Return directions that are nearly at right angles to each other: [count, WIDTH], always the same ones."""
    drawn = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(0))
    return drawn.to(device) / math.sqrt(WIDTH)
