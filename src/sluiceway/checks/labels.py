"""Labels that may be wrong, as the cross-fitted classical learner sees them.

Classes: what confident learning suspects (cleanlab; Northcutt et al., 2021) and a noisy channel confirms
(:mod:`sluiceway.checks.noise`): confident learning alone takes a hard task for a noisy one. Of several labels each is
asked by itself, whether it is lacking or too many. Numbers: what lies far from an out-of-fold prediction, by the spread
of the residuals around it. Texts: those that a model of the other examples foretells no better with their content than
without it. Where lines of two files are shifted against each other they stand in a row, and so one between two others
is meant too.

Shapes: N answered examples with a target that is trusted to none, K classes.
"""

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sluiceway.checks.base import Finding, Material, Offender, finding
from sluiceway.checks.noise import label_noise
from sluiceway.data.answers import Answers
from sluiceway.data.labels import indicators
from sluiceway.data.learning.learner import numbers
from sluiceway.gates.verdict import Severity

if TYPE_CHECKING:
    import polars as pl

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

NOTED = 0.2
"""Share of the limit above which the check fails as a warning."""
_LEAST_PER_CLASS = 10
"""Mean number of examples of a class below which the learner has seen too little of each to judge labels."""
_Z = 1.96
_LEAST_EXAMPLES = 30
_FENCE = 8.0
"""Residuals so many robust deviations away are outlying: a normal one in 10^15, and 3 in 1,000 of a t3 distribution."""
_BINS, _PER_BIN = 20, 50
_LEAST_LOCAL = 0.5
"""Share of the overall spread of residuals that a place's own spread counts at least as."""
_A_SHIFT = 5
"""Wrong texts in a row that hardly come about one by one."""
_GOOD_FIT = 0.5
"""Share of the variance explained, in deviations that wild values do not move, below which suspects only warn."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The answered examples that have a target and are not corrected by a person."""

    table: "pl.DataFrame"
    """Their rows of the example table: N."""
    place: npt.NDArray[np.intp]
    """Their places in the answers: [N]."""


def answered(material: Material, answers: Answers, *, corrected: bool = False) -> Answered:
    """Join sampled examples that have a target with their answers.

    Args:
        material: what is known of the data set.
        answers: the classical learner's.
        corrected: whether to take also those whose target a person has corrected or confirmed.
    """
    table = material.sampled
    place, there = answers.places(table["row"].to_numpy())
    keep = there & table["target"].is_not_null().to_numpy()
    if not corrected and material.corrected:
        keep &= ~table["id"].is_in(list(material.corrected)).to_numpy()
    return Answered(table.filter(keep), place[keep])


def label_errors(material: Material) -> Iterator[Finding]:
    """Name the examples whose target the classical learner contradicts, and hold their share against the limit."""
    answers = material.answers
    if answers is None:
        return
    found = answered(material, answers)
    if len(found.table) < _LEAST_EXAMPLES:
        return
    if material.target == "class" and answers.probabilities is not None:
        yield from _wrong_classes(material, answers, found)
    elif material.target == "classes" and answers.probabilities is not None:
        yield from _wrong_labels(material, answers, found)
    elif material.target == "number" and answers.predictions is not None:
        yield from _wrong_numbers(material, answers, found)
    elif material.target == "text" and answers.surprise is not None:
        yield from _wrong_texts(material, answers.surprise[found.place], found)


def _wrong_classes(material: Material, answers: Answers, found: Answered) -> Iterator[Finding]:
    assert answers.probabilities is not None  # noqa: S101
    number = {name: at for at, name in enumerate(answers.classes)}
    named = [number.get(target, -1) for target in found.table["target"].to_list()]
    known = np.array(named) >= 0
    present, labels = np.unique(np.array(named, np.int64)[known], return_inverse=True)
    if len(present) < 2 or len(labels) < _LEAST_PER_CLASS * len(present):
        return
    probabilities = answers.probabilities[found.place[known]][:, present]  # [N, K]
    probabilities = np.maximum(probabilities, 1e-12)
    probabilities /= probabilities.sum(1, keepdims=True)
    noise = label_noise(probabilities, labels)
    if not noise.told:
        yield finding(
            "label_errors",
            f"the classical learner agrees with {noise.agreement:.0%} of the labels: too few to tell which are wrong",
            passed=True,
            figure=None,
            limit=material.limits.max_label_errors,
        )
        return
    suspected = (noise.wrong > 0.5) & suspected_by_cleanlab(probabilities, labels)
    ids = found.table["id"].to_list()
    at = np.flatnonzero(known)
    guess = probabilities.argmax(1)
    offenders = [
        Offender(
            id=ids[at[one]],
            detail=f"looks like {answers.classes[present[guess[one]]]} ({probabilities[one, guess[one]]:.2f})",
            score=round(float(noise.wrong[one]), 6),
        )
        for one in np.flatnonzero(suspected)
    ]
    yield _judged(material, offenders, len(labels), "label", Severity.close)


