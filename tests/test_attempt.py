"""What an attempt has taken: written down from its first moment on, whoever kills it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs import _CHILD, curve_of, job_of, train_until, weights_of
from projects import ROOT, Project
from sluiceway.training import attempt
from sluiceway.training.attempt import Attempt
from sluiceway.training.job import Places, seal, spent_earlier, unsealed
from sluiceway.training.pulse import Pulse
from sluiceway.training.spool import read


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_an_attempt_that_is_killed_at_once_was_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, places = Clock(), Places(tmp_path)
    monkeypatch.setattr(attempt, "time", clock)
    seal(places.next_attempt(), {"seconds": 5.0, "workers": 2})
    one = Attempt(places, 3, started=98.0)
    assert one.earlier == (5.0, 10.0)  # its own seconds are not among them
    assert len(places.attempts()) == 2
    assert spent_earlier(places) == (5.0 + 2.0, 10.0 + 6.0)

    clock.now += 0.5
    one.lives()
    assert spent_earlier(places)[0] == 5.0 + 2.0  # not at each of a thousand steps a second
    clock.now += 1.0
    one.lives()
    assert spent_earlier(places)[0] == 5.0 + 3.5
    clock.now += 0.25
    with pytest.raises(KeyboardInterrupt), one:
        raise KeyboardInterrupt
    assert spent_earlier(places)[0] == 5.0 + 3.75
    assert Attempt(places, 1, started=clock.now).earlier == (8.75, 10.0 + 3 * 3.75)


def test_every_sign_of_life_is_one_for_the_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, places = Clock(), Places(tmp_path)
    monkeypatch.setattr(attempt, "time", clock)
    one = Attempt(places, 1, started=clock.now)
    with Pulse(places, 0, None, one) as pulse:
        for sign in (
            pulse.on_train_start,
            pulse.on_train_batch_end,
            pulse.on_validation_batch_end,
            pulse.on_validation_end,
            pulse.on_train_epoch_end,
        ):
            clock.now += 10
            sign()
            assert (unsealed(places.attempts()[0]) or {})["seconds"] == clock.now - 100.0


def test_a_full_disk_ends_no_attempt(small_disk: Path) -> None:
    one = Attempt(Places(small_disk), 1, started=time.monotonic())
    (small_disk / "ballast").write_bytes(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize))
    one.note()
    assert (unsealed(Places(small_disk).attempts()[0]) or {})["workers"] == 1


@pytest.mark.slow
def test_attempts_that_end_before_their_first_interval_are_counted_and_paid(finished: Project, tmp_path: Path) -> None:
    options: dict[str, object] = {"epochs": 2.0, "log_every": 10_000, "validate_every": 2.0, "cpus_per_worker": 1}
    whole, broken = (job_of(finished, tmp_path / name, **options) for name in ("whole", "broken"))
    assert train_until(whole, None) == 0
    places = Places(Path(broken.folder))
    places.folder.mkdir()
    (places.folder / "job.json").write_text(json.dumps(broken.packed()), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    for number in (1, 2):
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(places.folder / "job.json")],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while len(places.attempts()) < number or not (unsealed(places.attempts()[-1]) or {}).get("seconds", 0) > 0.5:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert not list(read(places.metrics))
    paid = spent_earlier(places)[0]
    assert paid > 1.0
    assert train_until(broken, None) == 0
    result = unsealed(places.result) or {}
    assert result["attempts"] == 3
    assert result["seconds"] > paid
    assert weights_of(broken) == weights_of(whole)
    assert curve_of(broken) == curve_of(whole)
