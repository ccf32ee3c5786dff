"""Told to leave: the work is saved at the next step, the exit code asks for a requeue, and the run goes on exactly."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from jobs import curve_of, job_of, train_until, weights_of
from projects import ROOT, Project, assert_friendly, runs_of
from sluiceway.errors import Preempted
from sluiceway.stages.frame import _sigterm_interrupts
from sluiceway.training import driver
from sluiceway.training.checkpoints import newest
from sluiceway.training.job import Places
from sluiceway.training.notice import Ear, Wish, heard, orders
from sluiceway.training.spool import read
from sluiceway.usecases.pipeline import Pipeline

LEFT = 75


def test_a_signal_becomes_a_word_to_the_workers(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "notice"
    before = signal.getsignal(signal.SIGTERM)
    with heard(path):
        assert Ear(path).wish() == Wish.NOTHING
        os.kill(os.getpid(), signal.SIGTERM)
        assert Ear(path).wish() == Wish.LEAVE
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
    assert not path.exists()
    with heard(path):  # what an earlier attempt was told is over
        assert Ear(path).wish() == Wish.NOTHING
    assert Ear(path).wish() == Wish.NOTHING


def test_a_second_signal_interrupts_and_still_asks_for_a_requeue(tmp_path: Path) -> None:
    def told_twice() -> None:
        with _sigterm_interrupts("train"), heard(tmp_path / "notice"):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    before = {each: signal.getsignal(each) for each in orders()}
    try:
        with pytest.raises(Preempted, match="told to leave during train"):
            told_twice()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_a_full_disk_takes_the_word_too(small_disk: Path) -> None:
    path = small_disk / "notice"
    with heard(path):
        with suppress(OSError), (small_disk / "filling").open("wb", buffering=0) as file:
            while file.write(bytes(512)):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert Ear(path).wish() == Wish.LEAVE


def test_where_nobody_can_be_told_it_interrupts(tmp_path: Path) -> None:
    path = tmp_path / "notice"
    with heard(path):
        path.unlink()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


_CLOSING = """
import os, pty, signal, sys, time
from pathlib import Path
from sluiceway.training.notice import Ear, Wish, heard
child, terminal = pty.fork()
if child == 0:  # in a terminal of its own
    path = Path(sys.argv[1])
    with heard(path):
        print("begun", flush=True)
        for _ in range(3000):
            if Ear(path).wish() == Wish.LEAVE:
                print("to a terminal that is gone", flush=True)
                os._exit(75)
            time.sleep(0.01)
    os._exit(1)
assert b"begun" in os.read(terminal, 100)
os.close(terminal)  # the window is closed
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_terminal_that_closes_tells_to_leave(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CLOSING, str(tmp_path / "notice")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGHUP, signal.SIG_DFL),  # also where the tests run under nohup
    )
    assert done.stdout.strip() == "75", done.stderr


