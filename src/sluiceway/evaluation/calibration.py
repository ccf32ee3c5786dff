"""Whether a classifier is as sure as it is right: reliability bins and the expected calibration error."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sluiceway.evaluation.scores import Score, wilson
from sluiceway.usecases.base import Outcomes

_Floats = npt.NDArray[np.float64]

BINS = 15
"""Bins of equal width, as in Guo et al. 2017."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The test items whose confidence lies in one range."""

    low: float
    """Least confidence, included."""
    high: float
    """Largest confidence; included in the last bin only."""
    count: int
    confidence: float
    """Mean confidence of the items."""
    accuracy: Score
    """Share of the items answered correctly, with its Wilson interval."""

    @property
    def gap(self) -> float:
        """How much surer than right: positive is overconfident."""
        return self.confidence - self.accuracy.value


@dataclass(frozen=True, slots=True)
class Calibration:
    """How confidence and correctness agree on the test split."""

    bins: tuple[Bin, ...]
    """The bins that are not empty, by rising confidence."""
    ece: float
    """Expected calibration error, 0 to 1: the mean absolute gap, weighted by the items of each bin."""
    overconfidence: float
    """Mean confidence minus accuracy over all items: positive is too sure."""


def calibrate(outcomes: Outcomes, bins: int = BINS) -> Calibration | None:
    """Compare the columns ``confidence`` [N], in 0 to 1, and ``correct`` [N], boolean or 0 and 1.

    The error is that of Guo et al., On Calibration of Modern Neural Networks (ICML 2017).

    Returns:
        None when a column is absent: the use case's learner gives no confidence.
    """
    if "confidence" not in outcomes or "correct" not in outcomes or not len(outcomes["confidence"]):
        return None
    confidence = outcomes["confidence"].astype(np.float64)
    correct = outcomes["correct"].astype(np.float64)
    if not np.all((confidence >= 0) & (confidence <= 1)):
        raise ValueError("a confidence is not between 0 and 1")
    edges = np.linspace(0.0, 1.0, bins + 1)
    owners = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, bins - 1)
    filled = tuple(
        _bin(edges[number], edges[number + 1], confidence[owners == number], correct[owners == number])
        for number in np.unique(owners)
    )
    ece = sum(each.count * abs(each.gap) for each in filled) / len(confidence)
    return Calibration(filled, float(ece), float(confidence.mean() - correct.mean()))


def _bin(low: float, high: float, confidence: _Floats, correct: _Floats) -> Bin:
    return Bin(
        low=float(low),
        high=float(high),
        count=len(confidence),
        confidence=float(confidence.mean()),
        accuracy=wilson(float(correct.sum()), len(correct)),
    )
