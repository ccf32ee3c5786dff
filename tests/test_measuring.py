"""From the raw folder to the example table: raw = accepted + quarantined, whatever lies there, on whatever engine."""

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway.config import DataParams, Split
from sluiceway.data.corrections import Correction
from sluiceway.data.measuring import engines
from sluiceway.data.measuring import measure_all as measuring
from sluiceway.data.measuring.contents import SKETCH_COLUMNS
from sluiceway.data.measuring.engines import all_cores, inline, processes
from sluiceway.data.measuring.measure_all import measure_all
from sluiceway.data.measuring.memo import Memo
from sluiceway.data.measuring.minhash import EMPTY, signature
from sluiceway.data.measuring.repeats import Repeats
from sluiceway.data.measuring.sample import Sample, limit
from sluiceway.data.sketches import SIGNATURE, Sketches
from sluiceway.data.sources import byte_range, checksum, load
from sluiceway.data.splits import assign
from sluiceway.data.table import BadExample, Example, TableWriter, schema
from sluiceway.errors import ConfigError, DataError

PARAMS = DataParams(split=Split(validation=0.2, test=0.3, seed=4))
KINDS = ("good", "bad", "empty", "missing")
TABLES = ("examples", "quarantine", "sketches")


def measure(payload, params):
    if payload.startswith(b"bad"):
        raise BadExample("blank", "made to be bad")
    return {"size": len(payload), "word": payload[:4].decode()}


def features(payload, params):
    if payload.startswith(b"nan"):
        return np.array([1, np.nan, 3], np.float32)
    return np.frombuffer(hashlib.sha256(payload).digest()[:12], np.uint32).astype(np.float32)


def parts(payload, params):
    return np.frombuffer(hashlib.sha256(payload).digest(), np.uint64)


@dataclass(frozen=True)
class Plain:
    """A use case in miniature."""

    name: str = "plain"
    measures: dict = field(default_factory=lambda: {"size": "integer", "word": "text"})
    measure: object = staticmethod(measure)
    tidy: object = None
    amend: object = None
    judge: object = None
    features: object = None
    fingerprint: object = None
    parts: object = None


PLAIN = Plain(measure=measure)
SKETCHED = Plain(measure=measure, features=features, parts=parts)


def lay_out(raw, kinds):
    """Write a file for each kind of example and list them: ids may repeat."""
    raw.mkdir(exist_ok=True)
    for number, (kind, *_) in enumerate(kinds):
        content = {"good": b"good %d", "bad": b"bad %d", "empty": b""}.get(kind)
        if content is not None:
            (raw / f"{number}.bin").write_bytes(content % number if content else b"")
    return [
        Example(id=name, source=f"{number}.bin", target="t", group=group, split=split)
        for number, (_, name, group, split) in enumerate(kinds)
    ]


def many(raw, count, prefix=b"good"):
    """Put many examples into one file."""
    raw.mkdir(exist_ok=True)
    contents = [b"%s %06d" % (prefix, number) for number in range(count)]
    (raw / "all.bin").write_bytes(b"".join(contents))
    width = len(contents[0])
    return [
        Example(id=f"id{number}", source=byte_range("all.bin", number * width, (number + 1) * width), target="t")
        for number in range(count)
    ]


def run(raw, examples, out=None, usecase=PLAIN, params=PARAMS, **options):
    options = {"compared": 1000, "engine": inline} | options
    return measure_all(usecase, raw, iter(examples), params, out or raw / ".out", **options)


def rows(out, name="examples"):
    return pq.read_table(out / f"{name}.parquet").to_pylist()


def reasons(out):
    return {row["id"]: row["reason"].partition(":")[0] for row in rows(out, "quarantine")}


def digests(out):
    return {name: hashlib.sha256((out / f"{name}.parquet").read_bytes()).hexdigest() for name in TABLES}


MIXTURES = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.sampled_from("abcdefghijklmnopqrst"),
        st.sampled_from([None, None, "g1", "g2", "g3"]),
        st.sampled_from([None, None, "train", "test"]),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(kinds=MIXTURES, block=st.sampled_from([1, 3, 4096]))
