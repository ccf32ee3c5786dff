"""Shards: what goes in comes out, in any order, and an altered byte is found."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway.data.shards import (
    ENCODING,
    MANIFEST,
    ShardedSplit,
    digest,
    read_encoding,
    write_manifest,
    write_shards,
)
from sluiceway.errors import CorruptShard, DataError


def items_of(count, seed=0):
    """Make items with fields of several types and shapes."""
    random = np.random.default_rng(seed)
    return [
        {
            "image": random.integers(0, 256, (2, 3), dtype=np.uint8),
            "target": np.asarray(random.integers(0, 10), np.int64),
            "weight": random.normal(size=4).astype(np.float32),
            "scored": random.random(5) < 0.5,
        }
        for _ in range(count)
    ]


def written(folder, items, shard_bytes=100, encoding=None):
    """Write a whole folder: the items as training split, one item as test split."""
    train = write_shards(iter(items), folder, "train", shard_bytes)
    test = write_shards(iter(items_of(1, seed=9)), folder, "test", shard_bytes)
    write_manifest(folder, {"train": train, "validation": [], "test": test}, encoding or {"classes": ["é", "b"]})
    return folder


ITEM_BYTES = sum(array.nbytes for array in items_of(1)[0].values())


@settings(max_examples=60)
@given(
    count=st.integers(1, 40),
    per_shard=st.integers(1, 45),
    wanted=st.lists(st.integers(0, 10**6), max_size=60),
)
def test_fetch_is_numpy_indexing_across_any_borders(count, per_shard, wanted, tmp_path_factory):
    items = items_of(count)
    split = ShardedSplit(written(tmp_path_factory.mktemp("shards"), items, per_shard * ITEM_BYTES), "train")
    rows = np.array([each % count for each in wanted], np.int64)
    batch = split.fetch(rows)
    assert len(split) == count
    assert sorted(batch) == split.fields == sorted(items[0])
    for field in split.fields:
        reference = np.stack([item[field] for item in items])
        assert batch[field].dtype == reference.dtype
        assert np.array_equal(batch[field], reference[rows])
        assert np.array_equal(split.column(field), reference)


@pytest.mark.parametrize(("count", "per_shard", "rows"), [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 100, [3])])
def test_shards_close_at_their_size(count, per_shard, rows, tmp_path):
    entries = write_shards(iter(items_of(count)), tmp_path, "train", per_shard * ITEM_BYTES)
    assert [entry["rows"] for entry in entries] == rows
    files = {file["file"] for entry in entries for file in entry["fields"].values()}
    assert files == {path.name for path in tmp_path.iterdir()}


def test_an_item_larger_than_a_shard_has_one_of_its_own(tmp_path):
    assert [entry["rows"] for entry in write_shards(iter(items_of(3)), tmp_path, "train", 1)] == [1, 1, 1]


def test_equal_items_give_equal_bytes(tmp_path):
    one, other = (written(tmp_path / name, items_of(20)) for name in ("one", "other"))
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in other.iterdir()
    }
    assert digest(one) == digest(other)


@pytest.mark.parametrize("change", ["item", "order", "encoding"])
def test_the_digest_sees_every_change(change, tmp_path):
    items, encoding = items_of(20), None
    before = digest(written(tmp_path / "before", items))
    if change == "item":
        items[7]["target"] = items[7]["target"] + 1
    elif change == "order":
        items[0], items[1] = items[1], items[0]
    else:
        encoding = {"classes": ["é", "c"]}
    assert digest(written(tmp_path / "after", items, encoding=encoding)) != before


def test_the_encoding_comes_back(tmp_path):
    encoding = {"classes": ["é", "\u0120"], "mean": [0.1, 1e-17], "size": 28, "none": None}
    assert read_encoding(written(tmp_path, items_of(1), encoding=encoding)) == encoding


@settings(max_examples=60)
@given(data=st.data(), mask=st.integers(1, 255))
def test_any_altered_byte_of_any_shard_is_found(data, mask, tmp_path_factory):
    folder = written(tmp_path_factory.mktemp("shards"), items_of(10))
    path = data.draw(st.sampled_from(sorted(folder.glob("train-*.npy"))))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= mask
    path.write_bytes(content)
    split = ShardedSplit(folder, "train")
    owner = int(path.name.partition(".")[0].rpartition("-")[2])
    with pytest.raises(CorruptShard, match=f"{path.name} was altered: its SHA-256 is") as caught:
        split.fetch(split.starts[owner : owner + 1])
    assert "dvc checkout" in caught.value.hint
    others = [row for row in range(10) if split.owners(np.array([row]))[0] != owner]
    assert len(split.fetch(np.array(others))["target"]) == len(others)  # the others are whole


def test_two_shards_of_one_name_are_not_one(tmp_path):
    """What was hashed under a name is no proof of another digest under that name."""
    folder = written(tmp_path, items_of(10))
    document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    first, second = (entry["fields"]["target"] for entry in document["train"][:2])
    assert first["sha256"] != second["sha256"]
    second["file"] = first["file"]
    (folder / MANIFEST).write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(CorruptShard, match="altered"):
        ShardedSplit(folder, "train").fetch(np.arange(10))


@settings(max_examples=60)
@given(data=st.data(), mask=st.integers(1, 255))
def test_an_altered_manifest_never_gives_other_data(data, mask, tmp_path_factory):
    items = items_of(10)
    folder = written(tmp_path_factory.mktemp("shards"), items)
    content = bytearray((folder / MANIFEST).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= mask
    (folder / MANIFEST).write_bytes(content)
    try:
        split = ShardedSplit(folder, "train")
        batch = split.fetch(np.arange(10))
    except CorruptShard:
        return
    for field in items[0]:  # white space, or another split's entry: what is read is still right
        assert np.array_equal(batch[field], np.stack([item[field] for item in items]))


def test_a_row_count_that_is_not_the_files_is_found(tmp_path):
    folder = written(tmp_path, items_of(10))
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["train"][0]["rows"] += 1
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(CorruptShard, match="is not the 'image' of 4 rows"):
        ShardedSplit(folder, "train").fetch(np.arange(10))


def test_a_truncated_shard_is_found(tmp_path):
    folder = written(tmp_path, items_of(10))
    path = next(folder.glob("train-*.npy"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptShard, match="was altered") as caught:
        ShardedSplit(folder, "train")
    assert "dvc checkout" in caught.value.hint


def test_a_missing_shard_is_named(tmp_path):
    folder = written(tmp_path, items_of(10))
    path = sorted(folder.glob("train-*.npy"))[-1]
    path.unlink()
    with pytest.raises(CorruptShard, match=f"{path.name} is missing"):
        ShardedSplit(folder, "train")


def test_hashes_are_those_of_the_files(tmp_path):
    folder = written(tmp_path, items_of(10))
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for entry in manifest["train"]:
        for file in entry["fields"].values():
            assert hashlib.sha256((folder / file["file"]).read_bytes()).hexdigest() == file["sha256"]


@pytest.mark.parametrize("missing", [MANIFEST, ENCODING])
def test_a_folder_without_shards_is_said(missing, tmp_path):
    folder = written(tmp_path, items_of(2))
    (folder / missing).unlink()
    with pytest.raises(DataError, match=f"{missing} is missing"):
        digest(folder)
    with pytest.raises(DataError, match=f"{missing} is missing"):
        ShardedSplit(folder, "train") if missing == MANIFEST else read_encoding(folder)


def test_an_empty_split_has_no_items(tmp_path):
    split = ShardedSplit(written(tmp_path, items_of(2)), "validation")
    assert len(split) == 0
    assert split.fields == []


def test_an_unknown_split_is_our_own_mistake(tmp_path):
    with pytest.raises(ValueError, match="'dev' is not one of train, validation, test"):
        ShardedSplit(written(tmp_path, items_of(2)), "dev")


def test_shards_are_mapped_and_not_loaded(tmp_path):
    split = ShardedSplit(written(tmp_path, items_of(10)), "train")
    batch = split.fetch(np.arange(2))
    arrays = list(split._files._maps.values())
    assert len(arrays) == 4
    assert all(isinstance(array, np.memmap) and not array.flags.writeable for array in arrays)
    assert all(array.flags.writeable for array in batch.values())  # a copy: torch must not see a read-only map
