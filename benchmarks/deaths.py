"""Rows of the fault matrix: a process, a node or a machine dies, hangs, is told to leave, or comes back."""

import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from lab import Lab, Training, cluster, processes_of
from outcomes import ELASTIC, GENTLE, TWO, Outcome, came_of


def worker_killed(lab: Lab) -> Outcome:
    """SIGKILL to one of two workers."""
    whole, training = lab.undisturbed(TWO), lab.training("worker-killed", TWO).start()
    training.at()
    since = training.hurt(1, signal.SIGKILL)
    seconds, first = training.goes_on(since)
    assert training.end() == 0, training.said()
    return came_of(training, whole, "both workers are started anew", seconds, first)


def worker_hung(lab: Lab) -> Outcome:
    """SIGSTOP to one of two workers; counts as hung after 5 s."""
    whole, training = lab.undisturbed(TWO), lab.training("worker-hung", {**TWO, "stall_limit": 5.0}).start()
    training.at()
    since = training.hurt(1, signal.SIGSTOP)
    seconds, first = training.goes_on(since)
    assert training.end() == 0, training.said()
    return came_of(training, whole, "noticed after stall_limit, 5 s here; then as if killed", seconds, first)


def node_lost(lab: Lab) -> Outcome:
    """One of two nodes is gone with all its processes."""
    whole = lab.undisturbed({**GENTLE, "epochs": 80.0})
    with cluster(2) as (ray, nodes, env):
        training = lab.training("node-lost", {**ELASTIC, "epochs": 80.0}, **env).start()
        training.at()
        since = time.time()
        ray.remove_node(nodes[1], allow_graceful=False)
        seconds, first = training.goes_on(since)
        assert training.end() == 0, training.said()
    return came_of(training, whole, "goes on with one worker", seconds, first)


def node_out_of_reach(lab: Lab) -> Outcome:
    """A node does not answer any more, and its connections stay open, as when its power or its network fails."""
    whole = lab.undisturbed({**GENTLE, "epochs": 80.0})
    with cluster(2) as (_, nodes, env):
        training = lab.training("node-out-of-reach", {**ELASTIC, "epochs": 80.0}, **env).start()
        training.at()
        since = time.time()
        stopped = processes_of(nodes[1])
        for process in stopped:
            process.suspend()
        seconds, first = training.goes_on(since)
        assert training.end() == 0, training.said()
        for process in stopped:
            process.kill()
    return came_of(training, whole, "goes on with one worker", seconds, first)


def node_back(lab: Lab) -> Outcome:
    """A second node comes while one worker trains; seconds count from when it is up."""
    whole = lab.undisturbed({**GENTLE, "epochs": 250.0})
    with cluster(1) as (ray, _, env):
        training = lab.training("node-back", {**ELASTIC, "epochs": 250.0}, **env).start()
        training.at()
        ray.add_node(num_cpus=1, object_store_memory=80_000_000)
        since = time.time()
        seconds, first = training.goes_on(since)
        assert training.end() == 0, training.said()
    return came_of(training, whole, "goes on with two workers, at a checkpoint", seconds, first)


def node_drained(lab: Lab) -> Outcome:
    """Ray says that it will take a node away, and does; the notice alone makes the only checkpoint."""
    rare: dict[str, object] = {"epochs": 80.0, "checkpoint_every": 100_000}
    whole = lab.undisturbed({**GENTLE, **rare})
    with cluster(2) as (ray, nodes, env):
        training = lab.training("node-drained", {**ELASTIC, **rare}, **env).start()
        training.at()
        told = training.step()
        _drain(ray.address, nodes[1])
        training.until(lambda: training.folder and list(training.folder.glob("checkpoints/step-*")), "a checkpoint")
        since = time.time()
        ray.remove_node(nodes[1], allow_graceful=False)
        seconds, first = training.goes_on(since)
        assert training.end() == 0, training.said()
    outcome = came_of(training, whole, "saves at the notice; goes on with one worker", seconds, first)
    return replace(outcome, right=outcome.right and first > told)


