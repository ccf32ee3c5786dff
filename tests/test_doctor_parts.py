"""What the doctor sees, fault by fault: machine, packages, git, DVC, data, schedulers, clocks, secrets."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import pytest
from packaging.requirements import Requirement

from projects import Project
from sluiceway.errors import LaunchError
from sluiceway.launch import processes
from sluiceway.launch.health import base, cluster, machine, packages, repository, schedulers
from sluiceway.launch.health.base import Look, Seen, look, skew
from sluiceway.launch.health.web import clock
from sluiceway.launch.jobs import Job
from teams import Kept, keep_quick


def only(seen: Iterable[Seen]) -> Seen:
    (one,) = seen
    return one


def of(seen: Iterable[Seen], what: str) -> Seen:
    return only(each for each in seen if each.what == what)


# Looks.


def test_looks_are_taken_at_once_in_order_and_none_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base.os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    end, both = threading.Event(), threading.Barrier(2)

    def together(name: str) -> Callable[[], list[Seen]]:
        def at() -> list[Seen]:
            both.wait(30)  # passes only where both are under way
            return [Seen(name, "ok", "fine")]

        return at

    def hangs() -> list[Seen]:
        end.wait(60)
        return []

    seen = look([Look("a", together("a")), Look("h", hangs, seconds=0.2), Look("b", together("b"))], 30)
    end.set()
    assert [(each.what, each.state) for each in seen] == [("a", "ok"), ("h", "fault"), ("b", "ok")]
    assert seen[1].found == "no answer within 0.2 s"
    assert "--seconds 60" in seen[1].way_out


@pytest.mark.parametrize(("load", "state"), [(0.0, "fault"), (1000.0, "warning")])
def test_a_command_without_an_answer_is_no_fault_on_a_busy_machine(
    load: float, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base.os, "getloadavg", lambda: (load, 0.0, 0.0))
    (seen,) = look([Look("GPUs", lambda: [base.run("sleep", "60", seconds=0.1)])], 30)  # type: ignore[list-item]
    assert seen.state == state
    assert seen.found.startswith("`sleep` gave no answer within 0.1 s")
    assert ("the machine is busy: load 1000 on" in seen.found) == (state == "warning")
    assert "--seconds 60" in seen.way_out


def test_errors_become_faults_with_their_way_out() -> None:
    def ours() -> list[Seen]:
        raise LaunchError("no cluster", hint="start it")

    def theirs() -> list[Seen]:
        raise ValueError("odd")

    assert look([Look("a", ours), Look("b", theirs)], 30) == [
        Seen("a", "fault", "no cluster", "start it"),
        Seen("b", "fault", "ValueError: odd"),
    ]


def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="gave no answer within"):
        base.run("sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait", seconds=0.5)
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 30
    while Path(f"/proc/{child}/stat").exists() and Path(f"/proc/{child}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


# Clocks.


@pytest.mark.parametrize(
    ("told", "resolution", "expected"),
    [(100.0, 0.0, 0.0), (99.2, 1.0, 0.0), (90.0, 1.0, -8.5), (110.0, 1.0, 9.5), (99.6, 0.0, 0.0)],
)
def test_a_clock_is_only_off_by_what_the_question_cannot_explain(
    told: float, resolution: float, expected: float
) -> None:
    assert skew(told, 99.5, 100.5, resolution) == pytest.approx(expected)


@pytest.mark.parametrize(("ahead", "state"), [(4.0, "ok"), (-30.0, "warning"), (3600.0, "fault")])
def test_clocks_are_judged(ahead: float, state: str) -> None:
    seen = clock("clocks", {"n1": 0.0, "n2": ahead})
    assert seen.state == state
    if state != "ok":
        assert f"n2 is {abs(ahead):,.0f} s {'ahead' if ahead > 0 else 'behind'}" in seen.found
        assert "n1" not in seen.found
        assert "NTP" in seen.way_out


# Packages.


def test_packages_out_of_range_missing_and_other_than_tested_are_told_apart() -> None:
    needed = [Requirement("torch>=2.6,<3"), Requirement("Ray_X>=1"), Requirement("numpy")]
    installed = {"torch": "2.5.1+cpu", "ray-x": None, "numpy": "2.4.6"}
    wrong, differs = packages.compare(needed, {"numpy": "2.4.6", "torch": "2.13.0", "absent": "1"}, installed)
    assert wrong == ["torch 2.5.1+cpu is out of its range <3,>=2.6", "Ray_X is missing"]
    assert differs == ["torch 2.5.1+cpu (tested: 2.13.0)"]
    assert packages.compare([], {"torch": "2.13.0"}, {"torch": "2.13.0+cu130"}) == ([], [])


def test_this_environment_is_the_tested_one_and_another_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of(packages.packages(), "packages").state in ("ok", "warning")
    real = packages.versions
    monkeypatch.setattr(packages, "versions", lambda names: real(names) | {"dvc": "2.0.0"})
    seen = of(packages.packages(), "packages")
    assert seen.state == "fault"
    assert "dvc 2.0.0 is out of its range" in seen.found
    monkeypatch.setattr(packages, "versions", lambda names: real(names) | {"dvc": "3.60.1"})
    seen = of(packages.packages(), "packages")
    assert seen.state == "warning"
    assert "dvc 3.60.1 (tested: " in seen.found


def test_another_python_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, state in (("3.9.1", "fault"), ("3.19.0", "warning")):
        monkeypatch.setattr(packages.platform, "python_version", lambda version=version: version)
        assert of(packages.packages(), "Python").state == state


# The machine.


def test_a_small_disk_is_noticed(small_disk: Path) -> None:
    seen = only(machine.disk(small_disk))
    assert (seen.state, seen.what) == ("fault", "disk")
    assert "0.0 GiB free" in seen.found
    assert only(machine.shared_memory(small_disk)).state == "warning"
    assert only(machine.shared_memory(small_disk / "none")).state == "left out"


def test_a_disk_that_cannot_be_written_to_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(dir: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refuse)
    seen = only(machine.disk(tmp_path))
    assert seen.state == "fault"
    assert "cannot be written to: Permission denied" in seen.found


@pytest.mark.parametrize(
    ("said", "devices", "wanted", "state", "words"),
    [
        ('["2.13.0+cpu", null, []]', 2, 0, "fault", "2 GPUs are there, and PyTorch 2.13.0+cpu sees none: it is built"),
        ('["2.13.0", "13.0", []]', 1, 0, "fault", "newer than the driver"),
        ('["2.13.0", "13.0", ["H200"]]', 1, 2, "fault", "sees 1 GPUs, and a job of infra/jobs.yaml asks for 2"),
        ('["2.13.0", "13.0", ["H200"]]', 1, 1, "ok", "H200, by PyTorch 2.13.0"),
        ('["2.13.0+cpu", null, []]', 0, 0, "ok", "none: training runs on CPUs"),
    ],
)
def test_gpus(
    said: str, devices: int, wanted: int, state: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(devices):
        (tmp_path / f"nvidia{number}").touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "run", lambda *_, **__: base.Said(0, f"a warning\n{said}"))
    seen = only(machine.gpus(5, wanted, tmp_path))
    assert seen.state == state
    assert words in seen.found


def test_a_broken_torch_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_TORCH", "import no_such_torch")
    seen = only(machine.gpus(30, devices=tmp_path))
    assert seen.state == "fault"
    assert "No module named 'no_such_torch'" in seen.found


# The project.


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return keep_quick(tmp_path)


def git(kept: Kept, remote: str = "origin", needed: bool = True) -> list[Seen]:
    return list(repository.git(kept.project.root, remote, needed, 30))


def test_a_git_remote_that_works_dies_and_is_missing(kept: Kept) -> None:
    seen = of(git(kept), "git remote")
    assert seen.state == "ok"
    assert "can be read and pushed to" in seen.found
    branches = kept.git("branch", "--list", folder=kept.remote)
    assert branches == "* main", "nothing was pushed"
    assert of(git(kept, "upstream"), "git").state == "warning"
    assert of(git(kept, "upstream", needed=False), "git").state == "ok"
    kept.remote.rename(kept.remote.with_name("elsewhere"))
    seen = of(git(kept), "git remote")
    assert seen.state == "fault"
    assert "cannot be read: fatal: " in seen.found


def test_a_git_remote_that_refuses_writes_is_noticed(kept: Kept) -> None:
    """Told by the server's side, as a host without the right to push does."""
    kept.git("config", "remote.origin.receivepack", "echo 'no right to push' >&2; false")
    seen = of(git(kept), "git remote")
    assert seen.state == "fault"
    assert "can be read and not be pushed to" in seen.found


