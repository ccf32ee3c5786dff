"""What can be set: the sections of the pipeline's parameters that are this use case's own."""

from typing import Literal, Self

from pydantic import Field, model_validator

from sluiceway.config import ModelParams, Section
from sluiceway.config.shapes import refuse_uneven_heads
from sluiceway.usecases.targets.listing import ListedData


class TextData(ListedData):
    """Records of a table with a text and a target, or text files in a folder per class or listed with their targets."""

    listing = ListedData.listing | {"text_column"}
    text_column: str | None = None
    """Column of a table that holds the text; default: ``text``, ``content``, ``sentence``, ``review`` and the like."""
    language: str | None = None
    """Language of the texts, such as ``en`` or ``pt-BR``: one that is mostly in another script is set aside, and so is
    one whose little words (``the``, ``of``) are those of another language, among English, Spanish, French, German,
    Italian, Portuguese, Dutch and Swedish. null: any."""
    shortest: int = Field(1, ge=1)
    """Fewest characters of a text, white space around it left out; a shorter one is set aside."""
    longest: int = Field(100_000, ge=1)
    """Most characters of a text; a longer one is set aside. How much of a text the network reads, ``encode`` says."""

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        if self.shortest > self.longest:
            raise ValueError(f"shortest {self.shortest} is more than longest {self.longest}: no text would be left")
        return self


class TextEncoding(Section):
    """Byte-level BPE, learned from the training split or taken from pretrained weights."""

    vocabulary: int = Field(4096, ge=257, le=65535)
    """Number of tokens that are learned."""
    tokenizer: str | None = None
    """Folder of pretrained weights whose tokens are taken (``tokenizer.json``): with ``pretrained`` weights these are
    the ones that mean something to them. null: tokens are learned."""
    longest: int = Field(256, ge=4)
    """Tokens of a text that are read; of a longer one the beginning is."""


class EncoderParams(ModelParams):
    """A transformer that reads the whole text; the mean over its tokens is answered."""

    name: Literal["encoder"] = "encoder"
    """Which architecture."""
    channels: int = Field(128, ge=8)
    """Width of the residual stream; a multiple of twice ``heads``."""
    layers: int = Field(2, ge=1)
    """Number of layers."""
    heads: int = Field(4, ge=1)
    """Attention heads per layer."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Share of each branch that is dropped in training: texts are mostly few beside their words."""

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        refuse_uneven_heads(self.channels, self.heads)
        return self


class TextAugmentation(Section):
    """Random gaps in the training texts."""

    hidden: float = Field(0.1, ge=0, lt=1)
    """Share of a training text's tokens that are hidden, others each time: so no single word decides."""
