"""The memo: what did not change is not looked at again, and what did change never gets an old answer."""

import os
import shutil
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway.data.measuring import memo as memo_module
from sluiceway.data.measuring import store as store_module
from sluiceway.data.measuring.contents import SKETCH_COLUMNS
from sluiceway.data.measuring.engines import inline
from sluiceway.data.measuring.measure_all import measure_all
from sluiceway.data.measuring.memo import Memo
from sluiceway.data.measuring.store import Store, keys_of, sliced
from sluiceway.data.sources import byte_range
from sluiceway.data.table import BadExample, Example
from test_measuring import PARAMS, SKETCHED, digests, features, parts

COLUMNS = pa.schema([("text", pa.string()), ("number", pa.int64())])


def keys(numbers):
    """Keys of which several share their first half."""
    return np.array([(number // 3, number) for number in numbers], np.uint64).reshape(-1, 2)


def values(numbers):
    return pa.table({"text": [None if n % 5 == 0 else f"t{n}" for n in numbers], "number": list(numbers)}, COLUMNS)


# The store.


@settings(max_examples=60)
@given(
    batches=st.lists(st.lists(st.integers(0, 60).map(lambda n: 3 * n), max_size=20), max_size=6),
    asked=st.lists(st.integers(0, 200), max_size=40),
)
def test_what_was_added_is_found_by_the_next(batches, asked, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    for batch in batches:
        store = Store(folder, COLUMNS)
        store.add(keys(batch), values(batch))
        store.flush()
    store = Store(folder, COLUMNS)
    known = {number for batch in batches for number in batch}
    found = store.find(keys(asked))
    assert [row >= 0 for row in found] == [number in known for number in asked]
    hits = [number for number in asked if number in known]
    assert store.take(found[found >= 0]).to_pylist() == values(hits).to_pylist()


def test_a_key_that_shares_its_first_half_is_not_taken_for_another(tmp_path):
    store = Store(tmp_path, COLUMNS)
    store.add(keys([9]), values([9]))
    store.flush()
    store = Store(tmp_path, COLUMNS)
    assert [row >= 0 for row in store.find(keys([9, 10, 11, 12]))] == [True, False, False, False]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "garbage", "other columns"])
def test_a_damaged_segment_counts_as_not_there(tmp_path, damage):
    for numbers in ([0, 3], [6, 9]):
        store = Store(tmp_path, COLUMNS)
        store.add(keys(numbers), values(numbers))
        store.flush()
    victim = next(path for path in tmp_path.iterdir() if 6 in pa.ipc.open_file(path).read_all()["number"].to_pylist())
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "other columns":
        victim.unlink()
        other = Store(tmp_path, pa.schema([("text", pa.string())]))
        other.add(keys([6, 9]), values([6, 9]).select(["text"]))
        other.flush()
    else:
        damaged = {"cut": content[:-9], "flip": content, "empty": b"", "garbage": b"no table"}[damage]
        victim.write_bytes(damaged)
    store = Store(tmp_path, COLUMNS)
    assert [row >= 0 for row in store.find(keys([0, 3, 6, 9]))] == [True, True, False, False]
    store.add(keys([6, 9]), values([6, 9]))
    store.flush()
    assert (Store(tmp_path, COLUMNS).find(keys([0, 3, 6, 9])) >= 0).all()


def test_what_waits_goes_to_disk_when_it_is_much_or_old(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "_SEGMENT_BYTES", 300)
    store = Store(tmp_path, COLUMNS)
    for number in range(0, 300, 3):
        store.add(keys([number]), values([number]))
    assert 2 < len(list(tmp_path.iterdir())) < 50
    assert len(Store(tmp_path, COLUMNS)) > 60
    monkeypatch.setattr(store_module, "_SEGMENT_SECONDS", 0.0)
    store.add(keys([300]), values([300]))
    assert Store(tmp_path, COLUMNS).find(keys([300])) >= 0


def test_tidying_forgets_what_is_not_needed_and_joins_what_is_small(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "_MANY_SMALL", 4)
    for first in range(0, 90, 9):
        store = Store(tmp_path, COLUMNS)
        store.add(keys([first, first + 3, first + 6]), values([first, first + 3, first + 6]))
        store.flush()
    (tmp_path / "dead.part").write_bytes(b"")
    os.utime(tmp_path / "dead.part", (0, 0))
    (tmp_path / "alive.part").write_bytes(b"")
    store = Store(tmp_path, COLUMNS)
    kept = [n for first in range(0, 72, 9) for n in (first, first + 3)]
    store.find(keys([*kept, 72]))
    store.tidy()
    assert {path.suffix for path in tmp_path.iterdir()} == {".arrow", ".part"}
    assert [path.name for path in tmp_path.glob("*.part")] == ["alive.part"]
    store = Store(tmp_path, COLUMNS)
    assert (store.find(keys([*kept, 72])) >= 0).all()
    assert store.find(keys([75, 81])).tolist() == [-1, -1], "more than half of these segments was not asked for"
    assert len(list(tmp_path.glob("*.arrow"))) == 2, "eight became one; what was cut down is joined next time"


@given(
    sizes=st.lists(st.integers(0, 40), max_size=5),
    runs=st.lists(st.tuples(st.integers(0, 99), st.integers(1, 60)), max_size=8),
    shortest=st.sampled_from([1, 2, 32]),
)
def test_rows_behind_one_another_are_sliced_and_the_same_as_gathered(sizes, runs, shortest):
    count = sum(sizes)
    edges = np.cumsum([0, *sizes])
    chunks = [values(range(start, end)) for start, end in pairwise(edges)]
    table = pa.concat_tables([COLUMNS.empty_table(), *chunks])
    rows = np.array([n for start, length in runs for n in range(start, start + length) if n < count], np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "_RUN", shortest)
        found = sliced(table, rows)
    breaks = 1 + np.count_nonzero(np.diff(rows) != 1) if len(rows) else 0
    assert (found is None) == (breaks * shortest > len(rows))
    if found is not None:
        assert found.schema == COLUMNS
        assert found.to_pylist() == table.take(pa.array(rows)).to_pylist()


def test_what_is_asked_for_in_the_order_it_was_added_in_is_not_copied(tmp_path):
    for first in (0, 300):
        store = Store(tmp_path, COLUMNS)
        store.add(keys(range(first, first + 300, 3)), values(range(first, first + 300, 3)))
        store.flush()
    store = Store(tmp_path, COLUMNS)
    before = pa.total_allocated_bytes()
    found = store.take(store.find(keys([*range(0, 297, 3), *range(303, 600, 3)])))
    assert pa.total_allocated_bytes() == before
    assert found["number"].to_pylist() == [*range(0, 297, 3), *range(303, 600, 3)]


def test_the_rows_of_damaged_or_foreign_folders_do_no_harm(tmp_path):
    (tmp_path / "folder.arrow").mkdir()
    (tmp_path / "00000000-no.arrow").write_bytes(b"")
    assert len(Store(tmp_path, COLUMNS)) == 0


# The memo in the pass.


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


class World:
    """A raw folder with old files, and passes over it that count what they look at."""

    def __init__(self, folder):
        self.folder, self.raw = folder, folder / "raw"
        self.raw.mkdir()
        self.memo = folder / "memo" / "key"
        self.runs = 0
        for number in range(40):
            self.write(f"{number}.bin", b"%s %d" % (b"bad" if number % 10 == 3 else b"good", number))

    def write(self, name, content):
        (self.raw / name).write_bytes(content)

    def measure(self, usecase=SKETCHED, examples=None, **options):
        """Return what was looked at by the measure, after holding the result against a pass without a memo."""
        looked = []

        def measure(payload, params):
            looked.append(payload)
            if payload.startswith(b"bad"):
                raise BadExample("blank", "made to be bad")
            return {"size": len(payload), "word": payload[:4].decode("latin-1")}

        self.runs += 1
        usecase = replace(usecase, measure=measure)
        if examples is None:
            examples = [Example(id=path.name, source=path.name) for path in sorted(self.raw.glob("*.bin"))]
        options = {"compared": 1000, "engine": inline} | options
        out, plain = self.folder / f"out{self.runs}", self.folder / f"plain{self.runs}"
        memo = Memo(self.memo, usecase.measures)
        self.measured = measure_all(usecase, self.raw, iter(examples), PARAMS, out, memo=memo, **options)
        seen = list(looked)
        expected = measure_all(usecase, self.raw, iter(examples), PARAMS, plain, **options)
        assert digests(out) == digests(plain)
        assert replace(self.measured, remembered=0) == expected
        assert self.measured.remembered + len(seen) == len(examples)
        return seen

    def settle(self, monkeypatch):
        """Have files count as old."""
        monkeypatch.setattr(memo_module, "_SETTLED", -1)


def test_what_did_not_change_is_not_looked_at_and_not_even_read(world, monkeypatch):
    world.settle(monkeypatch)
    assert len(world.measure()) == 40
    reads = []
    read = memo_module.Shelf._here
    monkeypatch.setattr(memo_module.Shelf, "_here", lambda self, source: reads.append(source) or read(self, source))
    memo = Memo(world.memo, SKETCHED.measures)
    examples = [Example(id=path.name, source=path.name) for path in sorted(world.raw.glob("*.bin"))]
    measured = measure_all(
        SKETCHED, world.raw, iter(examples), PARAMS, world.folder / "o", compared=1000, memo=memo, engine=inline
    )
    assert measured.remembered == 40
    assert reads == []
    world.write("new.bin", b"good new")
    assert world.measure() == [b"good new"]


def test_a_changed_file_is_looked_at_whatever_its_times_say(world, monkeypatch):
    world.settle(monkeypatch)
    world.measure()
    path = world.raw / "4.bin"
    before = path.stat()
    path.write_bytes(b"Good 4")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_size == before.st_size
    assert world.measure() == [b"Good 4"]


@pytest.mark.parametrize("shortest", [1, 4, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_versions_that_change_here_and_there_are_as_if_seen_for_the_first_time(world, monkeypatch, shortest, seed):
    """Added, changed, removed, renamed, exchanged: in blocks of a few, each version is held against a fresh look."""
    world.settle(monkeypatch)
    monkeypatch.setattr(store_module, "_RUN", shortest)
    monkeypatch.setattr("sluiceway.data.measuring.measure_all.BLOCK", 16)
    random = np.random.default_rng(seed)
    world.measure()
    for version in range(5):
        names = random.permutation(sorted(path.name for path in world.raw.iterdir())).tolist()
        removed, renamed, changed, one, other = names[:5]
        (world.raw / removed).unlink()
        (world.raw / renamed).rename(world.raw / f"{random.integers(100)}-{version}.bin")
        world.write(changed, b"good changed %d" % version)
        (world.raw / one).rename(world.raw / "x")
        (world.raw / other).rename(world.raw / one)
        (world.raw / "x").rename(world.raw / other)
        for number in random.integers(0, 100, 4).tolist():
            world.write(
                f"{number}+{version}.bin", b"%s new %d %d" % (random.choice([b"good", b"bad"]), number, version)
            )
        looked = world.measure()
        assert b"good changed %d" % version in looked
        assert len(looked) <= 5


def test_exchanged_files_keep_each_their_own(world, monkeypatch):
    world.settle(monkeypatch)
    world.measure()
    (world.raw / "4.bin").rename(world.raw / "x")
    (world.raw / "5.bin").rename(world.raw / "4.bin")
    (world.raw / "x").rename(world.raw / "5.bin")
    assert world.measure() == []


def test_a_file_that_changed_a_moment_ago_is_read_again(world):
    world.measure()
    assert len(Memo(world.memo, SKETCHED.measures).files) == 0
    assert world.measure() == [], "its content is known all the same"


def test_known_contents_under_new_times_and_names_are_not_measured(world, monkeypatch):
    world.settle(monkeypatch)
    world.measure()
    for path in world.raw.iterdir():
        os.utime(path)
    shutil.copy(world.raw / "7.bin", world.raw / "copy.bin")
    assert world.measure() == []
    assert world.measured.remembered == 41
    assert world.measure() == []


def test_ranges_of_a_file_that_grew_are_known_by_their_contents(world, monkeypatch):
    world.settle(monkeypatch)

    def examples(count):
        return [Example(id=f"{n}", source=byte_range("all.txt", 8 * n, 8 * n + 8)) for n in range(count)]

    content = b"".join(b"good%04d" % n for n in range(50))
    world.write("all.txt", content)
    assert len(world.measure(examples=examples(50))) == 50
    world.write("all.txt", content[:80] + b"GOOD" + content[84:] + b"good9999")
    assert world.measure(examples=examples(51)) == [b"GOOD0010", b"good9999"]


def test_missing_and_empty_files_are_told_each_time(world, monkeypatch):
    world.settle(monkeypatch)
    examples = [Example(id=name, source=name) for name in ("1.bin", "none.bin", "empty.bin")]
    world.write("empty.bin", b"")
    for _ in range(2):
        memo = Memo(world.memo, SKETCHED.measures)
        out = world.folder / "o"
        measured = measure_all(
            SKETCHED, world.raw, iter(examples), PARAMS, out, compared=1000, memo=memo, engine=inline
        )
        assert measured.quarantined == {"empty": 1, "unreadable": 1}
    assert measured.remembered == 1
    world.write("empty.bin", b"good now")
    assert len(world.measure(examples=examples[::2])) == 1


def test_what_enters_the_sample_later_is_sketched_then(world, monkeypatch):
    world.settle(monkeypatch)
    sketched = []

    def counted(payload, params):
        sketched.append(payload)
        return features(payload, params)

    usecase = replace(SKETCHED, features=counted)
    examples = [Example(id=f"{n}", source=f"{n}.bin") for n in range(40)]
    monkeypatch.setattr("sluiceway.data.measuring.measure_all.BLOCK", 4)
    assert len(world.measure(usecase, examples, compared=2)) == 40
    few = len(set(sketched))
    assert few < 36
    again = world.measure(usecase, examples, compared=1000)
    assert len(again) == 36 - few, "those without a sketch, and they alone; the bad need none"
    assert world.measured.sketched == 36
    assert world.measure(usecase, examples, compared=2) == []


def test_an_interrupted_pass_goes_on_where_it_was(world, monkeypatch):
    world.settle(monkeypatch)

    def interrupted(payload, params):
        if payload == b"good 25":
            raise KeyboardInterrupt
        return {"size": 1, "word": "x"}

    examples = [Example(id=f"{n}", source=f"{n}.bin") for n in range(40)]
    broken = replace(SKETCHED, measure=interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure_all(
            broken, world.raw, iter(examples), PARAMS, world.folder / "o", compared=1000,
            memo=Memo(world.memo, SKETCHED.measures), engine=inline,
        )  # fmt: skip
    assert not list((world.folder / "o").glob("*"))
    assert len(Memo(world.memo, SKETCHED.measures).facts) == 16, "the chunk before"


def test_damage_anywhere_is_mended_by_looking_again(world, monkeypatch):
    world.settle(monkeypatch)
    world.measure()
    for path in list(world.memo.rglob("*.arrow")):
        content = bytearray(path.read_bytes())
        for at in range(0, len(content), 97):
            content[at] ^= 0xFF
        path.write_bytes(content)
    assert len(world.measure()) == 40
    assert world.measure() == []


def test_a_memo_that_cannot_be_written_stops_nothing(world):
    world.memo.parent.write_text("a file where the folder should be")
    assert len(world.measure()) == 40
    assert len(world.measure()) == 40


def test_nothing_to_remember_is_no_fault(world):
    assert world.measure(examples=[]) == []


def test_memos_of_other_keys_are_removed(world):
    other = world.memo.parent / "older"
    (other / "facts").mkdir(parents=True)
    world.measure()
    assert [path.name for path in world.memo.parent.iterdir()] == ["key"]


def test_it_stays_bounded_when_the_data_changes_again_and_again(world, monkeypatch):
    world.settle(monkeypatch)
    sizes = []
    for version in range(12):
        for number in range(40):
            world.write(f"{number}.bin", b"good %d %d" % (number, version))
        world.measure()
        sizes.append(sum(path.stat().st_size for path in world.memo.rglob("*.arrow")))
    assert max(sizes) < 3 * sizes[0]


def test_a_hundred_thousand_are_looked_up_in_a_moment(tmp_path):
    count = 100_000
    digests_of_all = keys_of(np.random.default_rng(0).bytes(16 * count))
    memo = Memo(tmp_path / "memo" / "key", SKETCHED.measures)
    facts = pa.table(
        {"reason": pa.nulls(count, pa.string()), "size": np.arange(count), "word": [f"w{n}" for n in range(count)]}
    )
    payload = b"x"
    sketch = {"features": features(payload, PARAMS).tobytes(), "signature": parts(payload, PARAMS).tobytes()}
    memo.facts.add(digests_of_all, facts)
    columns = {field.name: pa.array([sketch.get(field.name)] * count, field.type) for field in SKETCH_COLUMNS}
    memo.sketches.add(digests_of_all, pa.table(columns))
    memo.flush()
    began = time.process_time()
    memo = Memo(tmp_path / "memo" / "key", SKETCHED.measures)
    for start in range(0, count, 4096):
        asked = digests_of_all[start : start + 4096][::-1]
        for store in (memo.facts, memo.sketches):
            rows = store.find(asked)
            assert (rows >= 0).all()
            found = store.take(rows)
            assert len(found) == len(asked)
    assert time.process_time() - began < 2.0
    assert found["reason"].null_count == len(found)


def test_the_tables_are_whole_or_not_there(world):
    world.measure()
    assert pq.read_table(world.folder / "out1" / "examples.parquet").num_rows == 36
    assert not list(world.folder.rglob("*.part"))
