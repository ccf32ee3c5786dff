"""Jobs on a real Ray cluster, through its Jobs API, with a token: begun, followed, ended, gone on with."""

import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from projects import BIN, ROOT
from slurm import free_ports
from teams import Kept, keep_quick

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Head:
    """The head of a cluster of one node."""

    address: str
    token: dict[str, str]
    """What whoever speaks to it must have in the environment."""


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    folder = tmp_path_factory.mktemp("head")
    token = folder / "token"
    token.write_text(secrets.token_hex(32), encoding="utf-8")
    token.chmod(0o600)
    gcs, dashboard = free_ports(2)
    known = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0"}
    known["RAY_raylet_start_wait_time_s"] = "170"  # a busy machine
    # Ray's sockets have names of at most 107 letters.
    short = Path("/tmp") / f"sw-{secrets.token_hex(3)}"
    options = [f"--port={gcs}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1", f"--temp-dir={short}"]
    options += ["--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats", "--block"]
    with (folder / "head.log").open("w") as log:
        process = subprocess.Popen(
            [str(BIN / "ray"), "start", "--head", *options],
            env={**os.environ, **known, "PYTHONPATH": str(ROOT / "src"), "PATH": f"{BIN}:{os.environ['PATH']}"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            made = Head(f"http://127.0.0.1:{dashboard}", known)
            _until_up(made, process, folder / "head.log")
            yield made
        finally:
            process.terminate()
            process.wait(60)
            subprocess.run(["rm", "-rf", str(short)], check=True)


def _until_up(head: Head, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the head answers, and see that it lets nobody in who has no token."""
    deadline = time.monotonic() + 180
    answer = None
    while answer is None or "Ray runtime started" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            answer = requests.get(f"{head.address}/api/jobs/", timeout=5)
        except requests.RequestException:
            time.sleep(0.5)
    assert answer.status_code == 401


def job(kept: Kept, head: Head, *words: str, check: int = 0, **env: str) -> str:
    done = kept.project.run("sluiceway", "job", *words, check=False, **kept.env(**{**head.token, **env}))
    assert done.returncode == check, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def test_a_job_is_submitted_followed_ended_and_gone_on_with(head: Head, tmp_path: Path) -> None:
    kept = keep_quick(tmp_path)
    kept.describe(where="ray", ray={"address": head.address}, grace=30)
    (kept.origin / "told.txt").write_text("slow\n", encoding="utf-8")
    assert "has not run yet" in job(kept, head, "attach", "nightly", check=2)
    assert "submit nightly: run sluiceway-nightly-" in job(kept, head, "submit", "nightly", "--detach")
    deadline = time.monotonic() + 180
    while not (tmp_path / "training").exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "is failed" in job(kept, head, "cancel", "nightly")  # in Ray's words: its exit code is 75
    assert (tmp_path / "saved").read_text(encoding="utf-8") == "1"
    assert kept.last()["event"] == "preempted"
    said = job(kept, head, "submit", "nightly")
    assert "the last run was interrupted" in said
    assert "nightly: digits version 1 is the new champion of digits" in said
    assert kept.last()["event"] == "promoted"


def test_without_the_token_nothing_is_let_in(head: Head, tmp_path: Path) -> None:
    kept = keep_quick(tmp_path)
    kept.describe(where="ray", ray={"address": head.address})
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