def test_raw_is_accepted_and_quarantined(kinds, block, tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    examples = lay_out(raw, kinds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "BLOCK", block)
        told = []
        measured = run(raw, examples, on_example=told.append)
    accepted, quarantined = rows(raw / ".out"), rows(raw / ".out", "quarantine")

    expected_good, expected_bad, ids = [], [], set()
    kinds_of_reason = {"bad": "blank", "empty": "empty", "missing": "unreadable"}
    for (kind, name, *_), example in zip(kinds, examples, strict=True):
        reason = "repeated_id" if name in ids else kinds_of_reason.get(kind)
        ids.add(name)
        if reason:
            expected_bad.append((example.source, reason))
        else:
            expected_good.append(example.source)
    assert [row["source"] for row in accepted] == expected_good
    assert [(row["source"], row["reason"].split(":")[0]) for row in quarantined] == expected_bad
    assert measured.accepted == len(accepted)
    assert sum(measured.quarantined.values()) == len(quarantined)
    assert all(
        count == sum(reason == kind for _, reason in expected_bad) for kind, count in measured.quarantined.items()
    )
    assert len({row["id"] for row in accepted}) == len(accepted)
    assert told == sorted(told)
    assert (told or [0])[-1] == len(kinds)


@settings(max_examples=30)
@given(kinds=MIXTURES)
def test_sides_are_given_or_follow_from_group_or_content(kinds, tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    run(raw, lay_out(raw, kinds))
    accepted = rows(raw / ".out")
    for row in accepted:
        number = int(row["source"].removesuffix(".bin"))
        _, _, group, split = kinds[number]
        payload = (raw / row["source"]).read_bytes()
        assert row["checksum"] == checksum(payload)
        assert row["size"] == len(payload)
        assert row["word"] == "good"
        assert row["split"] == (split or assign(group or checksum(payload), PARAMS.split))


def test_adding_data_moves_no_example(tmp_path):
    kinds = [("good", f"id{number}", None, None) for number in range(200)]
    run(tmp_path, lay_out(tmp_path, kinds[:100]), tmp_path / "few")
    sides = {row["checksum"]: row["split"] for row in rows(tmp_path / "few")}
    run(tmp_path, lay_out(tmp_path, kinds)[::-1], tmp_path / "more")
    assert len({*sides.values()}) == 3
    shared = [row for row in rows(tmp_path / "more") if row["checksum"] in sides]
    assert len(shared) == len(sides) == 100
    assert all(row["split"] == sides[row["checksum"]] for row in shared)


def test_copies_share_a_side(tmp_path):
    for number in range(50):
        (tmp_path / f"{number}.bin").write_bytes(b"good %d" % (number // 2))
    run(tmp_path, [Example(id=str(n), source=f"{n}.bin") for n in range(50)])
    sides = [row["split"] for row in rows(tmp_path / ".out")]
    assert sides[::2] == sides[1::2]
    assert len(set(sides)) == 3


def test_an_empty_reader_gives_empty_tables(tmp_path):
    measured = run(tmp_path, [], usecase=SKETCHED)
    assert (measured.accepted, measured.quarantined, measured.sketched) == (0, {}, 0)
    assert rows(tmp_path / ".out") == rows(tmp_path / ".out", "quarantine") == []
    assert len(Sketches.read(tmp_path / ".out" / "sketches.parquet")) == 0


def test_another_error_is_not_hidden_in_the_quarantine_and_names_the_source(tmp_path):
    def broken(payload, params):
        raise ZeroDivisionError

    (tmp_path / "a.bin").write_bytes(b"good")
    with pytest.raises(ZeroDivisionError) as caught:
        run(tmp_path, [Example(id="a", source="a.bin")], usecase=replace(PLAIN, measure=broken))
    assert "a.bin" in caught.value.__notes__[0]
    assert not list((tmp_path / ".out").glob("*")), "no half table is left"


def test_a_measure_of_another_kind_is_told(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"good")
    wrong = replace(PLAIN, measure=lambda payload, params: {"size": "many"})
    with pytest.raises(DataError, match="'plain' announces size as integer"):
        run(tmp_path, [Example(id="a", source="a.bin")], usecase=wrong)


# Engines.


@pytest.fixture
def mixture(tmp_path):
    """Some thousand examples of all kinds, in small and large files."""
    raw = tmp_path / "raw"
    kinds = [(KINDS[number % 4], f"f{number % 37}", None, None) for number in range(60)]
    examples = lay_out(raw, kinds)
    (raw / "nan.bin").write_bytes(b"nan")
    return raw, [*examples, Example(id="nan", source="nan.bin"), *many(raw, 3000)]


@pytest.mark.parametrize("usecase", [PLAIN, SKETCHED], ids=["plain", "sketched"])
def test_engines_chunks_and_memo_change_no_byte(mixture, tmp_path, usecase, monkeypatch):
    raw, examples = mixture
    monkeypatch.setattr(measuring, "BLOCK", 500)
    expected = run(raw, examples, tmp_path / "a", usecase)
    assert expected.accepted > 3000
    assert set(expected.quarantined) == {"blank", "empty", "repeated_id", "unreadable"} | (
        {"not_finite"} if usecase is SKETCHED else set()
    )
    memo = tmp_path / "memo" / "key"
    monkeypatch.setattr(engines, "PATIENCE", 0.0)
    monkeypatch.setattr(engines, "_WORTH", 0.0)
    for number, options in enumerate(
        (
            {"engine": processes(2)},
            {"engine": all_cores},
            {"memo": Memo(memo, usecase.measures), "engine": processes(2)},
            {"memo": Memo(memo, usecase.measures)},
            {"memo": Memo(memo, usecase.measures), "engine": all_cores},
        )
    ):
        out = tmp_path / f"b{number}"
        monkeypatch.setattr(measuring, "_CHUNK_SECONDS", 0.001 * 10**number)
        measured = run(raw, examples, out, usecase, **options)
        assert digests(out) == digests(tmp_path / "a")
        assert replace(measured, remembered=0) == expected


@pytest.mark.slow
@pytest.mark.parametrize("usecase", [SKETCHED, replace(PLAIN, measure=lambda payload, data: {"size": len(payload)})])
def test_a_ray_cluster_changes_no_byte(mixture, tmp_path, usecase, monkeypatch):
    from sluiceway.launch.cluster import connected
    from sluiceway.launch.mapping import ray_map

    raw, examples = mixture
    run(raw, examples, tmp_path / "a", usecase)
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}}
    before = signal.getsignal(signal.SIGTERM)
    with connected(num_cpus=2, runtime_env=environment):
        run(raw, examples, tmp_path / "b", usecase, engine=ray_map)
        with pytest.raises(DataError, match="announces size"):
            run(raw, examples, tmp_path / "c", replace(PLAIN, measure=lambda *_: {"size": "much"}), engine=ray_map)
    assert signal.getsignal(signal.SIGTERM) == before, "Ray keeps SIGTERM for itself"
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def work_and_say_where(chunk):
    return chunk, os.getpid()


def test_processes_keep_the_order_and_draw_little_ahead():
    drawn = []

    def source():
        for number in range(60):
            drawn.append(number)
            yield number

    results = []
    for chunk, where in processes(2)(work_and_say_where, source()):
        assert len(drawn) <= len(results) + 2 * engines._AHEAD + 2
        results.append((chunk, where))
    assert [chunk for chunk, _ in results] == list(range(60))
    assert os.getpid() not in {where for _, where in results}


def test_little_work_starts_no_process(monkeypatch):
    assert {where for _, where in all_cores(work_and_say_where, range(500))} == {os.getpid()}


@pytest.mark.parametrize(("quota", "number"), [("max 100000", 8), ("250000 100000", 2), ("10000 100000", 1), ("", 8)])
def test_a_container_has_the_cores_that_it_was_given(quota, number, tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(engines, "_CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    assert engines.cores() == number


def test_work_that_cannot_travel_stays():
    here = os.getpid()
    assert list(processes(2)(lambda chunk: (chunk, os.getpid()), range(3))) == [(n, here) for n in range(3)]


def fail_at_three(chunk):
    if chunk == 3:
        raise DataError("three", hint="four")
    return chunk


def die_at_three(chunk):
    if chunk == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return chunk


def test_errors_come_back_and_processes_end():
    before = set(multiprocessing.active_children())  # other tests' libraries keep processes for a while
    with pytest.raises(DataError, match="three") as caught:
        list(processes(2)(fail_at_three, range(9)))
    assert caught.value.hint == "four"
    with pytest.raises(DataError, match="was killed"):
        list(processes(2)(die_at_three, range(9)))
    assert set(multiprocessing.active_children()) <= before


SLOW = """
import sys, time
from pathlib import Path
from sluiceway.data.measuring.engines import processes

def slow(chunk):
    Path(sys.argv[1], f"{chunk}").touch()
    time.sleep(0.3)

if __name__ == "__main__":
    list(processes(2)(slow, range(1000)))
"""


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_their_parent(way, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SLOW))
    (tmp_path / "seen").mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(
        [sys.executable, script, tmp_path / "seen"], env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "seen").iterdir())) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) >= 2
    parent.send_signal(way)
    assert parent.wait(120) != 0
    _, alive = psutil.wait_procs(children, timeout=120)
    assert not alive


