"""What the network must beat: the commonest class, and pitch and spectral features with a random forest."""

from collections.abc import Mapping

from sluiceway.data.answers import Answers
from sluiceway.data.outcomes import class_baselines
from sluiceway.usecases.base import Encoding, Outcomes, Reader
from sluiceway.usecases.speech_classification.params import SpeechData


def baselines(reader: Reader, data: SpeechData, encoding: Encoding, answers: Answers) -> Mapping[str, Outcomes]:
    """Answer the test split with the commonest class; the classical learner has answered it in ``validate``."""
    train = [str(loaded.example.target) for loaded in reader("train")]
    test = [(loaded.row, str(loaded.example.target)) for loaded in reader("test")]
    return class_baselines(train, test, encoding["classes"], answers, "spectral features + random forest")
