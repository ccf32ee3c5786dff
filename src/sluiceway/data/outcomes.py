"""Answers of learners on the test split, kept as a Parquet file: one row per item, plain columns.

And what is common to all that answer with a class: their columns, their figures, and the learners they must beat.

Shapes: N items, K classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sluiceway.data.answers import Answers

Columns = dict[str, npt.NDArray[Any]]


def write_outcomes(outcomes: Mapping[str, npt.NDArray[Any]], path: Path) -> None:
    """Write columns [N]; equal content gives equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: pa.array(column) for name, column in outcomes.items()}), path, compression="zstd")


def read_outcomes(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read columns [N]."""
    table = pq.read_table(path)
    return {name: np.asarray(table[name].to_numpy(zero_copy_only=False)) for name in table.column_names}


def class_outcomes(target: npt.NDArray[Any], prediction: npt.NDArray[Any], confidence: npt.NDArray[Any]) -> Columns:
    """Put answers beside the classes they should have been: target, prediction and confidence, each [N]."""
    return {
        "target": target.astype(np.int64),
        "predicted": prediction.astype(np.int64),
        "confidence": confidence.astype(np.float64),
        "correct": (target == prediction).astype(np.float64),
    }


def accuracy(outcomes: Columns) -> float:
    """Share of right answers."""
    return float(outcomes["correct"].mean())


def macro_f1(outcomes: Columns) -> float:
    """Mean over classes of the harmonic mean of precision and recall; a class counts if it occurs."""
    target, prediction = outcomes["target"], outcomes["predicted"]
    classes = int(max(target.max(), prediction.max())) + 1
    table = np.bincount(target * classes + prediction, minlength=classes**2).reshape(classes, classes)
    hits, of_target, of_prediction = np.diag(table), table.sum(1), table.sum(0)
    occurs = (of_target + of_prediction) > 0
    return float((2 * hits[occurs] / (of_target + of_prediction)[occurs]).mean())


def class_baselines(
    train: Sequence[str], test: Sequence[tuple[int, str]], classes: Sequence[str], answers: Answers, classical: str
) -> dict[str, Columns]:
    """Answer the test split with the commonest class, and with what the classical learner said in ``validate``.

    Args:
        train: class of each training example.
        test: row and class of each test example, in the order of the example table.
        classes: names of the K classes.
        answers: of the classical learner.
        classical: what it is called.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    rows = np.array([row for row, _ in test], np.int64)
    targets = np.array([numbers[name] for _, name in test], np.int64)
    ((commonest, count),) = Counter(numbers[name] for name in train).most_common(1)
    constant = class_outcomes(targets, np.full_like(targets, commonest), np.full(len(targets), count / len(train)))
    outcomes = {"commonest class": {**constant, "row": rows}}
    if answers.probabilities is not None:
        known = np.array([numbers[name] for name in answers.classes])
        probabilities = answers.probabilities[np.searchsorted(answers.rows, rows)]  # [N, K]
        learned = class_outcomes(targets, known[probabilities.argmax(1)], probabilities.max(1))
        outcomes[classical] = {**learned, "row": rows}
    return outcomes
