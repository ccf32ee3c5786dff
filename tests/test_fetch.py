"""Contents that lie elsewhere: a real HTTP server on loopback, local files, and memory."""

import hashlib
import json
import threading
import time
from collections import Counter

import pytest

from servers import Server
from sluiceway.data import fetch as fetching
from sluiceway.data import protocols, sources
from sluiceway.data.fetch import Kept, Wanted, fetch
from sluiceway.data.measuring.measure_all import measure_all
from sluiceway.data.places import fetched
from sluiceway.data.sources import Shelf, load
from sluiceway.data.table import BadExample, read_table
from sluiceway.errors import DataError
from sluiceway.usecases import find
from sluiceway.usecases.image.params import ImageData
from support import image_bytes


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetching, "_WAIT", 0.01)
    monkeypatch.setattr(fetching, "_failures", Counter())
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path / "kept")


@pytest.mark.parametrize("wanted", [Wanted(), Wanted("a" * 64), Wanted(size=0), Wanted("0" * 64, 12)])
def test_what_is_wanted_is_read_as_it_was_written(wanted):
    assert Wanted.read(str(wanted)) == wanted


# Fetching


def test_a_content_is_fetched_once_and_then_kept(server, kept):
    server.contents["/1"] = b"one"
    uri = f"http://{server.host}/1?X-Amz-Signature="
    assert [fetch(uri + signature, kept, Wanted()) for signature in ("old", "new")] == [b"one", b"one"]
    assert server.asked == {"/1": 1}
    for path in (kept._folder).rglob("*"):
        assert b"Signature" not in (path.name.encode() if path.is_dir() else path.name.encode() + path.read_bytes())


def test_user_and_password_are_sent_and_not_shown(server, kept):
    server.contents["/1"] = b"one"
    assert fetch(f"http://ann:secret@{server.host}/1", kept, Wanted()) == b"one"
    assert server.seen[0][0].startswith("Basic ")
    with pytest.raises(BadExample) as caught:
        fetch(f"http://ann:secret@{server.host}/2", kept, Wanted())
    assert "secret" not in str(caught.value)
    assert str(caught.value) == f"not_found: nothing is at http://{server.host}/2"


def test_a_fetch_is_tried_again(server, kept):
    server.contents["/1"] = b"one"
    server.failing["/1"] = 2
    assert fetch(f"http://{server.host}/1", kept, Wanted()) == b"one"
    assert server.asked["/1"] == 3


def test_what_fails_three_times_is_set_aside(server, kept):
    server.failing["/1"] = 99
    with pytest.raises(BadExample, match=r"^unreachable: http://127.0.0.1:\d+/1: status 503$"):
        fetch(f"http://{server.host}/1", kept, Wanted())
    assert server.asked["/1"] == 3


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [(Wanted(size=4), "wrong_size: 3 bytes came, and the list says 4"), (Wanted("0" * 64), "wrong_checksum: ")],
)
def test_another_content_than_the_list_says_is_told_and_not_kept(wanted, reason, server, kept):
    server.contents["/1"] = b"one"
    uri = f"http://{server.host}/1"
    with pytest.raises(BadExample, match=f"^{reason}"):
        fetch(uri, kept, wanted)
    assert kept.find(uri) is None
    assert fetch(uri, kept, Wanted(hashlib.sha256(b"one").hexdigest(), 3)) == b"one"


def test_a_checksum_tells_of_a_change(server, kept):
    server.contents["/1"] = b"old"
    uri = f"http://{server.host}/1"
    fetch(uri, kept, Wanted())
    server.contents["/1"] = b"new"
    assert fetch(uri, kept, Wanted()) == b"old"
    assert fetch(uri, kept, Wanted(hashlib.sha256(b"new").hexdigest())) == b"new"


def test_a_damaged_content_is_fetched_anew(server, kept):
    server.contents["/1"] = b"one"
    uri = f"http://{server.host}/1"
    fetch(uri, kept, Wanted())
    (place,) = (path for path in (kept._folder / "contents").rglob("*") if path.is_file())
    place.write_bytes(b"two")
    assert fetch(uri, kept, Wanted()) == b"one"
    assert kept.find(uri) == b"one"


