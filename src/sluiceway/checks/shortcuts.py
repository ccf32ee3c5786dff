"""Shortcuts: one single property that gives the target away, such as a file format, a size or a mark in a corner.

Each measured column, and each dimension of the features, is asked alone: the best interval of values (or set of
categories) is found on one half of the examples and tried on the other. No column should do what a model is for.

On 5,000 digits the best measure reaches an F1 of 0.72 (the size of a file whose digit is 1) and the best of 441 feature
dimensions 0.67. Two classes are easier: 0 and 1 are told apart with 0.98 by one dimension, so that two classes, and
numbers for the same reason, only warn unless a category gives them away.

Shapes: N examples, K classes, F dimensions, B bins.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sluiceway.checks.base import Finding, Material, finding
from sluiceway.data.labels import indicators, label_names
from sluiceway.data.learning.learner import numbers
from sluiceway.gates.verdict import Severity

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Half = npt.NDArray[np.bool_]

_BINS = 64
_LEAST_EXAMPLES = 60
_LEAST_OF_CLASS = 10
"""Examples of a class, in each half, below which nothing is said of it."""
_MOST_CLASSES = 50
"""The largest classes only, where there are more: time grows with their number."""
_MOST_EXAMPLES = 20_000
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Shortcut:
    """How well one property alone tells a target."""

    property: str
    tells: str
    """The class, or nothing where the target is a number."""
    score: float
    """F1, or R2 of a number."""
    sure: bool
    """Whether nature hardly does this."""


def shortcuts(material: Material) -> Iterator[Finding]:
    """Ask each property alone for the target."""
    if material.target not in _ASKED:
        return
    table = material.sampled
    targets = table["target"].to_list()
    step = -(-len(targets) // _MOST_EXAMPLES)
    kept = np.arange(0, len(targets), max(1, step))
    kept = kept[[targets[at] is not None for at in kept.tolist()]] if len(kept) else kept
    if len(kept) < _LEAST_EXAMPLES:
        return
    # Copies of one content stay in one half.
    half = np.array([zlib.crc32(str(table["checksum"][at]).encode()) % 2 == 0 for at in kept.tolist()])
    columns = {name: table[name][kept].to_list() for name in material.measures if name in table.columns}
    features = material.sketches.features
    dimensions = features[kept] if features is not None else np.empty((len(kept), 0), np.float32)
    wanted = [str(targets[at]) for at in kept.tolist()]
    found = sorted(_ASKED[material.target](wanted, half, columns, dimensions), key=lambda each: -each.score)
    if not found:
        return
    limit = material.limits.max_shortcut
    beyond = [each for each in found if each.score >= limit]
    figure = "R2" if material.target == "number" else "F1"
    if beyond:
        listed = "; ".join(
            f"{each.property} {each.tells} ({figure} {each.score:.2f})" for each in _first_of_each(beyond)
        )
        message = f"one property alone gives the target away: {listed}; a model would learn that and nothing else"
    else:
        best = found[0]
        message = f"no property gives the target away; {best.property} {best.tells} best ({figure} {best.score:.2f})"
    yield finding(
        "shortcuts",
        message,
        passed=not beyond,
        figure=round(max(0.0, found[0].score), 4),
        limit=limit,
        severity=Severity.close if not beyond or any(each.sure for each in beyond) else Severity.warn,
    )


def _first_of_each(found: list[Shortcut]) -> list[Shortcut]:
    """The best property for each class, a few of them."""
    best: dict[str, Shortcut] = {}
    for each in found:
        best.setdefault(each.tells, each)
    return list(best.values())[:_NAMED]


# Classes.


def _of_classes(
    targets: list[str], half: Half, columns: dict[str, list[object]], dimensions: npt.NDArray[np.float32]
) -> Iterator[Shortcut]:
    names, labels = np.unique(np.array(targets), return_inverse=True)
    chosen = _worth_asking(labels, half)
    sure = len(names) > 2
    for name, values in columns.items():
        bins = categories(values) if _is_text(values) else quantile_bins(_floats(values), half)
        scores = category_f1 if _is_text(values) else interval_f1
        for k, score in zip(chosen, scores(bins, labels, half, chosen), strict=True):
            yield Shortcut(name, f"tells {names[k]} from the rest", float(score), sure or _is_text(values))
    best: dict[int, tuple[float, int]] = {}
    for dimension in range(dimensions.shape[1]):
        bins = quantile_bins(dimensions[:, dimension].astype(np.float64), half)
        for k, score in zip(chosen, interval_f1(bins, labels, half, chosen), strict=True):
            best[k] = max(best.get(k, (0.0, 0)), (float(score), dimension))
    for k, (score, dimension) in best.items():
        yield Shortcut(f"dimension {dimension} of the features", f"tells {names[k]} from the rest", score, sure)


def _worth_asking(labels: Ints, half: Half) -> list[int]:
    """Classes with enough examples in both halves, and at most half of all: naming everything is no feat."""
    first, second = (np.bincount(labels[part], minlength=labels.max() + 1) for part in (half, ~half))
    fit: Ints = np.flatnonzero((np.minimum(first, second) >= _LEAST_OF_CLASS) & (first + second <= 0.5 * len(labels)))
    return [int(k) for k in fit[np.argsort(-(first + second)[fit], kind="stable")][:_MOST_CLASSES]]


def quantile_bins(values: Floats, half: Half) -> Ints:
    """Put values [N] into at most 64 bins of equal counts; equal values share one, missing ones have their own."""
    present = np.isfinite(values)
    known = values[half & present]
    if not len(known):
        return np.zeros(len(values), np.int64)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS)[1:], method="lower"))
    bins = np.searchsorted(edges, values, side="left").astype(np.int64)  # the edge itself is in the bin below it
    bins[~present] = len(edges) + 1
    return bins


def interval_f1(bins: Ints, labels: Ints, half: Half, chosen: list[int]) -> Floats:
    """Return the F1 [len(chosen)] of each class's best interval of bins: chosen on one half, tried on the other."""
    size = int(bins.max()) + 1
    learned, tried = (_cumulated(bins[part], labels[part], size, chosen) for part in (half, ~half))
    inside = np.triu(np.ones((size + 1, size + 1), bool), 1)
    found = []
    for k in range(len(chosen)):
        at = int(np.where(inside, _f1(*(each[k] for each in learned)), -1.0).argmax())
        found.append(_f1(*(each[k] for each in tried)).reshape(-1)[at])
    return np.array(found)


