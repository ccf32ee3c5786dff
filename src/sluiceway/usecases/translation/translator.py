"""What a network must be able to do to translate; its own and those of ``transformers`` can.

Shapes: B sentences, S source tokens, T target tokens, V vocabulary, n target tokens of all sentences.
"""

from typing import TYPE_CHECKING, Any, Protocol, Self, cast

if TYPE_CHECKING:
    from torch import Tensor, nn


class Memory(Protocol):
    """What is known while a translation is written: of the source, and of what is written."""

    def take(self, rows: "Tensor") -> Self:
        """Return what is known of some sentences, in this order; one may be taken more than once."""


class Translator(Protocol):
    """Reads sentences, and writes their translations token by token or all at once."""

    longest: int
    """Most tokens of a side, END included."""
    beam: int
    """Translations that are followed at a time, where nothing else is said."""
    length_penalty: float
    """How far longer translations are preferred, where nothing else is said."""

    def read(self, source: "Tensor") -> Any:
        """Read source sentences [B, S], and return a :class:`Memory` of them."""

    def write(self, tokens: "Tensor", memory: Any) -> "Tensor":
        """Return what :meth:`logits` needs of each token [B, T], behind those that the memory has; it then has them."""

    def logits(self, hidden: "Tensor", memory: Any, wanted: "Tensor", first: int = 0) -> "Tensor":
        """Return the logits [n, V] of the tokens after those that are wanted: [B, T], n in all."""


def translator(model: "nn.Module") -> Translator:
    """Take a network of this use case for what it is."""
    return cast("Translator", model)
