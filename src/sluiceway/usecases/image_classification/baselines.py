"""What the network must beat: the commonest class, and HOG features with a support vector machine.

Shapes: K classes, N test images.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sluiceway.usecases.base import Encoding, Loaded, Outcomes, Reader
from sluiceway.usecases.image_classification.examples import pixels_of
from sluiceway.usecases.image_classification.params import ImageData
from sluiceway.usecases.image_classification.scoring import outcomes_of


def baselines(reader: Reader, data: ImageData, encoding: Encoding) -> Mapping[str, Outcomes]:
    """Answer the test split with the commonest class, and with HOG features and a support vector machine."""
    from sklearn.svm import SVC

    train_features, train_targets, _ = _features(reader("train"), encoding)
    test_features, test_targets, rows = _features(reader("test"), encoding)
    commonest = int(np.bincount(train_targets).argmax())
    share = float((train_targets == commonest).mean())
    machine = SVC(C=10.0).fit(train_features, train_targets)
    margins = machine.decision_function(test_features)  # [N, K], or [N] for two classes
    answers = machine.classes_[margins.argmax(1) if margins.ndim > 1 else (margins > 0).astype(int)]
    constant = outcomes_of(test_targets, np.full_like(test_targets, commonest), np.full(len(test_targets), share))
    classical = outcomes_of(test_targets, answers, _softmax(margins))
    return {"commonest class": {**constant, "row": rows}, "HOG + SVM": {**classical, "row": rows}}


def _features(
    examples: Iterable[Loaded], encoding: Encoding
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Histograms of oriented gradients (Dalal and Triggs, 2005): [N, features], classes [N] and rows [N]."""
    from skimage.feature import hog

    numbers = {name: number for number, name in enumerate(encoding["classes"])}
    cell = max(2, encoding["size"] // 7)
    features, targets, rows = [], [], []
    for loaded in examples:
        image = pixels_of(loaded.payload, encoding["size"], 1)[0]
        features.append(hog(image, orientations=9, pixels_per_cell=(cell, cell), cells_per_block=(2, 2)))
        targets.append(numbers[str(loaded.example.target)])
        rows.append(loaded.row)
    return np.asarray(features, np.float32), np.asarray(targets, np.int64), np.asarray(rows, np.int64)


def _softmax(margins: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn margins into something like a confidence: [N] or [N, K] -> [N]."""
    if margins.ndim == 1:  # two classes
        margins = np.stack([-margins, margins], 1)
    powers = np.exp(margins - margins.max(1, keepdims=True))
    return np.asarray(powers.max(1) / powers.sum(1))
