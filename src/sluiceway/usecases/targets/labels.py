"""``target: classes``: any number of labels. A sigmoid and binary cross entropy for each.

Shapes: B and N items, K labels.
"""

import html
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sluiceway.config import Section
from sluiceway.data.answers import Answers
from sluiceway.data.labels import indicators, joined, label_names, parted
from sluiceway.data.shards import Arrays
from sluiceway.data.table import BadExample, Example, Measures
from sluiceway.errors import DataError
from sluiceway.usecases.base import Batch, Encoding, Evidence, Metric, Outcomes, Panel, Reader
from sluiceway.usecases.targets.base import Modality, Target

if TYPE_CHECKING:
    from torch import Tensor

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

THRESHOLD = 0.5
"""Probability from which a label is said to be there."""
_SHOWN = 24


class LabelsObjective(Section):
    """Binary cross entropy of each label."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """How far targets are moved from 0 and 1 towards a half."""


def judge(target: str | None, measures: Measures, data: Section) -> None:
    """Refuse an example of which nobody said what it has: no label is said by an empty text."""
    if target is None:
        raise BadExample("no_target", "no labels are given; an empty text says that there are none")


def fit(targets: Sequence[str | None]) -> Encoding:
    """Find the labels."""
    labels = list(label_names(targets))
    if not labels:
        raise DataError("no training example has a label", hint="give labels: cat|dog, or a list as JSON has it")
    return {"labels": labels}


def encode(example: Example, encoding: Encoding) -> Arrays:
    """Say of each label whether it is there: uint8 [K]."""
    labels: list[str] = encoding["labels"]
    unknown = [label for label in parted(example.target or "") if label not in labels]
    if unknown:
        raise DataError(
            f"label {unknown[0]!r} of {example.id} does not occur in the training split",
            hint="give more examples of it, or take it out",
        )
    return {"target": indicators([example.target], labels)[0].astype(np.uint8)}


def losses(logits: "Tensor", batch: Batch, objective: LabelsObjective, training: bool) -> dict[str, "Tensor"]:
    """Return the mean binary cross entropy in nats, and whether all labels were right, per item [B]."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    target = batch["target"].to(logits.dtype)  # [B, K]
    smoothing = objective.label_smoothing if training else 0.0
    smooth = target * (1 - smoothing) + smoothing / 2
    each = binary_cross_entropy_with_logits(logits, smooth, reduction="none")
    exact = ((logits > 0) == (target > 0)).all(1)
    return {"loss": each.mean(1), "all_right": exact.float()}


def predict(logits: "Tensor", batch: Batch, encoding: Encoding) -> Outcomes:
    """Answer a batch with a probability for each label [B, K]."""
    return label_outcomes(batch["target"].cpu().numpy() > 0, logits.sigmoid().double().cpu().numpy())


def label_outcomes(target: Flags, probabilities: Floats) -> Outcomes:
    """Put probabilities beside the labels that are there, a column for each label, which Parquet can hold.

    ``confidence`` is how sure the learner is of its set of labels, ``correct`` whether all of them are right: [N] each.
    """
    said = probabilities >= THRESHOLD
    sure = np.where(said, probabilities, 1 - probabilities).prod(1)
    columns: Outcomes = {"confidence": sure, "correct": (said == target).all(1).astype(np.float64)}
    for k in range(target.shape[1]):
        columns |= {f"has_{k}": target[:, k], f"probability_{k}": probabilities[:, k]}
    return columns


def _matrix(outcomes: Outcomes, name: str) -> npt.NDArray[Any]:
    """Put the columns of the labels together: [N, K]."""
    count = sum(column.startswith("has_") for column in outcomes)
    return np.stack([outcomes[f"{name}_{k}"] for k in range(count)], 1)


def _hits(outcomes: Outcomes) -> tuple[Floats, Floats]:
    """Return twice the hits, and the labels said plus those that are there, of each label: [K]."""
    target, said = _matrix(outcomes, "has"), _matrix(outcomes, "probability") >= THRESHOLD
    return 2.0 * (target & said).sum(0), 1.0 * target.sum(0) + said.sum(0)


def micro_f1(outcomes: Outcomes) -> float:
    """F1 over all labels of all items together."""
    hits, total = _hits(outcomes)
    return float(hits.sum() / total.sum()) if total.sum() else 1.0


def macro_f1(outcomes: Outcomes) -> float:
    """Mean F1 of the labels that occur or are said."""
    hits, total = _hits(outcomes)
    return float((hits[total > 0] / total[total > 0]).mean()) if total.any() else 1.0


def mean_average_precision(outcomes: Outcomes) -> float:
    """Mean over the labels that occur of the area under precision by recall; ties share a threshold."""
    target, probabilities = _matrix(outcomes, "has"), _matrix(outcomes, "probability")
    occurs = target.any(0)
    if not occurs.any():
        return float("nan")
    return float(np.mean([_average_precision(target[:, k], probabilities[:, k]) for k in np.flatnonzero(occurs)]))