def test_a_git_remote_on_a_disk_that_is_read_only_is_noticed(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "_writable", lambda folder: folder != kept.remote / "refs")
    seen = of(git(kept), "git remote")
    assert seen.state == "fault"
    assert "cannot be written to" in seen.found


def test_no_repository_and_no_commit_are_noticed(tmp_path: Path) -> None:
    assert only(repository.git(tmp_path, "origin", True, 30)).state == "fault"
    Project(tmp_path).run("git", "init", "-q")
    assert only(repository.git(tmp_path, "origin", True, 30)).state == "fault"
    assert only(repository.dvc(tmp_path, True, 30)).way_out == "`dvc init`"


def test_a_dvc_remote_is_written_to_and_left_as_it_was(kept: Kept, tmp_path: Path) -> None:
    root = kept.project.root
    assert only(repository.dvc(root, True, 60)).state == "ok"
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []
    kept.project.run("dvc", "remote", "default", "--unset")
    assert only(repository.dvc(root, True, 60)).state == "warning"
    assert only(repository.dvc(root, False, 60)).state == "ok"


def test_a_dvc_remote_that_cannot_be_written_to_is_noticed(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where a folder should be")
    seen = only(repository.dvc(kept.project.root, True, 60))
    assert seen.state == "fault"
    assert "store" in seen.found
    assert "does not take what is pushed" in seen.found


def test_raw_data_is_there_pulled_fetched_or_missing(tmp_path: Path) -> None:
    raw = tmp_path / "data" / "raw"
    (raw / "here").mkdir(parents=True)
    (raw / "here" / "a.png").touch()
    (raw / "empty").mkdir()
    (raw / "shared.dvc").touch()
    assert only(repository.raw_data(tmp_path, ["here", "sample"], ["sample"])).state == "ok"
    assert only(repository.raw_data(tmp_path, ["here", "shared"], [])).way_out == "`dvc pull`"
    seen = only(repository.raw_data(tmp_path, ["here", "empty"], []))
    assert seen.state == "fault"
    assert seen.found == "there: here; missing: empty"


# Schedulers.


def program(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program of this name alone onto the path, with what a shell needs."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin")


def test_slurm_that_is_missing_down_or_hanging_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert only(schedulers.slurm(5)).found == "sbatch is not installed"
    program(tmp_path, "sbatch", "true", monkeypatch)
    for script, state in (("echo 'Slurmctld(primary) at h is UP'", "ok"), ("echo 'at h is DOWN'; exit 1", "fault")):
        program(tmp_path, "scontrol", script, monkeypatch)
        assert only(schedulers.slurm(5)).state == state
    program(tmp_path, "scontrol", "sleep 60", monkeypatch)
    assert "no answer within 0.3 s" in only(schedulers.slurm(0.3)).found


def test_kubernetes_that_is_missing_or_forbids_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job.model_validate(
        {"pipeline": "p", "where": "kubernetes", "image": "x:1", "kubernetes": {"namespace": "ml"}}
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert only(schedulers.kubernetes({"a": job}, 5)).found == "kubectl is not installed"
    for script, state in (("echo yes", "ok"), ("echo no; exit 1", "fault"), ("echo refused >&2; exit 1", "fault")):
        program(tmp_path, "kubectl", f'test "$6" = ml || exit 9; {script}', monkeypatch)
        assert only(schedulers.kubernetes({"a": job}, 5)).state == state


def test_a_machine_without_schedulers_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seen_with(name: str, script: str) -> Seen:
        if name:
            program(tmp_path, name, script, monkeypatch)
        monkeypatch.setenv("PATH", str(tmp_path))
        return only(schedulers.schedules(30))

    assert seen_with("", "").state == "fault"
    without_bus = seen_with("systemctl", "echo no bus >&2; exit 1")
    assert without_bus.state == "fault"
    assert "XDG_RUNTIME_DIR" in without_bus.way_out
    monkeypatch.setattr(schedulers, "cron_runs", lambda: False)
    dead = seen_with("crontab", "true")
    assert (dead.state, dead.found) == ("fault", "crontab is here, and no cron that runs: it would start nothing")
    assert "service cron start" in dead.way_out
    monkeypatch.setattr(schedulers, "cron_runs", lambda: True)
    assert seen_with("", "").found.startswith("cron: ")
    assert seen_with("systemctl", "true").found.startswith("cron and systemd: ")
    monkeypatch.setattr(schedulers, "cron_runs", lambda: False)
    assert seen_with("", "").found.startswith("systemd: ")


def test_a_cron_that_runs_is_known_by_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_GENERATOR", tmp_path)
    assert processes.cron_runs()  # systemd-cron has none
    monkeypatch.setattr(processes, "_GENERATOR", tmp_path / "none")
    everyone = psutil.process_iter
    monkeypatch.setattr(processes, "_CRONS", {"sw-cron"})
    assert not processes.cron_runs()
    shutil.copy("/bin/sleep", tmp_path / "sw-cron")
    with subprocess.Popen([tmp_path / "sw-cron", "600"]) as ours:
        assert processes.cron_runs()
        ours.kill()
    monkeypatch.setattr(psutil, "process_iter", lambda attrs: (each for each in everyone(attrs) if each.pid != 1))
    assert processes.cron_runs()  # others' processes are hidden: nobody knows


def test_missing_and_open_secrets_are_noticed_and_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    job = Job.model_validate({"pipeline": "p", "secrets": ["HOOK"], "env_file": "secrets.env"})
    path = tmp_path / "secrets.env"
    assert "does not exist" in only(schedulers.secrets(tmp_path, {"a": job})).found
    path.write_text("HOOK=https://hooks.example.org/abc\n")
    path.chmod(0o644)
    assert "can be read by others" in only(schedulers.secrets(tmp_path, {"a": job})).found
    path.chmod(0o600)
    assert only(schedulers.secrets(tmp_path, {"a": job})) == Seen("secrets", "ok", "a: HOOK")
    assert "HOOK" not in os.environ
    path.write_text("OTHER=1\n")
    assert "HOOK is not in the environment" in only(schedulers.secrets(tmp_path, {"a": job})).found


# A cluster's nodes.


def test_nodes_that_differ_are_told_with_what_differs() -> None:
    ours = {"python": "3.11.7", "ray": "2.60.0", "torch": "2.13.0"}
    alike = {"python": "3.11.7", "packages": {"ray": "2.60.0", "torch": "2.13.0"}}
    unlike = {"python": "3.11.7", "packages": {"ray": "2.60.0", "torch": None}}
    assert {each.state for each in cluster.judge({"a": alike, "b": alike}, {"a": 0.0, "b": 0.0}, ours)} == {"ok"}
    seen = cluster.judge({"a": alike, "b": unlike, "c": "no answer within 5 s"}, {"a": 0.0, "b": -90.0}, ours)
    assert of(seen, "Ray cluster") == Seen(
        "Ray cluster", "fault", "c: no answer within 5 s", of(seen, "Ray cluster").way_out
    )
    assert of(seen, "Ray packages").found == "b: torch is missing (here: 2.13.0)"
    assert of(seen, "Ray clocks").found == "b is 90 s behind"
