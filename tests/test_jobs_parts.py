"""Parts of a job's run: what is worth one, what it is told by, and how commands are ended."""

import io
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sluiceway.data.places import home
from sluiceway.errors import Busy, ConfigError, LaunchError
from sluiceway.gates.verdict import Check, Verdict
from sluiceway.launch.changes import Changes, Failure, changes_of, decide, drifted, failure_of
from sluiceway.launch.commands import Commands, Stopped, environment
from sluiceway.launch.jobs import Job, Notify, Triggers
from sluiceway.launch.notify import notify, payload, plain
from sluiceway.launch.outcome import EXIT, Outcome, closed, registered
from sluiceway.launch.records import JobPlaces
from sluiceway.launch.secrets import secrets_of
from sluiceway.launch.worktree import git, merged_lock, source
from sluiceway.stages.job_results import Results
from sluiceway.tracking import store
from slurm import free_ports

# What is worth a run.


def test_changes_are_read_from_dvcs_status() -> None:
    status = {
        "validate@digits": [
            {"changed deps": {"data/raw/digits": "modified", "src/sluiceway/data/table.py": "modified"}},
            {"changed outs": {"data/validated/digits": "deleted"}},
        ],
        "train@digits": [
            {"changed deps": {"data/shards/digits": "deleted"}},
            {"changed deps": {"pipelines/digits/params.yaml": {"train.lr": "modified"}}},
            "changed command",
        ],
    }
    assert changes_of(status) == Changes(
        data=("data/raw/digits",),
        code=("src/sluiceway/data/table.py", "pipelines/digits/params.yaml:train.lr", "train@digits: changed command"),
        unfinished=True,
    )
    assert not changes_of({})
    said = dict.fromkeys(["data/overrides.jsonl", "data/corrections/digits", "data/raw/digits"], "new")
    assert changes_of({"validate@digits": [{"changed deps": said}]}).data[0] == "data/raw/digits"


DATA, CODE = Changes(data=("data/raw/digits",)), Changes(code=("src/a.py",))


@pytest.mark.parametrize(
    ("changes", "triggers", "days", "resumes", "run", "why"),
    [
        (Changes(), {}, None, False, False, "nothing changed since the last result"),
        (Changes(), {"champion_days": 7.0}, 9.0, False, False, "the champion is 9 days old"),
        (Changes(), {}, None, True, False, "nothing changed"),
        (DATA, {}, None, False, True, "new data: data/raw/digits"),
        (CODE, {}, None, False, True, "changed: src/a.py"),
        (Changes(unfinished=True), {}, None, False, True, "results of the last run are missing"),
        (DATA, {"new_data": False}, None, False, False, "new data alone starts nothing"),
        (CODE, {"new_code": False}, None, False, False, "other code alone starts nothing"),
        (DATA, {"new_data": False}, None, True, True, "the last run was interrupted"),
        (DATA, {"new_data": False, "champion_days": 7.0}, 6.9, False, False, "new data alone starts nothing"),
        (DATA, {"new_data": False, "champion_days": 7.0}, 7.1, False, True, "the champion is 7 days old"),
        (DATA, {"new_data": False, "champion_days": 7.0}, None, False, False, "new data alone starts nothing"),
        (DATA, {"new_data": False, "drift": 0.2}, None, False, False, "new data alone starts nothing"),
    ],
)
def test_what_is_worth_a_run(
    changes: Changes, triggers: dict[str, Any], days: float | None, resumes: bool, run: bool, why: str
) -> None:
    decision = decide(changes, Triggers(**triggers), days, resumes)
    assert decision.run is run
    assert why in decision.why
    assert decision.ask_drift is ("drift" in triggers and changes == DATA)


def test_drift_beyond_the_limit_is_worth_one() -> None:
    assert drifted(0.31, 0.3).run
    assert not drifted(0.3, 0.3).run


def test_a_failure_is_read_from_what_dvc_says() -> None:
    said = "ERROR: failed to reproduce 'train@digits': failed to run: sluiceway train digits, exited with 75"
    assert failure_of(said) == Failure("train", 75)
    assert failure_of("ERROR: unexpected error - disk full") == Failure("", None)