# Sketches and the sample.


def test_sketches_are_of_the_accepted_rows(mixture, tmp_path):
    raw, examples = mixture
    run(raw, examples, tmp_path / "out", SKETCHED, compared=10_000)
    accepted, found = rows(tmp_path / "out"), Sketches.read(tmp_path / "out" / "sketches.parquet")
    assert found.rows.tolist() == list(range(len(accepted)))
    for row in (0, 7, len(accepted) - 1):
        payload = load(raw, accepted[row]["source"])
        assert np.array_equal(found.features[row], features(payload, PARAMS))
        assert np.array_equal(found.signatures[row], signature(parts(payload, PARAMS)))


@pytest.mark.parametrize("count", [0, 1, 700])
def test_sketches_are_read_as_they_were_written(tmp_path, count):
    rng = np.random.default_rng(0)
    sketches = Sketches(
        rows=np.arange(count) * 2,
        features=rng.normal(size=(count, 9)).astype(np.float32)[:, ::2],
        signatures=rng.integers(0, 1 << 32, (count, SIGNATURE), dtype=np.uint32),
    )
    sketches.write(tmp_path / "now.parquet")
    lists = {"row": pa.array(sketches.rows)}
    for name, matrix in (("features", sketches.features), ("signature", sketches.signatures)):
        flat = pa.array(np.ascontiguousarray(matrix).reshape(-1))
        lists[name] = pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])
    pq.write_table(pa.table(lists), tmp_path / "before.parquet")
    for name in ("now", "before"):
        found = Sketches.read(tmp_path / f"{name}.parquet")
        assert found.rows.tolist() == sketches.rows.tolist()
        assert found.features.dtype == np.float32
        assert np.array_equal(found.features, sketches.features)
        assert np.array_equal(found.signatures, sketches.signatures)
        assert found.signatures.shape == (count, SIGNATURE)
        assert found.fingerprints is None


