"""A pretended GPU for machines without one: PyTorch believes in it, and computes on the CPU.

Which memory is the GPU's is remembered. As on a real one, tensors do not meet those of the CPU, NumPy cannot read them,
and only ``to``, ``cpu`` and ``copy_`` cross over. So what was not moved is found, in any network and any use case.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("cuda", 0)
_CROSSING = {"copy_"}
_FREE = {"item", "tolist", "__repr__", "__len__", "_has_compatible_shallow_copy_type", "__set__"}
"""What asks for numbers, and what a network asks when it is moved."""


class PretendedGPU(TorchFunctionMode):
    """Inside of this context there is a GPU.

    Args:
        fits: elements of the largest tensor that it takes, or makes; more is out of memory.
        fails: called with the name of each function that it is to compute; when it raises, the GPU has died, and gives
            nothing back any more.
    """

    def __init__(self, *, fits: float = float("inf"), fails: Callable[[str], None] = lambda _: None) -> None:
        super().__init__()
        self._fits = fits
        self._fails = fails
        self._held: dict[int, Any] = {}
        self._dead = False
        self.computed: Counter[str] = Counter()
        """Functions that it computed, by name."""

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def has(self, tensor: Tensor) -> bool:
        """Whether a tensor lies on it."""
        return tensor.untyped_storage().data_ptr() in self._held if tensor.numel() else False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor) and each.numel()]
        here = [self.has(each) for each in given]
        if name == "__get__":
            return self._property(func, args, any(here))
        if name in ("to", "cuda", "cpu") and given:
            return self._moved(func, name, args, kwargs)
        if name == "numpy" and any(here):
            raise TypeError(f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() to copy it first")
        asked = kwargs.get("device")
        if asked is not None and torch.device(asked).type == DEVICE.type:
            return self._kept(func(*args, **kwargs | {"device": "cpu"}))
        if name in _FREE or name in _CROSSING:
            return func(*args, **kwargs)
        if any(here) and not all(at or not each.ndim for at, each in zip(here, given, strict=True)):
            raise RuntimeError(f"Expected all tensors to be on the same device, but {name} found {DEVICE} and cpu")
        found = func(*args, **kwargs)
        if any(here):
            self.computed[name] += 1
            self._compute(name)
            return self._kept(found)
        return found

    def _compute(self, name: str) -> None:
        try:
            self._fails(name)
        except RuntimeError:
            self._dead = True
            raise

    def _property(self, func: Any, args: Any, here: bool) -> Any:
        which = getattr(func.__self__, "__name__", "")
        if which == "device":
            return DEVICE if here else func(*args)
        if which == "is_cuda":
            return here
        return func(*args)

    def _moved(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        tensor = args[0]
        if self._dead and self.has(tensor):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if name == "to":
            device, dtype, _, _ = torch._C._nn._parse_to(
                *(each for each in args[1:] if not isinstance(each, Tensor)), **kwargs
            )
            if device is None:
                found = tensor.to(dtype) if dtype else tensor
                return self._kept(found) if self.has(tensor) else found
        else:
            device, dtype = torch.device("cpu") if name == "cpu" else DEVICE, None
        cast = tensor if dtype is None else tensor.to(dtype)
        if device.type == DEVICE.type:
            return cast if self.has(tensor) and cast is tensor else self._kept(cast.clone())
        if device.type == "cpu":
            return cast.clone() if self.has(tensor) else cast
        return func(*args, **kwargs)

    def _kept(self, found: Any) -> Any:
        """Remember results as the GPU's; they are held, or their memory would be another tensor's."""

        def keep(each: Any) -> Any:
            if isinstance(each, Tensor) and each.numel():
                if each.numel() > self._fits:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
                storage = each.untyped_storage()
                self._held[storage.data_ptr()] = storage
            return each

        return tree_map(keep, found)
