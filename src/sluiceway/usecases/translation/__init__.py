"""Translation: pairs of sentences, byte-pair encoding, an encoder-decoder transformer, IBM model 1 beside it.

An example is a pair, and its content is both sides. The test split is translated by beam search and held against the
references; chrF decides, since it also sees words that are nearly right.
"""

from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.usecases.base import Serving, UseCase, no_augmentation
from sluiceway.usecases.translation import (
    baselines,
    encoding,
    examples,
    learning,
    panels,
    params,
    probing,
    scoring,
    senses,
    serving,
)
from sluiceway.usecases.translation.layouts import amended

USECASE = UseCase(
    name="translation",
    summary="sentences in another language: an encoder-decoder transformer beside IBM model 1",
    target="text",
    data=params.PairData,
    read=examples.read,
    measures={
        "source_characters": "integer",
        "target_characters": "integer",
        "source_words": "integer",
        "target_words": "integer",
        "ratio": "number",
        "shared_words": "number",
        "source_letters": "number",
        "target_letters": "number",
        "source_accents": "number",
        "target_accents": "number",
    },
    measure=examples.measure,
    expectations=examples.expectations,
    encode_params=params.PairEncoding,
    fit=encoding.fit,
    encode=encoding.encode,
    models=(params.TransformerParams, HuggingFaceParams),
    build=learning.build,
    objective=params.TranslationObjective,
    losses=learning.losses,
    draws=0,
    augment=no_augmentation,
    predict=scoring.predict,
    metrics=scoring.METRICS,
    baselines=baselines.baselines,
    show=panels.show,
    serving=Serving(
        inputs={"text": "string"},
        outputs={"text": "string", "score": "double"},
        params={"beam": 4, "length_penalty": 1.0},
        packages=("tokenizers",),
        example=serving.example,
        answer=serving.answer,
    ),
    probe=probing.PROBE,
    tidy=lambda target, data: target.strip(),
    amend=amended,
    features=senses.features,
    parts=senses.parts,
    surprise=senses.surprise,
    thumbnail=senses.thumbnail,
)
