"""What the training asks of a network that is not kept as it was trained."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Settles(Protocol):
    """A network that becomes another one when its training is over, such as one without adapters."""

    notes: list[str]
    """What a user should know of how it was built."""

    @property
    def architecture(self) -> dict[str, Any]:
        """The model section that builds what it becomes, and needs nothing that lies elsewhere."""

    def settled(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the weights of what it becomes; the same mapping where nothing changes.

        Args:
            weights: read from the disk when they are asked for.
        """
