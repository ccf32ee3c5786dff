"""A job on two nodes of a real Slurm, each a host of its own: Ray joins them, and is gone with the job everywhere."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hosts import Host, wired
from hosts import missing as no_hosts
from projects import DIGITS_PARAMS
from sluiceway.launch.records import JobPlaces
from slurm import Node, Slurm, missing, slurm
from teams import Kept, keep, keep_quick
from test_jobs_slurm import start_again, submit, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

JOB = {"where": "slurm", "slurm": {"nodes": 2}, "resources": {"workers": 2}, "grace": 30}
PARAMS = DIGITS_PARAMS.replace("epochs: 3", "epochs: 2\n  workers: 2\n  cpus_per_worker: 1")
_PATIENCE = 600
"""Seconds; Ray's start on two hosts takes most of one minute on two free cores."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Slurm, list[Host]]]:
    """A controller on a host of its own, and the two hosts of its nodes."""
    if why := missing() or no_hosts():
        pytest.skip(why)
    with ExitStack() as stack:
        hosts = wired(stack, tmp_path_factory.mktemp("hosts"), 3)
        nodes = [Node(each.name, each.name, each.address, 6817, each.prefix) for each in hosts]
        yield stack.enter_context(slurm(*nodes)), hosts[1:]


def test_a_job_is_preempted_goes_on_and_hands_its_exit_code_on(
    cluster: tuple[Slurm, list[Host]], tmp_path: Path
) -> None:
    made, hosts = cluster
    kept = keep_quick(tmp_path)
    (kept.project.root / "pipelines/digits/params.yaml").write_text("train: {workers: 2}\n", encoding="utf-8")
    kept.describe(**JOB)
    (kept.origin / "told.txt").write_text("look slow weak\n", encoding="utf-8")
    number = begin(made, hosts, kept)
    until(made, lambda: (tmp_path / "training").exists(), _PATIENCE)
    seen = json.loads((tmp_path / "cluster.json").read_text(encoding="utf-8"))
    assert seen == {"hosts": [each.name for each in hosts], "stranger": 401}

    made.run("scancel", "--batch", "--signal=TERM", number)  # the notice that --signal=B:TERM asks for
    start_again(made, number)
    until_ended(made, number, "FAILED")
    told = made.run("scontrol", "show", "job", number)
    assert "Restarts=1" in told
    assert "ExitCode=3:0" in told
    assert [record.state for record in JobPlaces(kept.folder).records()] == ["preempted", "kept"]
    assert (tmp_path / "saved").read_text(encoding="utf-8") == "1"  # the stage was told once
    until(made, lambda: not left(hosts))  # Ray's agents see by themselves that their node has ended


def test_a_model_is_trained_on_both(
    cluster: tuple[Slurm, list[Host]], tmp_path: Path, digits_folder: Callable[[Path, int], Path]
) -> None:
    made, hosts = cluster
    kept = keep(tmp_path, digits_folder, PARAMS)
    kept.describe(**JOB)
    number = begin(made, hosts, kept)
    until(made, lambda: hosts_of_workers(kept) == {each.name for each in hosts}, _PATIENCE)
    until_ended(made, number, "COMPLETED")
    log = (kept.folder / f"slurm-{number}.log").read_text(encoding="utf-8")
    assert "nightly: digits version 1 is the new champion of digits" in log
    until(made, lambda: not left(hosts))


def hosts_of_workers(kept: Kept) -> set[str]:
    """Return where the workers of the training that goes on now are."""
    paths = (kept.project.root / ".sluiceway" / "digits" / "training").glob("*/workers/rank-*.json")
    return {json.loads(path.read_text(encoding="utf-8"))["host"] for path in paths}


def begin(cluster: Slurm, hosts: list[Host], kept: Kept) -> str:
    """Submit the job as a user of such hosts does, and return its number."""
    return submit(
        cluster,
        kept,
        RAY_TMPDIR=str(hosts[0].ray),
        RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES="100000000",
        RAY_raylet_start_wait_time_s="170",
        GLOO_SOCKET_IFNAME="eth0",
        OMP_NUM_THREADS="1",
    )


def until_ended(cluster: Slurm, number: str, state: str) -> None:
    """Wait until a job has ended, which must be in this state."""

    def ended() -> bool:
        said = cluster.run("scontrol", "show", "job", number)
        over = any(f"JobState={each}" in said for each in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"))
        assert not over or f"JobState={state}" in said, said
        return over

    until(cluster, ended, _PATIENCE)


def left(hosts: list[Host]) -> list[str]:
    """Return the commands that run on the hosts and are not Slurm's."""
    pids = [pid for each in hosts for pid in output("ip", "netns", "pids", each.space).split()]
    lines = output("ps", "-ww", "-o", "args=", "-p", ",".join(pids)).splitlines()
    return [line for line in lines if "slurmd -D" not in line and "slurmstepd" not in line]


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
