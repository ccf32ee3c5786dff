"""``target: number``: regression. The network answers in deviations from the training split's mean.

Shapes: B and N items.
"""

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sluiceway.config import Section
from sluiceway.data.answers import Answers
from sluiceway.data.shards import Arrays
from sluiceway.data.table import BadExample, Example, Measures
from sluiceway.errors import DataError
from sluiceway.usecases.base import Batch, Encoding, Evidence, Metric, Outcomes, Panel, Reader
from sluiceway.usecases.targets.base import Modality, Target

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float64]

_SHOWN = 12


class NumberObjective(Section):
    """Smooth L1 (Huber, 1964): square for small errors, absolute for large ones, which wild targets then rule less."""

    huber: float = Field(1.0, gt=0)
    """Error, in deviations of the training split's targets, up to which it counts by its square."""


def judge(target: str | None, measures: Measures, data: Section) -> None:
    """Refuse what is no number."""
    if target is None:
        raise BadExample("no_target", "no number is given")
    try:
        value = float(target)
    except ValueError:
        raise BadExample("bad_target", f"{target[:40]!r} is not a number") from None
    if not np.isfinite(value):
        raise BadExample("bad_target", f"{target} is not finite")


def fit(targets: Sequence[str | None]) -> Encoding:
    """Find mean and deviation."""
    values = np.array([float(target or "nan") for target in targets])
    spread = float(values.std()) if len(values) else 0.0
    if not spread > 0:
        raise DataError(
            f"the numbers of the {len(values)} training examples do not vary, or one is lacking",
            hint="is the column of the target the right one? `data.label` names another",
        )
    return {"middle": float(values.mean()), "spread": spread}


def encode(example: Example, encoding: Encoding) -> Arrays:
    """Give the number, and how many deviations it lies from the mean."""
    value = float(example.target or "nan")
    standard = (value - encoding["middle"]) / encoding["spread"]
    return {"target": np.asarray(value, np.float64), "standard": np.asarray(standard, np.float32)}


def losses(outputs: "Tensor", batch: Batch, objective: NumberObjective, training: bool) -> dict[str, "Tensor"]:
    """Return smooth L1 and the absolute error, in deviations, per item [B]."""
    from torch.nn.functional import smooth_l1_loss

    standard = batch["standard"]
    found = outputs[:, 0]
    loss = smooth_l1_loss(found, standard, beta=objective.huber, reduction="none")
    return {"loss": loss, "absolute_error": (found - standard).abs()}


def predict(outputs: "Tensor", batch: Batch, encoding: Encoding) -> Outcomes:
    """Answer a batch: number and prediction, each [B]."""
    return {"target": batch["target"].double().cpu().numpy(), "predicted": _numbers(outputs, encoding)}


def _numbers(outputs: "Tensor", encoding: Encoding) -> Floats:
    return np.asarray(outputs[:, 0].double().cpu().numpy() * encoding["spread"] + encoding["middle"], np.float64)


def mean_absolute_error(outcomes: Outcomes) -> float:
    """Mean distance from the number."""
    return float(np.abs(outcomes["predicted"] - outcomes["target"]).mean())


def root_mean_squared_error(outcomes: Outcomes) -> float:
    """Root of the mean square of the distance."""
    return float(np.sqrt(((outcomes["predicted"] - outcomes["target"]) ** 2).mean()))


def r_squared(outcomes: Outcomes) -> float:
    """Share of the variance that is explained; NaN where the numbers do not vary."""
    around = float(((outcomes["target"] - outcomes["target"].mean()) ** 2).sum())
    left = float(((outcomes["predicted"] - outcomes["target"]) ** 2).sum())
    return 1 - left / around if around > 0 else float("nan")


def baselines(
    reader: Reader, data: Section, encoding: Encoding, answers: Answers, modality: Modality
) -> Mapping[str, Outcomes]:
    """Answer the test split with the mean; the classical learner has answered it in ``validate``."""
    test = [(loaded.row, float(loaded.example.target or "nan")) for loaded in reader("test")]
    rows, target = np.array([row for row, _ in test], np.int64), np.array([value for _, value in test], np.float64)
    common: Outcomes = {"target": target, "row": rows}
    found = {"mean": {**common, "predicted": np.full(len(target), encoding["middle"])}}
    if answers.predictions is not None:
        predicted = answers.predictions[np.searchsorted(answers.rows, rows)]
        found[modality.classical["number"]] = {**common, "predicted": predicted}
    return found


def show(evidence: Evidence, modality: Modality) -> list[Panel]:
    """Show the worst answers."""
    target, predicted = evidence.outcomes["target"], evidence.outcomes["predicted"]
    figures = []
    for item in np.argsort(-np.abs(predicted - target), kind="stable")[:_SHOWN]:
        seen = modality.picture(evidence.load(int(evidence.outcomes["row"][item])))
        said = html.escape(f"{target[item]:.4g}, taken for {predicted[item]:.4g}")
        figures.append(f"<figure>{seen}<figcaption>{said}</figcaption></figure>")
    gallery = f'<div class="gallery">{"".join(figures)}</div>'
    return [Panel("Largest errors", "The worst answers come first.", gallery)]


def answer(outputs: "Tensor", batch: Batch, encoding: Encoding, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the number of each item."""
    return [{"number": value} for value in _numbers(outputs, encoding).tolist()]


NUMBER = Target(
    kind="number",
    what="a number per {}",
    objective=NumberObjective,
    fit=fit,
    encode=encode,
    outputs=lambda encoding: 1,
    losses=losses,
    predict=predict,
    metrics=(
        Metric("mae", "Mean absolute error", higher_is_better=False, compute=mean_absolute_error),
        Metric("rmse", "Root mean squared error", higher_is_better=False, compute=root_mean_squared_error),
        Metric("r2", "R²", higher_is_better=True, compute=r_squared),
    ),
    baselines=baselines,
    show=show,
    columns={"number": "double"},
    answer=answer,
    tidy=lambda target, data: target.strip(),
    judge=judge,
)
