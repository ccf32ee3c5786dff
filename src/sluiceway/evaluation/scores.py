"""Figures of merit with the uncertainty that a finite test split leaves.

Intervals are 95 % percentile-bootstrap intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).
Test items that belong together - one speaker, one drive, one document - are resampled together: ten frames of one drive
are not ten independent witnesses, and an interval that counts them so is too narrow.

An interval that cannot be known is NaN at both ends. Every comparison with NaN is false, so a gate that asks whether an
interval lies above a limit stays closed.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sluiceway.errors import DataError
from sluiceway.usecases.base import Metric, Outcomes

Rows = npt.NDArray[np.intp]
Groups = npt.NDArray[Any]

MOST_UNDEFINED = 0.05
"""Share of resamples in which a metric may be undefined (a class that was not drawn) before its interval is unknown."""
_TAILS = (2.5, 97.5)
_Z = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True, slots=True)
class Score:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval: one test item, or one group, says nothing of the spread."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    def document(self) -> dict[str, float | None]:
        """Return the score as JSON has it: what is not a number is null."""
        fields = {"value": self.value, "low": self.low, "high": self.high}
        return {name: figure if math.isfinite(figure) else None for name, figure in fields.items()}


def score(
    outcomes: Outcomes, metrics: Sequence[Metric], resamples: int, seed: int, groups: Groups | None = None
) -> dict[str, Score]:
    """Compute metrics with their intervals.

    Args:
        outcomes: columns [N, ...], one row per test item.
        metrics: what to compute; all of them on the same resamples.
        resamples: bootstrap resamples.
        seed: of the resampling. Learners scored with one seed are scored on the same resamples.
        groups: group of each test item [N]; default: the column ``group`` of the outcomes, if there is one. Items whose
            group is None or empty stand for themselves.

    Returns:
        By metric name. A metric that is NaN on the test split, or undefined in more than ``MOST_UNDEFINED`` of the
        resamples, has no interval; nor has any metric of a single item or group. A metric that does not vary over the
        test items (all correct, say) has an interval of no width: a bootstrap cannot see what it never drew.

    Raises:
        DataError: the outcomes hold no test item.
    """
    _count(outcomes)
    values = {metric.name: float(metric.compute(outcomes)) for metric in metrics}
    draws: dict[str, list[float]] = {metric.name: [] for metric in metrics}
    for rows in resampled_rows(outcomes, resamples, seed, groups):
        drawn = _take(outcomes, rows)
        for metric in metrics:
            draws[metric.name].append(float(metric.compute(drawn)))
    return {name: _interval(value, draws[name]) for name, value in values.items()}


def paired_difference(
    challenger: Outcomes,
    champion: Outcomes,
    metric: Metric,
    resamples: int,
    seed: int,
    groups: Groups | None = None,
) -> Score:
    """Compute how much better the challenger is than the champion on the same test items.

    Both are resampled together, so what makes an item hard for both cancels out: the interval is narrower than the two
    scores' own intervals suggest.

    Args:
        challenger: outcomes of the learner that wants to win.
        champion: outcomes of the other one, row by row on the same items.
        metric: the metric; the difference has its unit.
        resamples: bootstrap resamples.
        seed: of the resampling.
        groups: as in :func:`score`; default: the column ``group`` of the challenger's outcomes.

    Returns:
        The challenger's advantage: **positive is better**, also where the metric is better when lower.

    Raises:
        DataError: there is no test item, or the two were not asked about the same ones.
    """
    _same_items(challenger, champion)
    sign = 1.0 if metric.higher_is_better else -1.0

    def advantage(one: Outcomes, other: Outcomes) -> float:
        return sign * (float(metric.compute(one)) - float(metric.compute(other)))

    draws = [
        advantage(_take(challenger, rows), _take(champion, rows))
        for rows in resampled_rows(challenger, resamples, seed, groups)
    ]
    return _interval(advantage(challenger, champion), draws)


def unpaired_difference(challenger: Score, champion: Score, metric: Metric) -> Score:
    """Compute how much better the challenger is, where the two did not answer the same items.

    Args:
        challenger: score of the learner that wants to win.
        champion: of the other one; a single figure, such as a compressor's, is taken as it is.
        metric: what was scored.

    Returns:
        As :func:`paired_difference`; the interval lies between the ends of the two scores' own, and is wider.
    """
    low, high = (champion.low, champion.high) if champion.known else (champion.value, champion.value)
    if metric.higher_is_better:
        return Score(challenger.value - champion.value, challenger.low - high, challenger.high - low)
    return Score(champion.value - challenger.value, low - challenger.high, high - challenger.low)


def resampled_rows(outcomes: Outcomes, resamples: int, seed: int, groups: Groups | None = None) -> Iterator[Rows]:
    """Yield the rows of each bootstrap resample; nothing at all where there is but one item or group."""
    count = _count(outcomes)
    groups = outcomes.get("group") if groups is None else groups
    if groups is not None and len(groups) != count:
        raise ValueError(f"{len(groups)} groups for {count} test items")
    random = np.random.default_rng(seed)
    clusters = None if groups is None else _clusters(groups)
    if clusters is None or clusters.max(initial=0) == count - 1:
        return _single_rows(count, resamples, random)
    return _whole_clusters(clusters, resamples, random)


def wilson(successes: float, trials: int) -> Score:
    """Return a proportion with its 95 % Wilson score interval (Wilson, JASA 1927): for figures made of few items."""
    if trials < 1:
        raise ValueError("a proportion needs at least one trial")
    share, shrink = successes / trials, _Z**2 / trials
    centre = (share + shrink / 2) / (1 + shrink)
    half = math.sqrt(share * (1 - share) * shrink + shrink**2 / 4) / (1 + shrink)
    return Score(share, max(0.0, centre - half), min(1.0, centre + half))


def _count(outcomes: Outcomes) -> int:
    lengths = {name: len(column) for name, column in outcomes.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of unequal length: {lengths}")
    count = next(iter(lengths.values()), 0)
    if not count:
        raise DataError("there is no test item to score", hint="give the test split more examples: `data.split.test`")
    return count


def _same_items(one: Outcomes, other: Outcomes) -> None:
    counts = _count(one), _count(other)
    same_rows = "row" not in one or "row" not in other or np.array_equal(one["row"], other["row"])
    if counts[0] != counts[1] or not same_rows:
        raise DataError(
            f"the two learners were not asked about the same test items ({counts[0]} and {counts[1]})",
            hint="score both on the test split of the same data version",
        )


def _take(outcomes: Outcomes, rows: Rows) -> Outcomes:
    return {name: np.take(column, rows, axis=0) for name, column in outcomes.items()}


def _clusters(groups: Groups) -> npt.NDArray[np.int64]:
    """Number the groups from 0: [N]. An item without a group is a group of its own."""
    numbers: dict[object, int] = {}
    keys = (value if value not in (None, "") else (None, row) for row, value in enumerate(groups.tolist()))
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int64, len(groups))


def _single_rows(count: int, resamples: int, random: np.random.Generator) -> Iterator[Rows]:
    for _ in range(resamples if count > 1 else 0):
        yield random.integers(count, size=count, dtype=np.intp)


def _whole_clusters(clusters: npt.NDArray[np.int64], resamples: int, random: np.random.Generator) -> Iterator[Rows]:
    by_cluster = np.argsort(clusters, kind="stable")
    sizes = np.bincount(clusters)
    starts = np.cumsum(sizes) - sizes
    for _ in range(resamples if len(sizes) > 1 else 0):
        drawn = random.integers(len(sizes), size=len(sizes))
        lengths = sizes[drawn]
        # Each drawn cluster is a run of `by_cluster`: its start, repeated, plus 0, 1, 2 ... within the run.
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        yield by_cluster[np.repeat(starts[drawn], lengths) + within]


def _interval(value: float, draws: Sequence[float]) -> Score:
    defined = np.asarray([draw for draw in draws if not math.isnan(draw)])
    if math.isnan(value) or not len(defined) or len(defined) < (1 - MOST_UNDEFINED) * len(draws):
        return Score(value, math.nan, math.nan)
    with np.errstate(invalid="ignore"):  # an infinite loss in some resamples: the end beyond it is unknown
        low, high = np.percentile(defined, _TAILS)
    return Score(value, float(low), float(high))
