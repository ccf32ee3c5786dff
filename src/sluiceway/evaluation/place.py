"""Where a network computes when it is evaluated: on the accelerator that training was configured for, or on the CPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from sluiceway.config import PipelineParams
from sluiceway.errors import OutOfMemory
from sluiceway.models.hardware import free_memory, is_shortage, visible_gpus

if TYPE_CHECKING:
    import torch
    from torch import nn

Result = TypeVar("Result")

CPU = "cpu"


class Place:
    """A device, and how many items at a time fit on it. Where it fails, the CPU takes its place from then on.

    Args:
        device: as PyTorch names it; one that does not compute is refused, in one line.
        batch: items that are answered at a time.
        tell: called with a sentence for a person.
    """

    def __init__(self, device: str, batch: int, tell: Callable[[str], None]) -> None:
        self._device = device
        self._wanted = self.batch = batch
        self._tell = tell
        if device != CPU and (fault := _fault_of(device)):
            self._give_up(fault)

    @classmethod
    def of(cls, params: PipelineParams, tell: Callable[[str], None]) -> "Place":
        """Choose as training does, by ``train.accelerator`` and by what this machine has."""
        return cls("cuda" if params.train.on_gpu(visible_gpus()[0]) else CPU, params.evaluate.batch, tell)

    @property
    def device(self) -> "torch.device":
        """What computes."""
        import torch

        return torch.device(self._device)

    def run(self, network: "nn.Module", work: Callable[[], Result], *, in_batches: bool = True) -> Result:
        """Do some work with a network on the device; afterwards the network is on the CPU again.

        Where memory does not suffice, it is done once more with half as many items at a time; where the device fails
        otherwise, on the CPU.

        Args:
            network: is moved, and so must be what it is given.
            work: uses it, and ``batch`` items at a time.
            in_batches: whether ``batch`` makes any difference.

        Raises:
            OutOfMemory: a single item does not fit.
        """
        while True:
            try:
                return self._moved(network, work)
            except (RuntimeError, TypeError, AssertionError, MemoryError) as error:
                short = is_shortage(error)
                if self._device == CPU and not short:
                    raise
                fault = _first_line(error)
            # Only now, without the error and its frames, is there anything to free.
            free_memory()
            self._step_down(fault, smaller=short and in_batches and self.batch > 1)

    def _moved(self, network: "nn.Module", work: Callable[[], Result]) -> Result:
        if self._device == CPU:
            return work()
        with _kept(network):
            network.to(self.device)
            return work()

    def _step_down(self, fault: str, *, smaller: bool) -> None:
        if smaller:
            before, self.batch = self.batch, self.batch // 2
            self._tell(
                f"out of memory in the evaluation, with {before} items at a time: {fault}; going on with {self.batch} "
                "(a lower evaluate.batch changes no figure)"
            )
        elif self._device != CPU:
            self._give_up(fault)
        else:
            raise OutOfMemory(
                f"out of memory in the evaluation, with {self.batch} items at a time: {fault}",
                hint="evaluate on a machine with more memory, or train a smaller model",
            )

    def _give_up(self, fault: str) -> None:
        self._tell(f"the evaluation cannot use {self._device}, and goes on with the CPU: {fault}")
        self._device, self.batch = CPU, self._wanted


@contextmanager
def _kept(network: "nn.Module") -> Iterator[None]:
    """Give a network its own tensors back at the end: nothing has to be asked of a device that may have died."""
    parameters = [(each, each.data) for each in network.parameters()]
    buffers = [(module, dict(module._buffers)) for module in network.modules()]
    try:
        yield
    finally:
        for parameter, data in parameters:
            parameter.data = data
        for module, own in buffers:
            module._buffers.update(own)


def _fault_of(device: str) -> str:
    """Say why a device cannot compute; nothing: an empty text. It is tried, since a name alone promises nothing."""
    import torch

    try:
        total = torch.ones(2, device=torch.device(device)).sum().item()
    except (RuntimeError, TypeError, AssertionError) as error:  # what PyTorch raises where it was built without one
        return _first_line(error)
    return "" if total == 2 else f"1 + 1 is {total:g} there"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
