"""The fault matrix's short form, and what it cannot see: which examples every global batch was made of."""

import json
import signal
import sys
import time
from itertools import groupby

import numpy as np
import pytest

from projects import ROOT
from sluiceway.data.shards import ShardedSplit

sys.path.insert(0, str(ROOT / "benchmarks"))
from chaos import ROWS, SHORT, table
from lab import Lab, Training, cluster
from outcomes import GENTLE, TOLERANCE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.mark.parametrize("fault", SHORT)
def test_a_fault_ends_as_it_should(lab: Lab, fault: str) -> None:
    outcome = ROWS[fault](lab)
    assert outcome.right, table({fault: outcome})[-1]


def test_a_worker_that_never_gets_further_is_given_up(lab: Lab) -> None:
    training = lab.training("given-up", {"workers": 2, "retries": 1, "checkpoint_every": 5000}).start()
    for crash in (1, 2):
        training.at(50)
        dead = training.hurt(1, signal.SIGKILL)
        if crash == 1:
            training.goes_on(dead)
    assert training.end() == 1
    assert "for the 2. time without a new checkpoint" in training.said()
    assert training.said().count("training goes on from step 0") == 1


_RECORDED = '''
"""The image use case; it writes down which examples its losses are asked about."""
import hashlib, json, time
from dataclasses import replace
from functools import cache
from pathlib import Path

from torch import distributed as dist

from sluiceway.usecases.image import FAMILY

_IMAGE = FAMILY.targets["class"]
_ROOT = Path(__file__).parent
_FILE = _ROOT / "seen" / f"{time.time_ns()}.jsonl"


@cache
def attempt():
    """Return how many attempts there were before the first step of this one, which leaves word after it."""
    return len(list(_ROOT.glob(".sluiceway/**/attempt-*.json")))


def losses(model, batch, objective):
    if model.training:
        several = dist.is_initialized()
        rank, world = (dist.get_rank(), dist.get_world_size()) if several else (0, 1)
        each = [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in batch["image"]]
        words = {"attempt": attempt(), "rank": rank, "world": world, "items": each}
        _FILE.parent.mkdir(exist_ok=True)
        with _FILE.open("a") as file:
            file.write(json.dumps(words) + "\\n")
    return _IMAGE.losses(model, batch, objective)


USECASE = replace(_IMAGE, losses=losses, draws=0)
'''


def recorded(lab: Lab, name: str, workers: object, **env: str) -> Training:
    """Return a training that writes down its examples."""
    training = lab.training(name, {**GENTLE, "workers": workers, "epochs": 250.0}, **env)
    (training.project.root / "recorded.py").write_text(_RECORDED, encoding="utf-8")
    training.project.set("digits", "usecase", "recorded:USECASE")
    return training


def batches(training: Training, starts: list[int]) -> dict[int, list[str]]:
    """Return the items of each global batch by step, of the attempt whose step it is in the end.

    Args:
        training: a finished one.
        starts: the step after which each attempt began.
    """
    files = sorted((training.project.root / "seen").iterdir())
    lines = [
        path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines() for path in files
    ]  # the last may be torn
    workers = [[json.loads(line) for line in each] for each in lines if each]
    attempts = [list(group) for _, group in groupby(workers, key=lambda words: words[0]["attempt"])]
    assert len(attempts) == len(starts)
    found: dict[int, list[str]] = {}
    for start, attempt in zip(starts, attempts, strict=True):
        by_rank = sorted(attempt, key=lambda words: words[0]["rank"])
        assert len(by_rank) == by_rank[0][0]["world"]
        for turn, together in enumerate(zip(*by_rank, strict=False)):
            found[start + turn] = [item for each in together for item in each["items"]]
    return found


def test_every_global_batch_is_the_same_whatever_nodes_come_and_go(lab: Lab) -> None:
    whole = recorded(lab, "elastic-whole", 1).start()
    assert whole.end() == 0, whole.said()
    with cluster(2) as (ray, nodes, env):
        training = recorded(lab, "elastic", [1, 2], **env).start()
        training.at(120)
        lost = time.time()
        ray.remove_node(nodes[1], allow_graceful=False)
        _, alone = training.goes_on(lost)
        training.at(alone + 60)
        ray.add_node(num_cpus=1, object_store_memory=80_000_000)
        back = time.time()
        training.until(lambda: training.worker(1)["started"] > back, "the second worker")
        _, together = training.goes_on(back)
        assert training.end() == 0, training.said()
    expected = batches(whole, [0])
    found = batches(training, [0, alone - 1, together - 1])
    assert set(found) == set(expected) == set(range(len(expected)))
    assert all(sorted(found[step]) == sorted(expected[step]) for step in expected)

    stream = [item for step in sorted(found) for item in found[step]]
    items = len(ShardedSplit(training.project.root / "data" / "shards" / "digits", "train"))
    assert len(set(stream)) == items
    for epoch in range(len(stream) // items):
        assert len(set(stream[epoch * items : (epoch + 1) * items])) == items  # none twice, none skipped
    mine, theirs = training.losses(), whole.losses()
    assert set(mine) == set(theirs)
    apart = np.abs(np.array([mine[step] - theirs[step] for step in sorted(mine)])).max()
    assert apart < TOLERANCE * max(theirs.values())
    assert training.report()["attempts"] == 3
    assert training.report()["failures"] == 1