def _drain(address: str, node: Any) -> None:
    command = ["ray", "drain-node", f"--address={address}", f"--node-id={node.node_id}"]
    command += ["--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=chaos", "--deadline-remaining-seconds=600"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def driver_killed(lab: Lab) -> Outcome:
    """Kill -9 to the stage itself, then the same command again; seconds count from there."""
    whole, training = lab.undisturbed(), lab.training("driver-killed").start()
    training.at()
    since = training.kill()
    seconds, first = training.start().goes_on(since)
    assert training.end() == 0, training.said()
    return came_of(training, whole, "the same command goes on", seconds, first)


def driver_of_two_killed(lab: Lab) -> Outcome:
    """The same with two workers, who must not outlive it."""
    whole, training = lab.undisturbed(TWO), lab.training("driver-of-two-killed", TWO).start()
    training.at()
    pids = [training.worker(rank)["pid"] for rank in (0, 1)]
    since = training.kill()
    seconds, first = training.start().goes_on(since)
    left = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert training.end() == 0, training.said()
    outcome = came_of(training, whole, "its workers end too; the same command goes on", seconds, first)
    assert not left, f"workers {left} outlived the driver"
    return outcome


def told_to_leave(lab: Lab) -> Outcome:
    """SIGTERM to the stage with two workers, then the same command again; seconds count from there."""
    whole, training = lab.undisturbed(TWO), lab.training("told-to-leave", TWO).start()
    training.at()
    assert training.process is not None
    training.process.terminate()
    code = training.end()
    since = time.time()
    seconds, first = training.start().goes_on(since)
    assert training.end() == 0, training.said()
    outcome = came_of(training, whole, f"ends with {code}; the same command goes on", seconds, first)
    return replace(outcome, right=outcome.right and code == 75 and outcome.steps_lost == 0)


def dvc_killed(lab: Lab) -> Outcome:
    """Kill -9 to ``dvc repro`` alone, then the same command again when its stage has left; seconds count from there."""
    whole = lab.undisturbed()
    training = lab.training("dvc-killed")
    training.command = ("dvc", "repro", "train@digits")
    training.start().at()
    stage = psutil.Process(training.worker(0)["pid"])
    training.kill()
    stage.wait(60)
    since = time.time()
    seconds, first = training.start().goes_on(since)
    assert training.end() == 0, training.said()
    outcome = came_of(training, whole, "its stage saves and leaves; the same command goes on", seconds, first)
    return replace(outcome, right=outcome.right and outcome.steps_lost == 0)


def machine_rebooted(lab: Lab) -> Outcome:
    """All processes die at once, in the middle of a line of the curve and of a checkpoint; then the same command."""
    whole, training = lab.undisturbed(TWO), lab.training("machine-rebooted", TWO).start()
    training.at()
    _power_cut(training)
    assert training.folder is not None
    with (training.folder / "metrics.jsonl").open("ab") as curve:
        curve.write(b'{"step": 3')
    newest = max(training.folder.glob("checkpoints/step-*"))
    draft = newest.with_name(f".draft-{training.step() + 1:08d}-1")
    draft.mkdir()
    (draft / "tensors.safetensors").write_bytes(bytes(1000))
    since = time.time()
    seconds, first = training.start().goes_on(since)
    assert training.end() == 0, training.said()
    return came_of(training, whole, "the same command goes on", seconds, first)


def _power_cut(training: Training) -> None:
    """Kill a training and all that it started, those first that would start others anew."""
    assert training.process is not None
    stage = psutil.Process(training.process.pid)
    workers = [psutil.Process(training.worker(rank)["pid"]) for rank in (0, 1)]
    all_of_it = {stage, *stage.children(recursive=True), *workers}
    for process in all_of_it:
        process.suspend()
    for process in all_of_it:
        process.kill()
    training.process.wait()
    psutil.wait_procs(list(all_of_it), 30)


def two_of_one_name(lab: Lab) -> Outcome:
    """The same command a second time while the first still trains."""
    whole, training = lab.undisturbed(), lab.training("two-of-one-name").start()
    training.at()
    beside = Training(training.project, training.env, log="beside.log").start()
    since = time.time()
    code = beside.end()
    seconds, said = time.time() - since, beside.said()
    assert f"process {training.worker(0)['pid']} on" in said, said
    assert training.end() == 0, training.said()
    training.reached = training.step()
    outcome = came_of(training, whole, f"the second ends with {code} and names the first, which trains on", seconds, 1)
    return replace(outcome, steps_lost=0, right=outcome.right and code == 1)
