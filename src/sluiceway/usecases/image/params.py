"""What can be set: the sections of the pipeline's parameters that are this use case's own."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sluiceway.config import ModelParams, Section
from sluiceway.config.shapes import refuse_uneven_stages
from sluiceway.usecases.targets.listing import ListedData


class ImageData(ListedData):
    """Images in a folder per class, or listed with their targets in ``metadata.csv``."""


class ImageEncoding(Section):
    """Images of one size, as bytes."""

    size: int = Field(32, ge=4)
    """Pixels per side of the square that images are resized to."""
    channels: Literal[1, 3] = 3
    """1: grey, 3: colour."""


class ResidualParams(ModelParams):
    """A compact residual network."""

    name: Literal["residual"] = "residual"
    """Which architecture."""
    stem: int = Field(32, ge=1)
    """Channels after the first convolution, which halves the image."""
    widths: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [32, 64], min_length=1)
    """Channels of each stage; every stage but the first halves the image again."""
    depths: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [1, 2], min_length=1)
    """Residual blocks of each stage."""
    groups: int = Field(8, ge=1)
    """Groups of the group norms; ``stem`` and ``widths`` are multiples of it, or below it."""

    @model_validator(mode="after")
    def _can_be_built(self) -> "ResidualParams":
        refuse_uneven_stages(self.stem, self.widths, self.depths, self.groups)
        return self


class ImageAugmentation(Section):
    """Random affine maps of the training images."""

    shift: float = Field(0.08, ge=0)
    """Largest shift, as a share of the image's side."""
    rotate: float = Field(12.0, ge=0)
    """Largest rotation, in degrees."""
    scale: float = Field(0.12, ge=0)
    """Largest change of size, as a share, each axis for itself."""
    shear: float = Field(0.2, ge=0)
    """Largest shear."""
    mirror: bool = False
    """Whether images are mirrored at random: right for things, wrong for letters and digits."""
