"""Linear probes (Alain and Bengio, 2016): how well a linear learner tells the target from each layer's features.

The network is frozen. A probe learns from features of the training split and is asked about the test split, which
neither the network nor the probe has seen. The same network with its first, random weights stands beside it: depth
alone may make things easier to tell, and only what is above that was learned.

Shapes: N questions, D numbers of a feature, B items of a batch.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sluiceway.config import PipelineParams
from sluiceway.data.outcomes import accuracy
from sluiceway.data.shards import ShardedSplit
from sluiceway.data.table import SplitName
from sluiceway.evaluation.scores import Score, score
from sluiceway.usecases.base import Batch, Encoding, Metric, Outcomes, Probe, Questions, UseCase, device_of

if TYPE_CHECKING:
    from torch import nn

    from sluiceway.usecases.saved import LoadedModel

MOST_LAYERS = 12
"""Layers that are probed; of a deeper network some, evenly chosen."""
_SOME = 32
"""Items by which the number of questions about an item is known."""
_ALPHAS = tuple(10.0**power for power in range(-1, 6))
"""Penalties among which leave-one-out on the training side chooses."""

Floats = npt.NDArray[np.float32]


def r2(outcomes: Outcomes) -> float:
    """Share of the target's variance that is told: 0 by the mean, 1 by all."""
    target = outcomes["target"]
    left, whole = np.square(target - outcomes["predicted"]).sum(), np.square(target - target.mean()).sum()
    return float(1 - left / whole) if whole else float("nan")


ACCURACY = Metric("accuracy", "Accuracy of the probe", True, accuracy, percent=True)
R2 = Metric("r2", "Share of variance told, R²", True, r2)


@dataclass(frozen=True, slots=True)
class Gathered:
    """What the layers of a network made of some items of a split."""

    features: Mapping[str, Floats]
    """By layer in the order of work, the input first: [N, D]."""
    peaks: Mapping[str, Floats]
    """By layer, the strongest response of each channel to each item: [items, C]."""
    target: npt.NDArray[Any]
    """Right answers: [N]; where they are labels, flags: [N, K]."""
    row: npt.NDArray[Any]
    """Example behind each question: [N]."""
    item_row: npt.NDArray[Any]
    """Example behind each item: [items]."""
    of_items: bool
    """Whether questions are about whole items, not places in them."""
    shape: tuple[int, ...]
    """Of what the network is given, without the batch."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How well one layer tells the target."""

    layer: str
    trained: Score
    untrained: Score


@dataclass(frozen=True, slots=True)
class Told:
    """What the layers tell, from the input to the last."""

    asks: str
    metric: Metric
    chance: float
    """The metric of the best answer that looks at nothing."""
    learned: int
    """Questions that each probe learned from."""
    asked: int
    """Questions that it was asked."""
    depths: tuple[Depth, ...]
    test: Gathered
    """Of the trained network."""

    def document(self) -> dict[str, Any]:
        """Return this as ``evaluation.json`` has it."""
        depths = [
            {"layer": each.layer, "trained": each.trained.document(), "untrained": each.untrained.document()}
            for each in self.depths
        ]
        fields = {"asks": self.asks, "metric": self.metric.name, "chance": self.chance}
        return {**fields, "learned_from": self.learned, "asked": self.asked, "depths": depths}


def probe_layers(
    loaded: "LoadedModel", shards: Path, params: PipelineParams, groups: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> Told | None:
    """Probe each layer of a trained network; None where there is nothing to ask.

    Args:
        loaded: the network.
        shards: what it was trained on and what it is tested on.
        params: of its pipeline: how many items, and the seed.
        groups: says what is resampled as one, by rows of the example table.
    """
    import torch

    usecase, encoding = loaded.usecase, loaded.encoding
    probe = usecase.probe or BY_TARGET
    first = _batch(ShardedSplit(shards, "train"), np.arange(1))
    if usecase.probe is None and not _is_asked_by_target(first):
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.train.seed)  # the weights that training began with, where none were pretrained
        untrained = usecase.build(loaded.architecture, encoding).eval().to(device_of(loaded.model))
    told = [
        [_gather(network, usecase, encoding, probe, shards, split, params) for split in ("train", "test")]
        for network in (loaded.model, untrained)
    ]
    train, test = (_telling(side, told[0][0].target, probe.least) for side in told[0])
    if not len(train.target) or not len(test.target) or len(np.unique(train.target)) < 2:
        return None
    metric = R2 if np.issubdtype(train.target.dtype, np.floating) else ACCURACY
    owners = groups(test.row)
    settings = params.evaluate

    def scored(features: Floats, asked: Floats) -> Score:
        outcomes = answer(features, train.target, asked, test.target)
        return score(outcomes, [metric], settings.resamples, settings.seed, owners)[metric.name]

    depths = tuple(
        Depth(layer, *(scored(known.features[layer], asked.features[layer]) for known, asked in told))
        for layer in _chosen(list(train.features))
    )
    return Told(probe.asks, metric, _chance(train, test), len(train.target), len(test.target), depths, test)


