"""What can be set: the sections of the pipeline's parameters that are this use case's own."""

from typing import Literal

from pydantic import Field, model_validator

from sluiceway.config import DataParams, ModelParams, Section
from sluiceway.config.shapes import refuse_uneven_heads


class PairData(DataParams):
    """Sentences in two languages: aligned text files, or a table with a column for each language."""

    source: str = Field("en", min_length=1)
    """Language that is translated from: what the names of its files end in, and what its column is called."""
    target: str = Field("es", min_length=1)
    """Language that is translated into."""
    source_column: str | None = None
    """Column of a table with the source, where it is not called as the language or ``source``."""
    target_column: str | None = None
    """Column of a table with the target, where it is not called as the language or ``target``."""
    group_column: str | None = None
    """Column of a table with what a pair is taken from (document, book, film): pairs of one group stay on one side."""
    longest: int = Field(1000, ge=1)
    """Characters of a side above which a pair is set aside."""
    most_unequal: float = Field(2.5, gt=1)
    """Length of the longer side, in characters and relative to the other, above which a pair is set aside: one of them
    lacks something. 5 characters are added to both, so that short ones may differ more."""
    repeats: bool = False
    """Whether a pair may stand more than once; if not, the first one counts and the others are set aside."""

    @model_validator(mode="after")
    def _are_two(self) -> "PairData":
        if self.source == self.target:
            raise ValueError(f"source and target are both {self.source!r}: name two languages")
        return self


class PairEncoding(Section):
    """Byte-pair encoding of both languages together, and a lexicon, learned from the training split."""

    vocabulary: int = Field(6000, ge=300, le=65536)
    """Number of tokens, of both languages together."""
    longest: int = Field(128, ge=8)
    """Tokens of a side that are read and learned from; of a longer one, those after it are not."""
    entries: int = Field(8, ge=0, le=64)
    """Tokens that each source token may become, as IBM model 1 finds them; 0: no lexicon is learned."""


class TransformerParams(ModelParams):
    """An encoder-decoder transformer."""

    name: Literal["transformer"] = "transformer"
    """Which architecture."""
    channels: int = Field(128, ge=8)
    """Width of the residual stream; a multiple of twice ``heads``."""
    encoder_layers: int = Field(2, ge=1)
    """Layers that read the source."""
    decoder_layers: int = Field(2, ge=1)
    """Layers that write the target."""
    heads: int = Field(4, ge=1)
    """Attention heads per layer."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of each branch that is dropped in training."""
    lexicon: bool = True
    """Whether the decoder is offered what the source's tokens may become: it learns in minutes what else takes hours.
    Of very many pairs it can be done without."""
    beam: int = Field(4, ge=1)
    """Translations that are followed at a time when the test split is translated; 1: the likeliest token each time."""
    length_penalty: float = Field(1.0, ge=0)
    """Power of the length that the logarithm of a probability is divided by: 1 compares means per token, more prefers
    longer translations; with 0 the likelier one wins, however short, and that may be nothing at all."""

    @model_validator(mode="after")
    def _can_be_built(self) -> "TransformerParams":
        refuse_uneven_heads(self.channels, self.heads)
        return self


class TranslationObjective(Section):
    """Cross entropy of each next token, teacher-forced."""

    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of the probability that is spread over all tokens, so that the network does not grow too sure."""
