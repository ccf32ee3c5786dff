"""Image classification: a folder per class, a residual network, HOG with a support vector machine beside it."""

from sluiceway.usecases.base import Serving, UseCase
from sluiceway.usecases.image_classification import baselines, examples, learning, params, scoring, senses, serving

USECASE = UseCase(
    name="image_classification",
    summary="one class per image: a residual network beside HOG + SVM",
    target="class",
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
    encode=examples.encode,
    models=(params.ResidualParams,),
    build=learning.build,
    objective=params.ImageObjective,
    losses=learning.losses,
    draws=learning.DRAWS,
    augment=learning.augment,
    predict=scoring.predict,
    metrics=scoring.METRICS,
    baselines=baselines.baselines,
    show=scoring.show,
    serving=Serving(
        inputs={"image": "binary"},
        outputs={"label": "string", "probability": "double"},
        params={},
        packages=("pillow",),
        example=serving.example,
        answer=serving.answer,
    ),
    features=senses.features,
    fingerprint=senses.fingerprint,
    estimator=senses.estimator,
    thumbnail=senses.thumbnail,
)
