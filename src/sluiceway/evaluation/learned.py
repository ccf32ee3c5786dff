"""Whether a network learned anything at all; where it seems not to have, what is likeliest wrong, and what to do.

Decided by figures that an evaluation has anyway: the answers, those of the simpler learners on the same items, and the
training curves. A network that is merely weak is not meant: the comparison with the baselines says that.

Shapes: N test items, K labels.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sluiceway.config import Train
from sluiceway.evaluation import text
from sluiceway.evaluation.scores import Score
from sluiceway.usecases.base import Metric, Outcomes
from sluiceway.usecases.targets.labels import THRESHOLD

Compare = Callable[[Outcomes, Outcomes, Metric], Score]
"""Computes how much better the first is than the second on the same items: (outcomes, outcomes, metric)."""

FLAT = 0.02
"""Share of its first value by which a loss must fall to count as falling."""
NARROW = 0.02
"""Deviation of the answers, as a share of that of the numbers asked for, below which they are one number."""
FEW_STEPS = 200
_RATE = Train().lr


@dataclass(frozen=True, slots=True)
class NothingLearned:
    """A network that seems to have learned nothing."""

    signs: tuple[str, ...]
    """What was seen, in sentences."""
    causes: tuple[str, ...]
    """The likeliest first: what may be wrong, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Course:
    """How a training went."""

    training: tuple[float, ...]
    """Losses, in the order of the steps."""
    validation: tuple[float, ...]
    steps: int

    @classmethod
    def of(cls, history: Iterable[Mapping[str, float]], steps: int) -> "Course":
        """Take the losses of a metric history, as ``plots.training_curves`` does."""
        records = list(history)
        sides = ([each[name] for each in records if name in each] for name in ("train/loss", "validation/loss"))
        training, validation = (tuple(side) for side in sides)
        return cls(training, validation, steps)

    @property
    def flat(self) -> bool:
        """Whether neither loss fell."""
        return _fell(self.training) < FLAT and not _fell(self.validation) >= FLAT

    @property
    def rose(self) -> bool:
        """Whether the training made it worse."""
        return _fell(self.training) < -FLAT

    @property
    def by_heart(self) -> bool:
        """Whether only the training examples were learned."""
        return _fell(self.training) >= FLAT > _fell(self.validation)


def nothing_learned(
    model: Outcomes,
    baselines: Mapping[str, Outcomes],
    metrics: Sequence[Metric],
    compare: Compare,
    course: Course,
    train: Train,
    pipeline: str,
) -> NothingLearned | None:
    """Say whether the network learned nothing.

    Args:
        model: its outcomes on the test split.
        baselines: those of simpler learners by name; only who answered the same items is asked.
        metrics: on these outcomes; the first one decides.
        compare: computes a paired difference.
        course: how the training went.
        train: what it was told.
        pipeline: name, for commands.

    Returns:
        None for a network that gives different answers, and beats a learner that looks at nothing or is clearly better
        in another metric; where no such learner is, for one whose loss fell, or that beats the worst of the others.
    """
    others = {name: each for name, each in baselines.items() if np.array_equal(model["row"], each["row"])}
    if not others:
        return None
    first = metrics[0]
    blind = _blind(others, first)
    ahead = compare(model, others[blind], first)
    constant, alike = _is_one_answer(others[blind]), _is_one_answer(model) and not _is_one_answer(model, asked=True)
    if alike:
        nothing = not all(compare(model, others[blind], each).low > 0 for each in metrics)
    elif constant:
        nothing = ahead.value <= 0 and not any(compare(model, others[blind], each).low > 0 for each in metrics[1:])
    else:
        nothing = ahead.value <= 0 and course.flat
    if not nothing:
        return None
    classical = [name for name in others if name != blind and compare(others[name], others[blind], first).low > 0]
    shown = {name: text.figure(first, float(first.compute(others[name]))) for name in others}
    signs = [
        f"{first.title} is {text.figure(first, float(first.compute(model)))}; {blind}, "
        f"which {'looks at nothing' if constant else 'is the simplest learner here'}, has {shown[blind]}.",
        f"It gives one and the same answer to all {len(model['row']):,} test items." if alike else "",
        _course_in_words(course),
        f"{classical[0]} has {shown[classical[0]]} on the same items: the data can be learned." if classical else "",
    ]
    learnable = bool(classical) if len(others) > 1 else None
    return NothingLearned(tuple(filter(None, signs)), tuple(_causes(course, train, pipeline, learnable)))


