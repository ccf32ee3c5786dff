"""What can be set: the sections of the pipeline's parameters that are this use case's own."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sluiceway.config import DataGateParams, DataParams, Evaluate, ModelParams, Section


class DrivingData(DataParams):
    """Frames of a camera with the steering of a driver, in logs: Udacity's ``driving_log.csv``, or a table.

    A drive is the folder of its log, or what the column ``drive`` names, and is on one side of the split only: the next
    frame is nearly the same. Time is the order of the lines, or the column ``order``.
    """

    image: str | None = None
    """Column of a table with the paths of images; null: center, image, frame, file_name, path or filename."""
    steering: str | None = None
    """Column with the steering; null: steering, steering_angle or angle."""
    drive: str | None = None
    """Column that names the drive; null: drive or sequence where there is one, and else a log is a drive."""
    order: str | None = None
    """Column that grows with time; null: lines are in order."""
    full_lock: float = Field(1.0, gt=0)
    """What the log says at full lock: 1 in Udacity's, 25 where degrees up to 25 are logged. Targets are shares of it,
    and what is beyond is impossible."""
    cameras: Literal["center", "all"] = "center"
    """Which cameras are learned from; ``all``: the left and the right one too, in training, with a correction."""
    camera_correction: float = Field(0.2, ge=0, le=1)
    """Share of full lock by which a car seen from the left camera would steer farther to the right, and vice versa."""
    stretch: int | None = Field(None, ge=2)
    """Frames of a stretch, where there is but one long drive: stretches are then kept on one side as drives are. Make
    them long: neighbours across the border between two are nearly the same."""


class DrivingGate(DataGateParams):
    """Limits of the data gate. Times count within a drive only, so no drive is before another one."""

    severity: dict[str, Literal["close", "warn", "off"]] = Field(default={"time_overlap": "off"})
    """What a failed check does, by the check's name, where it is not to be the default."""


class FrameEncoding(Section):
    """The part of the frame that shows the road, at one size, as bytes in colour."""

    top: float = Field(0.0, ge=0, lt=1)
    """Share of the frame's height that is cut off at the top: sky and trees."""
    bottom: float = Field(0.0, ge=0, lt=1)
    """Likewise at the bottom: the bonnet, or instruments, which tell how the wheel stands and must not be read."""
    height: int = Field(66, ge=16)
    """Pixels that the rest is resized to."""
    width: int = Field(200, ge=16)
    """Likewise."""

    @model_validator(mode="after")
    def _leaves_something(self) -> "FrameEncoding":
        if self.top + self.bottom >= 1:
            raise ValueError(f"top + bottom is {self.top + self.bottom:g}: nothing of the frame is left")
        return self


class PilotNetParams(ModelParams):
    """A convolutional network that looks at one frame (Bojarski et al., 2016)."""

    name: Literal["pilotnet"] = "pilotnet"
    """Which architecture."""
    channels: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [24, 36, 48, 64, 64], min_length=1)
    """Channels after each convolution."""
    kernels: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [5, 5, 5, 3, 3], min_length=1)
    """Side of each kernel, in pixels."""
    strides: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [2, 2, 2, 1, 1], min_length=1)
    """Stride of each convolution."""
    hidden: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [100, 50, 10])
    """Widths of the dense layers before the steering."""
    normalise: Literal["all", "each"] = "all"
    """``all``: colours are standardised by mean and deviation of the training frames. ``each``: each frame by its own,
    so that light and colours matter less."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the features that is dropped before each dense layer in training."""

    @model_validator(mode="after")
    def _can_be_built(self) -> "PilotNetParams":
        sizes = {len(self.channels), len(self.kernels), len(self.strides)}
        if len(sizes) > 1:
            raise ValueError(
                f"channels name {len(self.channels)} convolutions, kernels {len(self.kernels)}, strides "
                f"{len(self.strides)}: give one of each"
            )
        return self


class SteeringObjective(Section):
    """A loss that is square for small errors and straight for large ones; frames mirrored, shifted, otherwise lit."""

    beta: float = Field(0.5, gt=0)
    """Error, in deviations of the training steering, from which the loss is straight: a wild label pulls less."""
    bends: float = Field(1.0, ge=0)
    """How much more a frame weighs for each deviation that it is steered: most of a road is straight."""
    mirror: bool = True
    """Whether half the frames are mirrored, with the steering turned about: roads bend to both sides alike."""
    shift: float = Field(0.0, ge=0, lt=0.5)
    """Largest shift to a side, as a share of the frame's width: a car that stands farther to the other side."""
    shift_correction: float = Field(1.0, ge=0)
    """Steering, as a share of full lock, that brings back a car whose frame was shifted by the whole width."""
    brightness: float = Field(0.2, ge=0, lt=1)
    """Largest change of brightness, as a share."""
    contrast: float = Field(0.2, ge=0, lt=1)
    """Largest change of contrast, as a share."""
    recolour: float = Field(0.0, ge=0, le=1)
    """Share of the frames whose three colours are exchanged, and some turned into their negative: where the colour of a
    road must tell nothing."""


class ClosedLoop(Section):
    """Driving with the model, where there is a world to drive in."""

    world: Literal["none", "car_racing"] = "none"
    """``car_racing``: the learners drive in the simulator that the sample was recorded in, and how far they come, and
    how near to the middle of the road, decides. ``none``: the error of the steering on held-out drives decides."""
    tracks: int = Field(10, ge=1)
    """Laps that each learner drives, each on a track of its own."""
    first_seed: int = Field(1001, ge=1000)
    """Seed of the first track; the others follow. The sample is recorded on seeds below 1000."""


class DrivingEvaluation(Evaluate):
    """How the model is scored."""

    closed_loop: ClosedLoop = Field(default_factory=ClosedLoop)
    """Driving with the model, where there is a world to drive in."""
