"""Images: a folder per class or a list of targets, a residual network, HOG with a classical learner beside it."""

from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.usecases.image import examples, historic, learning, params, senses
from sluiceway.usecases.targets.base import Modality
from sluiceway.usecases.targets.classes import CLASS
from sluiceway.usecases.targets.compose import family
from sluiceway.usecases.targets.labels import CLASSES
from sluiceway.usecases.targets.numbers import NUMBER

IMAGE = Modality(
    name="image",
    noun="image",
    data=params.ImageData,
    read=examples.read,
    measures={
        "bytes": "integer",
        "format": "text",
        "width": "integer",
        "height": "integer",
        "channels": "integer",
        "brightness": "number",
        "contrast": "number",
    },
    measure=examples.measure,
    expectations=examples.expectations,
    encode_params=params.ImageEncoding,
    fit=examples.fit,
    arrays=examples.arrays,
    inputs=("image",),
    network="a residual network",
    models=(params.ResidualParams, historic.AlexNetParams, historic.DeepBeliefParams, HuggingFaceParams),
    build=learning.build,
    augmentation=params.ImageAugmentation,
    draws=learning.DRAWS,
    augment=learning.augment,
    pretraining=historic.pretraining,
    features=senses.features,
    fingerprint=senses.fingerprint,
    thumbnail=senses.thumbnail,
    picture=senses.picture,
    estimators={"class": senses.estimator, "classes": senses.estimator},
    classical={"class": "HOG + SVM", "classes": "HOG + SVM", "number": "HOG + regression"},
    packages=("pillow",),
)

FAMILY = family((IMAGE, CLASS), (IMAGE, CLASSES), (IMAGE, NUMBER))
