"""Weights in parts: put together into the bytes that one worker alone would have written, a piece at a time."""

import os
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import _TYPES, save_file

from projects import ROOT
from sluiceway.errors import DiskFull, TrainingError
from sluiceway.training import joining, parts
from sluiceway.training.checkpoints import Checkpoint, Cut, newest, write_part, write_tensors
from sluiceway.training.job import Places
from sluiceway.training.joining import join
from sluiceway.training.parts import Incomplete, write_whole
from sluiceway.training.recorder import Best
from sluiceway.training.saver import BEST_DIGEST, Saver, fault_of_best

DTYPES = sorted((dtype for name, dtype in _TYPES.items() if name[:2] not in ("F4", "F6") or name == "F64"), key=str)


def share(whole, rank, world, alike=()):
    """Return what a worker has, and which rows those are, shared out as ``torch.chunk`` does."""
    tensors, rows = {}, {}
    for name, value in whole.items():
        if value.ndim and name not in alike:
            each = -(-len(value) // world)
            first, stop = min(rank * each, len(value)), min((rank + 1) * each, len(value))
            tensors[name], rows[name] = value[first:stop].clone(), (first, len(value))
        elif rank == 0:
            tensors[name] = value
    return tensors, rows


def write_parts(folder, whole, world, alike=()):
    paths = [folder / Cut(rank, world, {}, 1).name(rank) for rank in range(world)]
    for rank, path in enumerate(paths):
        write_part(path, *share(whole, rank, world, alike))
    return paths


@st.composite
def tensors(draw):
    """Draw named tensors of every type and of any shape, with names that JSON has to escape."""
    found = {}
    for name in draw(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=6, unique=True)):
        shape = draw(st.lists(st.integers(0, 5), max_size=3))
        dtype = draw(st.sampled_from(DTYPES))
        seed = draw(st.integers(0, 2**31))
        size = torch.empty(shape, dtype=dtype).nbytes
        noise = torch.randint(0, 256, (size,), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
        noise = noise % 2 if dtype is torch.bool else noise
        found[name] = noise.view(dtype).reshape(shape) if size else torch.empty(shape, dtype=dtype)
    return found


@settings(max_examples=80)
@given(whole=tensors(), world=st.integers(1, 5), piece=st.integers(1, 64), data=st.data())
def test_the_whole_has_the_bytes_that_the_library_writes(whole, world, piece, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    alike = data.draw(st.sets(st.sampled_from(sorted(whole))))
    save_file(whole, folder / "expected")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining, "PIECE", piece)
        digest = join(write_parts(folder, whole, world, alike), folder / "found")
    assert (folder / "found").read_bytes() == (folder / "expected").read_bytes()
    assert digest == write_tensors(folder / "again", whole)


WHOLE = {"weight": torch.arange(70.0).reshape(14, 5), "bias": torch.arange(3.0), "scale": torch.tensor(2.0)}


def test_every_type_of_the_library_is_known(tmp_path):
    whole = {str(dtype): torch.zeros(4, 2, dtype=torch.uint8).view(torch.uint8).float().to(dtype) for dtype in DTYPES}
    assert len(whole) >= 18
    save_file(whole, tmp_path / "expected")
    join(write_parts(tmp_path, whole, 2), tmp_path / "found")
    assert (tmp_path / "found").read_bytes() == (tmp_path / "expected").read_bytes()


def test_parts_that_are_no_whole_are_refused(tmp_path):
    first, second = write_parts(tmp_path, WHOLE, 2)
    for some in ([first], [second], [first, first, second]):
        with pytest.raises(ValueError, match="do not make a whole"):
            join(some, tmp_path / "found")
    other = tmp_path / "other"
    write_part(other, *share({"weight": torch.zeros(14, 3), "bias": WHOLE["bias"]}, 1, 2))
    with pytest.raises(ValueError, match="the parts of weight are not of one tensor"):
        join([first, other], tmp_path / "found")
    os.truncate(second, second.stat().st_size - 1)
    with pytest.raises(ValueError, match="ends 1 bytes too early"):
        join([first, second], tmp_path / "found")


def test_memory_does_not_grow_with_the_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(joining, "PIECE", 1 << 20)
    paths = write_parts(tmp_path, {"weight": torch.zeros(2048, 4096), "long": torch.zeros(1, 1 << 22)}, 3)
    tracemalloc.start()
    try:
        join(paths, tmp_path / "found")
        _, highest = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "found").stat().st_size > 48 << 20
    assert highest < 4 << 20


