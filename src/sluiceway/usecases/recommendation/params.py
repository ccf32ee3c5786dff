"""What can be set: the sections of the pipeline's parameters that are this use case's own."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from sluiceway.config import DataGateParams, DataParams, ModelParams, Section
from sluiceway.config.shapes import refuse_uneven_heads
from sluiceway.data.splits import read_time


class InteractionData(DataParams):
    """Who had to do with what, and when: a line of a table is an interaction of a user with an item.

    Each user's last interaction is the test, the one before is validation, the others are learned from; with fewer
    than three, all are. With ``split.test_from`` a moment in time decides instead.
    """

    user_column: str | None = Field(None, min_length=1)
    """Column of the table that says whose interaction it is; default: ``user``, ``customer``, ``reviewer`` and the
    like."""
    item_column: str | None = Field(None, min_length=1)
    """Column that says what it was with; default: ``item``, ``movieId``, ``product_id``, ``isbn`` and the like."""
    rating_column: str | None = None
    """Column with the rating; default: ``rating``, ``score``, ``stars`` where there is one. Empty: none, and ratings do
    not count."""
    time_column: str | None = Field(None, min_length=1)
    """Column with the time, as ISO 8601 or a number; default: ``timestamp``, ``time``, ``date`` and the like."""
    lowest_rating: float | None = None
    """Ratings below are impossible; null: none is."""
    highest_rating: float | None = None
    """Ratings above are impossible; null: none is."""
    positive_from: float | None = None
    """Rating from which an interaction counts as a choice. Of the others nothing is learned, and none is a test; null:
    all count, since who rates a film has seen it."""
    earliest: str | None = "1990-01-01"
    """Times before are impossible: ISO 8601, or a number as in the data; null: none is. Catches cut numbers."""
    latest: str | None = "2100-01-01"
    """Times from then on are impossible; null: none is. Catches milliseconds that are taken for seconds."""
    repeats: bool = False
    """Whether a user may have to do with an item more than once, as in listening; if not, the first time counts and the
    others are set aside."""

    @property
    def columns(self) -> dict[str, str]:
        """Columns that are named, by what they are for; an empty one is none."""
        given = {each: getattr(self, f"{each}_column") for each in ("user", "item", "rating", "time")}
        return {each: name for each, name in given.items() if name is not None}

    @model_validator(mode="after")
    def _names_each_once(self) -> "InteractionData":
        met: dict[str, str] = {}
        for each, name in self.columns.items():
            if name and name in met:
                raise ValueError(f"{met[name]}_column and {each}_column are both {name!r}: a column is for one thing")
            met[name] = each
        return self

    @field_validator("earliest", "latest")
    @classmethod
    def _is_a_time(cls, value: str | None) -> str | None:
        if value is not None and read_time(value) is None:
            raise ValueError(f"{value!r} is not a time: write it as ISO 8601 (2024-01-31), or as a number")
        return value


class InteractionGate(DataGateParams):
    """Limits of the data gate. Users are on all sides by design: what is asked is that none is tested on its past."""

    groups_in_turn: bool = True
    """Whether a group may be on several sides of the split, as long as it is learned from before it is tested: times
    are then compared within each group."""


class SequenceEncoding(Section):
    """Histories as numbers of items, in the order of time. Items that the training split does not have are left out."""

    context: int = Field(100, ge=2)
    """Interactions the model looks back on."""
    exclude_seen: bool = True
    """Whether what a user has had to do with is never recommended to it again."""


class SASRecParams(ModelParams):
    """Self-attention over a history."""

    name: Literal["sasrec"] = "sasrec"
    """Which architecture."""
    channels: int = Field(64, ge=8)
    """Width of the residual stream, and numbers that stand for an item; a multiple of twice ``heads``."""
    layers: int = Field(2, ge=1)
    """Number of layers."""
    heads: int = Field(2, ge=1)
    """Attention heads per layer."""
    dropout: float = Field(0.4, ge=0, lt=1)
    """Share of the items' channels, and of each branch, that is dropped in training: histories are seen many times."""

    @model_validator(mode="after")
    def _can_be_built(self) -> "SASRecParams":
        refuse_uneven_heads(self.channels, self.heads)
        return self


class NextItemObjective(Section):
    """Cross entropy of the next item over the whole catalogue; nothing to set."""
