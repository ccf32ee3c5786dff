"""What the network must beat: the commonest class, and HOG features with a support vector machine.

Shapes: K classes, N test images.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from sluiceway.data.answers import Answers
from sluiceway.usecases.base import Encoding, Outcomes, Reader
from sluiceway.usecases.image_classification.params import ImageData
from sluiceway.usecases.image_classification.scoring import outcomes_of


def baselines(reader: Reader, data: ImageData, encoding: Encoding, answers: Answers) -> Mapping[str, Outcomes]:
    """Answer the test split with the commonest class; the classical learner has answered it in ``validate``."""
    numbers = {name: number for number, name in enumerate(encoding["classes"])}
    train = [numbers[str(loaded.example.target)] for loaded in reader("train")]
    test = [(loaded.row, numbers[str(loaded.example.target)]) for loaded in reader("test")]
    rows, targets = (np.array(column, np.int64) for column in zip(*test, strict=True))
    ((commonest, count),) = Counter(train).most_common(1)
    constant = outcomes_of(targets, np.full_like(targets, commonest), np.full(len(targets), count / len(train)))
    outcomes = {"commonest class": {**constant, "row": rows}}
    if answers.probabilities is not None:
        place = np.searchsorted(answers.rows, rows)
        known = np.array([numbers[name] for name in answers.classes])
        probabilities = answers.probabilities[place]  # [N, K]
        classical = outcomes_of(targets, known[probabilities.argmax(1)], probabilities.max(1))
        outcomes["HOG + SVM"] = {**classical, "row": rows}
    return outcomes