def _wrong_labels(material: Material, answers: Answers, found: Answered) -> Iterator[Finding]:
    """Ask of each label by itself whether it is lacking or too many, as of two classes; an example counts once."""
    assert answers.probabilities is not None  # noqa: S101
    known = indicators(found.table["target"].to_list(), answers.classes)  # [N, K]
    ids = found.table["id"].to_list()
    said: dict[int, tuple[float, list[str]]] = {}
    judged = 0
    for k, name in enumerate(answers.classes):
        has = known[:, k].astype(np.int64)
        if min(has.sum(), len(has) - has.sum()) < _LEAST_PER_CLASS:
            continue
        there = np.clip(answers.probabilities[found.place, k], 1e-12, 1 - 1e-12)
        both = np.stack([1 - there, there], 1)
        noise = label_noise(both, has)
        if not noise.told:
            continue
        judged += 1
        for one in np.flatnonzero((noise.wrong > 0.5) & suspected_by_cleanlab(both, has)).tolist():
            score, details = said.get(one, (0.0, []))
            what = f"{name} does not show" if has[one] else f"{name} is lacking"
            said[one] = max(score, float(noise.wrong[one])), [*details, f"{what} ({there[one]:.2f})"]
    if not judged:
        yield finding(
            "label_errors",
            "the classical learner agrees with too few of the labels to tell which are wrong",
            passed=True,
            figure=None,
            limit=material.limits.max_label_errors,
        )
        return
    offenders = [
        Offender(id=ids[one], detail="; ".join(details), score=round(score, 6))
        for one, (score, details) in said.items()
    ]
    yield _judged(material, offenders, len(ids), "label", Severity.close)


def _wrong_numbers(material: Material, answers: Answers, found: Answered) -> Iterator[Finding]:
    assert answers.predictions is not None  # noqa: S101
    targets = numbers(found.table["target"].to_list())
    predictions = answers.predictions[found.place]
    usable = np.isfinite(targets) & np.isfinite(predictions)
    if usable.sum() < _LEAST_EXAMPLES:
        return
    targets, predictions = targets[usable], predictions[usable]
    distance = residual_distances(predictions, targets - predictions)
    outlying = distance > _FENCE
    spread = _deviation(targets)
    fit = 1 - (_deviation(targets - predictions) / spread) ** 2 if spread > 0 else 0.0
    ids = found.table["id"].to_list()
    at = np.flatnonzero(usable)
    offenders = [
        Offender(ids[at[one]], f"{targets[one]:.4g}, expected {predictions[one]:.4g}", score=float(distance[one]))
        for one in np.flatnonzero(outlying)
    ]
    severity = Severity.close if fit >= _GOOD_FIT else Severity.warn
    yield _judged(material, offenders, len(targets), "target", severity)


def _wrong_texts(material: Material, surprise: Floats, found: Answered) -> Iterator[Finding]:
    known = np.isfinite(surprise)
    if known.sum() < _LEAST_EXAMPLES:
        return
    table, surprise = found.table.filter(known), surprise[known]
    wrong = in_a_row(surprise > 0, np.array(table["group"].to_list(), object))
    ids = table["id"].to_list()
    offenders = [
        Offender(
            ids[at],
            f"its content {'misleads' if surprise[at] > 0 else 'helps'} by {abs(surprise[at]):.2f} bits per word"
            + ("" if surprise[at] > 0 else ", but those beside it are wrong"),
            score=float(surprise[at]),
        )
        for at in np.flatnonzero(wrong)
    ]
    longest = _longest_run(wrong)
    yield _judged(
        material,
        offenders,
        len(ids),
        "target",
        Severity.close,
        f", {longest:,} of them in a row: were lines shifted against each other?" if longest >= _A_SHIFT else "",
    )


def in_a_row(wrong: npt.NDArray[np.bool_], groups: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Return what is wrong, or stands between two of its group that are: [N]."""
    found = wrong.copy()
    same = groups[1:] == groups[:-1]
    found[1:-1] |= wrong[:-2] & wrong[2:] & same[:-1] & same[1:]
    return found


def _longest_run(wrong: npt.NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], wrong.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _judged(
    material: Material, offenders: list[Offender], count: int, what: str, severity: Severity, more: str = ""
) -> Finding:
    limit = material.limits.max_label_errors
    share = len(offenders) / count
    surely = _at_least(len(offenders), count)
    closing, noted = surely > limit, surely > NOTED * limit
    message = f"the {what}s of {len(offenders):,} of {count:,} examples ({share:.2%}) look wrong{more}; {limit:.2%} may"
    if noted and not closing:
        message += f": `sluiceway labels review` lists them for a person, from {NOTED * limit:.2%} on"
    return finding(
        "label_errors",
        message,
        passed=not (closing or noted),
        figure=share,
        limit=limit,
        severity=severity if closing else Severity.warn if noted else severity,
        offenders=offenders,
    )


def _at_least(hits: int, count: int) -> float:
    """Lower end of Wilson's 95 % interval of a share: few examples prove little."""
    share, z2 = hits / count, _Z**2
    middle = share + z2 / (2 * count)
    reach = _Z * np.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return float((middle - reach) / (1 + z2 / count))


def suspected_by_cleanlab(probabilities: Floats, labels: Labels) -> npt.NDArray[np.bool_]:
    """Return which labels [N] confident learning would prune, given out-of-sample probabilities [N, K]."""
    from cleanlab.filter import find_label_issues

    logger = logging.getLogger("cleanlab")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            found = find_label_issues(labels, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
        finally:
            logger.setLevel(level)
    return np.asarray(found, bool)


def residual_distances(predictions: Floats, residuals: Floats) -> Floats:
    """Return how far residuals [N] lie outside, in robust deviations of those around similar predictions."""
    order = np.argsort(predictions, kind="stable")
    overall = _deviation(residuals)
    distances = np.zeros(len(residuals))
    for part in np.array_split(order, max(1, min(_BINS, len(order) // _PER_BIN))):
        middle = np.median(residuals[part])
        spread = max(_deviation(residuals[part] - middle), _LEAST_LOCAL * overall)
        distances[part] = np.abs(residuals[part] - middle) / spread if spread > 0 else 0.0
    return distances


def _deviation(values: Floats) -> float:
    """A standard deviation that few wild values do not move; the wider of middle and flanks, for peaked residuals."""
    around = np.abs(values - np.median(values))
    return float(max(1.4826 * np.median(around), np.quantile(around, 0.9) / 1.645))
