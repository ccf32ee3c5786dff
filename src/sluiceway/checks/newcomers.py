"""Drift of contents: can a classifier tell what is new from what the last registered version had?

A domain classifier (Lopez-Paz and Oquab, 2017) on principal components of the features and their squares, across folds.
The effect is 2 AUC - 1: 0 where nothing tells them apart, 1 where everything does. Its error counts clusters, not
examples (Obuchowski, 1997), and folds keep clusters whole: one is not to be known by its speakers.

Shapes: N examples of both versions, F features, G clusters.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sluiceway.checks.base import Finding, Material, Offender, Reference, finding
from sluiceway.checks.distances import Floats, Ints
from sluiceway.checks.drift import SIGNIFICANT
from sluiceway.checks.versions import Version, Versions, enough_new, sketched
from sluiceway.data.sketches import Vector

Marks = npt.NDArray[np.bool_]

_MOST = 4_000
"""Examples of either version that are looked at."""
_COMPONENTS = 32
_FOLDS = 5
_SHARED = float(np.sqrt(1 + _FOLDS / (_FOLDS - 1)))
"""How much wider the interval is because folds learn from mostly the same examples (Nadeau and Bengio, 2003). Without
it, 1 to 4 of 100 clean versions seemed to differ at a probability of 0.001."""
_PENALTY = 0.1
"""Inverse strength of the penalty of the logistic regression."""
_LEAST_CLUSTERS = 5.0
"""Clusters among the new contents below which nobody can tell new ones from another kind."""
_CLIP = 6.0
"""Deviations beyond which a component counts no more: one wild content must not steer the classifier."""
_LEAST = 1e-9
"""Share of the first component's variance below which one is but rounding."""
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Told:
    """How well new contents are told from those before."""

    effect: float
    """2 AUC - 1."""
    error: float
    """Half of its confidence interval, at ``SIGNIFICANT``."""
    scores: Floats
    """How new each example looks: [N], across folds."""


def drift_of_contents(material: Material) -> Iterable[Finding]:
    """Ask whether contents that the last registered version did not have are of another kind."""
    reference = material.reference
    if reference is None or material.sketches.features is None or reference.sketches.features is None:
        return
    if material.sketches.features.shape[1] != reference.sketches.features.shape[1]:
        return
    both = sketched(material, reference)
    count = int(both.new.sum())
    if not enough_new(count, len(both.now)) or len(both.before) < _FOLDS:
        return
    yield _judged(material, reference, both, reference.sketches.features, material.sketches.features, count)


def _judged(
    material: Material, reference: Reference, both: Versions, before: Vector, now: Vector, count: int
) -> Finding:
    limit, new = material.limits.max_drift, both.now.only(both.new)
    weights = _class_weights(both.before, new) if material.target == "class" else None
    old_rows, new_rows = _drawn(both.before, weights), _drawn(new, weights)
    clusters = [part.table["cluster"].to_numpy()[rows] for part, rows in ((both.before, old_rows), (new, new_rows))]
    told = None
    if min(len(old_rows), len(new_rows)) >= 2 * _FOLDS and kish(clusters[1]) >= _LEAST_CLUSTERS:
        told = tell(
            np.concatenate([before[old_rows], now[np.flatnonzero(both.new)[new_rows]]]),
            np.repeat([False, True], [len(old_rows), len(new_rows)]),
            np.concatenate(clusters),
            np.concatenate([_weights(both.before, old_rows, weights), np.ones(len(new_rows))]),
        )
    if told is None:
        return finding(
            "drift_of_contents",
            f"{count:,} new contents come from too few groups, documents or known classes to tell another kind from "
            "new ones",
            passed=True,
            figure=None,
            limit=limit,
        )
    over = told.effect > limit and told.effect > told.error
    message = (
        f"{count:,} new contents are told from those of {reference.name} by {told.effect:.2f} "
        f"({max(-1.0, told.effect - told.error):.2f} to {min(1.0, told.effect + told.error):.2f}; 0 is not at all, "
        f"1 is always); at most {limit:g} is allowed"
    )
    scores = told.scores[len(old_rows) :]
    order: list[int] = np.argsort(-scores, kind="stable")[:_SHOWN].tolist() if over else []
    ids = new.table["id"].gather(new_rows).to_list()
    offenders = [Offender(ids[at], f"unlike {reference.name}", score=float(scores[at])) for at in order]
    return finding(
        "drift_of_contents",
        message,
        passed=not over,
        figure=round(told.effect, 4),
        limit=limit,
        offenders=offenders,
        count=count if over else 0,
    )


def kish(clusters: Ints) -> float:
    """Return how many equal clusters these are worth."""
    sizes = np.bincount(clusters)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


# The examples.


