"""What can be set: the sections of the pipeline's parameters that are this use case's own."""

from typing import Literal

from pydantic import Field, model_validator

from sluiceway.config import ModelParams, Section
from sluiceway.config.shapes import refuse_uneven_heads
from sluiceway.data.roles import ListParams


class TextData(ListParams):
    """Plain text files, or tables with a column of text."""

    listing = ListParams.listing | {"passage", "text_column"}

    passage: Literal["block", "line", "file"] = "block"
    """What one example is: text between blank lines, a line, or a whole file. Of a table, it is a record."""
    text_column: str | None = None
    """Column of a table that holds the text; default: ``text``, ``content`` and the like."""


class TextEncoding(Section):
    """Byte-level BPE, learned from the training split or taken from pretrained weights."""

    vocabulary: int = Field(2048, ge=257, le=65536)
    """Number of tokens that are learned."""
    tokenizer: str | None = None
    """Folder of pretrained weights whose tokens are taken (``tokenizer.json``, byte-level): with ``pretrained`` weights
    these are the ones that mean something to them. null: tokens are learned."""
    context: int = Field(128, ge=8)
    """Tokens the model looks back on."""


class GPTParams(ModelParams):
    """A decoder-only transformer."""

    name: Literal["gpt"] = "gpt"
    """Which architecture."""
    channels: int = Field(192, ge=8)
    """Width of the residual stream; a multiple of twice ``heads``."""
    layers: int = Field(4, ge=1)
    """Number of layers."""
    heads: int = Field(6, ge=1)
    """Attention heads per layer."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of each branch that is dropped in training; needed when examples are seen many times."""

    @model_validator(mode="after")
    def _can_be_built(self) -> "GPTParams":
        refuse_uneven_heads(self.channels, self.heads)
        return self


class TextObjective(Section):
    """Cross entropy of the next token; nothing to set."""
