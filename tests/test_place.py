"""Where networks are evaluated: everything is moved, what fails goes on with the CPU, and no figure changes."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from accelerators import DEVICE, PretendedGPU
from made import MADE, Made, classes, frames, made, pairs, windows
from projects import ROOT, Project
from sluiceway.config import Train
from sluiceway.data.shards import ShardedSplit, write_manifest, write_shards
from sluiceway.errors import OutOfMemory
from sluiceway.evaluation.layers.probes import BY_TARGET
from sluiceway.evaluation.layers.watch import Watch
from sluiceway.evaluation.place import Place
from sluiceway.evaluation.predict import answer
from sluiceway.models import hardware
from sluiceway.usecases import find
from sluiceway.usecases.base import Batch, Outcomes, Probe, Questions, device_of
from sluiceway.usecases.driving import trial
from sluiceway.usecases.saved import LoadedModel
from sluiceway.usecases.text_generation import sampling
from sluiceway.usecases.translation.panels import looked_at


@pytest.fixture
def said() -> list[str]:
    return []


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).eval()


def weights_of(model: nn.Module) -> list[bytes]:
    return [each.detach().numpy().tobytes() for each in model.state_dict().values()]


# The pretended GPU itself finds what it is for.


def test_what_was_not_moved_is_found() -> None:
    model = network()
    with PretendedGPU() as gpu:
        model.to("cuda")
        assert device_of(model) == DEVICE
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            model(torch.ones(2, 4))
        moved = torch.ones(2, 4).to("cuda")
        found = model(moved)
        assert gpu.has(found)
        for fault in (lambda: found + torch.ones(2, 3), lambda: found[torch.tensor([0])], lambda: found.numpy()):
            with pytest.raises((RuntimeError, TypeError)):
                fault()
        assert not gpu.has(found.cpu())
        assert gpu.has(torch.arange(3, device=found.device) + found)
        assert gpu.computed["linear"] == 2
        model.to("cpu")
        assert device_of(model).type == "cpu"
        assert torch.equal(found.cpu(), model(torch.ones(2, 4)))


# The choice.


@pytest.mark.parametrize(
    ("options", "gpus", "expected"),
    [
        ({}, 0, "cpu"),
        ({}, 1, "cuda"),
        ({"workers": 2, "global_batch": 4}, 1, "cpu"),  # it was trained on CPUs then
        ({"accelerator": "cpu"}, 1, "cpu"),
        ({"accelerator": "gpu"}, 1, "cuda"),
    ],
)
def test_the_choice_is_that_of_training(
    options: dict[str, Any], gpus: int, expected: str, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    params = find("image", Path()).params.model_validate({"usecase": "image", "target": "class", "train": options})
    monkeypatch.setattr("sluiceway.evaluation.place.visible_gpus", lambda: (gpus, True))
    with PretendedGPU():
        assert Place.of(params, said.append).device.type == expected
    assert said == []
    assert Train(**options).on_gpu(gpus) == (expected == "cuda")


@pytest.mark.skipif(hardware.visible_gpus()[0] > 0, reason="this machine has a GPU")
def test_a_gpu_that_is_wanted_and_not_there_is_one_line(said: list[str]) -> None:
    train = {"accelerator": "gpu"}
    params = find("image", Path()).params.model_validate({"usecase": "image", "target": "class", "train": train})
    place = Place.of(params, said.append)
    assert place.device.type == "cpu"
    assert len(said) == 1
    assert said[0].startswith("the evaluation cannot use cuda, and goes on with the CPU: ")


@pytest.mark.parametrize("device", ["meta", "nowhere"])
def test_a_device_that_does_not_compute_is_refused_before_anything_is_moved(device: str, said: list[str]) -> None:
    model = network()
    before = weights_of(model)
    place = Place(device, 8, said.append)
    assert place.device.type == "cpu"
    assert said[0].startswith(f"the evaluation cannot use {device}, and goes on with the CPU: ")
    assert place.run(model, lambda: device_of(model).type) == "cpu"
    assert weights_of(model) == before
    assert len(said) == 1


# What goes wrong.


def work_of(model: nn.Module, place: Place, items: int = 16) -> Callable[[], list[int]]:
    """Answer some items, and return how many there were each time."""

    def work() -> list[int]:
        sizes = []
        for start in range(0, items, place.batch):
            some = torch.ones(min(place.batch, items - start), 4).to(device_of(model))
            sizes.append(len(model(some).detach().cpu().numpy()))
        return sizes

    return work


def test_too_many_items_at_a_time_become_fewer(said: list[str]) -> None:
    model = network()
    with PretendedGPU(fits=40) as gpu:  # the weights of the first layer, and 5 items of its answer
        place = Place("cuda", 16, said.append)
        assert place.run(model, work_of(model, place)) == [4] * 4
        assert gpu.computed["linear"] >= 8
        assert place.run(model, work_of(model, place)) == [4] * 4  # it is remembered
    assert [line.split(":")[0] for line in said] == [
        f"out of memory in the evaluation, with {size} items at a time" for size in (16, 8)
    ]
    assert said[1].endswith("going on with 4 (a lower evaluate.batch changes no figure)")
    assert device_of(model).type == "cpu"


def test_a_network_that_does_not_fit_goes_on_with_the_cpu(said: list[str]) -> None:
    model = network()
    before = weights_of(model)
    with PretendedGPU(fits=10):
        place = Place("cuda", 16, said.append)
        assert place.run(model, work_of(model, place), in_batches=False) == [16]
    assert said == [
        "the evaluation cannot use cuda, and goes on with the CPU: CUDA out of memory. Tried to allocate 2.00 GiB"
    ]
    assert weights_of(model) == before


def test_what_a_use_case_cannot_do_elsewhere_is_done_on_the_cpu(said: list[str]) -> None:
    """As of one's own: it knows nothing of devices."""
    model = network()
    with PretendedGPU():
        place = Place("cuda", 16, said.append)
        found = place.run(model, lambda: model(torch.ones(2, 4).to(device_of(model))).detach().numpy())
        assert found.shape == (2, 3)
        place.run(model, lambda: model(torch.ones(2, 4)))
    assert len(said) == 1
    assert "goes on with the CPU: can't convert cuda:0 device type tensor to numpy" in said[0]


