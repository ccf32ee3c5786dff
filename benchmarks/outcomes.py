"""What became of a training that was broken, held against one that was not."""

from dataclasses import dataclass

from lab import OPTIONS, Training

TWO: dict[str, object] = {"workers": 2}
GENTLE: dict[str, object] = {"optimizer": "sgd", "lr": 0.0002, "validate_every": 100.0}
"""A training in which errors of rounding do not grow, so that losses of another number of workers can be compared."""
ELASTIC: dict[str, object] = {**GENTLE, "workers": [1, 2]}


@dataclass(frozen=True)
class Outcome:
    """What became of one training."""

    happened: str
    steps_lost: int | None = None
    """Steps that were done twice."""
    seconds: float | None = None
    """From the fault to the first step of the training that goes on."""
    missing: int | None = None
    """Steps without a training loss in MLflow."""
    doubled: int | None = None
    """Steps with more than one."""
    result: str = ""
    """Whether the weights are those of an undisturbed training."""
    right: bool = True
    """Whether all of this is as it should be."""


def came_of(training: Training, whole: Training, happened: str, seconds: float, first: int) -> Outcome:
    """Compare a training that came through with an undisturbed one."""
    lost = max(0, training.reached + 1 - first)
    logged, steps = training.in_mlflow(), set(whole.losses())
    missing, doubled = len(steps - set(logged)), sum(count > 1 for count in logged.values())
    same = training.weights() == whole.weights()
    agree = same or apart(training, whole) < TOLERANCE
    result = "the same bits" if same else f"losses within {apart(training, whole):.0e}"
    every = OPTIONS["checkpoint_every"]
    assert isinstance(every, int)
    right = agree and not missing and not doubled and lost <= every and set(training.losses()) == steps
    return Outcome(happened, lost, seconds, missing, doubled, result, right)


TOLERANCE = 1e-5
"""Of losses where the number of workers changed: sums are taken in another order."""


def apart(one: Training, other: Training) -> float:
    """Return the largest difference of two loss curves, as a share of the largest loss."""
    mine, theirs = one.losses(), other.losses()
    scale = max(theirs.values())
    return max(abs(mine[step] - theirs[step]) for step in mine.keys() & theirs.keys()) / scale
