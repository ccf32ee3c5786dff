"""Shards at Azure's and Google's stores: what their libraries do is told as of any store, and no key with it."""

import hashlib
import os
import threading
import time
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest

import emulators
from sluiceway.data import store as storing
from sluiceway.data.cache import LIMIT
from sluiceway.data.protocols import words
from sluiceway.data.seals import FOLDER
from sluiceway.data.shards import ShardedSplit, digest
from sluiceway.data.store import Store
from sluiceway.errors import CorruptShard, DataError
from test_store import PER_SHARD, ROWS, taken, written


@pytest.fixture(autouse=True)
def host(tmp_path, monkeypatch):
    """A host of its own, whose cache holds about three shards of eight, and whose environment says nothing."""
    for name in os.environ:
        if name.startswith(("AZURE_", "GOOGLE_", "STORAGE_EMULATOR")):
            monkeypatch.delenv(name)
    monkeypatch.setenv(FOLDER, str(tmp_path / "host"))
    monkeypatch.setenv(LIMIT, str(8_000 / 1e9))
    emulators.forget()
    yield tmp_path / "host"
    emulators.forget()


@pytest.fixture(params=sorted(emulators.KINDS))
def cloud(request, tmp_path, monkeypatch):
    """A store that runs, with its bucket made."""
    (tmp_path / "server").mkdir()
    emulator = emulators.KINDS[request.param](tmp_path / "server")
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    emulator.start()
    try:
        emulator.make()
        yield emulator
    finally:
        emulator.stop()


@pytest.fixture
def once(monkeypatch):
    """Nobody is asked a second time."""

    def again(_):
        raise AssertionError("the store was asked again")

    monkeypatch.setattr(storing, "time", SimpleNamespace(monotonic=time.monotonic, sleep=again))


def test_shards_go_there_and_come_back_through_a_small_cache(cloud, tmp_path, host):
    from sluiceway.data.loader import EvaluationStream, Share, loader

    here, index = written(tmp_path / "here"), written(tmp_path / "index", Store(cloud.url))
    assert digest(index) == digest(here)
    assert {path.rpartition("/")[2] for path in cloud.objects()} == {
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}.npy" for path in here.glob("*.npy")
    }
    rows = np.random.default_rng(0).permutation(ROWS)
    one, other = (ShardedSplit(folder, "train").fetch(rows) for folder in (here, index))
    assert all(np.array_equal(one[field], other[field]) for field in one)
    # Processes that come of a fork speak for themselves.
    stream = EvaluationStream(ShardedSplit(index, "train"), PER_SHARD, Share(0, 1))
    assert np.concatenate([batch["y"] for batch in loader(stream, processes=1)]).tolist() == list(range(ROWS))
    assert taken(host) <= 8_000
    assert emulators.SECRET not in "".join(path.read_text(encoding="utf-8") for path in index.iterdir())


def test_what_is_there_is_not_sent_again(cloud, tmp_path, monkeypatch):
    written(tmp_path / "index", Store(cloud.url))
    system = cloud.system()
    names = ("async_impl", "_strip_protocol", "invalidate_cache", "info")
    reader = SimpleNamespace(**{name: getattr(system, name) for name in names})  # it has no way to write
    monkeypatch.setattr(storing, "file_system", lambda _: reader)
    assert digest(written(tmp_path / "again", Store(cloud.url))) == digest(tmp_path / "index")


def test_a_bucket_that_nobody_made_is_told(cloud, tmp_path, once):
    place = cloud.url.replace("://", "://no-")
    with pytest.raises(DataError, match=r"no place for train-00000\.x\.npy: there is no \w+://no-\w+$") as caught:
        written(tmp_path / "index", Store(place))
    assert not isinstance(caught.value, CorruptShard)
    assert "make that bucket" in caught.value.hint


