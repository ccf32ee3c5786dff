"""How far two distributions are apart, and how sure that is, as pure functions.

Every test asks for an effect, from 0 (equal) to 1 (apart), and for the probability of as much by chance. Examples of
one cluster (a speaker, a drive, a document) resemble each other and count as fewer; examples may be weighed.

Shapes: N examples, K values of a category.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_FEW = 5.0
"""Expected examples of a value below which it is counted together with the other rare ones (Cochran, 1954)."""
_COMMON = 25.0
"""Expected examples of a value below which its probability is counted out."""
_MOST_VALUES = 100
"""Values that are told apart; the rarer rest is one."""


def kolmogorov_smirnov(
    one: Floats, other: Floats, one_weights: Floats, other_weights: Floats, one_size: float, other_size: float
) -> tuple[float, float]:
    """Return the greatest distance of two cumulative distributions, and its probability by chance.

    Args:
        one: values: [N]; what is missing is minus infinity, so that missing values count too.
        other: values of the other: [N].
        one_weights: [N].
        other_weights: [N].
        one_size: how many independent examples they are worth.
        other_size: the same of the other.
    """
    from scipy.special import kolmogorov

    at = np.unique(np.concatenate([one, other]))
    gaps = np.abs(_cumulative(one, one_weights, at) - _cumulative(other, other_weights, at))
    distance = float(gaps.max(initial=0.0))
    return distance, float(kolmogorov(np.sqrt(one_size * other_size / (one_size + other_size)) * distance))


def _cumulative(values: Floats, weights: Floats, at: Floats) -> Floats:
    order = np.argsort(values, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(weights[order])])
    return np.asarray(sums[np.searchsorted(values[order], at, side="right")] / sums[-1], np.float64)


def largest_gap(one: Floats, other: Floats) -> tuple[float, bool]:
    """Return where the cumulative distributions are farthest apart, and whether ``other`` has too much below it."""
    at = np.unique(np.concatenate([one, other]))
    gaps = _cumulative(other, np.ones(len(other)), at) - _cumulative(one, np.ones(len(one)), at)
    most = int(np.abs(gaps).argmax())
    return float(at[most]), bool(gaps[most] > 0)


def total_variation(one: Floats, other: Floats, one_size: float, other_size: float) -> tuple[float, float]:
    """Return the total variation distance of two shares [K], less what chance lets expect, and its probability.

    Rare values are one value: otherwise small samples of many values would always be apart.
    """
    from scipy.special import chdtrc

    together = (one * one_size + other * other_size) / (one_size + other_size)
    rank = np.argsort(np.argsort(-together, kind="stable"), kind="stable")
    rare = (together * min(one_size, other_size) < _FEW) | (rank >= _MOST_VALUES)
    one, other, together = (np.append(each[~rare], each[rare].sum()) for each in (one, other, together))
    one, other, together = (each[together > 0] for each in (one, other, together))
    if len(together) < 2:
        return 0.0, 1.0
    deviation = np.sqrt(together * (1 - together) * (1 / one_size + 1 / other_size))
    chance = float(deviation.sum()) / np.sqrt(2 * np.pi)
    distance = float(np.abs(one - other).sum()) / 2
    squares = (one_size * (one - together) ** 2 + other_size * (other - together) ** 2) / together
    probability = float(chdtrc(len(together) - 1, float(squares.sum())))
    return float(np.sqrt(max(0.0, distance**2 - chance**2))), probability


def shifted_shares(one: Floats, other: Floats, one_size: float, other_size: float) -> tuple[Floats, Floats]:
    """Return by how much the share of each value has changed [K], and the probability of as much by chance [K].

    The change is relative to both shares and the mean share: 0.5 is a common value that has gone, 0.2 one whose share
    has doubled, and of a rare value less. Probabilities are for all K together (Bonferroni).
    """
    from scipy.special import erfc
    from scipy.stats import hypergeom

    together = (one * one_size + other * other_size) / (one_size + other_size)
    deviation = np.sqrt(np.maximum(together * (1 - together), 1e-300) * (1 / one_size + 1 / other_size))
    change = np.abs(one - other)
    probability = np.asarray(erfc(change / deviation / np.sqrt(2)), np.float64)
    # A normal error says nothing of the rare: one of a thousand may well be none of a million (Fisher, 1922).
    rare = together * min(one_size, other_size) < _COMMON
    sizes = [round(one_size), round(other_size)]
    counts = [np.rint(shares[rare] * size) for shares, size in zip((one, other), sizes, strict=True)]
    drawn = hypergeom(sum(sizes), counts[0] + counts[1], sizes[0])
    probability[rare] = 2 * np.minimum(drawn.cdf(counts[0]), drawn.sf(counts[0] - 1))
    return change / (one + other + 1 / len(one)), np.minimum(1.0, probability * len(one))


def holm(probabilities: Sequence[float]) -> list[float]:
    """Return probabilities corrected for the number of tests (Holm, 1979)."""
    order = np.argsort(probabilities, kind="stable")
    steps = np.asarray(probabilities, np.float64)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(order) else steps
    return [float(each) for each in corrected]


def likeness(values: Floats, clusters: Ints, doubt: float = 0.0) -> float:
    """Return how alike examples of one cluster are, from 0 (not more than others) to 1: the intraclass correlation.

    Where there is but one cluster, or each example is its own, that cannot be known: then it is 1.

    Args:
        values: ranks of numbers [N], or one column per value of a category [N, K].
        clusters: number of each example's cluster, from 0: [N].
        doubt: probability that it is larger than what is returned (Searle, 1971), as few clusters may look unlike each
            other by chance; 0 is the estimate itself.
    """
    from scipy.special import fdtri

    table = values.reshape(len(values), -1)
    sizes = np.bincount(clusters)
    count, groups = len(table), len(sizes)
    if groups < 2 or groups == count:
        return 1.0
    sums = np.column_stack([np.bincount(clusters, weights=column, minlength=groups) for column in table.T])
    between = float(((sums / sizes[:, None] - table.mean(0)) ** 2 * sizes[:, None]).sum()) / (groups - 1)
    within = float(((table - (sums / sizes[:, None])[clusters]) ** 2).sum()) / (count - groups)
    if doubt:
        between /= float(fdtri(groups - 1, count - groups, doubt))
    usual = (count - float((sizes**2).sum()) / count) / (groups - 1)
    spread = between + (usual - 1) * within
    return float(np.clip((between - within) / spread, 0.0, 1.0)) if spread > 0 else 0.0


def worth(weights: Floats, clusters: Ints, alike: float) -> float:
    """Return how many independent examples weighed and clustered ones are worth (Kish, 1965).

    Args:
        weights: [N].
        clusters: number of each example's cluster, from 0: [N].
        alike: :func:`likeness` inside clusters.
    """
    total = float(weights.sum())
    if total <= 0:
        return 0.0
    sizes = np.bincount(clusters, weights=weights)
    usual = max(1.0, float((sizes**2).sum()) / float((weights**2).sum()))
    return total**2 / float((weights**2).sum()) / (1 + (usual - 1) * alike)
