"""Whatever a run can come to, with real git, DVC, verdicts, locks, signals and receivers, and quick stages."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from receiver import Receiver, received
from sluiceway.launch.leftovers import left_behind
from teams import Kept, keep_quick, running

pytestmark = pytest.mark.slow


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return keep_quick(tmp_path)


def tell(kept: Kept, words: str) -> None:
    """Change the data where it comes from."""
    (kept.origin / "told.txt").write_text(f"{words}\n", encoding="utf-8")


def beside(kept: Kept, name: str) -> str:
    path = kept.project.root.parent / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def branch(kept: Kept, *arguments: str) -> str:
    return kept.git(*arguments, folder=kept.remote)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with received() as receiver:
        yield receiver


def test_new_data_is_fetched_run_and_told(kept: Kept, receiver: Receiver) -> None:
    mail = kept.project.root.parent / "mail"
    command = ["sh", "-c", f'echo "$SLUICEWAY_EVENT" > {mail}; cat >> {mail}']
    kept.describe(secrets=["HOOK"], notify={"webhook": "HOOK", "command": command})
    assert kept.last_event(HOOK=receiver.url) == "promoted"
    tell(kept, "good again")
    said = kept.job(HOOK=receiver.url)
    assert "new data: data/raw/digits" in said
    assert branch(kept, "diff", "--name-only", "main", "sluiceway/nightly").split() == [
        "data/raw/digits.dvc",
        "dvc.lock",
    ]
    first, second = (each["text"] for each in receiver.heard)
    assert second.splitlines()[0] == "nightly: digits version 2 is the new champion of digits"
    assert "sluiceway/nightly: `" in second
    assert first != second
    assert mail.read_text(encoding="utf-8").startswith("promoted\nnightly: digits version 2 is the new champion")
    everything = said + "".join(path.read_text(encoding="utf-8") for path in kept.folder.rglob("runs/*/*"))
    assert "topsecret" not in everything


def test_a_closed_data_gate_is_no_crash_and_told_once(kept: Kept, receiver: Receiver) -> None:
    kept.describe(secrets=["HOOK"], notify={"webhook": "HOOK"}, retries=3)
    tell(kept, "bad")
    receiver.answers[:] = [400]
    said = kept.job(check=3, HOOK=receiver.url)
    assert "the webhook in HOOK was not told: it answered 400" in said
    assert "was not told" not in kept.job("--closed-is-ok", HOOK=receiver.url)  # what nobody heard is told again
    assert "nightly: the data gate of digits is closed: data looks 0.5 far" in said
    assert "try 1 of" not in said
    assert "dvc.lock" in branch(kept, "diff", "--name-only", "main", "sluiceway/nightly")
    again = kept.job(check=3, HOOK=receiver.url)
    assert "Running stage" not in again
    assert "the data gate of digits is closed" in again
    assert beside(kept, "gate.count") == "1"
    assert len(receiver.heard) == 2
    assert kept.job("--closed-is-ok", HOOK=receiver.url)
    tell(kept, "good")
    assert "is the new champion" in kept.job(HOOK=receiver.url)
    tell(kept, "bad once more")
    assert "model gate" not in kept.job(check=3, HOOK=receiver.url)  # it was not asked in this run


@pytest.mark.parametrize(
    ("words", "event", "said"),
    [
        ("dear", "closed", "the cost gate of digits is closed"),
        ("weak", "kept", "is registered, the champion stays; the model"),
    ],
)
def test_the_other_gates_too(kept: Kept, words: str, event: str, said: str) -> None:
    tell(kept, words)
    assert said in kept.job(check=3)
    assert kept.last()["event"] == event
    kept.job(check=3 if event == "closed" else 0)
    assert kept.last()["event"] == ("closed" if event == "closed" else "unchanged")


def test_a_crash_is_tried_again(kept: Kept) -> None:
    tell(kept, "flaky")
    said = kept.job()
    assert "train failed, try 1 of 2" in said
    assert "is the new champion" in said


def test_a_crash_that_stays_is_told_as_one(kept: Kept, receiver: Receiver) -> None:
    kept.describe(secrets=["HOOK"], notify={"webhook": "HOOK"}, retries=0)
    tell(kept, "crash")
    receiver.answers = [503]
    said = kept.job(check=1, HOOK=receiver.url)
    assert "nightly: train of digits failed: the machine is on fire" in said
    assert [each["text"].splitlines()[0] for each in receiver.heard] == [
        "nightly: train of digits failed: the machine is on fire"
    ] * 2  # the first answer was a refusal
    assert kept.git("branch", "--list", "sluiceway/nightly") == ""


def test_a_notice_of_preemption_saves_the_work_and_asks_for_a_requeue(kept: Kept) -> None:
    tell(kept, "slow")
    process = running(kept)
    refused = kept.project.run("sluiceway", "job", "run", "nightly", check=False, **kept.env())
    assert refused.returncode == 1
    assert "is busy with job 'nightly'" in refused.stdout
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 75, said
    assert beside(kept, "saved") == "1"  # it was told once
    assert kept.last()["event"] == "preempted"
    assert kept.git("branch", "--list", "sluiceway/nightly") == ""
    again = kept.job()
    assert "the last run was interrupted" in again
    assert "Running stage 'validate@digits'" not in again  # DVC remembers what was done
    assert "is the new champion" in again


def test_a_stage_that_was_preempted_by_itself_asks_for_a_requeue(kept: Kept) -> None:
    tell(kept, "itself")
    assert "train was preempted; its work is saved" in kept.job(check=75)
    assert "is the new champion" in kept.job()


def test_a_job_that_is_killed_leaves_nothing_in_the_way(kept: Kept) -> None:
    tell(kept, "slow")
    process = running(kept)
    stage = psutil.Process(dvc_of(process.pid)).children(recursive=True)[-1].pid  # a shell may stand between
    for pid in (process.pid, dvc_of(process.pid)):
        os.kill(pid, signal.SIGKILL)
    os.kill(stage, signal.SIGTERM)
    process.communicate()
    assert "is the new champion" in kept.job()
    listed = [
        json.loads(path.read_text(encoding="utf-8"))["event"] for path in sorted(kept.folder.glob("runs/*/run.json"))
    ]
    assert listed == ["lost", "promoted"]


def test_cancel_ends_what_a_killed_job_left_behind_with_its_work_saved(kept: Kept) -> None:
    tell(kept, "slow")
    process = running(kept)
    process.kill()
    process.communicate()
    assert left_behind(kept.folder / "tree")
    said = kept.project.run("sluiceway", "job", "attach", "nightly", check=False, **kept.env())
    assert said.returncode == 1
    assert "`sluiceway job cancel nightly` ends it" in said.stdout
    said = kept.project.run("sluiceway", "job", "cancel", "nightly", **kept.env())
    assert "lost: what it left behind has ended" in said.stdout
    assert beside(kept, "saved") == "1"
    assert left_behind(kept.folder / "tree") == []
    again = kept.project.run("sluiceway", "job", "cancel", "nightly", **kept.env())
    assert "lost: it had ended" in again.stdout


def test_what_could_not_be_saved_is_told(kept: Kept) -> None:
    tell(kept, "slow full")
    process = running(kept)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    told = "nightly: told to stop; step 5 could not be saved, the last checkpoint is that of step 0"
    assert kept.last()["sentence"] == told


def dvc_of(pid: int) -> int:

    (child,) = [each for each in psutil.Process(pid).children() if "repro" in each.cmdline()]
    return child.pid


def test_a_spent_budget_closes_the_job_until_something_changes(kept: Kept) -> None:
    kept.describe(budget={"hours": 1 / 3600})
    tell(kept, "slow")
    assert "the job's budget is spent" in kept.job(check=3)
    assert kept.last()["event"] == "closed"
    kept.describe()
    tell(kept, "good")
    assert "is the new champion" in kept.job()


def test_what_the_ref_has_now_is_run_and_its_parents_say_so(kept: Kept, tmp_path: Path) -> None:
    kept.job()
    first = branch(kept, "rev-parse", "sluiceway/nightly")
    other = tmp_path / "colleague"
    kept.git("clone", "-q", str(kept.remote), str(other), folder=tmp_path)
    (other / "pipelines/digits/params.yaml").write_text("train: {lr: 0.2}\n", encoding="utf-8")
    kept.git("-c", "user.name=c", "-c", "user.email=c@c", "commit", "-qam", "faster", folder=other)
    kept.git("push", "-q", folder=other)
    said = kept.job()
    assert "changed: pipelines/digits/params.yaml:train" in said
    assert "validate@digits" not in said.replace("Stage 'validate@digits' didn't change", "")
    assert "what changed gives the same model: version 1 stands" in said  # these stages learn nothing
    tips = branch(kept, "rev-parse", "sluiceway/nightly^1", "sluiceway/nightly^2").split()
    assert tips == [first, branch(kept, "rev-parse", "main")]
    assert branch(kept, "show", "sluiceway/nightly:pipelines/digits/params.yaml") == "train: {lr: 0.2}"


def test_a_remote_that_the_ref_does_not_know_is_told_before_anything_runs(kept: Kept) -> None:
    kept.project.run("dvc", "remote", "default", "--unset")
    kept.push("no remote")
    kept.project.run("dvc", "remote", "default", "store")
    said = kept.job(check=1)
    assert said.count("DVC's remote 'store' is in the .dvc/config here, and not in that of the ref") == 1
    assert "try: commit .dvc/config and push it" in said
    assert beside(kept, "validate.count") == ""


def test_what_is_not_under_dvc_is_told(kept: Kept) -> None:
    kept.git("rm", "-q", "data/raw/digits.dvc")
    kept.push("no data")
    assert "main says nothing of data/raw/digits: a clean tree has no data" in kept.job(check=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ref": "release"}, "ref 'release' is neither a branch, a tag nor a commit of origin"),
        ({"secrets": ["HOOK", "TOKEN"]}, "HOOK, TOKEN are not in the environment"),
        ({"env_file": "missing.env"}, "missing.env does not exist"),
        ({"env_file": "open.env"}, "can be read by others than its owner"),
    ],
)
def test_what_is_missing_is_told(kept: Kept, options: dict[str, Any], said: str) -> None:
    (kept.project.root / "open.env").write_text("HOOK=x\n", encoding="utf-8")
    (kept.project.root / "open.env").chmod(0o644)
    kept.describe(**options)
    assert said in kept.job(check=1)


def test_secrets_come_from_a_file_of_ones_own(kept: Kept, receiver: Receiver) -> None:
    path = kept.project.root / "own.env"
    path.write_text(f"# where to\nexport HOOK='{receiver.url}'\n", encoding="utf-8")
    path.chmod(0o600)
    kept.describe(env_file="own.env", secrets=["HOOK"], notify={"webhook": "HOOK", "on": ["failed"]}, ref="none")
    assert "topsecret" not in kept.job(check=1)
    assert len(receiver.heard) == 1


def test_without_remotes_everything_stays_here(tmp_path: Path) -> None:
    kept = keep_quick(tmp_path)
    kept.git("remote", "remove", "origin")
    kept.git("branch", "-M", "main")
    kept.project.run("dvc", "remote", "remove", "store")
    kept.git("commit", "-qam", "alone")
    said = kept.job()
    assert "is the new champion" in said
    (way,) = (line for line in said.splitlines() if line.startswith("git checkout "))
    assert "there is none" in way
    kept.project.run("bash", "-c", way)
    kept.git("checkout", "-q", "main")
    assert kept.git("diff", "--name-only", "main", "sluiceway/nightly") == "dvc.lock"
    assert "nothing changed" in kept.job()


def test_only_what_the_triggers_name_starts_a_run(kept: Kept) -> None:
    kept.job()
    tell(kept, "good news")
    kept.describe(triggers={"new_data": False})
    assert "new data alone starts nothing" in kept.job()
    kept.describe(triggers={"new_data": False, "drift": 0.45})
    assert "the new data drifted by 0.40, within 0.45" in kept.job()
    assert beside(kept, "train.count") == "1"
    kept.describe(triggers={"new_data": False, "drift": 0.3})
    said = kept.job()
    assert "the new data drifted by 0.40, beyond 0.3" in said
    assert beside(kept, "train.count") == "2"


def test_a_schedule_that_is_not_due_starts_nothing(kept: Kept) -> None:
    now = time.gmtime()
    far = f"{now.tm_min} {(now.tm_hour + 12) % 24} * * *"
    kept.describe(schedule={"cron": far, "zone": "UTC"})
    assert kept.job("--if-due") == ""
    kept.describe(schedule={"cron": "* * * * *", "zone": "UTC"})
    assert "is the new champion" in kept.job("--if-due")
    kept.describe(schedule={"cron": far, "zone": "UTC"})
    assert kept.job("--if-due") == ""