def test_a_device_that_dies_takes_no_weights_along(said: list[str]) -> None:
    model = nn.Sequential(network(), nn.BatchNorm1d(3)).eval()
    before = weights_of(model)

    def fail(name: str) -> None:
        if name == "tanh":
            raise RuntimeError("CUDA error: device-side assert triggered")

    with PretendedGPU(fails=fail):
        place = Place("cuda", 16, said.append)
        assert place.run(model, work_of(model, place)) == [16]
    assert said == [
        "the evaluation cannot use cuda, and goes on with the CPU: CUDA error: device-side assert triggered"
    ]
    assert weights_of(model) == before


def test_faults_of_the_work_itself_are_raised(said: list[str]) -> None:
    def fail() -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        Place("cpu", 16, said.append).run(network(), fail)
    assert said == []
    with PretendedGPU(), pytest.raises(RuntimeError, match="shapes do not fit"):
        Place("cuda", 16, said.append).run(network(), fail)
    assert len(said) == 1


def test_a_single_item_that_fits_nowhere_is_an_error(said: list[str]) -> None:
    def fail() -> None:
        raise MemoryError("Unable to allocate 2.00 TiB")

    with pytest.raises(OutOfMemory, match="with 1 items at a time: Unable to allocate") as caught:
        Place("cpu", 4, said.append).run(network(), fail)
    assert "more memory" in caught.value.hint
    assert len(said) == 2


# What is evaluated.


def evaluated(loaded: LoadedModel, batch: Batch, place: Place) -> Outcomes:
    def work() -> Outcomes:
        given = {name: each.to(device_of(loaded.model)) for name, each in batch.items()}
        with torch.inference_mode():
            return loaded.usecase.predict(loaded.model, given, loaded.encoding)

    return place.run(loaded.model, work)


def assert_alike(one: Outcomes, other: Outcomes) -> None:
    assert one.keys() == other.keys()
    for name, column in one.items():
        np.testing.assert_array_equal(column, other[name])


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_every_use_case_answers_where_its_network_is(make: Callable[[], Made], said: list[str]) -> None:
    """Nothing of it is left on the CPU, and nothing of it has another result there."""
    case, batch = made(make)
    expected = evaluated(case, batch, Place("cpu", 8, said.append))
    before = weights_of(case.model)
    with PretendedGPU() as gpu:
        found = evaluated(case, batch, Place("cuda", 8, said.append))
    assert said == []
    assert sum(gpu.computed.values()) > 5
    assert_alike(found, expected)
    assert weights_of(case.model) == before


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_every_use_case_is_probed_where_its_network_is(make: Callable[[], Made]) -> None:
    case, batch = made(make)
    usecase = case.usecase
    if make is windows:  # it asks a tokenizer that was learned of texts; test_layers has it
        usecase = replace(usecase, probe=Probe("something", lambda given, _: Questions(*_SOME)))
    probe = usecase.probe or BY_TARGET
    questions = probe.ask(batch, case.encoding)
    objective = usecase.objective()

    def seen() -> dict[str, list[bytes]]:
        given = {name: each.to(device_of(case.model)) for name, each in batch.items()}
        with torch.inference_mode(), Watch(case.model, stretch=probe.alone) as watch:
            watch.ask(questions)
            if probe.work:
                watch.finish(probe.work(case.model, given, watch.begin))
            else:
                usecase.losses(case.model, given, objective)
            found = watch.take()
            return {
                name: [part.cpu().numpy().tobytes() for part in (each.features, each.peaks)]
                for name, each in found.items()
            }

    expected = seen()
    assert len(expected) > 1
    with PretendedGPU():
        case.model.to("cuda")
        found = seen()
        case.model.to("cpu")
    assert found == expected


