"""A job on a cluster of hosts, one of which is powered off in mid-training: it ends as if nothing had happened."""

import json
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from hosts import cluster_of_hosts, missing
from projects import DIGITS_PARAMS
from sluiceway.training.spool import read
from teams import Kept, keep

EVERY = 10
PARAMS = DIGITS_PARAMS.replace("epochs: 3", "epochs: 30\n  workers: [1, 2]\n  cpus_per_worker: 1").replace(
    "log_every: 5", f"log_every: {EVERY}"
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_host_is_lost_in_mid_training(tmp_path: Path, digits_folder: Callable[[Path, int], Path]) -> None:
    if why := missing():
        pytest.skip(f"no hosts can be made here: {why}")
    kept = keep(tmp_path, digits_folder, PARAMS)
    with cluster_of_hosts(tmp_path) as (cluster, (_, lost)):
        kept.describe(where="ray", ray={"address": cluster.dashboard}, retries=0)
        begun = kept.project.run("sluiceway", "job", "submit", "nightly", "--detach", **kept.env(**cluster.token))
        assert "submit nightly: run sluiceway-nightly-" in begun.stdout
        until_trained(kept, 40)
        lost.power_off()
        said = kept.project.run("sluiceway", "job", "attach", "nightly", **kept.env(**cluster.token)).stdout
    # Noticed by the head, or before that by the collective of the other worker.
    assert re.search(r"warning: worker \d was (killed or lost|cut off) .*; training goes on from step \d+", said), said
    assert "nightly: digits version 1 is the new champion of digits" in said
    assert kept.last()["event"] == "promoted"
    report = json.loads((kept.folder / "tree" / "reports" / "digits" / "training.json").read_text(encoding="utf-8"))
    assert (report["failures"], report["attempts"]) == (1, 2)
    steps = report["steps"]
    assert in_mlflow(kept) == Counter([*range(EVERY, steps, EVERY), steps])


def until_trained(kept: Kept, step: int) -> None:
    """Wait until the curve has come to a step."""
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        for path in (kept.project.root / ".sluiceway" / "digits" / "training").glob("*/metrics.jsonl"):
            reached = max((point.step for point in read(path)), default=0)
            if reached >= step:
                return
        record = kept.last() if list(kept.folder.glob("runs/*/run.json")) else {}
        assert not record.get("event"), record
        time.sleep(0.05)
    raise AssertionError("it did not train")


def in_mlflow(kept: Kept) -> Counter[int]:
    """Return how often each step has a training loss."""
    (path,) = (kept.project.root / "mlflow" / "store").glob("*.db")
    with sqlite3.connect(path) as store:
        return Counter(step for (step,) in store.execute("select step from metrics where key = 'train/loss'"))