def _cumulated(bins: Ints, labels: Ints, size: int, chosen: list[int]) -> tuple[Ints, Ints]:
    """Counts in the bins before each edge [K, B + 1], of each class and of all."""
    counts = np.zeros((len(chosen), size + 1), np.int64)
    for row, k in enumerate(chosen):
        counts[row, 1:] = np.bincount(bins[labels == k], minlength=size)
    total = np.concatenate([[0], np.bincount(bins, minlength=size)])
    return counts.cumsum(1), np.broadcast_to(total.cumsum(), counts.shape)


def _f1(own: Ints, total: Ints) -> Floats:
    """F1 of every interval [B + 1, B + 1], from its first edge to its last."""
    hits, size = own[None, :] - own[:, None], total[None, :] - total[:, None]
    return np.asarray(2 * hits / np.maximum(1, size + own[-1]), np.float64)


def category_f1(bins: Ints, labels: Ints, half: Half, chosen: list[int]) -> Floats:
    """Return the F1 [len(chosen)] of the categories in which each class is the majority on one half, on the other."""
    size = int(bins.max()) + 1
    total = [np.bincount(bins[part], minlength=size) for part in (half, ~half)]
    found = []
    for k in chosen:
        own = [np.bincount(bins[part & (labels == k)], minlength=size) for part in (half, ~half)]
        taken = 2 * own[0] > total[0]
        found.append(2 * own[1][taken].sum() / max(1, total[1][taken].sum() + own[1].sum()))
    return np.array(found)


# Numbers.


def _of_numbers(
    targets: list[str], half: Half, columns: dict[str, list[object]], dimensions: npt.NDArray[np.float32]
) -> Iterator[Shortcut]:
    values = numbers(targets)
    fit = np.isfinite(values)
    if min((half & fit).sum(), (~half & fit).sum()) < _LEAST_EXAMPLES / 2 or np.ptp(values[fit]) == 0:
        return
    for name, column in columns.items():
        bins = categories(column) if _is_text(column) else quantile_bins(_floats(column), half)
        yield Shortcut(name, "tells it", mean_r2(bins[fit], values[fit], half[fit]), _is_text(column))
    best = (-1.0, 0)
    for dimension in range(dimensions.shape[1]):
        bins = quantile_bins(dimensions[:, dimension].astype(np.float64), half)
        best = max(best, (mean_r2(bins[fit], values[fit], half[fit]), dimension))
    if dimensions.shape[1]:
        yield Shortcut(f"dimension {best[1]} of the features", "tells it", best[0], False)


def _of_labels(
    targets: list[str], half: Half, columns: dict[str, list[object]], dimensions: npt.NDArray[np.float32]
) -> Iterator[Shortcut]:
    """Ask of each label alone, as of two classes."""
    for label in label_names(targets)[:_MOST_CLASSES]:
        has = indicators(targets, [label])[:, 0].tolist()
        yield from _of_classes([label if each else f"no {label}" for each in has], half, columns, dimensions)


_ASKED = {"class": _of_classes, "classes": _of_labels, "number": _of_numbers}


def mean_r2(bins: Ints, values: Floats, half: Half) -> float:
    """Return R2 on one half of the mean value of each bin on the other."""
    size = int(bins.max()) + 1
    counts = np.bincount(bins[half], minlength=size)
    sums = np.bincount(bins[half], weights=values[half], minlength=size)
    means = np.where(counts > 0, sums / np.maximum(1, counts), values[half].mean())
    rest = values[~half]
    spread = float(((rest - rest.mean()) ** 2).sum())
    return 1 - float(((rest - means[bins[~half]]) ** 2).sum()) / spread if spread > 0 else 0.0


# Columns.


def _is_text(values: list[object]) -> bool:
    return any(isinstance(value, str) for value in values)


def _floats(values: list[object]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def categories(values: list[object]) -> Ints:
    """Number the texts of a column [N]."""
    return np.unique(np.array([str(value) for value in values]), return_inverse=True)[1].astype(np.int64)
