"""Numbers in the order of time, such as the steering of a drive: stuck, out of step with the contents, or mirrored.

Order comes from ``time`` within ``group``. What contents say of a number is the cross-fitted learner's prediction.
Where all targets lag alike, the learner has learned the lag: so a straight line is also fitted anew for every shift.

Shapes: N examples in order, G groups, S shifts, M sketched examples, F features, C components.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sluiceway.checks.base import Finding, Material, Offender, finding
from sluiceway.data.sketches import Sketches, Vector

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_STUCK = 0.05
"""Share of the examples whose target may be stuck."""
_LEAST_RUN = 30
_LONGER = 10
"""How many times as long as most runs of the same value a run must be: a wheel is at rest on every straight road."""
_OFTEN = 3
"""Other runs of a value that make it one at which the target is wont to rest."""
_TAIL = 3.3
"""Where lengths of runs have a long tail, as straight roads have: how far it reaches beyond the median, in powers of
what the 90th percentile does. Of a log-normal one, 1 in 100,000 lies beyond."""
_LEAST_DISTINCT = 32
"""Distinct targets below which equal neighbours are nothing odd, as in ratings."""
_MOST_SHIFT = 15
_LEAST_GAIN = 0.08
"""By how much of itself the best correlation must beat that in step. Neighbours resemble each other, and a bend is seen
a little before it is steered: small lags gain little and harm little."""
_LEAST_CORRELATION = 0.2
_BLOCKS = 20
_FOLDS = 5
_COMPONENTS = 64
_PENALTY = 0.01
"""Of the straight line, as a share of the components' mean variance."""
_Z = 3.0
_LEAST_OF_GROUP = 30
_LEAST_SLOPE = -0.3
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Series:
    """All examples with a number and a time, by group and time."""

    rows: Ints
    """[N], of the example table."""
    ids: list[str]
    """[N]."""
    groups: Ints
    """[N], ascending numbers."""
    names: list[str]
    """[G]."""
    values: Floats
    """[N]."""


def numbers_in_time(material: Material) -> Iterator[Finding]:
    """Ask whether targets are stuck, out of step with the contents, or mirrored."""
    if material.target != "number":
        return
    series = _series(material)
    if series is None:
        return
    yield _varies(series)
    answers = material.answers
    if answers is None or answers.predictions is None:
        return
    place, there = answers.places(series.rows)
    predictions = np.where(there, answers.predictions[place], np.nan)
    if np.isfinite(predictions).sum() < 2 * _LEAST_OF_GROUP:
        return
    yield _in_step(series, predictions, material.sketches)
    if len(series.names) > 1:
        yield _sign(series, predictions)


def _series(material: Material) -> Series | None:
    import polars as pl

    table = (
        material.scan()
        .with_row_index("row")
        .select(
            pl.col("row").cast(pl.Int64),
            "id",
            pl.col("group").fill_null(""),
            "time",
            pl.col("target").cast(pl.Float64, strict=False).alias("value"),
        )
        .filter(pl.col("value").is_finite() & pl.col("time").is_not_null())
        .sort("group", "time", "row")
        .collect(engine="streaming")
    )
    if table.height < 2 * _LEAST_OF_GROUP or table["value"].n_unique() < _LEAST_DISTINCT:
        return None
    return Series(
        rows=table["row"].to_numpy(),
        ids=table["id"].to_list(),
        groups=table["group"].rle_id().cast(pl.Int64).to_numpy(),
        names=table["group"].unique(maintain_order=True).to_list(),
        values=table["value"].to_numpy(),
    )


# Stuck.


def _varies(series: Series) -> Finding:
    starts, lengths = stuck_runs(series.values, series.groups)
    count = int(lengths.sum())
    share = count / len(series.values)
    where = _listed([series.names[series.groups[start]] for start in starts[np.argsort(-lengths)]])
    offenders = [
        Offender(series.ids[start], f"{series.values[start]:.4g} for {length:,} examples", score=float(length))
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
    ]
    return finding(
        "target_varies",
        f"{count:,} of {len(series.values):,} examples ({share:.2%}) have a stuck target{where}; {MAX_STUCK:.0%} may",
        passed=share <= MAX_STUCK,
        figure=round(share, 6),
        limit=MAX_STUCK,
        offenders=offenders,
        count=count,
    )


def stuck_runs(values: Floats, groups: Ints) -> tuple[Ints, Ints]:
    """Return starts and lengths of the runs of equal values that are far longer than others of the same value."""
    new = np.ones(len(values), bool)
    new[1:] = (values[1:] != values[:-1]) | (groups[1:] != groups[:-1])
    starts = np.flatnonzero(new)
    lengths = np.diff(np.append(starts, len(values)))
    order = np.lexsort((lengths, values[starts]))  # of one value together, the longest last
    edges = np.flatnonzero(np.diff(values[starts][order], prepend=np.nan) != 0)
    stuck = np.zeros(len(starts), bool)
    for start, end in pairwise([*edges.tolist(), len(starts)]):
        if lengths[order[end - 1]] >= _LEAST_RUN:
            own = lengths[order[start:end]]
            stuck[order[start:end]] = (own >= _LEAST_RUN) & (own >= _usual_lengths(own))
    return starts[stuck], lengths[stuck]