def test_the_lock_is_the_refs_with_the_jobs_own_entries() -> None:
    theirs = "schema: '2.0'\nstages:\n  train@digits:\n    cmd: old\n  train@verses:\n    cmd: theirs\n"
    ours = "schema: '2.0'\nstages:\n  train@digits:\n    cmd: ours\n  train@verses:\n    cmd: stale\n"
    merged = merged_lock(theirs, ours, "digits")
    assert merged.count("cmd: ours") == merged.count("cmd: theirs") == 1
    assert "stale" not in merged
    assert "old" not in merged
    assert merged_lock(theirs, "", "digits") == theirs
    assert "cmd: ours" in merged_lock("", ours, "digits")


# What it came to.


def verdict(gate: Any, passed: bool) -> Verdict:
    check = Check(name="c", passed=passed, message="3 < 4 & so on")
    return Verdict(gate=gate, pipeline="digits", subject="s", checks=(check,))


def test_a_closed_gate_is_3_and_a_preemption_75() -> None:
    assert EXIT == {"promoted": 0, "unchanged": 0, "failed": 1, "lost": 1, "kept": 3, "closed": 3, "preempted": 75}
    assert registered("nightly", "digits", "digits", 4, True, verdict("model", True)).event == "promoted"
    for before, said in ((None, "there is no champion yet"), (3, "the champion stays"), (0, "the champion stays")):
        kept = registered("nightly", "digits", "digits", 4, False, verdict("model", False), before)
        assert kept.exit_code == 3
        assert kept.sentence.startswith(f"nightly: digits version 4 is registered, {said}; the model gate is closed: ")
    assert closed("nightly", verdict("cost", False)).sentence == (
        "nightly: the cost gate of digits is closed: 3 < 4 & so on"
    )


def test_a_closed_gate_shows_the_verdicts_of_its_own_run_and_its_page(tmp_path: Path) -> None:
    results = Results(tmp_path, "digits")
    for gate in ("data", "cost", "model"):
        verdict(gate, False).write(results.reports / "verdicts" / f"{gate}.json")
    assert [each.gate for each in results.verdicts("data")] == ["data"]
    assert [each.gate for each in results.verdicts("cost")] == ["data", "cost"]
    assert [each.gate for each in results.verdicts()] == ["data", "cost", "model"]
    assert results.page() == {}
    page = results.reports / "data" / "index.html"
    page.parent.mkdir()
    page.touch()
    assert results.page() == {"report": str(page)}


def test_a_link_leads_to_the_run_and_not_to_a_choice_of_workspaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "experiment", lambda root, pipeline: "7")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://tracking.example.org/")
    link = Results(tmp_path, "digits").links("abc")["run"]
    place = "https://tracking.example.org/#/experiments/7/runs/abc?workflowType=machine_learning"
    assert link == f"{place}&workspace=default"
    monkeypatch.setenv("MLFLOW_WORKSPACE", "vision")
    assert Results(tmp_path, "digits").links("abc")["run"] == f"{place}&workspace=vision"


def test_a_message_is_one_sentence_and_links() -> None:
    outcome = Outcome("closed", "nightly: 3 < 4 & so on", {"run": "https://mlflow.example.org/#/runs/1", "log": "/a/b"})
    assert payload(outcome) == {
        "text": "nightly: 3 &lt; 4 &amp; so on\n<https://mlflow.example.org/#/runs/1|run>\nlog: `/a/b`"
    }
    assert plain(outcome) == "nightly: 3 < 4 & so on\nrun: https://mlflow.example.org/#/runs/1\nlog: /a/b\n"