# By workers.


def write_all(path, whole, world, token=1, ended=None):
    """Write as so many workers, side by side; return what each of them said."""
    with ThreadPoolExecutor(world) as pool:
        work = []
        for rank in range(world):
            mine, rows = share(whole, rank, world)
            cut = Cut(rank, world, rows, token)
            work.append(pool.submit(write_whole, path, mine, cut, ended or threading.Event()))
    return [each.result() for each in work]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_workers_write_one_file_and_leave_nothing_else(tmp_path):
    expected = write_tensors(tmp_path / "expected", WHOLE)
    path = tmp_path / "best-00000007.safetensors"
    assert write_all(path, WHOLE, 3) == [expected, "", ""]
    assert names(tmp_path) == ["best-00000007.safetensors", "expected"]
    assert path.read_bytes() == (tmp_path / "expected").read_bytes()


def test_a_part_that_was_altered_on_its_way_is_not_put_in(tmp_path):
    path = tmp_path / "weights.safetensors"
    mine, rows = share(WHOLE, 1, 2)
    write_whole(path, mine, Cut(1, 2, rows, 1), threading.Event())
    (part,) = tmp_path.glob(".weights*/part-00001*.safetensors")
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    mine, rows = share(WHOLE, 0, 2)
    with pytest.raises(Incomplete, match=r"weights.safetensors could not be put together: part-00001\S+ was altered"):
        write_whole(path, mine, Cut(0, 2, rows, 1), threading.Event())
    assert not path.exists()


