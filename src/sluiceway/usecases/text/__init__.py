"""Texts: a table with a text and a target, or files in a folder per class; a transformer, TF-IDF beside it."""

from sluiceway.data import texts
from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.usecases.targets.base import Modality
from sluiceway.usecases.targets.classes import CLASS
from sluiceway.usecases.targets.compose import family
from sluiceway.usecases.targets.labels import CLASSES
from sluiceway.usecases.targets.numbers import NUMBER
from sluiceway.usecases.text import examples, layouts, learning, params, probing, senses

TEXT = Modality(
    name="text",
    noun="text",
    data=params.TextData,
    read=layouts.read,
    measures=texts.MEASURES,
    measure=examples.measure,
    expectations=examples.expectations,
    encode_params=params.TextEncoding,
    fit=examples.fit,
    arrays=examples.arrays,
    inputs=("tokens",),
    network="a transformer",
    models=(params.EncoderParams, HuggingFaceParams),
    build=learning.build,
    augmentation=params.TextAugmentation,
    draws=learning.DRAWS,
    augment=learning.augment,
    features=texts.features,
    parts=texts.parts,
    counts=senses.counts,
    thumbnail=texts.thumbnail,
    picture=texts.snippet,
    estimators={"class": senses.classifier, "classes": senses.classifier, "number": senses.regressor},
    classical={
        "class": "TF-IDF + logistic regression",
        "classes": "TF-IDF + logistic regression",
        "number": "TF-IDF + ridge",
    },
    packages=("tokenizers",),
    asked="string",
    probe=probing.PROBE,
)

FAMILY = family((TEXT, CLASS), (TEXT, CLASSES), (TEXT, NUMBER))
