"""Sounds: a folder per class or a list of targets, a residual network or a Conformer, a random forest beside them."""

from dataclasses import replace

from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.usecases.speech import examples, layouts, learning, params, senses, transcribed
from sluiceway.usecases.targets.base import Modality
from sluiceway.usecases.targets.classes import CLASS
from sluiceway.usecases.targets.compose import family
from sluiceway.usecases.targets.labels import CLASSES
from sluiceway.usecases.targets.numbers import NUMBER
from sluiceway.usecases.targets.transcripts import TEXT

SPEECH = Modality(
    name="speech",
    noun="sound",
    data=params.SpeechData,
    read=layouts.read,
    measures={
        "bytes": "integer",
        "format": "text",
        "seconds": "number",
        "sample_rate": "integer",
        "channels": "integer",
        "loudness": "number",
        "peak": "number",
        "clipped": "number",
        "silence": "number",
    },
    measure=examples.measure,
    expectations=examples.expectations,
    encode_params=params.SpeechEncoding,
    fit=examples.fit,
    arrays=examples.arrays,
    inputs=("levels",),
    network="a residual network or a Conformer on spectrograms",
    models=(params.ConvParams, params.ConformerParams, HuggingFaceParams),
    build=learning.build,
    augmentation=params.SpeechAugmentation,
    draws=learning.DRAWS,
    augment=learning.augment,
    features=senses.features,
    fingerprint=senses.fingerprint,
    thumbnail=senses.thumbnail,
    picture=senses.picture,
    estimators={"class": senses.forest, "classes": senses.forest, "number": senses.regression_forest},
    classical={
        "class": "spectral features + random forest",
        "classes": "spectral features + random forest",
        "number": "spectral features + random forest",
    },
    packages=("soundfile",),
)

TRANSCRIBED = replace(
    SPEECH,
    data=params.TranscribedData,
    read=transcribed.read,
    encode_params=params.TranscribedEncoding,
    fit=examples.fit_transcribed,
    arrays=examples.transcribed_arrays,
    inputs=("levels", "frames"),
    network="a Conformer or a residual network on spectrograms, with CTC,",
    models=(params.ConformerParams, params.ConvParams, HuggingFaceParams),
    build=learning.build_by_moment,
    augmentation=params.TranscribedAugmentation,
    draws=learning.TRANSCRIBED_DRAWS,
    augment=learning.augment_transcribed,
    classical={"text": "text of the most alike sound"},
)

FAMILY = family((SPEECH, CLASS), (SPEECH, CLASSES), (SPEECH, NUMBER), (TRANSCRIBED, TEXT))
