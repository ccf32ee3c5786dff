"""Model and optimizer as named tensors: whole, or where parameters are shared out, what this worker has of them.

Names are ``model.<parameter>`` and ``optimizer.<parameter>.<what>``, the same in both forms, so that each is taken up
by workers who hold the other.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor

from sluiceway.training.stored import Rows, Stored

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
_WHOLE_IN_PART = StateDictOptions(full_state_dict=True, cpu_offload=True, strict=False)
"""Of the optimizer: of parameters that a phase of pre-training leaves alone it knows nothing, and needs nothing."""
_SHARE = StateDictOptions()
_SHARE_IN_PART = StateDictOptions(strict=False)
_MODEL, _OPTIMIZER = "model.", "optimizer."


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the whole network as named tensors on the CPU; every worker must ask for it."""
    return get_model_state_dict(model, options=_WHOLE)  # type: ignore[return-value]


def whole(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return all of model and optimizer, on the CPU.

    Every worker must ask for it. Where parameters are shared out, only rank 0 gets an answer.
    """
    return _named(*get_state_dict(model, optimizer, options=_WHOLE))


def share(model: nn.Module, optimizer: torch.optim.Optimizer, *, first: bool) -> tuple[dict[str, Tensor], Rows]:
    """Return what this worker has of model and optimizer, on its device, and which rows of the whole those are.

    Args:
        model: a network whose parameters are shared out by rows.
        optimizer: of its parameters.
        first: whether this is rank 0, which alone gives what all have alike, such as counts of steps.
    """
    return _mine_of(_named(*get_state_dict(model, optimizer, options=_SHARE)), first=first)


def share_of_weights(model: nn.Module, *, first: bool) -> tuple[dict[str, Tensor], Rows]:
    """Return what this worker has of :func:`weights`, on its device, and which rows of the whole those are."""
    return _mine_of(get_model_state_dict(model, options=_SHARE), first=first)


def _mine_of(named: Mapping[str, Any], *, first: bool) -> tuple[dict[str, Tensor], Rows]:
    tensors: dict[str, Tensor] = {}
    rows: dict[str, tuple[int, int]] = {}
    for name, value in named.items():
        if isinstance(value, DTensor):
            tensors[name] = value.to_local()
            rows[name] = _rows(value)
        elif first:
            tensors[name] = value
    return tensors, rows


def take_up(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Take up what was saved, whole or in parts, by whatever number of workers.

    Where parameters are shared out, a worker reads its own rows of stored tensors and no others.
    """
    groups = get_optimizer_state_dict(model, optimizer)["param_groups"]
    here = get_model_state_dict(model, options=_SHARE)
    shared = isinstance(tensors, Stored) and any(isinstance(value, DTensor) for value in here.values())

    def read(name: str, parameter: str) -> Tensor:
        return _mine(tensors, name, here.get(parameter)) if shared else tensors[name]

    weights: dict[str, Any] = {}
    state: dict[str, Any] = {}
    for name in tensors:
        if name.startswith(_MODEL):
            parameter = name.removeprefix(_MODEL)
            weights[parameter] = read(name, parameter)
        elif name.startswith(_OPTIMIZER):
            parameter, _, key = name.removeprefix(_OPTIMIZER).rpartition(".")
            state.setdefault(parameter, {})[key] = read(name, parameter)
    set_model_state_dict(model, weights, options=_SHARE if shared else _WHOLE)
    set_optimizer_state_dict(
        model,
        optimizer,
        optim_state_dict={"state": state, "param_groups": groups},
        options=_SHARE_IN_PART if shared else _WHOLE_IN_PART,
    )


def _named(model: Mapping[str, Any], optimizer: Mapping[str, Any]) -> dict[str, Tensor]:
    tensors = {f"{_MODEL}{name}": value for name, value in model.items()}
    for parameter, state in optimizer.get("state", {}).items():
        tensors |= {f"{_OPTIMIZER}{parameter}.{key}": value for key, value in state.items()}
    return tensors


def _mine(tensors: Any, name: str, like: Any) -> Tensor:
    """Read this worker's rows of a tensor that is shared out as ``like``; one of another shape, all have whole."""
    if not isinstance(like, DTensor) or tensors.shape(name) != tuple(like.shape):
        return tensors[name]  # type: ignore[no-any-return]
    first, _ = _rows(like)
    local = tensors.rows(name, first, first + len(like.to_local()))
    return DTensor.from_local(
        local.to(like.device),
        like.device_mesh,
        like.placements,
        run_check=False,
        shape=like.shape,
        stride=like.stride(),
    )


def _rows(value: DTensor) -> tuple[int, int]:
    """Return the first of this worker's rows, and how many the whole has: FSDP2 shares out rows as ``torch.chunk``."""
    count = value.shape[0]
    each = -(-count // value.device_mesh.size())
    first = min(value.device_mesh.get_local_rank() * each, count)
    assert len(value.to_local()) == min(each, count - first)  # noqa: S101 - another placement would be another sum
    return first, count