def test_a_host_that_never_answered_is_given_up(server, kept, monkeypatch):
    monkeypatch.setattr(fetching, "_TRIES", 1)
    server.failing.update({f"/{number}": 9 for number in range(99)})
    for number in range(19):
        with pytest.raises(BadExample):
            fetch(f"http://{server.host}/{number}", kept, Wanted())
    with pytest.raises(DataError, match=rf"http://{server.host} is out of reach: the first 20 fetches failed"):
        fetch(f"http://{server.host}/19", kept, Wanted())


def test_a_host_that_once_answered_is_not_given_up(server, kept, monkeypatch):
    monkeypatch.setattr(fetching, "_TRIES", 1)
    server.contents["/ok"] = b"x"
    fetch(f"http://{server.host}/ok", kept, Wanted())
    for number in range(25):
        server.failing[f"/{number}"] = 9
        with pytest.raises(BadExample, match="unreachable"):
            fetch(f"http://{server.host}/{number}", kept, Wanted())


@pytest.mark.parametrize("uri", ["ftp://host/1", "zip://a::https://host/1.zip", "https://host/1::memory://x"])
def test_other_protocols_are_set_aside(uri, kept):
    with pytest.raises(BadExample, match=r"^bad_uri: "):
        fetch(uri, kept, Wanted())


@pytest.mark.parametrize(("protocol", "package"), [("s3", "sluiceway[s3]"), ("gs", "sluiceway[gcs]")])
def test_a_missing_package_is_named(protocol, package, kept, monkeypatch):
    import fsspec

    def missing(name, **options):
        raise ImportError(f"Install {name}fs")

    protocols._file_system.cache_clear()
    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(DataError, match=f"{protocol}:// cannot be fetched") as caught:
        fetch(f"{protocol}://bucket/1", kept, Wanted())
    assert package in caught.value.hint
    protocols._file_system.cache_clear()


def test_local_files_have_uris_too(tmp_path, kept):
    (tmp_path / "1.bin").write_bytes(b"one")
    assert fetch((tmp_path / "1.bin").as_uri(), kept, Wanted()) == b"one"


def test_a_bucket_is_spoken_to_with_the_keys_of_the_environment(server, kept, monkeypatch):
    for name, value in {"ACCESS_KEY_ID": "ann", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.host}")
    server.contents["/photos/a%20b/1.jpg"] = b"one"
    protocols._file_system.cache_clear()
    assert fetch("s3://photos/a b/1.jpg", kept, Wanted(size=3)) == b"one"
    assert "Credential=ann/" in server.seen[0][0]
    protocols._file_system.cache_clear()


# What is kept


def test_what_was_not_used_for_longest_makes_room(tmp_path):
    kept = Kept(tmp_path, limit=1000)
    for number in range(30):
        kept.keep(f"s3://b/{number}", bytes([number]) * 100)
        kept.find("s3://b/0")
        time.sleep(0.002)
    there = [number for number in range(30) if kept.find(f"s3://b/{number}") is not None]
    assert there[0] == 0
    assert there[-1] == 29
    assert 5 < len(there) <= 11


def test_equal_contents_are_kept_once(tmp_path):
    kept = Kept(tmp_path)
    kept.keep("s3://b/1", b"same")
    kept.keep("s3://b/2", b"same")
    assert sum(path.is_file() for path in (tmp_path / "contents").rglob("*")) == 1
    assert kept.find("s3://b/1") == kept.find("s3://b/2") == b"same"


def test_what_is_fetched_is_kept_in_the_project_and_outlives_experiments(tmp_path):
    raw = tmp_path / "data" / "raw" / "p"
    assert fetched(raw) == raw.parent / ".sluiceway" / "fetched"
    (tmp_path / "params.yaml").touch()
    assert fetched(raw) == tmp_path / ".sluiceway" / "fetched"
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "x"
    copy.mkdir(parents=True)
    (copy / "params.yaml").touch()
    assert fetched(copy / "data" / "raw" / "p") == tmp_path / ".sluiceway" / "fetched"


# Through the reader and the measuring pass