def test_a_broken_object_and_a_missing_one_are_named_and_written_again(cloud, tmp_path, host):
    index = written(tmp_path / "index", Store(cloud.url))
    for path in cloud.objects():
        content = cloud.system().cat_file(path)
        cloud.system().pipe_file(path, content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CorruptShard, match=r"shard train-00000\.x\.npy was altered: \w+://.* has 2,176 bytes of SHA"):
        ShardedSplit(index, "train").fetch(np.arange(4))
    for path in cloud.objects():
        cloud.system().rm_file(path)
    with pytest.raises(CorruptShard, match=r"shard train-00000\.x\.npy is missing: nothing is at \w+://") as caught:
        ShardedSplit(index, "train").fetch(np.arange(4))
    assert "dvc repro --force" in caught.value.hint
    assert list((host / "contents").iterdir()) == list((host / "drafts").iterdir()) == []
    written(tmp_path / "again", Store(cloud.url))  # which is what the hint does
    assert ShardedSplit(index, "train").fetch(np.arange(4))["y"].tolist() == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_store_that_was_away_is_asked_again(cloud, tmp_path):
    index = written(tmp_path / "index", Store(cloud.url))
    back = cloud.away()
    assert ShardedSplit(index, "train").fetch(np.arange(4))["y"].tolist() == [0, 1, 2, 3]
    back.join()


def test_a_store_that_stays_away_is_told_in_time(cloud, tmp_path, monkeypatch):
    """The libraries by themselves would ask for minutes."""
    index = written(tmp_path / "index", Store(cloud.url))
    cloud.stop()
    monkeypatch.setattr(storing, "_PATIENCE", 0.5)
    monkeypatch.setattr(storing, "_LEAST", 0.5)
    system, limits = cloud.system(), []

    def noting(*words, **options):
        limits.append(options["timeout"])
        return system.get_file(*words, **options)

    seen = SimpleNamespace(async_impl=system.async_impl, _strip_protocol=system._strip_protocol, get_file=noting)
    monkeypatch.setattr(storing, "file_system", lambda _: seen)
    with pytest.raises(DataError, match=r"refused train-00000\.x\.npy, at \w+://") as caught:
        ShardedSplit(index, "train").fetch(np.arange(4))
    assert max(limits) < 1
    assert "is the network up" in caught.value.hint


# Rights.


@pytest.fixture
def azurite(tmp_path, monkeypatch):
    (tmp_path / "server").mkdir()
    emulator = emulators.azure(tmp_path / "server")
    emulator.start()
    yield emulator
    emulator.stop()


@pytest.mark.parametrize("key", [b64encode(b"another").decode(), "no-base64"])
def test_azure_with_another_key_says_no_at_once(key, azurite, tmp_path, once, monkeypatch):
    said = azurite.environment["AZURE_STORAGE_CONNECTION_STRING"].replace(emulators.SECRET, key)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", said)
    with pytest.raises(DataError, match=r"the store of shards refused train-00000\.x\.npy, at az://") as caught:
        written(tmp_path / "index", Store(azurite.url))
    assert "AZURE_STORAGE_CONNECTION_STRING" in caught.value.hint
    assert key not in caught.value.message


@pytest.mark.parametrize("said", [None, "AccountKey=hush", "hush"])
def test_azure_without_settings_says_which(said, tmp_path, monkeypatch):
    pytest.importorskip("adlfs", reason="not installed: adlfs (extra azure)")
    monkeypatch.setenv("AZURE_STORAGE_ANON", "true")
    if said:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", said)
    with pytest.raises(DataError, match=r"az:// cannot be opened: ") as caught:
        written(tmp_path / "index", Store("az://container/shards"))
    assert "hush" not in caught.value.message
    assert "AZURE_STORAGE_ACCOUNT_NAME" in caught.value.hint


@pytest.mark.parametrize(("status", "told"), [(401, "Anonymous caller"), (403, "Forbidden")])
def test_google_without_rights_says_no_at_once(status, told, tmp_path, once, monkeypatch):
    pytest.importorskip("gcsfs", reason="not installed: gcsfs (extra gcs)")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = b'{"error": {"code": %d, "message": "Anonymous caller does not have storage.objects.get"}}' % status
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    try:
        with pytest.raises(DataError, match=rf"refused train-00000\.x\.npy, at gs://bucket.*{told}") as caught:
            written(tmp_path / "index", Store("gs://bucket/shards"))
    finally:
        server.shutdown()
        server.server_close()
    assert "GOOGLE_APPLICATION_CREDENTIALS" in caught.value.hint


def test_words_tell_no_signature():
    error = OSError("no answer of https://ann.blob.core.windows.net/c/x.npy?sv=2021&se=2030&sig=hush%3D&sp=r today")
    assert words(error, "az://c") == "OSError: no answer of https://ann.blob.core.windows.net/c/x.npy today"