def test_of_very_many_a_sample_by_hash_is_sketched(tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "BLOCK", 100)
    raw = tmp_path / "raw"
    examples = many(raw, 6000)
    sketched = []

    def counted(payload, params):
        sketched.append(payload)
        return features(payload, params)

    usecase = replace(PLAIN, measure=measure, features=counted)
    run(raw, examples, tmp_path / "a", usecase, compared=300)
    found = Sketches.read(tmp_path / "a" / "sketches.parquet")
    table = rows(tmp_path / "a")
    draws = sorted(range(6000), key=lambda row: int(table[row]["checksum"][16:], 16))
    assert found.rows.tolist() == sorted(draws[:300]), "the smallest of all, not of those that came first"
    for row, vector in zip(found.rows, found.features, strict=True):
        assert np.array_equal(vector, features(b"good %06d" % row, PARAMS))
    assert 600 < len(sketched) < 1.2 * 2 * 300 * (1 + np.log(6000 / 600)) + 100

    # The order of the reader decides nothing, and data that grows keeps what there is room for.
    run(raw, examples[::-1], tmp_path / "b", usecase, compared=300)
    ids = {rows(tmp_path / "b")[row]["id"] for row in Sketches.read(tmp_path / "b" / "sketches.parquet").rows}
    assert ids == {f"id{row}" for row in found.rows}
    run(raw, examples[:3000], tmp_path / "c", usecase, compared=300)
    before = set(Sketches.read(tmp_path / "c" / "sketches.parquet").rows.tolist())
    assert {row for row in found.rows.tolist() if row < 3000} <= before


def test_without_senses_rows_are_sampled_alike(tmp_path):
    raw = tmp_path / "raw"
    examples = many(raw, 3000)
    run(raw, examples, tmp_path / "a", PLAIN, compared=200)
    run(raw, examples, tmp_path / "b", SKETCHED, compared=200)
    plain, sketched = (Sketches.read(tmp_path / name / "sketches.parquet") for name in "ab")
    assert plain.features is plain.signatures is None
    assert plain.rows.tolist() == sketched.rows.tolist()
    assert len(plain) == 200