def test_under_nohup_a_terminal_that_closes_is_no_order() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert orders() == (signal.SIGTERM,)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert orders() == (signal.SIGTERM, signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_draining_node_is_saved_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own kinds are used, so that a version that names them otherwise is noticed."""
    from ray.train.v2._internal.execution import context
    from ray.train.v2._internal.execution.preemption import PreemptionContext
    from ray.train.v2.api.preemption import PreemptionInfo

    monkeypatch.setattr(Ear, "PERIOD", 0.0)
    assert "preemption_context" in {each.name for each in fields(context.TrainContext)}
    here = SimpleNamespace(preemption_context=PreemptionContext())
    monkeypatch.setattr(context, "get_train_context", lambda: here)
    ear = Ear(tmp_path / "notice")
    assert ear.wish() == Wish.NOTHING
    here.preemption_context.preemption_info = PreemptionInfo(deadline_ms=None, preempted_node_to_ranks={"n": [0]})
    other = Ear(tmp_path / "notice")  # another worker's, which hears of it later
    assert [ear.wish() for _ in range(3)] == [Wish.SAVE, Wish.NOTHING, Wish.NOTHING]
    other.settle()
    assert other.wish() == Wish.NOTHING


@pytest.mark.slow
@pytest.mark.parametrize("processes", [0, 2])
def test_one_worker_leaves_and_goes_on_exactly(finished: Project, tmp_path: Path, processes: int) -> None:
    """Also in the middle of an interval of the curve, and with one checkpoint in all but those of the notices."""
    options: dict[str, object] = {
        "epochs": 30.0,
        "log_every": 7,
        "checkpoint_every": 10_000,
        "cpus_per_worker": 1,
        "loader_processes": processes,
    }
    whole, broken = (job_of(finished, tmp_path / name, **options) for name in ("whole", "broken"))
    assert train_until(whole, None) == 0
    for step in (20, 90, 200):
        assert train_until(broken, step, signal.SIGTERM) == LEFT
        checkpoint, faults = newest(Places(Path(broken.folder)).checkpoints)
        assert faults == []
        assert checkpoint
        assert step <= checkpoint.step < whole.plan.steps
    assert train_until(broken, None) == 0
    assert weights_of(broken) == weights_of(whole)
    assert curve_of(broken) == curve_of(whole)


@pytest.mark.slow
def test_two_workers_leave_after_the_same_step(finished: Project, tmp_path: Path) -> None:
    options: dict[str, object] = {"epochs": 40.0, "log_every": 5, "checkpoint_every": 10_000, "workers": 2}
    whole = job_of(finished, tmp_path / "whole", **options, cpus_per_worker=1)
    expected = driver.run(whole, lambda _: None)
    broken = replace(whole, folder=str(tmp_path / "broken"))
    assert train_until(broken, 10, signal.SIGTERM) == LEFT
    checkpoint, _ = newest(Places(Path(broken.folder)).checkpoints)
    assert checkpoint
    assert 10 <= checkpoint.step < whole.plan.steps
    assert driver.run(broken, lambda _: None).curve
    assert weights_of(broken) == weights_of(whole)
    assert [row[:1] for row in curve_of(broken)] == [(point.step,) for point in expected.curve]
    assert curve_of(broken) == curve_of(whole)


@pytest.mark.slow
def test_a_whole_stage_asks_for_a_requeue_and_dies_with_dvc(project: Project) -> None:
    """What DVC makes of it, what MLflow says, that nobody trains beside it, and that the same run goes on."""
    project.set("digits", "train.epochs", 80)
    project.set("digits", "gates.cost.max_hours", 5)
    project.set("digits", "train.checkpoint_every", 100_000)
    project.set("digits", "train.keep_every", 1)
    state = Pipeline.load("digits", project.root).state / "training"

    process = start(project)
    until_trained(state, 30, process)
    beside = project.run("sluiceway", "train", "digits", check=False)
    assert_friendly(beside, 1, f"another process (process {worker_of(project)} on ", "is busy with pipeline 'digits'")
    os.kill(worker_of(project), signal.SIGTERM)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 255  # DVC's own, whatever a stage returned
    assert "exited with 75" in said
    assert "told to leave: saved after step" in said
    assert "Traceback" not in said
    run = runs_of(project, "digits")[0]
    assert run["status"] == "KILLED"

    process = start(project)
    (folder,) = (path.parent for path in state.glob("*/checkpoints"))
    saved = newest(folder / "checkpoints")[0]
    assert saved
    until_trained(state, saved.step + 30, process)
    orphan = psutil.Process(worker_of(project))
    process.kill()  # DVC alone
    process.wait()
    orphan.wait(timeout=300)
    later = newest(folder / "checkpoints")[0]
    assert later
    assert later.step >= saved.step + 30
    assert runs_of(project, "digits")[0]["status"] == "KILLED"

    again = project.repro("train@digits")
    assert f"train digits: goes on after step {later.step:,} of " in again
    assert "train digits:" in again.replace("train digits: goes on", "")
    finished = runs_of(project, "digits")[0]
    assert (finished["id"], finished["status"]) == (run["id"], "FINISHED")
    assert project.json("reports/digits/training.json")["attempts"] == 3
    kept = sorted(int(path.name.removeprefix("step-")) for path in state.parent.glob("kept/*/step-*"))
    assert kept == [saved.step, later.step]
    assert not list(state.glob("*/"))


def start(project: Project) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["dvc", "repro", "train@digits"],
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def worker_of(project: Project) -> int:
    """Return the process that holds the pipeline's lock."""
    return int((project.root / ".sluiceway" / "digits.lock").read_text(encoding="utf-8").split()[1])


def until_trained(state: Path, step: int, process: "subprocess.Popen[str]") -> None:
    """Wait until the training of a process has come to a step; stages ahead of it may have to run first."""
    while process.poll() is None:
        for path in state.glob("*/metrics.jsonl"):
            if any(point.step >= step for point in read(path)):
                return
        time.sleep(0.02)
    raise AssertionError(f"it has ended: {process.communicate()[0]}")
