"""Jobs on a real Ray cluster, through its Jobs API, with a token: begun, followed, ended, gone on with."""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters import Ray, ray_cluster
from sluiceway.launch.outcome import CANCELLED
from slurm import free_ports
from teams import Kept, keep_quick

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ray]:
    with ray_cluster(tmp_path_factory.mktemp("head")) as made:
        yield made


def job(kept: Kept, head: Ray, *words: str, check: int = 0, **env: str) -> str:
    done = kept.project.run("sluiceway", "job", *words, check=False, **kept.env(**{**head.token, **env}))
    assert done.returncode == check, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def test_a_job_is_submitted_followed_ended_and_gone_on_with(head: Ray, tmp_path: Path) -> None:
    kept = keep_quick(tmp_path)
    kept.describe(where="ray", ray={"address": head.dashboard}, grace=30)
    (kept.origin / "told.txt").write_text("slow\n", encoding="utf-8")
    assert "has not run yet" in job(kept, head, "attach", "nightly", check=2)
    assert "submit nightly: run sluiceway-nightly-" in job(kept, head, "submit", "nightly", "--detach")
    deadline = time.monotonic() + 180
    while not (tmp_path / "training").exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "nightly: told to stop; " in job(kept, head, "cancel", "nightly")
    job(kept, head, "attach", "nightly", check=CANCELLED)
    assert "nightly: told to stop; " in job(kept, head, "cancel", "nightly")  # it stays so
    assert (tmp_path / "saved").read_text(encoding="utf-8") == "1"
    assert kept.last()["event"] == "preempted"
    said = job(kept, head, "submit", "nightly")
    assert "the last run was interrupted" in said
    assert "nightly: digits version 1 is the new champion of digits" in said
    assert kept.last()["event"] == "promoted"
    (kept.origin / "told.txt").write_text("bad\n", encoding="utf-8")
    assert "the data gate of digits is closed" in job(kept, head, "submit", "nightly", check=3)
    job(kept, head, "attach", "nightly", check=3)


def test_without_the_token_nothing_is_let_in(head: Ray, tmp_path: Path) -> None:
    kept = keep_quick(tmp_path)
    kept.describe(where="ray", ray={"address": head.dashboard})
    wrong = tmp_path / "wrong"
    wrong.write_text(secrets.token_hex(32), encoding="utf-8")
    said = job(kept, head, "submit", "nightly", "--detach", check=1, RAY_AUTH_TOKEN_PATH=str(wrong))
    assert "refused" in said
    assert "RAY_AUTH_TOKEN_PATH" in said
    assert wrong.read_text(encoding="utf-8") not in said


def test_a_cluster_that_is_not_there_is_told(tmp_path: Path) -> None:
    kept = keep_quick(tmp_path)
    (port,) = free_ports(1)
    kept.describe(where="ray", ray={"address": f"http://127.0.0.1:{port}"})
    done = kept.project.run("sluiceway", "job", "submit", "nightly", check=False, **kept.env())
    assert done.returncode == 1
    assert f"no Ray cluster answers at http://127.0.0.1:{port}" in done.stdout
