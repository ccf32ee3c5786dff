"""Whether targets depend on contents at all, as far as the cross-fitted classical learner can see.

The measure asks for order, not for hits: a learner that always answers the commonest class, or half the right number,
may still rank examples rightly, and then there is something to learn. A gate closes only when even the upper end of the
interval is below the limit, so few examples never close it.

Shapes: N answered examples, K classes.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sluiceway.checks.base import Finding, Material, finding
from sluiceway.checks.labels import answered
from sluiceway.data.answers import Answers
from sluiceway.data.labels import indicators
from sluiceway.data.learning.learner import numbers
from sluiceway.gates.verdict import Severity

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

_Z = 2.0
"""Standard errors on each side of an interval."""
_LEAST_OF_CLASS = 20
"""Examples of a class below which nothing is said of it alone."""
_LEAST_EXAMPLES = 30
_NAMED = 5
_STANDS_OUT = 0.25
"""2 AUC - 1 of a class below which it is told from nothing. The hardest digits, by 3 numbers each, came to 0.3."""


def target_depends_on_content(material: Material) -> Iterator[Finding]:
    """Ask whether the learner does better than guessing."""
    answers = material.answers
    if answers is None:
        return
    found = answered(material, answers, corrected=True)
    targets = found.table["target"].to_list()
    if len(targets) < _LEAST_EXAMPLES:
        return
    if material.target == "class" and answers.probabilities is not None and len(answers.classes) > 1:
        labels, probabilities = _classes(answers, targets, found.place)
        yield _judged(material, *ranking(probabilities, labels), "classes")
        yield from _each_class(answers, probabilities, labels)
    elif material.target == "classes" and answers.probabilities is not None:
        known = indicators(targets, answers.classes)
        if (known.any(0) & ~known.all(0)).any():
            yield _judged(material, *ranking_of_labels(answers.probabilities[found.place], known), "labels")
    elif material.target == "number" and answers.predictions is not None:
        values, predictions = numbers(targets), answers.predictions[found.place]
        usable = np.isfinite(values) & np.isfinite(predictions)
        if usable.sum() >= _LEAST_EXAMPLES and np.ptp(values[usable]) > 0:
            yield _judged(material, *correlation(predictions[usable], values[usable]), "numbers")
    elif material.target == "text" and answers.surprise is not None:
        surprise = answers.surprise[found.place]
        surprise = surprise[np.isfinite(surprise)]
        if len(surprise) >= _LEAST_EXAMPLES:  # by chance contents help as often as they mislead
            yield _judged(material, 1 - 2 * float((surprise >= 0).mean()), len(surprise) ** -0.5, "texts")


def _judged(material: Material, figure: float, error: float, what: str) -> Finding:
    limit = material.limits.min_learnable
    above = min(1.0, max(figure, 0.0) + _Z * error)  # across folds, nothing to learn looks worse than guessing
    passed = above >= limit
    how = f"{figure:.2f} of the way from guessing to knowing"
    message = f"the classical learner comes {how} the {what}; {limit:g} is needed"
    if not passed:
        message += ": targets hardly depend on contents: were they shuffled, or shifted against the contents?"
    return finding("target_depends_on_content", message, passed=passed, figure=round(figure, 4), limit=limit)


def ranking(probabilities: Floats, labels: Labels) -> tuple[float, float]:
    """Return how well each class's probability [N, K] ranks its own examples before the rest, and the standard error.

    0 is by chance, 1 is perfectly: 2 AUC - 1, averaged over the classes that occur. The error is that of chance.
    """
    return _mean([separation(probabilities[:, k], labels == k) for k in np.unique(labels)])


def ranking_of_labels(probabilities: Floats, own: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return the same for labels [N, K] that examples may have together; those that all have, or none, say nothing."""
    telling = np.flatnonzero(own.any(0) & ~own.all(0))
    return _mean([separation(probabilities[:, k], own[:, k]) for k in telling])


def _mean(each: list[tuple[float, float]]) -> tuple[float, float]:
    figures, errors = np.array(each).T
    together = np.sqrt((errors**2).sum()) / len(errors)  # errors of classes are nearly independent, of two the same
    return float(figures.mean()), float(together * np.sqrt(len(errors) / max(1, len(errors) - 1)))


def separation(score: Floats, own: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return 2 AUC - 1 of a score [N] for some examples against the rest, and its standard error by chance."""
    from scipy.stats import rankdata

    inside, outside = int(own.sum()), int((~own).sum())
    if not inside or not outside:
        return 0.0, 1.0
    area = (rankdata(score)[own].sum() - inside * (inside + 1) / 2) / (inside * outside)
    return float(2 * area - 1), float(2 * np.sqrt((inside + outside + 1) / (12 * inside * outside)))


def correlation(predictions: Floats, values: Floats) -> tuple[float, float]:
    """Return the correlation of predictions with numbers [N], by rank, and its standard error by chance.

    Neighbours in the table that resemble each other, such as frames of a drive, count as fewer examples.
    """
    from scipy.stats import rankdata

    one, other = (_standard(rankdata(each)) for each in (predictions, values))
    kept = max(0.0, float((one[1:] * one[:-1]).mean() * (other[1:] * other[:-1]).mean()))
    independent = max(4.0, len(values) * (1 - kept) / (1 + kept))
    return float((one * other).mean()), 1 / float(np.sqrt(independent - 3 + 1e-9))


def _standard(values: Floats) -> Floats:
    spread = values.std()
    return (values - values.mean()) / spread if spread > 0 else np.zeros_like(values)


def _classes(answers: Answers, targets: list[str], place: npt.NDArray[np.intp]) -> tuple[Labels, Floats]:
    assert answers.probabilities is not None  # noqa: S101
    number = {name: at for at, name in enumerate(answers.classes)}
    labels = np.array([number.get(target, -1) for target in targets], np.int64)
    return labels[labels >= 0], answers.probabilities[place[labels >= 0]]


def _each_class(answers: Answers, probabilities: Floats, labels: Labels) -> Iterator[Finding]:
    """Name the classes that nothing tells from the rest, or from the class that they are taken for most often."""
    counts = np.bincount(labels, minlength=len(answers.classes))
    guess = probabilities.argmax(1)
    faults: dict[frozenset[int], str] = {}
    worst = 1.0
    for k in np.flatnonzero(counts >= _LEAST_OF_CLASS).tolist():
        own = labels == k
        figure, error = separation(probabilities[:, k], own)
        worst = min(worst, figure)
        if max(figure, 0.0) + _Z * error < _STANDS_OUT:
            faults[frozenset([k])] = f"{answers.classes[k]} is not told from the rest"
            continue
        taken_for = np.bincount(guess[own], minlength=len(counts))
        taken_for[k] = 0
        other = int(taken_for.argmax())
        if counts[other] < _LEAST_OF_CLASS or not taken_for[other]:
            continue
        both = own | (labels == other)
        figure, error = separation(probabilities[both, k] - probabilities[both, other], own[both])
        worst = min(worst, figure)
        if max(figure, 0.0) + _Z * error < _STANDS_OUT:
            faults[frozenset([k, other])] = f"{answers.classes[k]} is not told from {answers.classes[other]}"
    if not (counts >= _LEAST_OF_CLASS).any():
        return
    listed = "; ".join(list(faults.values())[:_NAMED])
    yield finding(
        "classes_learnable",
        f"{len(faults)} classes, or pairs of them, cannot be learned: {listed}" if faults else "every class stands out",
        passed=not faults,
        figure=round(worst, 4),
        limit=_STANDS_OUT,
        severity=Severity.warn,
    )
