"""What the network must beat: the commonest class, and HOG features with a support vector machine."""

from collections.abc import Mapping

from sluiceway.data.answers import Answers
from sluiceway.data.outcomes import class_baselines
from sluiceway.usecases.base import Encoding, Outcomes, Reader
from sluiceway.usecases.image_classification.params import ImageData


def baselines(reader: Reader, data: ImageData, encoding: Encoding, answers: Answers) -> Mapping[str, Outcomes]:
    """Answer the test split with the commonest class; the classical learner has answered it in ``validate``."""
    train = [str(loaded.example.target) for loaded in reader("train")]
    test = [(loaded.row, str(loaded.example.target)) for loaded in reader("test")]
    return class_baselines(train, test, encoding["classes"], answers, "HOG + SVM")
