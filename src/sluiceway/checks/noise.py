"""How many labels are wrong, and which: a learner's probabilities seen through a noisy channel.

The given label is taken for the true one after a channel that sometimes swaps it; channel and temperature are found
together, by expectation and maximisation. What a hard task does (many unsure answers) is then told apart from what
wrong labels do (sure answers that are contradicted no matter how sure they are). Two channels:

- *even*: every wrong class is as likely. It does not take a hard task for a noisy one: on digits whose features were
  spoiled until the learner was right 54 to 95 times in 100, it saw no noise where there was none.
- *own*: each pair of classes has its rate, so that a 4 that is often called 9 is seen. On a hard task it takes classes
  that overlap for classes that are swapped, so it is believed of a good learner only.

Shapes: N examples, K classes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

GOOD = 0.9
"""Agreement with the labels that seem right above which the learner knows each pair of classes well enough. Clean but
hard tasks that came so far had at most 1.7 % of their labels suspected; those that did not, up to 4.4 %."""
FAIR = 0.7
"""Agreement below which the learner knows no better than the labels."""
_MOST_WRONG = 1 / 3
"""Share of the labels above which it is the learner that is wrong."""
_LEAST_PER_CLASS = 20
"""Mean number of examples of a class below which there are too few to tell pairs of classes apart."""
_MOST_FITTED = 20_000
_ROUNDS = 60
_RESCALED = 5
"""Rounds between two fits of the temperature."""
_FIRST_GUESS = 0.02
_PRIOR = 20.0
"""Imagined examples of each class that went evenly through the channel: few real ones prove nothing."""
_LEAST = 1e-12
_LOG_RANGE = (-3.0, 4.0)
_BLOCK = 8_192


@dataclass(frozen=True, slots=True)
class Noise:
    """What is believed of the labels."""

    wrong: Floats
    """Probability that a given label is wrong: [N]."""
    agreement: float
    """Share of the labels that seem right with which the learner agrees."""

    @property
    def told(self) -> bool:
        """Whether the learner is good enough to tell."""
        return self.agreement >= FAIR


def label_noise(probabilities: Floats, labels: Labels) -> Noise:
    """Judge labels [N] by out-of-sample probabilities [N, K] of a learner."""
    if len(labels) >= _LEAST_PER_CLASS * probabilities.shape[1]:
        own = _judge(probabilities, labels, even=False)
        if own.agreement >= GOOD and (own.wrong > 0.5).mean() <= _MOST_WRONG:
            return own
    return _judge(probabilities, labels, even=True)


def _judge(probabilities: Floats, labels: Labels, *, even: bool) -> Noise:
    step = -(-len(labels) // _MOST_FITTED)
    scale, channel = _fit(np.log(np.maximum(probabilities[::step], _LEAST)), labels[::step], even=even)
    wrong = np.empty(len(labels))
    for start in range(0, len(labels), _BLOCK):
        block = slice(start, start + _BLOCK)
        likely = _softmax(np.log(np.maximum(probabilities[block], _LEAST)), scale)
        shares = likely * channel[:, labels[block]].T
        right = shares[np.arange(len(shares)), labels[block]] / np.maximum(shares.sum(1), _LEAST)
        wrong[block] = 1 - right
    seem_right = wrong <= 0.5
    agree = probabilities.argmax(1) == labels
    return Noise(wrong, float(agree[seem_right].mean()) if seem_right.any() else 0.0)


def _fit(odds: Floats, labels: Labels, *, even: bool) -> tuple[float, Floats]:
    """Return the scale of the odds, and the channel [K true, K given]."""
    from scipy.optimize import minimize_scalar

    classes = odds.shape[1]
    same = np.eye(classes, dtype=bool)
    given = np.eye(classes)[labels]  # [N, K]
    channel = _even_channel(_FIRST_GUESS, same)
    scale = 1.0
    likely = odds

    def loss(log_scale: float) -> float:
        shares = (_softmax(odds, float(np.exp(log_scale))) * channel[:, labels].T).sum(1)
        return float(-np.log(np.maximum(shares, _LEAST)).mean())

    for number in range(_ROUNDS):
        if number % _RESCALED == 0:
            scale = float(np.exp(minimize_scalar(loss, bounds=_LOG_RANGE, method="bounded").x))
            likely = _softmax(odds, scale)
        shares = likely * channel[:, labels].T
        shares /= np.maximum(shares.sum(1, keepdims=True), _LEAST)
        counts = shares.T @ given  # [K true, K given]
        noise = float(counts[~same].sum() / len(labels))
        channel = _even_channel(noise, same)
        if not even:
            channel = counts + _PRIOR * channel
            channel /= channel.sum(1, keepdims=True)
    return scale, channel


def _even_channel(noise: float, same: npt.NDArray[np.bool_]) -> Floats:
    return np.where(same, 1 - noise, noise / max(1, len(same) - 1))


def _softmax(odds: Floats, scale: float) -> Floats:
    weights = np.exp(scale * (odds - odds.max(1, keepdims=True)))
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float64)