def answer(
    known: Floats, target: npt.NDArray[Any], asked: Floats, truth: npt.NDArray[Any]
) -> dict[str, npt.NDArray[Any]]:
    """Let a linear probe learn, and answer: least squares with a penalty, on features brought to one scale.

    Args:
        known: features to learn from: [N, D].
        target: their classes, values, or flags of labels: [N], or [N, K].
        asked: features to answer: [M, D].
        truth: what would be right: [M], or [M, K].
    """
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    numbers = np.issubdtype(target.dtype, np.floating)
    learner = make_pipeline(StandardScaler(), RidgeCV(_ALPHAS) if numbers else RidgeClassifierCV(_ALPHAS))
    predicted = learner.fit(known.astype(np.float64), target).predict(asked.astype(np.float64))
    correct = (predicted == truth).astype(np.float64)
    return {"target": truth, "predicted": predicted, "correct": correct.reshape(len(truth), -1).mean(1)}


def by_target(batch: Batch, encoding: Encoding) -> Questions:
    """Ask for the target of each item."""
    target = batch["target"].numpy()
    if not np.issubdtype(target.dtype, np.floating):
        target = target.astype(np.int64)
    return Questions(np.arange(len(target)), target)


BY_TARGET = Probe("the target", by_target)


def _is_asked_by_target(batch: Batch) -> bool:
    """Whether the field ``target`` holds a class or a value for each item, or a flag for each label."""
    import torch

    target = batch.get("target")
    return target is not None and (target.ndim == 1 or (target.ndim == 2 and target.dtype == torch.uint8))


def _gather(
    network: "nn.Module",
    usecase: UseCase,
    encoding: Encoding,
    probe: Probe,
    shards: Path,
    split: SplitName,
    params: PipelineParams,
) -> Gathered:
    """Let a network work on some items of a split, evenly chosen, and keep what its layers make of them."""
    import torch

    from sluiceway.evaluation.layers.watch import Watch

    side, place = ShardedSplit(shards, split), device_of(network)
    wanted = _wanted(side, probe, encoding, params.evaluate.layers)
    features: dict[str, list[Floats]] = {}
    peaks: dict[str, list[Floats]] = {}
    targets, rows, item_rows = [], [], []
    of_items = True
    shape: tuple[int, ...] = ()
    with torch.inference_mode(), _threads(1 if probe.alone else None), Watch(network, stretch=probe.alone) as watch:
        for items in _portions(len(side), wanted, 1 if probe.alone else params.evaluate.batch):
            batch = _batch(side, items)
            questions = probe.ask(batch, encoding)
            given = {name: each.to(place) for name, each in batch.items()}
            watch.ask(questions)
            if probe.work:
                watch.finish(probe.work(network, given, watch.begin))
            else:
                usecase.losses(network, given, params.objective)
            of_items, shape = questions.position is None, watch.shape
            row = batch["row"].numpy()
            targets.append(questions.target)
            rows.append(row[questions.item])
            item_rows.append(row)
            for name, seen in watch.take().items():
                features.setdefault(name, []).append(seen.features.cpu().numpy())
                peaks.setdefault(name, []).append(seen.peaks.cpu().numpy())
    return Gathered(
        {name: np.concatenate(each) for name, each in features.items()},
        {name: np.concatenate(each) for name, each in peaks.items()},
        np.concatenate(targets),
        np.concatenate(rows),
        np.concatenate(item_rows),
        of_items,
        shape,
    )


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute with so many threads: one item alone is too little to share, and threads that wait for it cost more."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _wanted(side: ShardedSplit, probe: Probe, encoding: Encoding, questions: int) -> int:
    """Return how many items are needed for so many questions, by how many there are about some of them."""
    some = next(_portions(len(side), min(len(side), _SOME), _SOME))
    each = len(probe.ask(_batch(side, some), encoding).item) / len(some)
    return min(len(side), math.ceil(questions / max(1.0, each)))


def _portions(count: int, wanted: int, batch: int) -> Iterator[npt.NDArray[np.int64]]:
    items = np.linspace(0, count - 1, wanted).astype(np.int64)
    for start in range(0, wanted, batch):
        yield items[start : start + batch]


def _batch(split: ShardedSplit, items: npt.NDArray[np.int64]) -> Batch:
    import torch

    return {name: torch.from_numpy(array) for name, array in split.fetch(items).items()}


def _telling(side: Gathered, known: npt.NDArray[Any], least: float) -> Gathered:
    """Leave out labels that nearly all, or nearly none, of the known items have, where any are left then."""
    if known.ndim < 2 or not least:
        return side
    share = known.mean(0)
    keep = (share >= least) & (share <= 1 - least)
    return replace(side, target=side.target[:, keep]) if keep.any() else side


def _chosen(layers: list[str]) -> list[str]:
    """Choose some of many layers, the first and the last among them."""
    if len(layers) <= MOST_LAYERS:
        return layers
    return [layers[at] for at in np.linspace(0, len(layers) - 1, MOST_LAYERS).astype(int)]


def _chance(train: Gathered, test: Gathered) -> float:
    if np.issubdtype(train.target.dtype, np.floating):
        return 0.0
    if train.target.ndim > 1:  # the commoner answer for each label
        return float((test.target == (train.target.mean(0) > 0.5)).mean())
    classes, counts = np.unique(train.target, return_counts=True)
    return float((test.target == classes[counts.argmax()]).mean())