def _usual_lengths(ordered: Ints) -> Floats:
    """Return for each run of a value, in order of length [R], how long it might be, as the others of the value are."""
    others = len(ordered) - 1
    if others < _OFTEN:
        return np.full(len(ordered), float(_LONGER))

    def quantile(share: float) -> Floats:
        low, rest = divmod(share * (others - 1), 1)
        place = np.minimum(int(low) + np.arange(2), others - 1)
        # Leaving one out moves all after it by one place.
        near = ordered[place + (place >= np.arange(len(ordered))[:, None])]
        return np.asarray(near[:, 0] + rest * (near[:, 1] - near[:, 0]), np.float64)

    half, tenth = quantile(0.5), quantile(0.9)
    return np.asarray(np.maximum(_LONGER * tenth, half * (tenth / half) ** _TAIL), np.float64)


# Out of step.


def _in_step(series: Series, predictions: Floats, sketches: Sketches) -> Finding:
    lag, gain = (0, 0.0) if sketches.features is None else learned_shift(sketches.rows, sketches.features, series)
    if not lag:
        lag, gain = best_shift(predictions, series.values, series.groups)
    message = "targets are in step with contents"
    if lag:
        direction = "later than" if lag > 0 else "before"
        message = f"targets come {abs(lag)} examples {direction} the contents that they belong to"
        message += f": so shifted, predictions fit better by {gain:.0%}"
    return finding("target_in_step", message, passed=not lag, figure=float(lag), limit=0.0)