def _class_weights(before: Version, new: Version) -> Mapping[str | None, float]:
    """Return weights of the examples before, by class, of the classes that are among the new ones too.

    So weighed, the classes before have the shares that they have among the new ones: that there are more sevens is no
    drift of what a seven looks like.
    """
    old, fresh = (Counter(each.table["target"].to_list()) for each in (before, new))
    return {name: count / old[name] for name, count in fresh.items() if name in old}


def _drawn(version: Version, classes: Mapping[str | None, float] | None) -> Ints:
    """Return the rows of at most ``_MOST`` examples of these classes, or of any, evenly taken."""
    targets = version.table["target"].to_list()
    rows = np.array([row for row, name in enumerate(targets) if classes is None or name in classes], np.int64)
    return rows if len(rows) <= _MOST else rows[np.linspace(0, len(rows) - 1, _MOST).astype(np.int64)]


def _weights(version: Version, rows: Ints, weights: Mapping[str | None, float] | None) -> Floats:
    if weights is None:
        return np.ones(len(rows))
    return np.array([weights[name] for name in version.table["target"].gather(rows).to_list()], np.float64)


# Telling them apart.


def tell(features: Vector, new: Marks, clusters: Ints, weights: Floats) -> Told | None:
    """Cross-fit a classifier that tells new contents from old ones, and say how well it does.

    Args:
        features: [N, F].
        new: which are new: [N].
        clusters: numbers [N]; equal ones are in one fold, and count as one in the error.
        weights: of each example: [N].

    Returns:
        None where clusters leave a fold with nothing to learn from.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    inputs = _components(features)
    balanced = weights.copy()
    for side in (new, ~new):
        balanced[side] *= len(new) / (2 * weights[side].sum())
    scores = np.full(len(new), np.nan)
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    for known, asked in folds.split(inputs, new, clusters):
        if len(np.unique(new[known])) < 2:
            return None
        classifier = LogisticRegression(C=_PENALTY, max_iter=1_000)
        classifier.fit(inputs[known], new[known], sample_weight=balanced[known])
        scores[asked] = classifier.decision_function(inputs[asked])
    effect, error = clustered_separation(scores, new, clusters, weights)
    return Told(effect, _SHARED * error, scores)


def _components(features: Vector) -> Floats:
    """Return whitened principal components and their squares: [N, 2 C]. Squares see what only widens or narrows."""
    from sklearn.decomposition import PCA

    varied = np.asarray(features[:, np.ptp(features, axis=0) > 0], np.float64)
    if not varied.shape[1]:
        return np.zeros((len(features), 1))
    analysis = PCA(min(_COMPONENTS, varied.shape[1], len(varied) - 1), whiten=True, svd_solver="covariance_eigh")
    found = analysis.fit_transform(varied)[:, analysis.explained_variance_ > _LEAST * analysis.explained_variance_[0]]
    found = np.clip(found, -_CLIP, _CLIP)
    return np.concatenate([found, (found**2 - 1) / np.sqrt(2)], axis=1)


def clustered_separation(scores: Floats, new: Marks, clusters: Ints, weights: Floats) -> tuple[float, float]:
    """Return 2 AUC - 1 of scores [N], and half of its confidence interval at ``SIGNIFICANT``, clusters taken whole.

    Args:
        scores: higher is newer: [N].
        new: which are new: [N].
        clusters: numbers [N].
        weights: [N].
    """
    from scipy.stats import t

    own, rest = weights[new] / weights[new].sum(), weights[~new] / weights[~new].sum()
    # Of each new example, the share of the old below it; of each old one, the share of the new above it.
    above = _share_below(scores[new], scores[~new], rest)
    below = 1 - _share_below(scores[~new], scores[new], own)
    area = float(own @ above)
    place = np.unique(clusters, return_inverse=True)[1].reshape(-1)
    moves, counts = [], []  # by how much the area moves without each cluster, and how many clusters that is worth
    for side, shares, gaps in ((new, own, above - area), (~new, rest, below - area)):
        held = np.bincount(place[side], weights=shares, minlength=int(place.max()) + 1)
        sums = np.bincount(place[side], weights=shares * gaps, minlength=len(held))
        moves.append(sums / np.maximum(1 - held, 1e-12))
        counts.append(1 / float(held @ held))
    variance = float((moves[0] + moves[1]) @ (moves[0] + moves[1]))
    reach = float(t.ppf(1 - SIGNIFICANT / 2, max(1.0, min(counts) - 1)))
    return 2 * area - 1, 2 * reach * float(np.sqrt(variance))


def _share_below(asked: Floats, others: Floats, weights: Floats) -> Floats:
    """Return the weight of the others below each, equals counting by half: [asked]."""
    order = np.argsort(others, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(weights[order])])
    ranked = others[order]
    low, high = (np.searchsorted(ranked, asked, side=side) for side in ("left", "right"))
    return np.asarray((sums[low] + sums[high]) / 2, np.float64)