def index(raw, server, count, suffix="csv", user="ann:secret@"):
    raw.mkdir(parents=True, exist_ok=True)
    uris = [f"http://{user}{server.host}/{number}.png?X-Amz-Signature=abc" for number in range(count)]
    if suffix == "csv":
        text = "url,label\n" + "".join(f'"{uri}",{"ab"[at % 2]}\n' for at, uri in enumerate(uris))
    else:
        text = "".join(json.dumps({"url": uri, "label": "ab"[at % 2]}) + "\n" for at, uri in enumerate(uris))
    (raw / f"index.{suffix}").write_text(text)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_contents_are_fetched_side_by_side_and_in_order(suffix, server, tmp_path):
    raw = tmp_path / "raw"
    index(raw, server, 40, suffix)
    server.contents = {f"/{number}.png": str(number).encode() for number in range(40)}
    server.delay = 0.01
    examples = list(find("image", tmp_path).read(raw, ImageData()))
    with Shelf(raw) as shelf:
        found = [get() for get in shelf.each(each.source for each in examples)]
    assert found == [str(number).encode() for number in range(40)]
    assert 3 <= server.most <= sources.AT_ONCE


def inline(look, chunks):
    return map(look, chunks)


def measured(raw, folder, **options):
    usecase = find("image", raw)
    examples = usecase.read(raw, ImageData())
    return measure_all(usecase, raw, examples, ImageData(), folder, compared=1000, engine=inline, **options)


def test_an_index_becomes_a_table_without_its_secrets(server, tmp_path):
    import numpy as np

    raw = tmp_path / "raw"
    index(raw, server, 8)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 9), dtype=np.uint8)
    server.contents = {f"/{number}.png": image_bytes(pixels[number]) for number in range(7)}
    server.contents["/6.png"] = b"no image"
    assert measured(raw, tmp_path / "out").accepted == 6
    table, aside = (read_table(tmp_path / "out" / f"{name}.parquet") for name in ("examples", "quarantine"))
    assert table["id"].to_pylist() == [f"http://{server.host}/{number}.png" for number in range(6)]
    assert [reason.partition(":")[0] for reason in aside["reason"].to_pylist()] == ["unreadable", "not_found"]
    for path in (tmp_path / "out").iterdir():
        assert b"secret" not in path.read_bytes()
        assert b"Signature" not in path.read_bytes()
    asked = server.asked.copy()
    measured(raw, tmp_path / "again")
    assert server.asked - asked == {"/7.png": 1}  # what was not there is asked for again, and nothing else
    assert read_table(tmp_path / "again" / "examples.parquet") == table


def test_an_index_of_which_nothing_can_be_fetched_is_an_error(server, tmp_path, monkeypatch):
    index(tmp_path / "raw", server, 4)
    server.failing.update({f"/{number}.png": 99 for number in range(4)})
    with pytest.raises(DataError, match=r"none of the 4 examples .* could be fetched: unreachable: ") as caught:
        measured(tmp_path / "raw", tmp_path / "out")
    assert "secret" not in caught.value.message


def test_a_list_with_fresh_signatures_serves_as_well(server, tmp_path):
    index(tmp_path / "raw", server, 2)
    server.contents = {"/0.png": b"0", "/1.png": b"1"}
    before = list(find("image", tmp_path).read(tmp_path / "raw", ImageData()))
    text = (tmp_path / "raw" / "index.csv").read_text().replace("=abc", "=xyz")
    (tmp_path / "raw" / "index.csv").write_text(text)
    assert list(find("image", tmp_path).read(tmp_path / "raw", ImageData())) == before
    assert load(tmp_path / "raw", before[1].source) == b"1"
    assert server.seen[-1][1] == "X-Amz-Signature=xyz"


def test_a_broken_reference_is_a_bad_example(tmp_path):
    (tmp_path / "index.csv").write_bytes(b"url,label\n\xff,a\n")
    with pytest.raises(BadExample, match="bad_uri"):
        load(tmp_path, "index.csv#bytes=10-13&field=0/2,&fetch")
    with pytest.raises(BadExample, match="missing_field"):
        load(tmp_path, "index.csv#bytes=10-11&field=0/2,&fetch")


def test_local_and_remote_contents_may_stand_side_by_side(server, tmp_path):
    (tmp_path / "0.txt").write_bytes(b"here")
    (tmp_path / "index.jsonl").write_text(f'{{"url": "http://{server.host}/1"}}\n')
    server.contents["/1"] = b"there"
    far = "index.jsonl#bytes=0-200&field=url&fetch"
    size = (tmp_path / "index.jsonl").stat().st_size
    far = far.replace("200", str(size))
    with Shelf(tmp_path) as shelf:
        assert [get() for get in shelf.each(["0.txt", far, "0.txt", far])] == [b"here", b"there"] * 2