@pytest.mark.parametrize("address", ["https://127.0.0.1:1/T0/B 0/s3cret", "https://[x/s3cret", "s3cret", ""])
def test_a_webhook_that_is_no_address_fails_nothing_and_is_not_quoted(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", address)
    said: list[str] = []
    notify(Notify(webhook="HOOK", on=["failed"]), Outcome("failed", "it broke"), tmp_path, said.append, pause=0)
    assert len(said) == 1
    assert said[0].startswith("warning: the webhook in HOOK was not told: ")
    assert "s3cret" not in said[0]


# Places, records and the lock.


def test_a_jobs_tree_is_at_home_in_its_project(tmp_path: Path) -> None:
    places = JobPlaces.of(tmp_path, "nightly")
    assert home(places.tree) == tmp_path
    assert JobPlaces.of(places.tree, "nightly") == places
    assert home(tmp_path / "jobs" / "nightly" / "tree") == tmp_path / "jobs" / "nightly" / "tree"


def test_a_record_tells_the_living_from_the_lost(tmp_path: Path) -> None:
    places = JobPlaces.of(tmp_path, "nightly")
    record = places.begin()
    assert places.last() == record
    assert record.state == "running"
    places.write(type(record)(**{**json.loads(record_json(places)), "born": record.born - 100}))
    lost = places.last()
    assert lost
    assert lost.state == "lost"
    places.end(record, "promoted", "a sentence", 0)
    ended = places.last()
    assert ended
    assert (ended.state, ended.exit_code) == ("promoted", 0)
    (tmp_path / ".sluiceway/jobs/nightly/runs" / record.id / "run.json").write_text("{", encoding="utf-8")
    assert places.last() is None


def record_json(places: JobPlaces) -> str:
    (path,) = places.folder.glob("runs/*/run.json")
    return path.read_text(encoding="utf-8")


def test_only_so_many_logs_are_kept(tmp_path: Path) -> None:
    places = JobPlaces.of(tmp_path, "nightly")
    made = [places.begin().id for _ in range(53)]
    assert [record.id for record in places.records()] == made[-50:]


def test_two_runs_never_overlap(tmp_path: Path) -> None:
    places = JobPlaces.of(tmp_path, "nightly")
    with places.alone(), pytest.raises(Busy, match=r"\(process \d+ .*\) is busy with job 'nightly'"), places.alone():
        pass
    with places.alone():
        pass


# Commands.

PATIENT = """
import signal, sys, time
from pathlib import Path
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
Path("ready").touch()
while not heard: time.sleep(0.01)
time.sleep(0.3)
Path("heard").write_text(str(len(heard)))
sys.exit(75)
"""
STUBBORN = PATIENT.replace("while not heard", "while True")


def commands(folder: Path, grace: float = 30) -> tuple[Commands, io.StringIO]:
    log = io.StringIO()
    return Commands(folder, environment(folder), log, grace), log


def ended(folder: Path, code: str, grace: float) -> tuple[str, str]:
    """Run code below a command, end it when it is ready, and return why and what the log says."""
    (folder / "code.py").write_text(code, encoding="utf-8")
    running, log = commands(folder, grace)

    def tell() -> None:
        while not (folder / "ready").exists():
            time.sleep(0.01)
        running.stop("preempted")

    thread = threading.Thread(target=tell)
    # As DVC does: a command that runs a stage in a shell, and waits.
    shell = ["sh", "-c", f"{sys.executable} code.py; exit $?"]
    stage = f"import subprocess, sys; sys.exit(subprocess.run({shell}).returncode)"
    thread.start()
    with pytest.raises(Stopped) as caught:
        running.run(sys.executable, "-c", stage)
    thread.join()
    return caught.value.why, log.getvalue()


def test_a_stage_is_told_once_and_waited_for(tmp_path: Path) -> None:
    assert ended(tmp_path, PATIENT, 30)[0] == "preempted"
    assert (tmp_path / "heard").read_text() == "1"


def test_a_stage_that_is_still_starting_hears_of_it_when_it_listens(tmp_path: Path) -> None:
    running, _ = commands(tmp_path)
    (tmp_path / "code.py").write_text(f"import time; time.sleep(1)\n{PATIENT}", encoding="utf-8")
    timer = threading.Timer(0.3, running.stop, ("preempted",))
    timer.start()
    with pytest.raises(Stopped):
        running.run("sh", "-c", f"{sys.executable} code.py; exit $?")
    assert (tmp_path / "heard").read_text() == "1"


def test_a_stage_that_does_not_listen_is_killed_when_the_grace_is_over(tmp_path: Path) -> None:
    began = time.monotonic()
    assert ended(tmp_path, STUBBORN, 1)[0] == "preempted"
    assert time.monotonic() - began < 20
    assert not (tmp_path / "heard").exists()


def test_waiting_ends_with_the_job(tmp_path: Path) -> None:
    running, _ = commands(tmp_path)
    threading.Timer(0.2, running.stop, ("preempted",)).start()
    with pytest.raises(Stopped, match="preempted"):
        running.pause(60)


def test_a_network_that_is_not_there_yet_is_waited_for_and_a_wrong_address_is_not(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    there, root = tmp_path / "there.git", tmp_path / "root"
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(there))
    git(tmp_path, "init", "-q", "-b", "main", str(root))
    for name in ("user.name", "user.email"):
        git(root, "config", name, "t")
    git(root, "commit", "-q", "--allow-empty", "-m", "one")
    git(root, "push", "-q", str(there), "main")
    git(root, "remote", "add", "origin", f"http://127.0.0.1:{port}/there.git")
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        git(root, "remote", "set-url", "origin", str(there))

    assert source(root, "nightly", "main", "origin", wait=wait).commit == git(root, "rev-parse", "main")
    assert len(waited) == 1
    git(root, "remote", "set-url", "origin", f"http://127.0.0.1:{port}/there.git")
    with pytest.raises(LaunchError, match="git fetch"):
        source(root, "nightly", "main", "origin", wait=wait, patience=-1)
    git(root, "remote", "set-url", "origin", str(tmp_path / "nowhere.git"))
    with pytest.raises(LaunchError, match="git fetch"):
        source(root, "nightly", "main", "origin", wait=wait)
    assert len(waited) == 1


def test_what_a_job_sets_is_there_unless_it_is_set_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "mine")
    monkeypatch.delenv("MADE", raising=False)
    job = Job.model_validate({"pipeline": "p", "env": {"KEPT": "theirs", "MADE": "theirs"}})
    assert secrets_of(tmp_path, job) == {"MADE": "theirs"}


