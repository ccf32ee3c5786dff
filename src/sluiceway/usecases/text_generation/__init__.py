"""Text generation: plain text files, byte-level BPE, a small GPT, n-grams and a compressor beside it.

An example is a passage (a block between blank lines, a line, or a file). The passages of a split follow each other in
one stream of tokens; an item is a window of it. Scores are in bits per byte of the original text, so that models with
other vocabularies, n-grams and compressors stand on one scale.
"""

from sluiceway.data import texts
from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.usecases.base import Serving, UseCase, no_augmentation
from sluiceway.usecases.text_generation import (
    baselines,
    examples,
    layouts,
    learning,
    params,
    probing,
    scoring,
    senses,
    serving,
)

USECASE = UseCase(
    name="text_generation",
    summary="the next token of plain text: a small GPT beside n-grams and a compressor",
    target="none",
    data=params.TextData,
    read=layouts.read,
    measures=texts.MEASURES,
    measure=examples.measure,
    expectations=examples.expectations,
    encode_params=params.TextEncoding,
    fit=examples.fit,
    encode=examples.encode,
    models=(params.GPTParams, HuggingFaceParams),
    build=learning.build,
    objective=params.TextObjective,
    losses=learning.losses,
    draws=0,
    augment=no_augmentation,
    predict=scoring.predict,
    metrics=scoring.METRICS,
    baselines=baselines.baselines,
    show=scoring.show,
    probe=probing.PROBE,
    serving=Serving(
        inputs={"prompt": "string"},
        outputs={"text": "string"},
        params={"max_tokens": 60, "temperature": 0.8, "top_p": 0.95, "seed": 0},
        packages=("tokenizers",),
        example=serving.example,
        answer=serving.answer,
    ),
    features=texts.features,
    parts=texts.parts,
    surprise=senses.surprise,
    thumbnail=texts.thumbnail,
)
