"""A model to its scores on recorded drives: how it would have steered, and where that was worst.

Shapes: B frames of a batch, N test frames.
"""

import html
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sluiceway.usecases.base import Batch, Encoding, Evidence, Metric, Outcomes, Panel
from sluiceway.usecases.driving.frames import open_frame
from sluiceway.usecases.driving.pictures import curves
from sluiceway.usecases.driving.senses import picture

if TYPE_CHECKING:
    from torch import nn

_DRIVES = 3
"""Drives whose steering is drawn."""
_FRAMES = 12


def predict(model: "nn.Module", batch: Batch, encoding: Encoding) -> Outcomes:
    """Answer a batch: steering as it was, as it would be, and the error, as shares of full lock, each [B]."""
    steering = model(batch["image"]).clamp(-1, 1)
    return outcomes_of(*(each.cpu().numpy() for each in (batch["target"], steering, batch["drive"])))


def outcomes_of(target: npt.NDArray[Any], predicted: npt.NDArray[Any], drive: npt.NDArray[np.int64]) -> Outcomes:
    """Put steering beside what it should have been [N]."""
    wanted, given = target.astype(np.float64), predicted.astype(np.float64)
    return {"target": wanted, "predicted": given, "error": given - wanted, "drive": drive}


def mean_error(outcomes: Outcomes) -> float:
    """Mean absolute error, in percent of full lock."""
    return float(100 * np.abs(outcomes["error"]).mean())


def root_mean_square_error(outcomes: Outcomes) -> float:
    """Root of the mean squared error, in percent of full lock: large errors count more."""
    return float(100 * np.sqrt((outcomes["error"] ** 2).mean()))


METRICS = (
    Metric("steering_mae", "Steering error, % of full lock", higher_is_better=False, compute=mean_error),
    Metric(
        "steering_rmse", "Steering error (RMS), % of full lock", higher_is_better=False, compute=root_mean_square_error
    ),
)


# Panels.


def show(evidence: Evidence) -> list[Panel]:
    """Show the steering of some held-out drives, and the frames with the largest errors."""
    return [_steering(evidence.outcomes), _worst(evidence)]


def _steering(outcomes: Outcomes) -> Panel:
    edges = np.flatnonzero(np.diff(outcomes["drive"], prepend=-1, append=-1))
    drawn = []
    for start, end in list(pairwise(edges.tolist()))[:_DRIVES]:
        lines = {"driver": outcomes["target"][start:end], "model": outcomes["predicted"][start:end]}
        drawn.append(f"<figure>{curves(lines)}<figcaption>{end - start} frames of a drive</figcaption></figure>")
    caption = "Frame by frame on held-out drives: up is to the right, the dashed lines are half of full lock."
    return Panel("Steering", caption, f'<div class="grid">{"".join(drawn)}</div>')


def _worst(evidence: Evidence) -> Panel:
    outcomes = evidence.outcomes
    entries = []
    for at in np.argsort(-np.abs(outcomes["error"]), kind="stable")[:_FRAMES].tolist():
        image = open_frame(evidence.load(int(outcomes["row"][at])))
        said = f"driver {direction(outcomes['target'][at])}, model {direction(outcomes['predicted'][at])}"
        entries.append(f"<figure>{picture(image, said)}<figcaption>{html.escape(said)}</figcaption></figure>")
    caption = "The largest errors on held-out drives, in percent of full lock."
    return Panel("Worst frames", caption, f'<div class="gallery">{"".join(entries)}</div>')


def direction(steering: float) -> str:
    """Say a steering in words."""
    percent = round(100 * abs(steering))
    return f"{percent} {'right' if steering > 0 else 'left'}" if percent else "straight"
