"""A model to its scores: what it answered, how right that was, and its surest mistakes.

Shapes: B sounds.
"""

import html
from typing import TYPE_CHECKING

import numpy as np

from sluiceway.data.outcomes import accuracy, class_outcomes, macro_f1
from sluiceway.usecases.base import Batch, Encoding, Evidence, Metric, Outcomes, Panel
from sluiceway.usecases.speech_classification.senses import picture

if TYPE_CHECKING:
    from torch import nn

METRICS = (
    Metric("accuracy", "Accuracy", higher_is_better=True, compute=accuracy, percent=True),
    Metric("macro_f1", "Macro F1", higher_is_better=True, compute=macro_f1, percent=True),
)
_SHOWN = 24


def predict(model: "nn.Module", batch: Batch, encoding: Encoding) -> Outcomes:
    """Answer a batch: target, prediction, confidence and whether it was right, each [B]."""
    probabilities = model(batch["levels"]).softmax(1)
    confidence, prediction = probabilities.max(1)
    return class_outcomes(batch["target"].numpy(), prediction.numpy(), confidence.numpy())


def show(evidence: Evidence) -> list[Panel]:
    """Show the surest mistakes, to be seen and heard."""
    classes, outcomes = evidence.encoding["classes"], evidence.outcomes
    wrong = np.flatnonzero(outcomes["correct"] == 0)
    worst = wrong[np.argsort(-outcomes["confidence"][wrong])][:_SHOWN]
    figures = []
    for item in worst:
        target, answer = (html.escape(classes[outcomes[name][item]]) for name in ("target", "predicted"))
        said = f"{target} taken for {answer}, {outcomes['confidence'][item]:.0%} sure"
        seen = picture(evidence.load(int(outcomes["row"][item])))
        figures.append(f'<figure style="width:auto">{seen}<figcaption>{said}</figcaption></figure>')
    caption = f"{len(wrong)} of {len(outcomes['correct'])} test sounds were answered wrongly; the surest come first."
    return [Panel("Mistakes", caption, f'<div class="gallery">{"".join(figures)}</div>')] if figures else []
