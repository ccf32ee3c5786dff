"""Sources: fetching by path and byte range, digests, and listing a raw folder."""

import csv
import hashlib
import io
import os
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway.data.folders import files_below, names_below, suffix_of
from sluiceway.data.records import pick
from sluiceway.data.sources import BETWEEN, Shelf, byte_range, byte_ranges, checksum, field_of, files_of, joined, load
from sluiceway.data.table import BadExample
from sluiceway.errors import NoRawData


@given(content=st.binary(min_size=1, max_size=200), data=st.data())
def test_a_byte_range_is_a_slice(content, data, tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    (raw / "a.txt").write_bytes(content)
    start = data.draw(st.integers(0, len(content) - 1))
    end = data.draw(st.integers(start + 1, len(content)))
    assert load(raw, byte_range("a.txt", start, end)) == content[start:end]
    assert load(raw, "a.txt") == content


@given(content=st.binary(min_size=1, max_size=60), data=st.data())
def test_several_ranges_are_read_one_behind_the_other(content, data, tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    (raw / "a.csv").write_bytes(content)
    starts = st.integers(0, len(content) - 1)
    ranges = [
        (start, data.draw(st.integers(start + 1, len(content))))
        for start in data.draw(st.lists(starts, min_size=1, max_size=4))
    ]
    source = byte_ranges("a.csv", ranges)
    assert load(raw, source) == b"".join(content[start:end] for start, end in ranges)
    assert files_of(source) == ("a.csv",)


def test_a_file_that_ends_before_one_of_its_ranges_is_a_bad_example(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"12345")
    with pytest.raises(BadExample, match=r"^truncated: a.txt ends 3 bytes too early$"):
        load(tmp_path, byte_ranges("a.txt", [(0, 2), (4, 8)]))


def test_a_source_may_lie_deeper(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c d.txt").write_bytes(b"hello")
    assert load(tmp_path, "a/b/c d.txt") == b"hello"


def test_a_missing_file_is_a_bad_example(tmp_path):
    with pytest.raises(BadExample, match=r"^unreadable: No such file or directory$"):
        load(tmp_path, "nothing.png")


def test_a_folder_is_a_bad_example(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(BadExample, match=r"^unreadable: Is a directory$"):
        load(tmp_path, "a.png")


def test_an_empty_file_is_a_bad_example(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(BadExample, match=r"^empty: 0 bytes$"):
        load(tmp_path, "a.png")


@pytest.mark.parametrize(("start", "end"), [(5, 9), (2, 6), (0, 100)])
def test_a_file_that_ends_before_its_range_is_a_bad_example(start, end, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"12345")
    with pytest.raises(BadExample, match=r"^(empty|truncated): "):
        load(tmp_path, byte_range("a.txt", start, end))


@given(content=st.binary(), other=st.binary())
def test_checksums_tell_contents_apart(content, other):
    assert checksum(content) == hashlib.sha256(content).hexdigest()[:32]
    assert (checksum(content) == checksum(other)) is (content == other)


def test_files_are_listed_by_suffix_in_order(tmp_path):
    for name in ("b/2.PNG", "b/1.png", "a/3.jpg", "a/notes.txt", "c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = files_below(tmp_path, frozenset({".png", ".jpg"}))
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a/3.jpg", "b/1.png", "b/2.PNG", "c.png"]


@given(
    names=st.sets(
        st.lists(st.text("ab-.~ é", min_size=1, max_size=3).filter(lambda part: part[0] != "."), min_size=1, max_size=3)
        .map(tuple),
        min_size=1,
        max_size=12,
    )
)  # fmt: skip
def test_paths_are_in_the_order_of_their_parts(names, tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    for parts in sorted(names, key=len, reverse=True):
        path = raw.joinpath(*parts)
        if not path.is_dir():  # a file may not be called what a folder is called
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    files = [path for path in raw.rglob("*") if path.is_file()]
    expected = sorted(path.relative_to(raw).parts for path in files)
    assert names_below(raw) == ["/".join(parts) for parts in expected]
    assert files_below(raw, None) == [raw.joinpath(*parts) for parts in expected]


def test_a_link_to_a_file_is_one_and_a_link_to_a_folder_is_none(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.png").write_bytes(b"x")
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "2.png").symlink_to(tmp_path / "elsewhere" / "1.png")
    (raw / "folder").symlink_to(tmp_path / "elsewhere")
    (raw / "gone.png").symlink_to(tmp_path / "nowhere")
    assert names_below(raw) == ["2.png"]


@given(st.text("aB./é ", max_size=8).filter(lambda name: name.strip("/. ")))
def test_a_suffix_is_what_pathlib_says(name):
    name = "/".join(part for part in name.split("/") if part.strip(".")) or "a"
    assert suffix_of(name) == PurePosixPath(name).suffix.lower()


@pytest.mark.parametrize(
    ("source", "files"),
    [
        ("a/b.png", ("a/b.png",)),
        ("a#1.png", ("a#1.png",)),
        ("a.csv#bytes=0-3,5-9&field=1/3,", ("a.csv",)),
        ("a.parquet#row=7&field=image.bytes", ("a.parquet",)),
        ("a.en#bytes=0-3//b/c.es#bytes=0-4", ("a.en", "b/c.es")),
        ("a.txt//b.txt", ("a.txt", "b.txt")),
    ],
)
def test_a_source_says_which_files_it_lies_in(source, files):
    assert files_of(source) == files


def test_hidden_files_and_folders_are_left_out(tmp_path):
    for name in (".ipynb_checkpoints/1-checkpoint.png", "a/.hidden.png", "a/.thumbs/1.png", "a/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in files_below(tmp_path, frozenset({".png"}))] == ["1.png"]


def test_a_raw_folder_below_a_hidden_one_is_read(tmp_path):
    raw = tmp_path / ".dvc" / "tmp" / "exps" / "raw"
    raw.mkdir(parents=True)
    (raw / "1.png").write_bytes(b"x")
    assert len(files_below(raw, frozenset({".png"}))) == 1


def test_files_of_other_kinds_are_no_raw_data_fault(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"x")
    assert files_below(tmp_path, frozenset({".png"})) == []


@pytest.mark.parametrize("state", ["is empty", "does not exist"])
def test_no_raw_data_says_where_to_put_it(state, tmp_path):
    raw = tmp_path / "raw"
    if state == "is empty":
        raw.mkdir()
        (raw / ".gitignore").write_text("*")
    with pytest.raises(NoRawData, match=f"{raw} {state}") as caught:
        files_below(raw, frozenset({".png"}))
    assert f"put your data into {raw}/" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_a_bad_example(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(BadExample, match=r"^unreadable: Permission denied$"):
        load(tmp_path, "a.png")


@given(
    cells=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), min_size=1, max_size=5)
)
def test_a_field_of_a_csv_line_is_what_was_written(cells):
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerow(cells)
    for place, cell in enumerate(cells):
        assert pick(file.getvalue().encode(), f"{place}/{len(cells)},") == cell.encode()


def test_parts_of_many_files_are_read_with_a_mark_between(tmp_path):
    names = [f"{number}.txt" for number in range(6)]  # more than a shelf holds open
    for name in names:
        (tmp_path / name).write_text(f"in {name}")
    source = joined([byte_range(name, 3, 8) for name in names])
    assert files_of(source) == tuple(names)
    with Shelf(tmp_path) as shelf:
        for _ in range(2):
            assert shelf.load(source) == BETWEEN.join(name.encode() for name in names)
            assert len(shelf._files) <= 4
    assert not shelf._files


BAD_FIELDS = {
    "missing_field": (b'{"en": {"a": 1}}', "en"),
    "unreadable: not JSON": (b'{"en": ', "en"),
    "unreadable: its quotes": (b'"a"b,"c\n', "0/2,"),
    "extra_field": (b"a\tb\tc\n", "0/2\t"),
}


@pytest.mark.parametrize("reason", BAD_FIELDS)
def test_a_field_that_is_not_there_is_a_bad_example(reason):
    with pytest.raises(BadExample, match=f"^{reason}"):
        pick(*BAD_FIELDS[reason])


def test_a_field_is_read_from_its_record(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"translation": {"en": "one"}}\n{"translation": {"en": 2}}\n')
    source = field_of(byte_range("a.jsonl", 31, 57), "translation.en")
    assert load(tmp_path, source) == b"2"
    assert files_of(source) == ("a.jsonl",)