_KILLED = """
import os, sys, threading
from pathlib import Path
import torch
from sluiceway.training import joining, parts
from sluiceway.training.checkpoints import Cut
from test_joining import WHOLE, share

def end(*_):
    os._exit(9)

moment, path = sys.argv[1], Path(sys.argv[2])
if moment == "copying":
    joining.PIECE, read, left = 8, joining._read, [5]
    def some(file, size):
        for chunk in read(file, size):
            left[0] -= 1
            yield chunk if left[0] else end()
    joining._read = some
elif moment == "flushing":
    parts.flush = end
else:
    Path.replace = lambda self, target: end() if target == path else os.replace(self, target)
for rank in (1, 0):
    mine, rows = share({name: each + 1 for name, each in WHOLE.items()}, rank, 2)
    parts.write_whole(path, mine, Cut(rank, 2, rows, 5), threading.Event())
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["copying", "flushing", "renaming"])
def test_a_kill_leaves_what_was_there_and_the_next_attempt_sweeps(moment, tmp_path):
    path = tmp_path / "best-00000007.safetensors"
    before = write_tensors(path, WHOLE)
    paths = os.pathsep.join(str(ROOT / name) for name in ("src", "tests"))
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, moment, str(path)],
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
        timeout=120,
    )
    assert done.returncode == 9
    assert len(names(tmp_path)) > 1
    assert write_tensors(tmp_path / "again", WHOLE) == before
    assert path.read_bytes() == (tmp_path / "again").read_bytes()
    whole = {name: each + 2 for name, each in WHOLE.items()}
    digest, _ = write_all(path, whole, 2, token=6)
    assert digest == write_tensors(tmp_path / "again", whole)
    assert names(tmp_path) == ["again", "best-00000007.safetensors"]


# With the threads that write.


class Workers:
    """The savers of some workers, on one folder."""

    def __init__(self, folder: Path, world: int) -> None:
        self.places = Places(folder)
        self.world = world
        self.savers = [Saver(self.places, every=None, most=0) for _ in range(world)]

    def keep_best(self, step, whole):
        for rank, saver in enumerate(self.savers):
            mine, rows = share(whole, rank, self.world)
            saver.keep_best(step, mine, Cut(rank, self.world, rows, 1))
            for tensor in mine.values():
                tensor.zero_()

    def save(self, step, best_step):
        for rank, saver in enumerate(self.savers):
            mine, rows = share({"model.weight": torch.full((5, 2), float(step))}, rank, self.world)
            state = {"best": vars(Best(loss=1.0, step=best_step, seen=1))}
            saver.save(Checkpoint(step, mine, state, Cut(rank, self.world, rows, 1)))
        for saver in self.savers:
            saver.wait()

    def finish(self, action):
        """Let all do something at once, as at the end of a training; return what the first one to fail said."""
        with ThreadPoolExecutor(self.world) as pool:
            work = [pool.submit(action, rank, saver) for rank, saver in enumerate(self.savers)]
        return [each.exception() for each in work]

    def close(self):
        for saver in self.savers:
            saver.close()


@pytest.fixture
def workers(tmp_path):
    made = Workers(tmp_path / "job", 3)
    made.places.folder.mkdir()
    yield made
    made.close()


def newest_of(places):
    return newest(places.checkpoints, lambda found: fault_of_best(places, found))


def best_weights(step):
    return {name: each + step for name, each in WHOLE.items()}


def test_the_best_weights_of_all_become_the_model(workers, tmp_path):
    places = workers.places
    for step in (10, 20):
        workers.keep_best(step, best_weights(step))
        workers.save(step, step)
    expected = write_tensors(tmp_path / "expected", best_weights(20))
    found, notes = newest_of(places)
    assert (found.step, found.state[BEST_DIGEST], notes) == (20, expected, [])
    taken = workers.finish(lambda rank, saver: saver.take_best(20, places.weights, first=rank == 0))
    assert taken == [None] * 3
    assert places.weights.read_bytes() == (tmp_path / "expected").read_bytes()
    assert not list(places.folder.glob(".*"))


def short_of_room(monkeypatch, which):
    """Let some parts find a full disk; emptying the list makes room."""
    real = parts.write_part

    def full(path, tensors, rows):
        if any(part in path.name and name in path.parent.name for name, part in which):
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        return real(path, tensors, rows)

    monkeypatch.setattr(parts, "write_part", full)


@pytest.mark.parametrize("rank", [0, 1])
def test_best_weights_for_which_a_worker_had_no_room_are_tried_again(rank, workers, tmp_path, monkeypatch):
    """No checkpoint speaks of best weights that are not there."""
    full = [("best-00000020", f"part-0000{rank}")]
    short_of_room(monkeypatch, full)
    workers.keep_best(10, best_weights(10))
    workers.save(10, 10)
    workers.keep_best(20, best_weights(20))
    workers.save(20, 20)
    assert newest_of(workers.places)[0].step == 10
    assert "no room for a part of best-00000020.safetensors" in workers.places.notes.read_text(encoding="utf-8")
    full.clear()
    workers.save(30, 20)
    found, notes = newest_of(workers.places)
    assert (found.step, notes) == (30, [])
    assert found.state[BEST_DIGEST] == write_tensors(tmp_path / "expected", best_weights(20))
    assert not list(workers.places.folder.glob(".*"))


def test_better_ones_take_the_place_of_those_that_could_not_be_written(workers, tmp_path, monkeypatch):
    short_of_room(monkeypatch, [("best-00000010", "part-00002")])
    workers.keep_best(10, best_weights(10))
    workers.save(10, 10)
    workers.keep_best(20, best_weights(20))
    workers.save(20, 20)
    assert newest_of(workers.places)[0].step == 20
    assert names(workers.places.folder) == ["best-00000020.safetensors", "checkpoints", "notes.txt"]


def test_at_the_end_a_worker_without_room_is_named_and_nothing_is_half(workers, monkeypatch):
    places = workers.places
    full = [("best-00000010", "part-00002"), ("weights", "part-00002")]
    short_of_room(monkeypatch, full)
    workers.keep_best(10, best_weights(10))
    workers.save(10, 10)

    def last(rank, saver):
        mine, rows = share(best_weights(11), rank, 3)
        saver.take_last(mine, places.weights, Cut(rank, 3, rows, 1))

    for action in (lambda rank, saver: saver.take_best(10, places.weights, first=rank == 0), last):
        first, _, third = workers.finish(action)
        assert isinstance(first, TrainingError)
        assert "the weights could not be written: no room for a part of" in str(first)
        assert "goes on from the newest checkpoint" in first.hint
        assert isinstance(third, DiskFull)
        assert not places.weights.exists()
    full.clear()
    assert workers.finish(lambda rank, saver: saver.take_best(10, places.weights, first=rank == 0)) == [None] * 3
    assert places.weights.exists()


def test_the_last_weights_are_written_without_a_copy_beside_them(workers, tmp_path):
    def last(rank, saver):
        mine, rows = share(WHOLE, rank, 3)
        saver.take_last(mine, workers.places.weights, Cut(rank, 3, rows, 1))

    assert workers.finish(last) == [None] * 3
    write_tensors(tmp_path / "expected", WHOLE)
    assert workers.places.weights.read_bytes() == (tmp_path / "expected").read_bytes()
    assert names(workers.places.folder) == ["weights.safetensors"]