def test_features_of_differing_length_or_shape_are_told(tmp_path):
    raw = tmp_path / "raw"
    examples = many(raw, 10)
    longer = replace(PLAIN, features=lambda payload, params: np.zeros(2 + payload.endswith(b"7"), np.float32))
    with pytest.raises(DataError, match="'plain' gave features of differing lengths: 2 and 3"):
        run(raw, examples, usecase=longer)
    square = replace(PLAIN, features=lambda payload, params: np.zeros((2, 2), np.float32))
    with pytest.raises(DataError, match="'plain' gave features of shape"):
        run(raw, examples, usecase=square)


def test_copies_at_the_edge_of_a_sample_are_taken_in_order():
    sample = Sample(5, (), "x")
    empty = pq.ParquetFile  # never asked
    draws = np.array([9, 1, 9, 9, 2, 9, 3], np.uint64)
    sample.add(np.arange(7), draws, empty)
    assert sample.finish(7).rows.tolist() == [0, 1, 2, 4, 6]


def test_a_sample_takes_columns_in_whatever_pieces(tmp_path):
    payloads = [b"good %d" % number for number in range(50)]
    found = {"features": [features(each, None).tobytes() for each in payloads]}
    found["signature"] = [signature(parts(each, None)).tobytes() for each in payloads]
    columns = {field.name: pa.array(found.get(field.name, [None] * 50), field.type) for field in SKETCH_COLUMNS}
    whole = pa.table(columns, SKETCH_COLUMNS)
    draws = np.random.default_rng(0).integers(0, 1 << 60, 50).astype(np.uint64)
    pieces = pa.concat_tables([whole.slice(0, 7), whole.slice(7, 0), whole.slice(7, 20), whole.slice(27)])
    for most in (100, 50, 12):
        expected = np.sort(np.argsort(draws)[:most])
        for table in (whole, pieces):
            sample = Sample(most, ("features", "signature"), "x")
            for start, end in ((0, 3), (3, 30), (30, 50)):
                sample.add(np.arange(start, end), draws[start:end], table.slice(start, end - start))
            kept = sample.finish(50)
            assert kept.rows.tolist() == expected.tolist()
            assert np.array_equal(kept.features, [features(payloads[row], None) for row in expected])
            assert np.array_equal(kept.signatures, [signature(parts(payloads[row], None)) for row in expected])


@given(most=st.integers(1, 10**6), position=st.integers(0, 10**9))
def test_what_ends_in_the_sample_was_sketched_on_the_way(most, position):
    assert limit(position, most) >= limit(position + 1, most) >= 1
    assert limit(2 * most, most) == 2**64 - 1


