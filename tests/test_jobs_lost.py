"""A run that ends without a word is seen at once, and told once, by whatever comes next."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from receiver import Receiver, received
from sluiceway.launch import records
from sluiceway.launch.jobs import Notify
from sluiceway.launch.leftovers import end_leftovers
from sluiceway.launch.notify import beat
from sluiceway.launch.processes import boot, born, machine
from sluiceway.launch.records import JobPlaces, Record
from teams import Kept, keep_quick, running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with received() as receiver:
        yield receiver


@pytest.fixture
def places(tmp_path: Path) -> JobPlaces:
    return JobPlaces(tmp_path / "nightly")


# Who runs.


def test_this_process_runs_and_others_with_its_number_do_not(places: JobPlaces) -> None:
    record = places.begin()
    assert (record.state, record.gone) == ("running", "")
    assert replace(record, born=record.born - 60).gone == f"its process {os.getpid()} is gone"
    assert replace(record, boot="another").gone == "the machine was started anew since"
    assert replace(record, boot="another", event="kept").state == "kept"


def test_a_clock_that_was_set_loses_no_run(places: JobPlaces, monkeypatch: pytest.MonkeyPatch) -> None:
    record = places.begin()
    began, up = psutil.Process().create_time(), psutil.boot_time()
    monkeypatch.setattr(psutil, "boot_time", lambda: up + 3600)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: began + 3600)
    assert record.state == "running"


def test_a_process_that_has_ended_is_none() -> None:
    child = psutil.Popen(["true"])
    deadline = time.monotonic() + 30
    while child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
    assert born(child.pid) is None  # its number is still taken
    child.wait()
    assert born(child.pid) is None
    assert born() is not None
    assert boot()


def test_a_run_elsewhere_is_alive_as_long_as_it_is_heard_of(places: JobPlaces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BEAT", 0.01)
    record = replace(places.begin(), machine="n7", pid=1, born=0.0, boot="other")
    places.write(record)
    with places.beating(record):
        sign, before = places.sign(record), places.sign(record).stat().st_mtime_ns
        deadline = time.monotonic() + 30
        while sign.stat().st_mtime_ns == before:
            assert time.monotonic() < deadline
        assert places.records()[0].state == "running"
    os.utime(sign, (time.time() - 1000, time.time() - 1000))
    (seen,) = places.records()
    assert seen.state == "lost"
    assert seen.gone == "nothing is heard from n7, where it ran as process 1"


# Who is told.


def test_a_heartbeat_is_asked_and_never_said(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setenv("PING", receiver.url)
    beat(Notify(heartbeat="PING"), said.append, 0)
    assert receiver.asked == ["/services/T0/B0/topsecret"]
    receiver.answers[:] = [503, 503, 404]
    beat(Notify(heartbeat="PING"), said.append, 0)
    assert said == ["warning: the heartbeat in PING was not asked: it answered 404"]
    beat(Notify(), said.append, 0)
    assert len(receiver.asked) == 4


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return keep_quick(tmp_path)


def killed(kept: Kept, **env: str) -> Record:
    """Kill the job's own process in mid-training, as a full memory would, and all that it left."""
    (kept.project.root.parent / "training").unlink(missing_ok=True)
    process = running(kept, **env)
    process.kill()
    process.communicate()
    end_leftovers(kept.folder / "tree", 60, print)
    return JobPlaces(kept.folder).records()[-1]


def sluiceway(kept: Kept, *words: str, **env: str) -> tuple[int, str]:
    done = kept.project.run("sluiceway", "job", *words, check=False, **kept.env(COLUMNS="200", **env))
    assert "Traceback" not in done.stdout
    return done.returncode, done.stdout


@pytest.mark.slow
def test_a_run_that_was_killed_is_seen_at_once_told_once_and_gone_on_with(kept: Kept, receiver: Receiver) -> None:
    kept.describe(secrets=["HOOK"], notify={"webhook": "HOOK", "heartbeat": "HOOK", "on": ["failed"]})
    (kept.origin / "told.txt").write_text("bad\n", encoding="utf-8")
    kept.job(check=3, HOOK=receiver.url)
    (kept.origin / "told.txt").write_text("slow\n", encoding="utf-8")
    pid = killed(kept, HOOK=receiver.url).pid
    for command in ("list", "attach"):
        _, said = sluiceway(kept, *[command, "nightly"][: 1 + (command == "attach")])
        assert f"is lost: its process {pid} is gone" in said
    receiver.answers[:] = [400]
    assert sluiceway(kept, "check", "nightly", HOOK=receiver.url)[0] == 1  # nobody heard of it
    code, said = sluiceway(kept, "check", "nightly", HOOK=receiver.url)
    assert code == 1
    assert f"was lost: its process {pid} is gone" in said
    assert "topsecret" not in said
    assert sluiceway(kept, "check", "nightly", HOOK=receiver.url) == (0, "")
    (kept.project.root.parent / "training").unlink()
    (kept.origin / "told.txt").write_text("good\n", encoding="utf-8")
    assert "is the new champion" in kept.job(HOOK=receiver.url)  # what a closed gate once said stands for nothing
    assert [each["text"].splitlines()[0].split(" was ")[-1] for each in receiver.heard] == [
        f"lost: its process {pid} is gone"
    ] * 2
    assert len(receiver.asked) == 2  # at the ends of the runs that had one
    assert [each.event for each in JobPlaces(kept.folder).records()] == ["closed", "lost", "promoted"]


@pytest.mark.slow
def test_the_next_start_tells_and_a_schedule_goes_on_once(kept: Kept, receiver: Receiver) -> None:
    now = time.gmtime()
    far = {"cron": f"{now.tm_min} {(now.tm_hour + 12) % 24} * * *", "zone": "UTC"}
    kept.describe(secrets=["HOOK"], notify={"webhook": "HOOK"}, schedule=far)
    places = JobPlaces(kept.folder)
    began = datetime.now(UTC).isoformat()
    lost = Record("20261129T023000.000000", 4711, 1.0, began, machine(), "an earlier start")
    again = replace(lost, id="20261129T024500.000000")
    for record in (lost, again):
        places.write(record)
        places.log(record).touch()
    said = kept.job("--if-due", HOOK=receiver.url)
    assert "was lost: the machine was started anew since" in said
    assert "new data" not in said  # two of them were: what loses every run is not begun at each look
    assert [each.event for each in places.records()] == ["lost", "lost"]
    assert len(receiver.heard) == 1
    assert kept.job("--if-due", HOOK=receiver.url) == ""
    places.write(replace(lost, event="kept"))
    assert "is the new champion" in kept.job("--if-due", HOOK=receiver.url)
    assert len(receiver.heard) == 2
