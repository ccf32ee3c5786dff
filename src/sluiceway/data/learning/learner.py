"""The classical learner, cross-fitted: every example is answered by a fit that has not seen it.

Plan: one fit on the training split answers the test split, which makes it the classical baseline of ``evaluate``. The
other examples answer each other across five folds. Whole groups share a fold, and so do exact copies.

Bounds, for data of any size: a fit learns from at most ``MOST_KNOWN`` examples (or ``MOST_BYTES`` of contents), chosen
by hash; wide features are reduced to their principal components; answers are given block by block. The same data gives
the same answers, on any number of cores.

Shapes: M sketched examples, F features, K classes, N examples of a fit or of a block.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from sluiceway.data.answers import Answers, Floats
from sluiceway.data.labels import indicators, label_names
from sluiceway.data.learning.counted import Counted, Counts
from sluiceway.data.learning.folds import Job, Rows, first, keys_of, plan, ranks
from sluiceway.data.learning.machines import EstimatorFactory
from sluiceway.data.learning.machines import machine as machine_for
from sluiceway.data.learning.margins import ask_for_duels, best_scale, log_odds, probabilities
from sluiceway.data.sketches import Sketches, Vector
from sluiceway.data.table import TargetKind

if TYPE_CHECKING:
    import polars as pl

Result = TypeVar("Result")
Surprise = Callable[[Sequence[bytes], Sequence[bytes]], Floats]
Inputs = Vector | Counted
"""What the estimator learns from: [M, F]."""

MOST_KNOWN = 10_000
"""Examples of one fit: a support vector machine takes the square of them in time."""
MOST_BYTES = 8 << 20
"""Contents of one fit: a 5-gram model takes a hundred times as much memory."""
_BLOCK = 8_192
_BLOCK_BYTES = 1 << 20


def cross_fit(
    sketches: Sketches,
    table: "pl.DataFrame",
    kind: TargetKind,
    *,
    estimator: EstimatorFactory | None = None,
    surprise: Surprise | None = None,
    counts: Counts | None = None,
    load: Callable[[int], bytes] | None = None,
) -> Answers | None:
    """Answer every sketched example by a learner that has not learned from it.

    The test split is answered by one fit on the training split alone. Only the confidence of those answers, never which
    class is the likeliest, also depends on the validation split: the temperature comes from all answers across folds.

    Args:
        sketches: of M examples.
        table: the columns ``split``, ``group``, ``checksum`` and ``target`` of the same examples, in the same order.
        kind: what ``target`` holds.
        estimator: makes an unfitted scikit-learn classifier or regressor; default: by ``kind``. What it has of
            ``predict_proba`` is taken as it is; decision values become probabilities by a temperature.
        surprise: the learner of contents, whatever their target, and the one that is asked where a use case has it:
            (known contents, asked contents) -> [asked].
        counts: counts what contents consist of: the estimator then learns from that, and not from ``features``.
        load: content of the example in a row of the example table; ``surprise`` and ``counts`` need it.

    Returns:
        Answers in the order of ``sketches``; None where there is nothing that could answer. Where a fit had nothing to
        learn from, all classes are equally likely, and predictions and surprise are NaN.
    """
    checksums = [str(value) for value in table["checksum"]]
    jobs = plan(table["split"].to_list(), keys_of(table, checksums))
    rank = ranks(checksums)
    if surprise is not None and load is not None:
        return _read(sketches, jobs, rank, surprise, load)
    inputs: Inputs | None = sketches.features
    if counts is not None and load is not None:
        inputs = Counted(sketches.rows, rank, 2 * MOST_KNOWN, counts, load)
    if kind in _LEARNERS and inputs is not None:
        jobs = [Job(first(job.known, rank, MOST_KNOWN), job.asked, job.across) for job in jobs]
        answer = _LEARNERS[kind]
        with _quietly():
            return answer(sketches.rows, inputs, table["target"].to_list(), jobs, estimator)
    return None


# Targets.


def _classify(
    rows: Rows, features: Inputs, targets: Sequence[str | None], jobs: Sequence[Job], make: EstimatorFactory | None
) -> Answers | None:
    classes = tuple(sorted({target for target in targets if target is not None}))
    if not classes:
        return None
    number = {name: at for at, name in enumerate(classes)}
    labels = np.array([-1 if target is None else number[target] for target in targets], np.int64)

    def answer(job: Job) -> tuple[Floats, bool]:
        known = job.known[labels[job.known] >= 0]
        found = np.full((len(job.asked), len(classes)), -np.inf)
        present = np.unique(labels[known])
        if len(present) < 2:
            found[:, present if len(present) else slice(None)] = 0.0
            return found, True
        machine = ask_for_duels(_machine("class", make, features, len(known)))
        machine.fit(features[known], labels[known])
        honest = True
        for block in _blocks(len(job.asked)):
            odds, honest = log_odds(machine, features[job.asked[block]])
            found[block][:, present] = odds
        return found, honest

    odds, honest = np.empty((len(features), len(classes))), np.ones(len(features), bool)
    for job, (found, is_honest) in zip(jobs, _in_parallel(answer, jobs), strict=True):
        odds[job.asked], honest[job.asked] = found, is_honest
    across = np.concatenate([job.asked for job in jobs if job.across] or [np.empty(0, np.int64)])
    fitted = across[~honest[across]]
    scale = best_scale(odds[fitted], labels[fitted]) if len(fitted) else 1.0
    odds[~honest] *= scale
    return Answers(rows, classes, probabilities(odds))


def _label(
    rows: Rows, features: Inputs, targets: Sequence[str | None], jobs: Sequence[Job], make: EstimatorFactory | None
) -> Answers | None:
    """Ask of each label alone whether it is there: a class of its own against the rest."""
    labels = label_names(targets)
    known = indicators(targets, labels)  # [M, K]
    found = np.zeros(known.shape)
    for k in range(len(labels)):
        alone = [None if target is None else str(int(has)) for target, has in zip(targets, known[:, k], strict=True)]
        answers = _classify(rows, features, alone, jobs, make)
        if answers is not None and answers.probabilities is not None and "1" in answers.classes:
            found[:, k] = answers.probabilities[:, answers.classes.index("1")]
    return Answers(rows, labels, found) if labels else None


def _regress(
    rows: Rows, features: Inputs, targets: Sequence[str | None], jobs: Sequence[Job], make: EstimatorFactory | None
) -> Answers | None:
    values = numbers(targets)
    if not np.isfinite(values).any():
        return None

    def answer(job: Job) -> Floats:
        machine = _regressor(features, values, job.known, make)
        if machine is None:
            return np.full(len(job.asked), np.nan)
        found = [machine.predict(features[job.asked[block]]) for block in _blocks(len(job.asked))]
        return np.asarray(np.concatenate(found), np.float64).reshape(-1)

    predictions = np.empty(len(features))
    for job, found in zip(jobs, _in_parallel(answer, jobs), strict=True):
        predictions[job.asked] = found
    return Answers(rows, predictions=predictions)


def _remember(
    rows: Rows, features: Inputs, targets: Sequence[str | None], jobs: Sequence[Job], make: EstimatorFactory | None
) -> Answers | None:
    """Find the example with a text that is most alike: what is said of the one may be said of the other."""
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import StandardScaler

    told = np.array([target is not None for target in targets])
    if not told.any():
        return None
    nearest = np.full(len(features), -1, np.int64)
    for job in jobs:
        known = job.known[told[job.known]]
        if not len(known) or not len(job.asked):
            continue
        scale = StandardScaler().fit(features[known])
        search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(scale.transform(features[known]))
        for block in _blocks(len(job.asked)):
            found = search.kneighbors(scale.transform(features[job.asked[block]]), return_distance=False)
            nearest[job.asked[block]] = rows[known[found[:, 0]]]
    return Answers(rows, nearest=nearest)


_LEARNERS = {"class": _classify, "classes": _label, "number": _regress, "text": _remember}


def _regressor(features: Inputs, values: Floats, known: Rows, make: EstimatorFactory | None) -> Any:
    """Fit on the known examples whose target is a number; None where there is none."""
    known = known[np.isfinite(values[known])]
    if not len(known):
        return None
    machine = _machine("number", make, features, len(known))
    return machine.fit(features[known], values[known])


def _machine(kind: Literal["class", "number"], make: EstimatorFactory | None, features: Inputs, known: int) -> Any:
    """Make an estimator with what prepares features before it; counts are prepared by the estimator itself."""
    if isinstance(features, Counted) and make is not None:
        return make()
    return machine_for(kind, make, features.shape[1], known)


def fit_regressor(sketches: Sketches, table: "pl.DataFrame", estimator: EstimatorFactory | None = None) -> Any:
    """Fit once more what answered the test split in :func:`cross_fit`, to ask it about what was not recorded.

    Args:
        sketches: of M examples.
        table: the columns ``split``, ``checksum`` and ``target`` of the same examples, in the same order.
        estimator: as there.

    Returns:
        A fitted regressor on ``features``; None where there is nothing to learn from.
    """
    if sketches.features is None:
        return None
    rank = ranks([str(value) for value in table["checksum"]])
    known = first(np.flatnonzero(table["split"].to_numpy() == "train"), rank, MOST_KNOWN)
    with _quietly():
        return _regressor(sketches.features, numbers(table["target"].to_list()), known, estimator)


def numbers(targets: Sequence[str | None]) -> Floats:
    """Return targets as numbers [M]; NaN where one is missing or none."""
    return np.array([_number(target) for target in targets], np.float64)


def _number(target: str | None) -> float:
    try:
        value = float(target) if target is not None else np.nan
    except ValueError:
        return float("nan")
    return value if np.isfinite(value) else float("nan")


# Contents.


def _read(
    sketches: Sketches,
    jobs: Sequence[Job],
    rank: Rows,
    surprise: Surprise,
    load: Callable[[int], bytes],
) -> Answers:
    """Answer by contents. Those to learn from are held in memory, at most ``MOST_BYTES``; others are read in turn."""
    rows = sketches.rows
    learned_from = np.unique(np.concatenate([job.known for job in jobs] or [np.empty(0, np.int64)]))
    held: dict[int, bytes] = {}
    size = 0
    for at in learned_from[np.argsort(rank[learned_from])].tolist():
        held[at] = load(int(rows[at]))
        size += len(held[at])
        if size >= MOST_BYTES:
            break
    found = np.full(len(rows), np.nan)
    for job in jobs:
        known = [held[at] for at in job.known.tolist() if at in held]
        asked = ((at, held[at] if at in held else load(int(rows[at]))) for at in job.asked.tolist())
        for block in _blocks_of(asked) if known else ():
            found[[at for at, _ in block]] = surprise(known, [content for _, content in block])
    return Answers(rows, surprise=found)


# Plumbing.


def _blocks(length: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, length, _BLOCK))


def _blocks_of(contents: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    block: list[tuple[int, bytes]] = []
    size = 0
    for at, content in contents:
        block.append((at, content))
        size += len(content)
        if size >= _BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _in_parallel(answer: Callable[[Job], Result], jobs: Sequence[Job]) -> list[Result]:
    # Threads: the support vector machines work outside Python's lock.
    with ThreadPoolExecutor(max(1, min(len(jobs), os.cpu_count() or 1))) as pool:
        return list(pool.map(answer, jobs))


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep scikit-learn's warnings off the screen, and its sums the same on any number of cores."""
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        yield
