"""What is kept and how: beside training, verified, and never in place of something that is whole."""

import errno
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sluiceway.errors import DiskFull, NotFinite, TrainingError
from sluiceway.training import checkpoints
from sluiceway.training.checkpoints import Checkpoint, commit, newest, spared
from sluiceway.training.job import Places, seal, set_aside, unsealed
from sluiceway.training.recorder import Best
from sluiceway.training.saver import BEST_DIGEST, Saver, fault_of_best, without_best
from sluiceway.training.spool import Spool

WEIGHTS = {"weight": torch.arange(6.0)}


def best(step, seen=1):
    return {"best": vars(Best(loss=1.0, step=step, seen=seen))}


def checkpoint(step, best_step=0, seen=0, value=1.0):
    tensors = {"model.weight": torch.full((6,), value), "optimizer.weight.exp_avg": torch.zeros(6)}
    return Checkpoint(step, tensors, best(best_step, seen))


@pytest.fixture
def places(tmp_path):
    found = Places(tmp_path / "job")
    found.folder.mkdir()
    return found


@pytest.fixture
def saver(places):
    made = Saver(places, every=None, most=0)
    yield made
    made.close()


def newest_of(places):
    return newest(places.checkpoints, lambda found: fault_of_best(places, found))


# Which stay.


