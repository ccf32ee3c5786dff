"""``target: class``: one of several classes. Softmax and cross entropy.

Shapes: B items, K classes.
"""

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from sluiceway.config import Section
from sluiceway.data.answers import Answers
from sluiceway.data.outcomes import accuracy, class_baselines, class_outcomes, macro_f1
from sluiceway.data.shards import Arrays
from sluiceway.data.table import Example
from sluiceway.errors import DataError
from sluiceway.usecases.base import Batch, Encoding, Evidence, Metric, Outcomes, Panel, Reader
from sluiceway.usecases.targets.base import Modality, Target

if TYPE_CHECKING:
    from torch import Tensor

_SHOWN = 24


class ClassObjective(Section):
    """Cross entropy."""

    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of the target's probability that is spread over all classes."""


def fit(targets: Sequence[str | None]) -> Encoding:
    """Find the classes."""
    classes = sorted({str(target) for target in targets})
    if len(classes) < 2:
        raise DataError(
            f"classification needs two classes, found {len(classes)}: {classes}",
            hint="give examples of another class: a folder per class, or metadata.csv with the class of each",
        )
    return {"classes": classes}


def encode(example: Example, encoding: Encoding) -> Arrays:
    """Give the class's number."""
    classes: list[str] = encoding["classes"]
    if example.target not in classes:
        raise DataError(
            f"class {example.target!r} of {example.id} does not occur in the training split",
            hint="`sluiceway split` puts one there, if there are three; else give more examples, or take them out",
        )
    return {"target": np.asarray(classes.index(example.target), np.int64)}


def losses(logits: "Tensor", batch: Batch, objective: ClassObjective, training: bool) -> dict[str, "Tensor"]:
    """Return cross entropy in nats and accuracy, per item [B]."""
    from torch.nn.functional import cross_entropy

    smoothing = objective.label_smoothing if training else 0.0
    loss = cross_entropy(logits, batch["target"], label_smoothing=smoothing, reduction="none")
    return {"loss": loss, "accuracy": (logits.argmax(1) == batch["target"]).float()}


def predict(logits: "Tensor", batch: Batch, encoding: Encoding) -> Outcomes:
    """Answer a batch: target, prediction, confidence and whether it was right, each [B]."""
    confidence, prediction = logits.softmax(1).max(1)
    return class_outcomes(*(each.cpu().numpy() for each in (batch["target"], prediction, confidence)))


def baselines(
    reader: Reader, data: Section, encoding: Encoding, answers: Answers, modality: Modality
) -> Mapping[str, Outcomes]:
    """Answer the test split with the commonest class; the classical learner has answered it in ``validate``."""
    train = [str(loaded.example.target) for loaded in reader("train")]
    test = [(loaded.row, str(loaded.example.target)) for loaded in reader("test")]
    return class_baselines(train, test, encoding["classes"], answers, modality.classical["class"])


def show(evidence: Evidence, modality: Modality) -> list[Panel]:
    """Show the surest mistakes."""
    classes, outcomes = evidence.encoding["classes"], evidence.outcomes
    wrong = np.flatnonzero(outcomes["correct"] == 0)
    worst = wrong[np.argsort(-outcomes["confidence"][wrong], kind="stable")][:_SHOWN]
    figures = []
    for item in worst:
        target, answer = (html.escape(classes[outcomes[name][item]]) for name in ("target", "predicted"))
        said = f"{target} taken for {answer}, {outcomes['confidence'][item]:.0%} sure"
        seen = modality.picture(evidence.load(int(outcomes["row"][item])))
        figures.append(f"<figure>{seen}<figcaption>{said}</figcaption></figure>")
    count = f"{len(wrong)} of {len(outcomes['correct'])} test {modality.noun}s"
    caption = f"{count} were answered wrongly; the surest come first."
    return [Panel("Mistakes", caption, f'<div class="gallery">{"".join(figures)}</div>')] if figures else []


def answer(logits: "Tensor", batch: Batch, encoding: Encoding, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Name the likeliest class of each item."""
    confidence, prediction = logits.softmax(1).max(1)
    return [
        {"label": encoding["classes"][number], "probability": float(sure)}
        for number, sure in zip(prediction.tolist(), confidence.tolist(), strict=True)
    ]


CLASS = Target(
    kind="class",
    what="one class per {}",
    objective=ClassObjective,
    fit=fit,
    encode=encode,
    outputs=lambda encoding: len(encoding["classes"]),
    losses=losses,
    predict=predict,
    metrics=(
        Metric("accuracy", "Accuracy", higher_is_better=True, compute=accuracy, percent=True),
        Metric("macro_f1", "Macro F1", higher_is_better=True, compute=macro_f1, percent=True),
    ),
    baselines=baselines,
    show=show,
    columns={"label": "string", "probability": "double"},
    answer=answer,
)