def test_signatures_estimate_the_jaccard_index():
    rng = np.random.default_rng(0)
    for make in (lambda n: rng.integers(0, 1 << 32, n, dtype=np.uint64), lambda n: np.arange(n, dtype=np.uint64)):
        errors = []
        for shared in (0, 100, 300, 500):
            for _ in range(10):
                values = make(1000)
                one, other = values[: 500 + shared // 2], values[500 - shared // 2 :]
                true = len(np.intersect1d(one, other)) / len(np.union1d(one, other))
                errors.append(np.mean(signature(one) == signature(other)) - true)
        assert abs(np.mean(errors)) < 0.02
        assert np.std(errors) < 0.06
    assert np.array_equal(signature(np.array([3, 1, 3])), signature(np.array([1, 3])))
    assert np.array_equal(signature(np.empty(0, np.uint64)), np.full(SIGNATURE, EMPTY))
    large = np.arange(20_000, dtype=np.uint64)
    assert np.array_equal(signature(large), np.minimum(signature(large[:9999]), signature(large[9999:])))


def test_signatures_are_frozen():
    """They are compared with those of earlier versions of the data."""
    assert signature(np.array([1, 2, 3], np.uint64))[:4].tolist() == FROZEN


# Ids, groups, times, corrections.


@settings(max_examples=50)
@given(batches=st.lists(st.lists(st.sampled_from([f"id {n}" for n in range(40)]), max_size=20), max_size=12))
def test_repeats_are_those_that_stood_before(batches):
    repeats, seen = Repeats(), set()
    for batch in batches:
        expected = []
        for name in batch:
            expected.append(name in seen)
            seen.add(name)
        assert repeats.mark(batch).tolist() == expected


def test_many_ids_take_few_bytes():
    repeats = Repeats()
    for start in range(0, 300_000, 3000):
        assert not repeats.mark([f"some/folder/{number}" for number in range(start, start + 3000)]).any()
    assert sum(map(len, repeats._runs)) == 300_000
    assert len(repeats._runs) < 20
    assert repeats.mark(["some/folder/0", "other", "some/folder/299999"]).tolist() == [True, False, True]


def written(raw, *names):
    raw.mkdir(exist_ok=True)
    for name in names:
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(b"good " + name.encode())
    return [Example(id=name, source=name, target="t") for name in names]


def test_groups_and_times_come_out_of_ids(tmp_path):
    names = [
        "anna/2024-01-31.bin",
        "anna/2024-02-01T12.bin",
        "ben/17.bin",
        "ben/soon.bin",
        "x.bin",
        "ben/2024-02-31.bin",
    ]
    examples = [
        *written(tmp_path, *names),
        Example(id="own/2020.bin", source=names[0], group="given", time=5.0),
        Example(id="odd", source=names[1], time=float("nan")),
    ]
    run(tmp_path, examples, params=DataParams(group="^([^/]+)/", time=r"/(.+)\.bin$"))
    found = {row["id"]: (row["group"], row["time"]) for row in rows(tmp_path / ".out")}
    assert found == {
        names[0]: ("anna", 1706659200.0),
        names[1]: ("anna", 1706788800.0),
        names[2]: ("ben", 17.0),
        names[4]: (None, None),
        "own/2020.bin": ("given", 5.0),
    }
    assert reasons(tmp_path / ".out") == {names[3]: "bad_time", names[5]: "bad_time", "odd": "bad_time"}


def test_time_decides_sides_where_it_is_asked_to(tmp_path):
    examples = written(tmp_path, *(f"{year}.bin" for year in range(2010, 2030)), "none.bin")
    examples += [Example(id="given", source="2029.bin", split="train")]
    split = Split(validation_from="2020", test_from="2025")
    run(tmp_path, examples, params=DataParams(split=split, time=r"^(\d+)"))
    sides = {row["id"].removesuffix(".bin"): row["split"] for row in rows(tmp_path / ".out")}
    assert sides.pop("given") == "train"
    expected = {2010: "train", 2020: "validation", 2025: "test"}
    assert sides == {str(year): expected[max(y for y in expected if y <= year)] for year in range(2010, 2030)}
    assert reasons(tmp_path / ".out") == {"none.bin": "no_time"}


def test_a_boundary_that_is_no_time_is_told_before_any_work(tmp_path):
    with pytest.raises(ConfigError, match="test_from"):
        run(tmp_path, iter([]), params=DataParams(split=Split(test_from="tomorrow")))


def test_corrections_hold_for_the_content_that_was_looked_at(tmp_path):
    examples = written(tmp_path, "a", "b", "c", "d", "e")
    sums = {example.id: checksum((tmp_path / example.id).read_bytes()) for example in examples}
    corrections = [
        Correction("a", sums["a"], "7", "looks like 7"),
        Correction("b", sums["b"], None, "nothing on it"),
        Correction("c", sums["d"], "9"),
        Correction("e", sums["d"], None),
        Correction("gone", sums["a"], "1"),
    ]
    twice = [*examples, Example(id="a", source="c", target="t")]
    measured = run(tmp_path, twice, corrections={each.id: each for each in corrections})
    assert {row["id"]: row["target"] for row in rows(tmp_path / ".out")} == {"a": "7", "c": "t", "d": "t", "e": "t"}
    quarantine = {row["id"]: row["reason"] for row in rows(tmp_path / ".out", "quarantine")}
    assert quarantine["b"] == "left_out: nothing on it"
    assert quarantine["a"].startswith("repeated_id")
    assert measured.corrected == {"a"}
    assert measured.left_out == {"b"}
    assert [each.id for each in measured.stale] == ["c", "e"]
    assert [each.id for each in measured.unknown] == ["gone"]


def tidy(target, params):
    if "<" in target:
        raise BadExample("markup", f"{target} is not said")
    return " ".join(target.lower().split())


def test_corrections_are_tidied_and_judged_as_targets_of_the_raw_data_are(tmp_path):
    def judge(target, measures, params):
        if target and len(target) > measures["size"]:
            raise BadExample("too_long", f"{target} of {measures['size']}")

    contents = ("one", "two", "three", "four")
    examples = [
        replace(each, target=target)
        for each, target in zip(written(tmp_path, *contents), ("A  B", "<i>", "x", "<b>"), strict=True)
    ]
    sums = {each.id: checksum((tmp_path / each.id).read_bytes()) for each in examples}
    said = {"two": " I ", "three": "Far TOO long", "four": "A <b>"}
    corrections = {name: Correction(name, sums[name], target) for name, target in said.items()}
    measured = run(tmp_path, examples, usecase=replace(PLAIN, tidy=tidy, judge=judge), corrections=corrections)
    assert {row["id"]: row["target"] for row in rows(tmp_path / ".out")} == {"one": "a b", "two": "i"}
    assert {row["id"]: row["reason"] for row in rows(tmp_path / ".out", "quarantine")} == {
        "three": "too_long: far too long of 10",
        "four": "markup: A <b> is not said",
    }
    assert measured.corrected == {"two", "three", "four"}


def amend(payload, target):
    return payload.partition(b"=")[0] + b"=" + target.encode()


def test_a_content_that_holds_its_target_is_seen_as_a_person_has_corrected_it(tmp_path):
    """With a memo and without: what was seen of the content as it is, and as it is corrected, is never mixed up."""
    usecase = replace(SKETCHED, tidy=tidy, amend=amend)
    raw, examples = tmp_path / "raw", []
    raw.mkdir()
    for name, content in (("a", b"a=1"), ("b", b"bad=2"), ("c", b"c=3")):
        (raw / name).write_bytes(content)
        examples.append(Example(id=name, source=name, target=content.decode().partition("=")[2]))
    sums = {each.id: checksum((raw / each.id).read_bytes()) for each in examples}
    corrections = {"a": Correction("a", sums["a"], " LONGER "), "c": Correction("c", sums["a"], "other content")}

    def seen(out, memo=None, **options):
        measured = run(raw, examples, out, usecase, memo=memo, **options)
        return measured, {row["id"]: (row["target"], row["size"]) for row in rows(out)}

    plain, corrected = {"a": ("1", 3), "c": ("3", 3)}, {"a": ("longer", 8), "c": ("3", 3)}
    fresh = seen(tmp_path / "fresh", corrections=corrections)
    assert fresh[1] == corrected
    expected = digests(tmp_path / "fresh")
    sketches = Sketches.read(tmp_path / "fresh" / "sketches.parquet")
    assert sketches.features[0].tolist() == features(b"a=longer", None).tolist()
    assert seen(tmp_path / "plain", Memo(tmp_path / "memos" / "one", usecase.measures))[1] == plain
    for _ in range(2):
        measured, found = seen(
            tmp_path / "again", Memo(tmp_path / "memos" / "one", usecase.measures), corrections=corrections
        )
        assert found == corrected
        assert digests(tmp_path / "again") == expected
        assert measured.remembered == 1  # what has a correction is looked at anew
    assert seen(tmp_path / "back", Memo(tmp_path / "memos" / "one", usecase.measures))[1] == plain
    first = Memo(tmp_path / "others" / "one", usecase.measures)
    assert seen(tmp_path / "first", first, corrections=corrections)[1] == corrected
    assert seen(tmp_path / "then", Memo(tmp_path / "others" / "one", usecase.measures))[1] == plain


# The writer.


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(0, 300), max_size=6))
def test_rows_give_the_same_bytes_in_whatever_pieces(cuts, tmp_path_factory):
    import pyarrow as pa

    folder = tmp_path_factory.mktemp("tables")
    columns = schema({"size": "integer"})
    table = pa.table(
        {name: [f"{name}{n % 7}" for n in range(300)] for name in ("id", "group", "source", "target", "checksum")}
        | {"split": ["train", None] * 150, "time": [None, 0.5, 1.0] * 100, "size": list(range(300))}
    ).select(columns.names)
    table = table.cast(columns)
    edges = [0, *sorted(cuts), 300]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sluiceway.data.table.ROW_GROUP", 64)
        for name, pieces in (("one", [(0, 300)]), ("some", list(pairwise(edges)))):
            with TableWriter(columns, folder / f"{name}.parquet") as writer:
                for start, end in pieces:
                    writer.write(table.slice(start, end - start))
    assert (folder / "one.parquet").read_bytes() == (folder / "some.parquet").read_bytes()
    assert pq.read_table(folder / "some.parquet").to_pylist() == table.to_pylist()
    assert pq.ParquetFile(folder / "one.parquet").num_row_groups == 5


FROZEN = [572137812, 10535855, 438471454, 1292965248]
