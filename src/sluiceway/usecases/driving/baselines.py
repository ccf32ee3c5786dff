"""What the network must beat: one steering for all, and a straight line through gradients."""

from collections.abc import Mapping

import numpy as np

from sluiceway.data.answers import Answers
from sluiceway.usecases.base import Encoding, Outcomes, Reader
from sluiceway.usecases.driving.examples import ahead
from sluiceway.usecases.driving.params import DrivingData
from sluiceway.usecases.driving.scoring import outcomes_of

CONSTANT, RIDGE = "constant steering", "HOG + ridge"


def baselines(reader: Reader, data: DrivingData, encoding: Encoding, answers: Answers) -> Mapping[str, Outcomes]:
    """Answer the test split with the mean steering; the classical learner has answered it in ``validate``."""
    rows, target, drives = [], [], []
    numbers: dict[str | None, int] = {}
    for loaded in ahead(reader("test")):
        rows.append(loaded.row)
        target.append(float(str(loaded.example.target)))
        drives.append(numbers.setdefault(loaded.example.group, len(numbers)))
    wanted, row, drive = np.array(target), np.array(rows, np.int64), np.array(drives, np.int64)
    found = {CONSTANT: np.full(len(rows), encoding["steering_mean"])}
    if answers.predictions is not None:
        found[RIDGE] = answers.predictions[np.searchsorted(answers.rows, row)].clip(-1, 1)
    return {name: {**outcomes_of(wanted, steering, drive), "row": row} for name, steering in found.items()}