def _blind(others: Mapping[str, Outcomes], metric: Metric) -> str:
    """Return who looks at nothing: the best of those that give one answer, or else the worst of all."""
    values = {name: float(metric.compute(each)) for name, each in others.items()}
    rising = sorted(others, key=lambda name: values[name] if metric.higher_is_better else -values[name])
    return next((name for name in reversed(rising) if _is_one_answer(others[name])), rising[0])


def _is_one_answer(outcomes: Outcomes, *, asked: bool = False) -> bool:
    """Whether all answers are the same, or all that was asked for is. Answers of a form that is not known are not."""
    target, predicted = outcomes.get("target"), outcomes.get("predicted")
    if target is not None and predicted is not None and predicted.dtype.kind == "f":
        spread = float(target.std())
        return spread == 0 if asked else bool(float(predicted.std()) <= NARROW * spread)
    found = _said(outcomes, *(("target", "text", "has_") if asked else ("predicted", "said", "probability_")))
    return found is not None and len(set(found)) == 1


def _said(outcomes: Outcomes, number: str, words: str, label: str) -> Sequence[object] | None:
    """Return what each item's answer was: a class, a text or a set of labels."""
    for name in (number, words):
        if name in outcomes:
            said: Sequence[object] = outcomes[name].tolist()
            return said
    columns: list[npt.NDArray[np.float64]] = [column for name, column in outcomes.items() if name.startswith(label)]
    return [tuple(row) for row in (np.stack(columns, 1) >= THRESHOLD).tolist()] if columns else None


def _fell(losses: Sequence[float]) -> float:
    """Return by which share of its first value a loss fell to the mean of its last tenth; NaN where nobody can say."""
    if len(losses) < 2:
        return math.nan
    last = float(np.mean(losses[-max(1, len(losses) // 10) :]))
    return (losses[0] - last) / max(abs(losses[0]), 1e-12)


def _course_in_words(course: Course) -> str:
    if len(course.training) < 2:
        return ""
    went = f"{course.training[0]:.4g} to {course.training[-1]:.4g}"
    if course.rose:
        return f"The training loss rose, from {went}."
    if course.by_heart:
        ends = f"{course.validation[0]:.4g} to {course.validation[-1]:.4g}"
        return f"The training loss fell from {went}, that of the validation did not: {ends}."
    return f"The training loss hardly moved, from {went}." if course.flat else f"The training loss fell from {went}."


def _causes(course: Course, train: Train, pipeline: str, learnable: bool | None) -> list[str]:
    targets = (
        f"The targets may not belong to the contents: `reports/{pipeline}/data/index.html` shows examples with theirs, "
        f"`sluiceway labels review {pipeline}` lists doubtful ones."
    )
    causes = [f"No simpler learner is better than that either. {targets}"] if learnable is False else []
    causes += _about_rate(course, train.lr, pipeline)
    if course.steps < FEW_STEPS:
        causes.append(
            f"{course.steps:,} step{'s' * (course.steps != 1)} may be too few: raise `train.epochs` "
            f"({train.epochs:g}), or lower `train.global_batch` ({train.global_batch})."
        )
    if course.by_heart:
        causes.append(
            "It learned its examples by heart: give more of them, a smaller `model`, more `train.weight_decay`, or "
            "`train.early_stopping`; and see whether the sides of the split are of one kind."
        )
    elif not course.flat and course.steps >= FEW_STEPS:
        causes.append(f"The training may have ended too early: raise `train.epochs` ({train.epochs:g}).")
    return [*causes, targets] if learnable is None else causes


def _about_rate(course: Course, rate: float, pipeline: str) -> list[str]:
    """Say what speaks against the learning rate: nothing while a few steps explain as well that a loss stands still."""
    run = f"`dvc exp run -S pipelines/{pipeline}/params.yaml:train.lr={{:g}} register@{pipeline}`"
    if course.rose or rate >= 30 * _RATE:
        return [f"The learning rate may be too high: `train.lr` is {rate:g}. Try {run.format(rate / 10)}."]
    if course.flat and rate <= _RATE / 10:
        return [f"The learning rate may be too low: `train.lr` is {rate:g}. Try {run.format(_RATE)}."]
    if course.flat and course.steps >= FEW_STEPS:
        return [
            f"The learning rate may not fit: `train.lr` is {rate:g}. Try a tenth and ten times of it, "
            f"{run.format(rate / 10)}, or let `sluiceway tune {pipeline}` look for it."
        ]
    return []
