"""Recommendation: a table of who chose what and when, SASRec, popularity and item-kNN beside it.

An example is one interaction: a line of the table. A user's last choice is the test, the one before is validation, and
the model foretells each from what stands before it. The whole catalogue is ranked.
"""

from sluiceway.models.huggingface.params import HuggingFaceParams
from sluiceway.usecases.base import Serving, UseCase, no_augmentation
from sluiceway.usecases.recommendation import baselines, examples, learning, params, probing, scoring, senses, serving

USECASE = UseCase(
    name="recommendation",
    summary="a user's next item: self-attention over the history beside item-kNN",
    target="text",
    data=params.InteractionData,
    read=examples.read,
    measures={"rating": "number"},
    measure=examples.measure,
    expectations=examples.expectations,
    encode_params=params.SequenceEncoding,
    fit=examples.fit,
    encode=examples.encode,
    looks_back=True,
    models=(params.SASRecParams, HuggingFaceParams),
    build=learning.build,
    objective=params.NextItemObjective,
    losses=learning.losses,
    draws=0,
    augment=no_augmentation,
    predict=scoring.predict,
    metrics=scoring.METRICS,
    baselines=baselines.baselines,
    show=scoring.show,
    probe=probing.PROBE,
    serving=Serving(
        inputs={"history": "string"},
        outputs={"items": "string", "titles": "string", "scores": "string", "known": "long"},
        params={"top": 10},
        example=serving.example,
        answer=serving.answer,
    ),
    data_gate=params.InteractionGate,
    thumbnail=senses.thumbnail,
)
