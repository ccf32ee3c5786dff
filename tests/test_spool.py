"""The spool: append-only, readable at any moment, free of work that was lost."""

import json
import math
import os
import time
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway.errors import DiskFull
from sluiceway.training.spool import FILE, Spool, broken, read

METRICS = st.dictionaries(st.text(min_size=1, max_size=8), st.floats(allow_nan=False), max_size=4)


def fill(path, points, resume_at=0):
    spool = Spool(path, resume_at)
    for step, metrics in points:
        spool.add(step, metrics)
    spool.close()


def plain(path):
    return [(point.step, dict(point.metrics)) for point in read(path)]


@settings(max_examples=60)
@given(points=st.lists(st.tuples(st.integers(1, 10**9), METRICS), max_size=12))
def test_points_come_back(points, tmp_path_factory):
    path = tmp_path_factory.mktemp("spool") / "deep" / FILE
    fill(path, points)
    assert plain(path) == points


def test_a_missing_spool_is_empty(tmp_path):
    assert list(read(tmp_path / FILE)) == []


def test_a_reader_sees_each_point_at_once(tmp_path):
    spool = Spool(tmp_path / FILE, 0)
    for step in (1, 2, 3):
        spool.add(step, {"loss": 1 / step})
        assert plain(tmp_path / FILE)[-1] == (step, {"loss": 1 / step})
    spool.close()


def test_time_is_in_milliseconds(tmp_path):
    before = int(time.time() * 1000)
    fill(tmp_path / FILE, [(1, {})])
    (point,) = read(tmp_path / FILE)
    assert before <= point.time <= time.time() * 1000


def test_values_that_are_not_finite_come_back(tmp_path):
    fill(tmp_path / FILE, [(1, {"loss": math.nan, "norm": math.inf})])
    (point,) = read(tmp_path / FILE)
    assert math.isnan(point.metrics["loss"])
    assert point.metrics["norm"] == math.inf


@settings(max_examples=80)
@given(cut=st.integers(1, 400), resume_at=st.integers(0, 8))
def test_a_file_cut_anywhere_loses_only_what_was_cut(cut, resume_at, tmp_path_factory):
    path = tmp_path_factory.mktemp("spool") / FILE
    points = [(step, {"train/loss": 1 / step, "é": 2.0}) for step in range(1, 8)]
    fill(path, points)
    whole = path.read_bytes()
    size = max(0, len(whole) - cut)
    os.truncate(path, size)
    lines = whole[:size].count(b"\n")
    assert plain(path) == points[:lines]
    fill(path, [(100, {"train/loss": 0.5})], resume_at)
    assert plain(path) == [*[point for point in points[:lines] if point[0] <= resume_at], (100, {"train/loss": 0.5})]


@pytest.mark.parametrize(("resume_at", "kept"), [(0, []), (20, [10, 20]), (25, [10, 20]), (99, [10, 20, 30])])
def test_resuming_drops_the_work_that_was_lost(resume_at, kept, tmp_path):
    fill(tmp_path / FILE, [(step, {"loss": float(step)}) for step in (10, 20, 30)])
    times = {point.step: point.time for point in read(tmp_path / FILE)}
    fill(tmp_path / FILE, [(resume_at + 1, {"loss": 0.0})], resume_at)
    found = list(read(tmp_path / FILE))
    assert [point.step for point in found] == [*kept, resume_at + 1]
    assert all(point.time == times[point.step] for point in found[:-1])


def test_chained_resumes_leave_each_step_once(tmp_path):
    path = tmp_path / FILE
    fill(path, [(step, {"loss": 1.0}) for step in range(1, 8)])
    fill(path, [(step, {"loss": 2.0}) for step in range(5, 12)], resume_at=4)
    with path.open("a") as file:
        file.write('{"step": 12, "ti')
    fill(path, [(step, {"loss": 3.0}) for step in range(9, 13)], resume_at=8)
    assert [step for step, _ in plain(path)] == list(range(1, 13))
    assert [metrics["loss"] for _, metrics in plain(path)] == [1.0] * 4 + [2.0] * 4 + [3.0] * 4


def test_a_line_is_plain_json(tmp_path):
    fill(tmp_path / FILE, [(40, {"train/loss": 0.5})])
    document = json.loads((tmp_path / FILE).read_text())
    said = {"step": 40, "time": document["time"], "metrics": {"train/loss": 0.5}}
    assert document == {**said, "crc": f"{zlib.crc32(json.dumps(said)[:-1].encode()):08x}"}


@settings(max_examples=80)
@given(offset=st.integers(0, 10**6), mask=st.integers(1, 255))
def test_an_altered_byte_costs_no_more_than_the_lines_it_touches(offset, mask, tmp_path_factory):
    path = tmp_path_factory.mktemp("spool") / FILE
    points = [(step, {"train/loss": 1 / step}) for step in range(1, 6)]
    fill(path, points)
    content = bytearray(path.read_bytes())
    content[offset % len(content)] ^= mask
    path.write_bytes(content)
    found = plain(path)
    assert [point for point in points if point in found] == found  # none is another one
    assert len(points) - 2 <= len(found) < len(points)
    assert broken(path) or not content.endswith(b"\n")
    fill(path, [], resume_at=9)
    assert plain(path) == found
    assert broken(path) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_what_finds_no_room_is_written_later(small_disk):
    spool = Spool(small_disk / FILE, 0)
    filling = small_disk / "filling"
    with suppress(OSError), filling.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    for step in range(1, 200):
        spool.add(step, {"train/loss": 1 / step})
    torn = plain(small_disk / FILE)
    assert len(torn) < 199
    filling.unlink()
    spool.add(200, {"train/loss": 0.0})
    spool.close()
    assert [step for step, _ in plain(small_disk / FILE)] == list(range(1, 201))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_spool_that_cannot_be_completed_says_so(small_disk):
    spool = Spool(small_disk / FILE, 0)
    with suppress(OSError), (small_disk / "filling").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    for step in range(1, 200):
        spool.add(step, {"train/loss": 1 / step})
    with pytest.raises(DiskFull, match="no room for the training curves"):
        spool.close()


def test_a_crash_while_resuming_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / FILE
    fill(path, [(step, {"loss": 1.0}) for step in (1, 2, 3)])

    def crash(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", crash)
        with pytest.raises(KeyboardInterrupt):
            Spool(path, 2)
    assert [step for step, _ in plain(path)] == [1, 2, 3]