def _average_precision(target: Flags, score: Floats) -> float:
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(target[order])
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    precision, recall = hits[ends] / (ends + 1), hits[ends] / hits[-1]
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def subset_accuracy(outcomes: Outcomes) -> float:
    """Share of items whose labels are all right, and no others."""
    return float(outcomes["correct"].mean())


def baselines(
    reader: Reader, data: Section, encoding: Encoding, answers: Answers, modality: Modality
) -> Mapping[str, Outcomes]:
    """Answer the test split with each label's share; the classical learner has answered it in ``validate``."""
    labels: list[str] = encoding["labels"]
    shares = indicators([loaded.example.target for loaded in reader("train")], labels).mean(0)
    test = [(loaded.row, loaded.example.target) for loaded in reader("test")]
    rows, target = np.array([row for row, _ in test], np.int64), indicators([name for _, name in test], labels)
    found = {"share of each label": {**label_outcomes(target, np.tile(shares, (len(target), 1))), "row": rows}}
    if answers.probabilities is not None:
        place = np.searchsorted(answers.rows, rows)
        column = {name: at for at, name in enumerate(answers.classes)}
        learned = np.stack([answers.probabilities[place, column[name]] for name in labels], 1)
        found[modality.classical["classes"]] = {**label_outcomes(target, learned), "row": rows}
    return found


def show(evidence: Evidence, modality: Modality) -> list[Panel]:
    """Show how each label fares, and the surest mistakes."""
    labels, outcomes = evidence.encoding["labels"], evidence.outcomes
    target, probabilities = _matrix(outcomes, "has"), _matrix(outcomes, "probability")
    said = probabilities >= THRESHOLD
    panels = [_table(labels, target, said, probabilities)]
    wrong = np.flatnonzero(outcomes["correct"] == 0)
    worst = wrong[np.argsort(-outcomes["confidence"][wrong], kind="stable")][:_SHOWN]
    figures = []
    for item in worst:
        seen = modality.picture(evidence.load(int(outcomes["row"][item])))
        told, true = (html.escape(", ".join(np.array(labels)[each[item]]) or "nothing") for each in (said, target))
        figures.append(f"<figure>{seen}<figcaption>{true}, taken for {told}</figcaption></figure>")
    if figures:
        caption = f"{len(wrong)} of {len(target)} test {modality.noun}s have a wrong label; the surest come first."
        panels.append(Panel("Mistakes", caption, f'<div class="gallery">{"".join(figures)}</div>'))
    return panels


def _table(labels: Sequence[str], target: Flags, said: Flags, probabilities: Floats) -> Panel:
    rows = []
    for k, label in enumerate(labels):
        hits, there, told = ((target & said)[:, k].sum(), target[:, k].sum(), said[:, k].sum())
        precision, recall = (f"{hits / of:.1%}" if of else "" for of in (told, there))
        area = f"{_average_precision(target[:, k], probabilities[:, k]):.1%}" if there else ""
        cells = (html.escape(label), f"{there:,}", precision, recall, area)
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("Label", "Test items", "Precision", "Recall", "Average precision"))
    caption = f"A label is said to be there from a probability of {THRESHOLD:g} on."
    return Panel("Labels", caption, f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>")


def answer(logits: "Tensor", batch: Batch, encoding: Encoding, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Name the labels that are there, and the probability of each label there is."""
    names: list[str] = encoding["labels"]
    threshold = float(params.get("threshold", THRESHOLD))
    found = logits.sigmoid().double().numpy()
    return [
        {
            "labels": joined(name for name, sure in zip(names, row, strict=True) if sure >= threshold),
            "probabilities": joined(f"{name}: {sure:.6g}" for name, sure in zip(names, row, strict=True)),
        }
        for row in found.tolist()
    ]


def _percent(name: str, title: str, compute: Callable[[Outcomes], float]) -> Metric:
    return Metric(name, title, higher_is_better=True, compute=compute, percent=True)


CLASSES = Target(
    kind="classes",
    what="any number of labels per {}",
    objective=LabelsObjective,
    fit=fit,
    encode=encode,
    outputs=lambda encoding: len(encoding["labels"]),
    losses=losses,
    predict=predict,
    metrics=(
        _percent("macro_f1", "Macro F1", macro_f1),
        _percent("micro_f1", "Micro F1", micro_f1),
        _percent("mean_average_precision", "Mean average precision", mean_average_precision),
        _percent("subset_accuracy", "All labels right", subset_accuracy),
    ),
    baselines=baselines,
    show=show,
    columns={"labels": "string", "probabilities": "string"},
    answer=answer,
    params={"threshold": THRESHOLD},
    tidy=lambda target, data: joined(parted(target)),
    judge=judge,
)