_SOME = (np.array([0, 1, 2]), np.array([0, 1, 0]), np.array([1, 2, 3]))


def test_samples_attention_and_trials_are_made_where_the_network_is(monkeypatch: pytest.MonkeyPatch) -> None:
    steered, _ = made(frames)
    frame = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    steering = trial.network(steered.model, steered.encoding)(frame)
    writer, _ = made(pairs)
    source, target = ([5, 6, 7], [8, 9])
    expected = looked_at(writer.model, writer.encoding, source, target)
    talker, _ = made(windows)
    monkeypatch.setattr(sampling, "tokenizer_of", lambda _: Fixed())
    settings: dict[str, Any] = {"tokens": 12, "temperature": 0.8, "top_p": 0.95, "seed": 4}
    said = sampling.generate(talker.model, talker.encoding, "", **settings)
    with PretendedGPU() as gpu:
        for model in (writer.model, talker.model, steered.model):
            model.to("cuda")
        assert trial.network(steered.model, steered.encoding)(frame) == steering
        assert gpu.computed["conv2d"]
        found = looked_at(writer.model, writer.encoding, source, target)
        again = sampling.generate(talker.model, talker.encoding, "", **settings)
        assert gpu.computed["linear"] > 10
    np.testing.assert_array_equal(found, expected)
    assert again == said
    assert len(said) > 1


class Fixed:
    """A tokenizer that knows one beginning."""

    ids = (3, 4, 5)

    def encode(self, text: str, **_: object) -> "Fixed":
        return self


# A split.


def test_answers_of_a_split_are_moved_batch_by_batch(tmp_path: Path, said: list[str]) -> None:
    case, batch = made(classes)
    rows = (
        {"row": np.asarray(at), **{name: each[at].numpy() for name, each in batch.items()}}
        for at in range(len(batch["target"]))
    )
    entry = write_shards(rows, tmp_path, "test")
    write_manifest(tmp_path, {"train": [], "validation": [], "test": entry}, {})
    split = ShardedSplit(tmp_path, "test")
    expected = answer(split, case, 4)
    done: list[int] = []
    with PretendedGPU() as gpu:
        place = Place("cuda", 4, said.append)
        found = place.run(case.model, lambda: answer(split, case, place.batch, done.append))
    assert_alike(found, expected)
    assert done == [4, 6]
    assert gpu.computed["conv2d"] > 1
    assert said == []


# The stage.

_STAGE = """
import sys
from pathlib import Path

from accelerators import PretendedGPU
from sluiceway.evaluation import place
from sluiceway.stages.evaluate import evaluate
from sluiceway.usecases.pipeline import Pipeline

def fail(name):
    if name == sys.argv[2]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

place.visible_gpus = lambda: (1, True)
with PretendedGPU(fails=fail) as gpu:
    evaluate(Pipeline.load(sys.argv[1], Path.cwd()))
print("computed", gpu.computed.total())
"""
KEPT = ("evaluation.json", "predictions.parquet", "plots/layers.csv")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "fails", "warnings"), [("digits", "", 0), ("digits", "conv2d", 1), ("verses", "", 0)])
def test_the_stage_finds_the_same_figures_on_a_gpu_or_behind_one_that_fails(
    name: str, fails: str, warnings: int, project: Project
) -> None:
    """Answers, probes and panels of a trained model: what is kept of them is the same to the bit."""
    kept = [project.root / "reports" / name / each for each in KEPT]
    before = [path.read_bytes() for path in kept]
    for path in kept:
        path.unlink()
    paths = os.pathsep.join(str(each) for each in (project.root / "src", ROOT / "tests"))
    said = project.run("python", "-c", _STAGE, name, fails, PYTHONPATH=paths).stdout
    assert [path.read_bytes() for path in kept] == before
    assert said.count("warning:") == warnings
    assert int(said.rpartition("computed ")[2]) > (0 if fails else 100)