def test_a_line_that_sets_nothing_is_told_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "own.env"
    path.touch(0o600)
    path.write_text("# mine\n\nexport MADE='it'\nhunter2\n", encoding="utf-8")
    job = Job.model_validate({"pipeline": "p", "env_file": "own.env"})
    with pytest.raises(ConfigError, match=r"line 4 of .*own\.env is not NAME=value") as caught:
        secrets_of(tmp_path, job)
    assert "hunter2" not in caught.value.message
    path.write_text("# mine\n\nexport MADE='it'\n", encoding="utf-8")
    assert secrets_of(tmp_path, job) == {"MADE": "it"}


def test_nothing_is_begun_after_the_end(tmp_path: Path) -> None:
    running, _ = commands(tmp_path)
    running.stop("budget")
    with pytest.raises(Stopped, match="budget"):
        running.run("touch", "begun")
    assert not (tmp_path / "begun").exists()


def test_a_budget_ends_the_command(tmp_path: Path) -> None:
    running, _ = commands(tmp_path, grace=1)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match="budget"), running.stoppable(0.2):
        running.run("sh", "-c", "sleep 60 & wait")
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_a_command_says_is_kept_and_its_failure_told(tmp_path: Path) -> None:
    running, log = commands(tmp_path)
    done = running.run("sh", "-c", "echo out; echo err >&2; exit 4")
    assert log.getvalue() == "out\nerr\n"
    with pytest.raises(LaunchError, match=r"ended with 4: out \| err"):
        done.checked()
    complaint = "ERROR: failed to push - no remote specified"
    with pytest.raises(LaunchError, match=f"ended with 4: {complaint}$"):
        running.run("sh", "-c", f"echo first; echo '{complaint}'; echo a; echo b; echo c; exit 4").checked()
    assert running.run("echo", "quiet", quiet=True).output == "quiet\n"
    assert "quiet" not in log.getvalue()
