"""Checkpoints in parts: committed only when all are there, read whole or by rows, whatever the number of workers."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from projects import ROOT
from sluiceway.errors import DiskFull
from sluiceway.training import parts
from sluiceway.training.checkpoints import Checkpoint, Cut, commit, newest, read
from sluiceway.training.job import Places
from sluiceway.training.parts import Incomplete, commit_part
from sluiceway.training.recorder import Best
from sluiceway.training.saver import BEST_DIGEST, Saver
from sluiceway.training.stored import Stored

WHOLE = {
    "model.weight": torch.arange(35.0).reshape(7, 5),
    "model.bias": torch.tensor([1.0]),
    "model.half": torch.arange(6).bfloat16(),
    "optimizer.weight.exp_avg": torch.arange(35.0).reshape(7, 5) / 7,
    "optimizer.weight.step": torch.tensor(3.0),
    "held.loss": torch.ones(2, 3),
}
SHARED = [name for name in WHOLE if WHOLE[name].ndim and not name.startswith("held")]


def rows_of(count, rank, world):
    """As ``torch.chunk`` shares rows out."""
    each = -(-count // world)
    return min(rank * each, count), min((rank + 1) * each, count)


def part(step, rank, world, token=1):
    tensors, rows = {}, {}
    for name, value in WHOLE.items():
        if name in SHARED:
            first, stop = rows_of(len(value), rank, world)
            tensors[name], rows[name] = value[first:stop] + step, (first, len(value))
        elif rank == 0:
            tensors[name] = value + step
    return Checkpoint(step, tensors, {"name": "é"}, Cut(rank, world, rows, token))


def commit_all(folder, step, world, token=1, ended=None, **options):
    """Commit as so many workers, side by side; return what each of them said."""
    ended = ended or threading.Event()
    with ThreadPoolExecutor(world) as pool:
        given = [part(step, rank, world, token) for rank in range(world)]
        work = [pool.submit(commit_part, folder, each, each.cut, ended, **options) for each in given]
    return [each.result() for each in work]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_parts_make_the_whole(world, tmp_path):
    assert commit_all(tmp_path, 5, world) == [True, *[False] * (world - 1)]
    assert names(tmp_path) == ["step-00000005"]
    found, warnings = newest(tmp_path)
    assert warnings == []
    assert (found.step, dict(found.state)) == (5, {"name": "é"})
    assert sorted(found.tensors) == sorted(WHOLE)
    for name, value in WHOLE.items():
        assert found.tensors[name].dtype == value.dtype
        assert torch.equal(found.tensors[name], value + 5)
        assert found.tensors.shape(name) == tuple(value.shape)


@settings(max_examples=50)
@given(world=st.integers(1, 5), start=st.integers(0, 7), length=st.integers(0, 7))
def test_any_rows_are_read_from_any_number_of_parts(world, start, length, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    commit_all(folder, 1, world)
    stop = min(7, start + length)
    rows = read(folder, 1).tensors.rows("model.weight", min(start, 7), stop)
    assert torch.equal(rows, (WHOLE["model.weight"] + 1)[start:stop])


def test_a_whole_checkpoint_is_read_by_rows_too(tmp_path):
    commit(tmp_path, Checkpoint(1, WHOLE, {}))
    tensors = newest(tmp_path)[0].tensors
    assert isinstance(tensors, Stored)
    assert torch.equal(tensors.rows("model.weight", 2, 5), WHOLE["model.weight"][2:5])


def test_what_was_read_is_not_the_file(tmp_path):
    commit_all(tmp_path, 1, 2)
    tensors = read(tmp_path, 1).tensors
    for name in WHOLE:
        tensors[name].add_(1)
    tensors.rows("model.weight", 0, 2).add_(1)
    assert all(torch.equal(tensors[name], value + 1) for name, value in WHOLE.items())
    assert newest(tmp_path)[1] == []


def test_nothing_is_committed_before_all_parts_are_there(tmp_path):
    first, second = (part(9, rank, 2) for rank in range(2))
    ended = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(commit_part, tmp_path, first, first.cut, ended)
        while not list(tmp_path.glob(".draft-*/part-00000-of-00002.json")):
            assert not work.done()
        assert newest(tmp_path) == (None, [])
        assert not work.done()
        commit_part(tmp_path, second, second.cut, ended)
        assert work.result(timeout=30)
    assert names(tmp_path) == ["step-00000009"]


def test_a_part_that_does_not_come_costs_the_checkpoint_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "_PATIENCE", 0.1)
    commit_all(tmp_path, 10, 2)
    alone = part(20, 0, 2)
    with pytest.raises(Incomplete, match=r"part-00001-of-00002\.safetensors of 00000020-1 did not come"):
        commit_part(tmp_path, alone, alone.cut, threading.Event())
    assert names(tmp_path) == ["step-00000010"]
    late = part(20, 1, 2)
    commit_part(tmp_path, late, late.cut, threading.Event())  # it cannot know
    commit_all(tmp_path, 30, 2)
    assert names(tmp_path) == ["step-00000010", "step-00000030"]


def test_who_has_ended_is_not_waited_for_long(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "_GRACE", 0.1)
    ended = threading.Event()
    ended.set()
    alone = part(20, 0, 2)
    with pytest.raises(Incomplete):
        commit_part(tmp_path, alone, alone.cut, ended)
    assert commit_all(tmp_path, 30, 2, ended=ended) == [True, False]


def test_drafts_of_a_killed_attempt_are_swept_and_never_joined(tmp_path):
    """The second worker of an attempt that was killed had written its part; the first had not."""
    old = part(20, 1, 2, token=1)
    commit_part(tmp_path, old, old.cut, threading.Event())
    assert commit_all(tmp_path, 20, 2, token=2) == [True, False]
    assert names(tmp_path) == ["step-00000020"]


def test_old_ones_are_dropped(tmp_path):
    for step in range(10, 60, 10):
        commit_all(tmp_path, step, 2, every=20, most=1)
    assert names(tmp_path) == ["step-00000040", "step-00000050"]


FILES = ("part-00000-of-00002.safetensors", "part-00001-of-00002.safetensors", "state.json", "manifest.json")


@settings(max_examples=80)
@given(name=st.sampled_from(FILES), offset=st.integers(0, 10**6), mask=st.integers(1, 255), cut=st.booleans())
def test_a_damaged_part_sets_the_checkpoint_aside_and_the_older_one_is_taken(name, offset, mask, cut, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    commit_all(folder, 10, 2)
    commit_all(folder, 20, 2)
    path = folder / "step-00000020" / name
    before = path.read_bytes()
    content = bytearray(before)
    if cut:
        del content[offset % len(content) :]
    else:
        content[offset % len(content)] ^= mask
    path.write_bytes(content)
    found, warnings = newest(folder)
    if found.step == 20:  # white space for white space
        assert name == "manifest.json"
        assert "".join(content.decode().split()) == "".join(before.decode().split())
        return
    assert found.step == 10
    assert len(warnings) == 1
    assert "step-00000020 is broken" in warnings[0]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_sets_the_checkpoint_aside(name, tmp_path):
    commit_all(tmp_path, 10, 2)
    commit_all(tmp_path, 20, 2)
    (tmp_path / "step-00000020" / name).unlink()
    assert newest(tmp_path)[0].step == 10


def test_parts_of_unlike_checkpoints_do_not_make_a_whole(tmp_path):
    """Hashes that fit are not enough: somebody may put a checkpoint together by hand."""
    commit_all(tmp_path, 10, 2)
    place = tmp_path / "step-00000010"
    with pytest.raises(ValueError, match="do not make a whole"):
        Stored([place / FILES[0]])
    with pytest.raises(ValueError, match="do not make a whole"):
        Stored([place / FILES[0], place / FILES[0]])


# With the thread that writes.


def saver_of(places):
    return Saver(places, every=None, most=0)


def test_savers_of_two_workers_commit_together(tmp_path):
    places = Places(tmp_path)
    savers = [saver_of(places) for _ in range(2)]
    for step in (10, 20, 30):
        for rank, saver in enumerate(savers):
            given = part(step, rank, 2)
            saver.save(Checkpoint(step, saver.hold(given.tensors), {"best": vars(Best())}, given.cut))
    for saver in savers:
        saver.wait()
        saver.close()
    assert [saver.committed for saver in savers] == [30, None]
    assert savers[0].saves == 3
    found, warnings = newest(places.checkpoints)
    assert (found.step, warnings, found.state[BEST_DIGEST]) == (30, [], "")


def test_a_worker_without_room_costs_the_checkpoint_and_training_goes_on(tmp_path, monkeypatch):
    places = Places(tmp_path)
    savers = [saver_of(places) for _ in range(2)]
    real = parts.write_part

    def full(path, tensors, rows):
        if "step-00000020" in str(path) or ("00000020" in path.parent.name and path.name.startswith("part-00001")):
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        return real(path, tensors, rows)

    monkeypatch.setattr(parts, "write_part", full)
    for step in (10, 20, 30):
        for rank, saver in enumerate(savers):
            given = part(step, rank, 2)
            saver.save(Checkpoint(step, saver.hold(given.tensors), {"best": vars(Best())}, given.cut))
        for saver in savers:
            saver.wait()
    for saver in savers:
        saver.close()
    assert names(places.checkpoints) == ["step-00000010", "step-00000030"]
    told = places.notes.read_text(encoding="utf-8")
    assert told.count("no room for a part of the checkpoint of step 20") == 2  # by the worker, and by rank 0
    assert told.count("Training goes on") == 2
    given = part(20, 1, 2)
    with pytest.raises(DiskFull):
        commit_part(places.checkpoints, given, given.cut, threading.Event())


# With a network whose parameters are shared out.


def work(folder, world, steps):
    """Train as so many workers, and return all of it, gathered."""
    meeting = folder / f"meeting-{time.monotonic_ns()}"
    workers = [
        subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "sharing.py"), str(rank), str(world), meeting, folder, str(steps)],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(world)
    ]
    try:
        assert [worker.wait(timeout=600) for worker in workers] == [0] * world
    finally:
        for worker in workers:
            worker.kill()
    together, gathered = (folder / f"{name}-{world}.safetensors" for name in ("weights", "gathered"))
    assert together.read_bytes() == gathered.read_bytes()
    (path,) = folder.glob(f"whole-*-{world}.safetensors")
    return load_file(path.rename(path.with_name(f"seen-{time.monotonic_ns()}")))


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.mark.slow
def test_workers_in_any_number_take_up_model_and_optimizer_bit_for_bit(tmp_path):
    """3 workers read what 2 have written in parts; they hold what those held, gathered."""
    two = work(tmp_path, 2, 4)
    assert {name.rpartition(".")[2] for name in two if name.startswith("optimizer")} == {
        "exp_avg",
        "exp_avg_sq",
        "step",
    }
    assert_equal(dict(newest(tmp_path)[0].tensors), two)
    assert_equal(work(tmp_path, 3, 0), two)


@pytest.mark.slow
def test_going_on_from_parts_gives_the_same_bits(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = work(tmp_path / "whole", 2, 5)
    work(tmp_path / "parts", 2, 2)
    assert_equal(work(tmp_path / "parts", 2, 3), whole)