def best_shift(predictions: Floats, values: Floats, groups: Ints) -> tuple[int, float]:
    """Return by how many examples values [N] come later than their predictions [N], and how much better that fits.

    0 unless another shift is better by an effect that matters and by three standard errors (jackknife over blocks).
    """
    shifts = np.arange(-_MOST_SHIFT, _MOST_SHIFT + 1)
    expected, given = _centred(predictions, groups), _centred(values, groups)
    # Sums of products per block [S, blocks, 3], so that leaving one block out is a subtraction.
    block = np.minimum(np.arange(len(values)) * _BLOCKS // len(values), _BLOCKS - 1)
    sums = np.zeros((len(shifts), _BLOCKS, 3))
    for number, shift in enumerate(shifts.tolist()):
        early, late = (
            slice(max(0, -shift), len(values) - max(0, shift)),
            slice(max(0, shift), len(values) + min(0, shift)),
        )
        one, other = expected[early], given[late]
        fit = (groups[early] == groups[late]) & np.isfinite(one) & np.isfinite(other)
        for column, product in enumerate((one * other, one * one, other * other)):
            sums[number, :, column] = np.bincount(block[early][fit], weights=product[fit], minlength=_BLOCKS)
    return _clear_best(sums)


def learned_shift(rows: Ints, features: Vector, series: Series) -> tuple[int, float]:
    """Return by how many examples targets come later than the contents that tell them best, and how much better.

    A straight line is fitted for each shift, across folds of whole groups; otherwise as :func:`best_shift`.

    Args:
        rows: of the sketched examples, [M], ascending.
        features: of them, [M, F].
        series: examples in order.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import Ridge

    count = len(series.values)
    place = np.minimum(np.searchsorted(rows, series.rows), len(rows) - 1)
    inner = np.arange(_MOST_SHIFT, count - _MOST_SHIFT)
    whole = series.groups[inner - _MOST_SHIFT] == series.groups[inner + _MOST_SHIFT]
    at = inner[whole & (rows[place[inner]] == series.rows[inner])]
    fold = series.groups[at] % _FOLDS
    if len(at) < 2 * _LEAST_OF_GROUP or len(np.unique(fold)) < 2:
        return 0, 0.0
    centred = _centred(series.values, series.groups)
    given = centred[at[:, None] + np.arange(-_MOST_SHIFT, _MOST_SHIFT + 1)]  # [N, S]
    known = features[place[at]]
    parts = PCA(min(_COMPONENTS, *known.shape), random_state=0).fit_transform(known)  # [N, C]
    parts /= max(float(parts.std()), 1e-12)
    told = np.zeros_like(given)
    for number in np.unique(fold):
        asked = fold == number
        told[asked] = Ridge(_PENALTY * np.count_nonzero(~asked)).fit(parts[~asked], given[~asked]).predict(parts[asked])
    block = np.minimum(np.arange(len(at)) * _BLOCKS // len(at), _BLOCKS - 1)
    products = np.stack([told * given, told * told, given * given])  # [3, N, S]
    sums = np.zeros((given.shape[1], _BLOCKS, 3))
    for number in range(_BLOCKS):
        sums[:, number] = products[:, block == number].sum(1).T
    return _clear_best(sums)


def _clear_best(sums: Floats) -> tuple[int, float]:
    """Return the shift that is clearly best, and its gain over none; 0 where none is, from sums of products by block.

    Args:
        sums: of one with the other, of one and of the other with itself, per shift and block: [S, blocks, 3].
    """
    whole = _correlations(sums.sum(1))
    middle = _MOST_SHIFT
    best = int(whole.argmax())
    gain = whole[best] - whole[middle]
    without = np.array([_correlations(sums.sum(1) - sums[:, left]) for left in range(_BLOCKS)])
    error = _jackknife(without[:, best] - without[:, middle])
    sure = whole[best] > _Z * _jackknife(without[:, best])
    clear = sure and whole[best] >= _LEAST_CORRELATION and gain >= _LEAST_GAIN * whole[best] and gain > _Z * error
    return (best - middle, float(gain / whole[best])) if clear else (0, 0.0)


def _jackknife(figures: Floats) -> float:
    """Return the standard error of a figure from those without each block."""
    return float(np.sqrt((len(figures) - 1) / len(figures) * ((figures - figures.mean()) ** 2).sum()))


def _centred(values: Floats, groups: Ints) -> Floats:
    known = np.isfinite(values)
    sizes = np.maximum(1, np.bincount(groups[known], minlength=int(groups.max()) + 1))
    means = np.bincount(groups[known], weights=values[known], minlength=len(sizes)) / sizes
    return values - means[groups]


def _correlations(sums: Floats) -> Floats:
    return np.asarray(sums[:, 0] / np.sqrt(np.maximum(sums[:, 1] * sums[:, 2], 1e-30)), np.float64)


# Mirrored.


def _sign(series: Series, predictions: Floats) -> Finding:
    mirrored = [
        (series.names[group], figure) for group, figure in group_correlations(predictions, series.values, series.groups)
    ]
    where = _listed([name for name, _ in sorted(mirrored, key=lambda each: each[1])])
    wrong = {name for name, _ in mirrored}
    count = sum(int((series.groups == group).sum()) for group, name in enumerate(series.names) if name in wrong)
    first = {name: int(np.searchsorted(series.groups, group)) for group, name in enumerate(series.names)}
    offenders = [
        Offender(series.ids[first[name]], f"{name}: {figure:.2f} correlated with what is expected", score=-figure)
        for name, figure in mirrored
    ]
    return finding(
        "target_sign",
        f"{len(mirrored)} of {len(series.names)} groups have targets that go against what contents say{where}",
        passed=not mirrored,
        figure=float(len(mirrored)),
        limit=0.0,
        offenders=offenders,
        count=count,
    )


def group_correlations(predictions: Floats, values: Floats, groups: Ints) -> list[tuple[int, float]]:
    """Return the groups whose values [N] clearly oppose their predictions [N], with the correlation.

    Clearly: three standard errors below zero, resembling neighbours counted as fewer examples, with the slope of a
    mirrored target, and only where the groups together agree with their predictions.
    """
    found = []
    known = np.isfinite(predictions)
    edges = np.searchsorted(groups, np.arange(int(groups.max()) + 2))
    agreeing = opposing = 0
    for group, (start, end) in enumerate(pairwise(edges.tolist())):
        fit = np.flatnonzero(known[start:end]) + start
        if len(fit) < _LEAST_OF_GROUP:
            continue
        one, other = predictions[fit] - predictions[fit].mean(), values[fit] - values[fit].mean()
        spread = float(np.sqrt((one**2).sum() * (other**2).sum()))
        if spread == 0:
            continue
        figure = float((one * other).sum()) / spread
        kept = _persistence(one) * _persistence(other)
        error = 1 / np.sqrt(max(1.0, len(fit) * (1 - kept) / (1 + kept) - 3))
        agreeing += len(fit) if figure > 0 else 0
        opposing += len(fit) if figure < 0 else 0
        slope = float((one * other).sum() / (one**2).sum())
        # The error is that of Fisher's transform.
        sure = np.arctanh(np.clip(figure, -0.999999, 0.999999)) + _Z * error < 0
        if figure <= -_LEAST_CORRELATION and sure and slope <= _LEAST_SLOPE:
            found.append((group, figure))
    return found if agreeing > opposing else []


def _persistence(values: Floats) -> float:
    return float(np.clip((values[1:] * values[:-1]).sum() / max(1e-30, float((values**2).sum())), 0.0, 0.999))


def _listed(names: list[str]) -> str:
    different = list(dict.fromkeys(name for name in names if name))
    more = f" and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
    return f": in {', '.join(different[:_NAMED])}{more}" if different else ""