@given(
    gaps=st.lists(st.integers(1, 60), min_size=1, max_size=40),
    keep=st.integers(1, 3),
    every=st.none() | st.integers(1, 100),
    most=st.integers(0, 5),
)
def test_the_newest_stay_and_every_nth_whatever_was_dropped_on_the_way(gaps, keep, every, most):
    steps = [sum(gaps[: number + 1]) for number in range(len(gaps))]
    there: set[int] = set()
    for step in steps:  # as commits come: what was dropped is gone
        there = spared([*there, step], keep=keep, every=every, most=most)
        assert step in there
    firsts = (
        [next(s for s in steps if s // every == n) for n in sorted({s // every for s in steps if s >= every})]
        if every
        else []
    )
    assert there == {*steps[-keep:], *firsts[max(0, len(firsts) - most) :]}
    assert len(there) <= keep + most


def test_kept_ones_stay_on_the_disk(tmp_path):
    for step in range(10, 110, 10):
        commit(tmp_path, checkpoint(step), every=25, most=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{n:08d}" for n in (80, 90, 100)]


# Beside training.


def test_the_copy_is_of_the_moment(places, saver):
    weight = torch.ones(6)
    held = saver.hold({"model.weight": weight})
    weight.zero_()
    assert held["model.weight"].tolist() == [1.0] * 6
    saver.save(Checkpoint(5, held, best(0, 0)))
    saver.wait()
    assert newest_of(places)[0].tensors["model.weight"].tolist() == [1.0] * 6
    assert (saver.committed, saver.saves) == (5, 1)


def test_one_piece_of_work_is_under_way_at_most(places, saver, monkeypatch):
    going, inside, most = threading.Event(), [], []

    def slow(folder, checkpoint, **_):
        inside.append(checkpoint.step)
        most.append(len(inside))
        assert going.wait(30)
        inside.remove(checkpoint.step)

    monkeypatch.setattr("sluiceway.training.saver.commit", slow)
    saver.save(checkpoint(1))
    waiting = threading.Thread(target=lambda: saver.save(checkpoint(2)))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()  # it waits for the first
    going.set()
    waiting.join(30)
    saver.wait()
    assert most == [1, 1]


def test_what_fails_is_raised_at_the_next_look(places, saver, monkeypatch):
    failed = threading.Event()

    def fail(*_, **__):
        failed.set()
        raise ValueError("a defect")

    monkeypatch.setattr("sluiceway.training.saver.commit", fail)
    saver.check()
    saver.save(checkpoint(1))
    assert failed.wait(30)
    with pytest.raises(ValueError, match="a defect"):
        saver.wait()
    saver.check()  # it is said once


def test_weights_that_are_no_numbers_are_never_saved(places, saver):
    saver.save(checkpoint(10))
    saver.save(checkpoint(20, value=float("nan")))
    with pytest.raises(NotFinite, match="weight has values that are no numbers after step 20"):
        saver.wait()
    assert newest_of(places)[0].step == 10


# The best weights.


def test_the_best_weights_are_those_that_were_found(places, saver):
    weight = torch.ones(6)
    saver.keep_best(7, {"weight": weight})
    weight.zero_()
    saver.save(checkpoint(10, 7, 1))
    saver.take_best(7, places.weights)
    from safetensors.torch import load_file

    assert load_file(places.weights)["weight"].tolist() == [1.0] * 6
    assert newest_of(places)[0].state[BEST_DIGEST]
    assert newest_of(places)[1] == []


def damage(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_altered_best_weights_never_become_the_model(places, saver):
    saver.keep_best(7, WEIGHTS)
    saver.save(checkpoint(10, 7, 1))
    saver.wait()
    damage(places.best(7))
    with pytest.raises(TrainingError, match=r"those of step 7, cannot be used: best-\d+.safetensors was altered"):
        saver.take_best(7, places.weights)


def test_an_older_checkpoint_with_its_best_weights_goes_before_a_newer_one_without(places, saver):
    saver.keep_best(7, WEIGHTS)
    saver.save(checkpoint(10, 7, 1))
    saver.keep_best(15, {"weight": torch.zeros(6)})
    saver.save(checkpoint(20, 15, 2))
    saver.wait()
    damage(places.best(15))
    found, notes = newest_of(places)
    assert found.step == 10
    assert [note.split()[1] for note in notes] == ["step-00000020"]
    damage(places.best(7))
    found, notes = newest_of(places)
    assert found.step == 10
    assert "without the best weights so far" in notes[0]
    assert without_best(found).state["best"] == vars(Best())


def test_best_weights_that_no_checkpoint_speaks_of_are_dropped(places, saver):
    for number in range(1, 6):
        saver.keep_best(number * 10, WEIGHTS)
        saver.save(checkpoint(number * 10, number * 10, number))
    saver.wait()
    assert sorted(path.name for path in places.folder.glob("best-*")) == [
        "best-00000040.safetensors",
        "best-00000050.safetensors",
    ]


# A full disk.


def fill(folder, leaving=0):
    with suppress(OSError), (folder / "filling").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    os.truncate(folder / "filling", max(0, (folder / "filling").stat().st_size - leaving))


needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")


@needs_mount
def test_a_full_disk_leaves_the_last_checkpoint_and_a_note(small_disk):
    places = Places(small_disk)
    saver = Saver(places, every=None, most=0)
    large = {"model.weight": torch.ones(50_000)}
    saver.save(Checkpoint(10, large, best(0, 0)))
    saver.wait()
    fill(small_disk, leaving=100_000)
    saver.keep_best(20, {"weight": torch.ones(50_000)})
    saver.save(Checkpoint(20, large, best(20)))
    saver.wait()
    assert newest_of(places)[0].step == 10
    assert sorted(path.name for path in places.checkpoints.iterdir()) == ["step-00000010"]
    assert not list(small_disk.glob(".best*"))
    (note,) = places.notes.read_text().splitlines()
    assert "no room for best-00000020.safetensors: it takes 200,000 bytes, and" in note
    with pytest.raises(DiskFull):
        saver.take_best(20, places.weights)
    (small_disk / "filling").unlink()
    saver.save(Checkpoint(30, large, best(20)))  # the best weights were not forgotten
    saver.wait()
    assert newest_of(places)[0].step == 30
    saver.take_best(20, places.weights)
    saver.close()


@needs_mount
def test_a_checkpoint_says_what_it_takes(small_disk):
    fill(small_disk, leaving=100_000)
    with pytest.raises(
        DiskFull, match=r"no room for the checkpoint of step 1: it takes 200,000 bytes, and \S+ has"
    ) as caught:
        commit(small_disk / "checkpoints", Checkpoint(1, {"w": torch.ones(50_000)}, {}))
    assert "run the same command again" in caught.value.hint
    assert list((small_disk / "checkpoints").iterdir()) == []


@needs_mount
def test_shards_that_do_not_fit_are_told_and_never_read(small_disk):
    import numpy as np

    from sluiceway.data.shards import ShardedSplit, write_shards
    from sluiceway.errors import DataError

    items = ({"x": np.zeros(1000, np.float32)} for _ in range(1000))
    with pytest.raises(DiskFull, match=r"no room for train-00000.x.npy: it takes 4,000,000 bytes"):
        write_shards(items, small_disk, "train")
    with pytest.raises(DataError, match="holds no shards"):
        ShardedSplit(small_disk, "train")


# Small files.


@given(
    document=st.dictionaries(
        st.text(max_size=5), st.integers() | st.floats(allow_nan=False) | st.text(max_size=5), max_size=4
    ),
    offset=st.integers(0, 10**6),
    mask=st.integers(1, 255),
)
def test_a_sealed_file_is_what_was_written_or_nothing(document, offset, mask, tmp_path_factory):
    path = tmp_path_factory.mktemp("sealed") / "attempt-0001.json"
    document.pop("digest", None)
    seal(path, document)
    assert unsealed(path) == document
    content = bytearray(path.read_bytes())
    content[offset % len(content)] ^= mask
    path.write_bytes(content)
    assert unsealed(path) in (None, document)
    set_aside(path)
    assert unsealed(path) is None


def test_attempts_are_numbered_on_past_a_broken_one(tmp_path):
    places = Places(tmp_path)
    for _ in range(3):
        seal(places.next_attempt(), {"seconds": 1.0})
    set_aside(tmp_path / "attempt-0002.json")
    assert places.next_attempt().name == "attempt-0004.json"
    assert len(places.attempts()) == 2


def test_the_curves_are_on_the_disk_before_the_checkpoint_that_follows_them(places, saver, monkeypatch):
    """After a power cut there may be no checkpoint without the points before it."""
    spool = Spool(places.metrics, 0)
    spool.add(10, {"train/loss": 1.0})
    done = []
    synced, renamed = os.fsync, Path.rename

    def fsync(number):
        done.append(str(Path(f"/proc/self/fd/{number}").readlink()))
        synced(number)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", lambda self, other: done.append(str(other)) or renamed(self, other))
    saver.save(checkpoint(10))
    saver.wait()
    committed = str(places.checkpoints / "step-00000010")
    assert committed in done
    assert str(places.metrics) in done[: done.index(committed)]
    spool.close()


def test_what_one_may_not_read_is_not_broken(places, saver, monkeypatch):
    saver.save(checkpoint(10))
    saver.wait()

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(checkpoints, "sha256", refuse)
    with pytest.raises(PermissionError):
        newest_of(places)
    assert [path.name for path in places.checkpoints.iterdir()] == ["step-00000010"]
