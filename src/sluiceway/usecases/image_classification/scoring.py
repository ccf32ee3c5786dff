"""A model to its scores: what it answered, how right that was, and its surest mistakes.

Shapes: B images.
"""

import html
import io
from typing import TYPE_CHECKING

import numpy as np

from sluiceway.data.outcomes import accuracy, class_outcomes, macro_f1
from sluiceway.usecases.base import Batch, Encoding, Evidence, Metric, Outcomes, Panel
from sluiceway.usecases.image_classification.examples import open_image

if TYPE_CHECKING:
    from torch import nn


def predict(model: "nn.Module", batch: Batch, encoding: Encoding) -> Outcomes:
    """Answer a batch: target, prediction, confidence and whether it was right, each [B]."""
    probabilities = model(batch["image"]).softmax(1)
    confidence, prediction = probabilities.max(1)
    return class_outcomes(batch["target"].numpy(), prediction.numpy(), confidence.numpy())


METRICS = (
    Metric("accuracy", "Accuracy", higher_is_better=True, compute=accuracy, percent=True),
    Metric("macro_f1", "Macro F1", higher_is_better=True, compute=macro_f1, percent=True),
)


def show(evidence: Evidence) -> list[Panel]:
    """Show the surest mistakes."""
    classes, outcomes = evidence.encoding["classes"], evidence.outcomes
    wrong = np.flatnonzero(outcomes["correct"] == 0)
    worst = wrong[np.argsort(-outcomes["confidence"][wrong])][:24]
    figures = []
    for item in worst:
        target, answer = (html.escape(classes[outcomes[name][item]]) for name in ("target", "predicted"))
        said = f"{target} taken for {answer}, {outcomes['confidence'][item]:.0%} sure"
        source = _data_uri(evidence.load(int(outcomes["row"][item])))
        figures.append(f'<figure><img src="{source}" alt="{said}" width="84"><figcaption>{said}</figcaption></figure>')
    caption = f"{len(wrong)} of {len(outcomes['correct'])} test images were answered wrongly; the surest come first."
    return [Panel("Mistakes", caption, f'<div class="gallery">{"".join(figures)}</div>')] if figures else []


def _data_uri(payload: bytes) -> str:
    from base64 import b64encode

    picture = io.BytesIO()
    image = open_image(payload).convert("RGB")
    image.thumbnail((168, 168))
    image.save(picture, "PNG")
    return "data:image/png;base64," + b64encode(picture.getvalue()).decode()
