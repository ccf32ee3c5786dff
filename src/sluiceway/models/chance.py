"""Random draws inside networks, dropout above all, that belong to examples and not to those who compute them.

PyTorch draws dropout from a generator of each process: with another number of workers, or of micro-batches, every
example gets another mask, and the same training another loss. Here a draw is a hash of the example's key, the number
of the call within the step, and the place in the tensor. So the losses of a global batch are the same, to float
tolerance, however it is shared out, and no generator has a state that a checkpoint would need.

Networks call :func:`dropout` and :func:`bernoulli`; :func:`adopt` makes the ``nn.Dropout`` of borrowed ones do so.
Where nobody gave keys, as in a script of one's own, PyTorch's generator draws.

The hash is MurmurHash3's finalizer (Appleby, 2011), one round for each dimension of the tensor.

Shapes: B examples of a micro-batch.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")

_VALUES = 1 << 16
"""A draw is one of so many."""
_APART = 1 << 16
"""More draws than there are for all examples at once."""
_GOLDEN = 0x9E3779B9 - (1 << 32)
_FIRST, _SECOND = 0x85EBCA6B - (1 << 32), 0xC2B2AE35 - (1 << 32)


class _Draws:
    """Whose draws come next."""

    keys: Tensor | None = None
    """Of each example, int32 [B]; None: nobody gave any."""
    calls: int = 0
    """Draws for these examples so far."""


_draws = _Draws()


@contextmanager
def drawn_by(keys: Tensor, calls: int = 0) -> Iterator[None]:
    """Let the draws inside belong to the examples of these keys.

    Args:
        keys: of each example, int32 [B], on the device of the network.
        calls: draws that are behind already.
    """
    before = _draws.keys, _draws.calls
    _draws.keys, _draws.calls = keys, calls
    try:
        yield
    finally:
        _draws.keys, _draws.calls = before


@contextmanager
def among(rows: Tensor) -> Iterator[None]:
    """Let the draws inside belong to some of the examples, as if they were drawn for all at once.

    Args:
        rows: which of the micro-batch they are, [b].
    """
    if _draws.keys is None:
        yield
        return
    with drawn_by(_draws.keys[rows], _draws.calls + _APART):
        yield


def repeatable(forward: Callable[Inputs, Output]) -> Callable[Inputs, Output]:
    """Return a function that draws the same each time it is called: what is computed once more for its gradient."""
    keys, calls = _draws.keys, _draws.calls
    if keys is None:
        return forward

    def run(*inputs: Inputs.args, **named: Inputs.kwargs) -> Output:
        with drawn_by(keys, calls):
            output = forward(*inputs, **named)
            after = _draws.calls
        _draws.calls = max(_draws.calls, after)
        return output

    return run


def dropout(values: Tensor, share: float, training: bool) -> Tensor:
    """Put a share of the values to zero while training, and scale up what is left: [B, ...] -> [B, ...]."""
    drawn = _uniform(values.shape, values.device) if training and 0 < share < 1 else None
    if drawn is None:
        return F.dropout(values, share, training)
    dropped = round(share * _VALUES)
    return values.masked_fill(drawn < dropped - _VALUES // 2, 0) * (_VALUES / (_VALUES - dropped))


def bernoulli(shares: Tensor) -> Tensor:
    """Return 1 with the probability that each value is, and otherwise 0: [B, ...] -> [B, ...]."""
    drawn = _uniform(shares.shape, shares.device)
    if drawn is None:
        return shares.bernoulli()
    return ((drawn.float() + (_VALUES / 2 + 0.5)) / _VALUES < shares).to(shares.dtype)


def adopt(network: nn.Module) -> None:
    """Let the dropout of a network, ``nn.Dropout`` and those that drop whole channels, draw by examples."""
    for module in network.modules():
        if type(module) is nn.Dropout:
            module.forward = _of_values(module)  # type: ignore[assignment, method-assign]
        elif isinstance(module, nn.Dropout1d | nn.Dropout2d | nn.Dropout3d):
            module.forward = _of_channels(module)  # type: ignore[assignment, method-assign]


def _of_values(module: nn.Dropout) -> Callable[[Tensor], Tensor]:
    return lambda values: dropout(values, module.p, module.training)


def _of_channels(module: nn.Dropout1d | nn.Dropout2d | nn.Dropout3d) -> Callable[[Tensor], Tensor]:
    def forward(values: Tensor) -> Tensor:
        ones = torch.ones(values.shape[:2], dtype=values.dtype, device=values.device)
        return values * dropout(ones, module.p, module.training).reshape(*ones.shape, *(1,) * (values.ndim - 2))

    return forward


def _uniform(shape: torch.Size, device: torch.device) -> Tensor | None:
    """Draw one of 65,536 for each place of a tensor: int16, or None where it is not laid out by examples."""
    keys = _draws.keys
    if keys is None or not shape or shape[0] % len(keys):
        return None
    _draws.calls += 1
    with torch.no_grad():
        words = _mixed(keys ^ _draws.calls)
        for size in (shape[0] // len(keys), *shape[1:-1]):
            words = _mixed(words[..., None] + _places(size, device))
        width = shape[-1] if len(shape) > 1 else 1
        words = _mixed(words[..., None] + _places((width + 1) // 2, device))
        return words.view(torch.int16)[..., :width].reshape(shape)


def _places(count: int, device: torch.device) -> Tensor:
    return torch.arange(1, count + 1, dtype=torch.int32, device=device) * _GOLDEN


def _mixed(words: Tensor) -> Tensor:
    """Hash words: int32 in, int32 out. Shifts are of unsigned numbers, which PyTorch hardly has."""
    words = words ^ ((words >> 16) & 0xFFFF)
    words = words * _FIRST
    words = words ^ ((words >> 13) & 0x7FFFF)
    words = words * _SECOND
    return words ^ ((words >> 16) & 0xFFFF)
