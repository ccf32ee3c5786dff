"""Raw data as people have it: every layout of docs/layouts.md, lists, paths from elsewhere, and the rest."""

import csv
import gzip
import io
import json
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from projects import ROOT
from sluiceway.data.lists import open_list
from sluiceway.data.sources import load
from sluiceway.data.table import BadExample
from sluiceway.errors import UnknownLayout
from sluiceway.usecases import BUILT_IN, find, targets_of
from sluiceway.usecases.image.params import ImageData
from sluiceway.usecases.likeness import likest, with_likeness
from sluiceway.usecases.recommendation.params import InteractionData
from sluiceway.usecases.text_generation.layouts import read as read_text
from sluiceway.usecases.text_generation.params import TextData
from support import image_bytes

IMAGE = find("image", ROOT)


# Contents in Parquet files.


def hub(labels, names=None, paths=None, **columns):
    """A table as the `datasets` library writes it, with a picture in each row."""
    pictures = [{"bytes": content("x.png", n), "path": paths[n] if paths else None} for n in range(len(labels))]
    table = pa.table({"image": pa.array(pictures), "label": labels, **columns})
    if names is None:
        return table
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def test_contents_in_parquet_are_read_by_the_names_of_their_classes(tmp_path):
    pq.write_table(hub([1, 0, 1, None], ["cat", "dog"]), tmp_path / "all.parquet", row_group_size=2)
    found = list(IMAGE.read(tmp_path, ImageData()))
    assert [(each.id, each.target) for each in found[:3]] == [
        ("all.parquet#0", "dog"),
        ("all.parquet#1", "cat"),
        ("all.parquet#2", "dog"),
    ]
    assert found[3].fault == "no_target: row 4 of all.parquet has no label"
    assert [load(tmp_path, each.source) for each in found] == [content("x.png", n) for n in range(4)]
    with pytest.raises(BadExample, match=r"truncated: all\.parquet has no row 9"):
        load(tmp_path, found[0].source.replace("#row=0", "#row=9"))


@pytest.mark.parametrize("paths", [["a.png", "a.png", "b.png"], ["a.png", None, "b.png"]])
def test_a_content_is_called_by_its_path_only_where_that_says_which(tmp_path, paths):
    pq.write_table(hub(["x", "y", "x"], paths=["1.png", "2.png", "3.png"]), tmp_path / "all.parquet")
    assert [each.id for each in IMAGE.read(tmp_path, ImageData())] == ["1.png", "2.png", "3.png"]
    pq.write_table(hub(["x", "y", "x"], paths=paths), tmp_path / "all.parquet")
    assert [each.id for each in IMAGE.read(tmp_path, ImageData())] == [f"all.parquet#{n}" for n in range(3)]


def test_what_parquet_says_around_a_content_is_read(tmp_path):
    side = ["train", "test", "train"]
    pq.write_table(
        hub(["x", "y", "x"], split=side, patient=["p", "q", "p"], day=["2024-01-01", "soon", None]),
        tmp_path / "a.parquet",
    )
    one, two, three = IMAGE.read(tmp_path, ImageData(time_column="day"))
    assert [each.split for each in (one, two, three)] == side
    assert (one.group, one.time, three.time) == ("p", 1704067200.0, None)
    assert two.fault.startswith("bad_time: row 2 of a.parquet: 'soon'")


def test_plain_bytes_are_contents_and_missing_ones_are_told(tmp_path):
    pq.write_table(
        pa.table({"png": [content("x.png", 1), None, b""], "label": ["a", "b", "a"]}), tmp_path / "a.parquet"
    )
    good, gone, empty = IMAGE.read(tmp_path, ImageData())
    assert load(tmp_path, good.source) == content("x.png", 1)
    with pytest.raises(BadExample, match="missing_field"):
        load(tmp_path, gone.source)
    with pytest.raises(BadExample, match="empty"):
        load(tmp_path, empty.source)


def test_packed_contents_that_are_not_understood_are_told_with_the_nearest(tmp_path):
    pictures = pa.array([{"bytes": content("x.png", 1), "path": None}])
    pq.write_table(pa.table({"image": pictures, "lable": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(
        UnknownLayout, match=r"contents in the column image, and no column label or class: found lable"
    ) as caught:
        list(IMAGE.read(tmp_path, ImageData()))
    assert "did you mean 'lable'" in caught.value.hint
    assert [each.target for each in IMAGE.read(tmp_path, ImageData(label="lable"))] == ["a"]
    pq.write_table(pa.table({"left": pictures, "right": pictures, "label": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(UnknownLayout, match="contents in the columns left, right") as caught:
        list(IMAGE.read(tmp_path, ImageData()))
    assert "data.path" in caught.value.hint
    (example,) = IMAGE.read(tmp_path, ImageData(path="right"))
    assert example.source == "a.parquet#row=0&field=right.bytes"


# The page.


@dataclass(frozen=True)
class Layout:
    """A block of the page."""

    params: dict
    count: int
    sided: bool
    tree: str


def layouts():
    text = (ROOT / "docs" / "layouts.md").read_text(encoding="utf-8")
    pairs = re.findall(r"```yaml\n(.*?)```\n\n```text\n(.*?)```", text, re.DOTALL)
    assert len(pairs) == text.count("```yaml") >= 20
    for params, tree in pairs:
        said = re.search(r"# (\d+) examples(, with sides)?", params)
        yield Layout(YAML(typ="safe", pure=True).load(params), int(said[1]), bool(said[2]), tree)


LAYOUTS = list(layouts())


def sound(seed):
    file = io.BytesIO()
    wave = np.sin(np.arange(4000) * (0.05 + 0.01 * seed)) * 0.5
    soundfile.write(file, wave, 16_000, format="WAV")
    return file.getvalue()


def content(name, seed):
    if name.endswith((".jpg", ".png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        return image_bytes(pixels, "JPEG" if name.endswith(".jpg") else "PNG")
    return sound(seed)


def build(raw, tree):
    """Make the files of a block."""
    files = {}
    for line in tree.splitlines():
        name, bar, said = line.partition("| ") if "|" in line and not line.startswith("cat|") else (line, "", "")
        name = name.rstrip().removesuffix("|").rstrip()
        if name:
            files[name] = [said] if bar else None
        else:
            files[list(files)[-1]].append(said)
    for seed, (name, lines) in enumerate(files.items()):
        path = raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{line}\n" for line in lines or [])
        if lines is None:
            path.write_bytes(content(name, seed))
        elif path.suffix == ".parquet":
            write_rows(list(csv.DictReader(io.StringIO(text))), path, seed)
        else:
            path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def write_rows(rows, path, seed):
    """Write a Parquet file; a column ``image.bytes`` is a field of a struct, and ``<png>`` is the content of a file."""
    if not any("." in name for name in rows[0]):
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
        return
    table = []
    for number, row in enumerate(rows):
        found = {}
        for name, value in row.items():
            outer, _, inner = name.partition(".")
            value = content(f"x.{value[1:-1]}", 10 * seed + number) if value[:1] == "<" else value
            found |= {outer: found.get(outer, {}) | {inner: value}} if inner else {outer: value}
        table.append(found)
    pq.write_table(pa.Table.from_pylist(table), path, row_group_size=2)


@pytest.fixture
def photos():
    """What the page's index of URIs names."""
    import fsspec

    system = fsspec.filesystem("memory")
    for number in (1, 2):
        system.pipe_file(f"/photos/{number}.jpg", content("x.jpg", number))
    yield
    system.store.clear()


def usecase_of(layout):
    return find(layout.params["usecase"], ROOT, layout.params.get("target"))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.tree.partition("\n")[0].partition(" |")[0])
def test_every_layout_of_the_page_is_read(layout, tmp_path, photos):
    raw = tmp_path / "raw"
    build(raw, layout.tree)
    usecase = usecase_of(layout)
    data = usecase.data.model_validate(layout.params.get("data", {}))
    examples = list(usecase.read(raw, data))
    assert [each.fault for each in examples] == [None] * layout.count
    assert len({each.id for each in examples}) == layout.count
    for example in examples:
        assert usecase.measure(load(raw, example.source), data).keys() == usecase.measures.keys()
        if usecase.target != "none":
            assert example.target is not None
    sides = {each.split for each in examples}
    if layout.sided:
        assert {"train", "test"} <= sides <= {"train", "validation", "test"}
    elif usecase.name in ("image", "speech"):
        assert sides == {None}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.tree.partition("\n")[0].partition(" |")[0])
def test_under_another_use_case_the_right_one_is_named(layout, tmp_path, photos):
    build(tmp_path, layout.tree)
    if layout.params.get("data"):  # needs options of its own: no reader understands it without
        return
    right = layout.params["usecase"]
    asked = 0
    for name in BUILT_IN:
        for usecase in targets_of(name, ROOT).values() if name != right else ():
            try:
                if list(usecase.read(tmp_path, usecase.data())):
                    continue  # an index of URIs may be of anything
            except UnknownLayout as error:
                answer = with_likeness(error, tmp_path, ROOT, usecase)
                assert f"usecase: {right}" in answer.hint
                assert re.search(r"found|its (header|columns)", answer.message)
                assert "expected" in answer.hint
                asked += 1
    assert asked or "url" in layout.tree


def test_a_table_that_fits_but_for_names_of_columns_is_first_asked_for_those(tmp_path):
    path = tmp_path / "ratings.tsv"
    path.write_text("customer\tarticle\tstars\twhen\n1\t7\t5\t10\n2\t8\t4\t11\n")
    usecase = targets_of("recommendation", ROOT)["text"]
    with pytest.raises(UnknownLayout) as told:
        list(usecase.read(tmp_path, usecase.data()))
    hint = with_likeness(told.value, tmp_path, ROOT, usecase).hint
    assert hint.startswith("set data.item_column and data.time_column, or name")
    assert "or, if that is what it is, this looks like data for `usecase: text" in hint


def test_what_nobody_understands_is_like_nothing(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"x")
    assert likest(tmp_path, ROOT) == ""


# Lists


VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12).map(str.strip)


def plain(text):
    return re.sub(r'[\t"]', "", text).strip()


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=6), bom=st.booleans(), mark=st.sampled_from(",;\t")
)
def test_every_kind_of_list_says_the_same(rows, bom, mark, tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    rows = [(f"{at}{plain(name)}", plain(text)) for at, (name, text) in enumerate([*rows, ("a", "b")])]
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=mark, lineterminator="\n").writerows([("name", "text"), *rows])
    start = "\ufeff" if bom else ""
    suffix = "tsv" if mark == "\t" else "csv"
    (raw / f"a.{suffix}").write_text(start + file.getvalue(), encoding="utf-8")
    objects = [json.dumps({"name": name, "text": text}, ensure_ascii=False) for name, text in rows]
    (raw / "b.jsonl").write_text(start + "\n".join(objects), encoding="utf-8")
    pl.DataFrame(rows, schema=["name", "text"], orient="row").write_parquet(raw / "c.parquet", row_group_size=2)
    (raw / "d.jsonl.gz").write_bytes(gzip.compress("\n".join(objects).encode()))
    for path in sorted(raw.iterdir()):
        table = open_list(path, raw)
        assert table.columns == ("name", "text")
        found = [(record.text("name"), record.text("text")) for record in table.records()]
        assert found == [(name, text or None) for name, text in rows]
        for record, (name, _) in zip(table.records(), rows, strict=True):
            assert load(raw, table.field(record, "name")).decode() == name


def test_a_quoted_field_may_hold_lines_and_marks(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'name,text\r\nx,"one, ""two""\r\nthree"\r\n\r\ny,z\r\n')
    table = open_list(tmp_path / "a.csv", tmp_path)
    records = list(table.records())
    assert [record.place for record in records] == ["line 2 of a.csv", "line 5 of a.csv"]
    assert records[0].values["text"] == 'one, "two"\r\nthree'
    assert load(tmp_path, table.field(records[0], "text")).decode() == records[0].values["text"]
    assert load(tmp_path, table.field(records[1], "text")) == b"z"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('name,text\nx,"open\ny,z\n', "quotation mark that opens in line 2 is never closed"),
        ("name,label\rx,cat\ry,dog\r", "ends its lines with carriage returns alone"),
        (b"\xff\xfen\x00a\x00", "is UTF-16, not UTF-8"),
        (b"n\xe4me,label\n", "is not UTF-8 text"),
    ],
)
def test_a_list_that_cannot_be_read_is_told(content, message, tmp_path):
    (tmp_path / "metadata.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "1.png").write_bytes(b"x")
    with pytest.raises(UnknownLayout, match=message) as caught:
        list(open_list(tmp_path / "metadata.csv", tmp_path).records())
    assert caught.value.hint


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1.png,rose,x", "extra_field: line 3 of metadata.csv has 3 fields, and the header has 2"),
        ("1.png", "missing_field: line 3"),
        (",rose", "missing_field: line 3 of metadata.csv has no file_name"),
        ("1.png,", "no_target: line 3 of metadata.csv has no label"),
    ],
)
def test_a_bad_record_is_set_aside_and_the_others_stay(line, reason, tmp_path):
    build(tmp_path, f"metadata.csv | file_name,label\n | 0.png,rose\n | {line}\n | 2.png,tulip\n0.png\n1.png\n2.png\n")
    examples = list(IMAGE.read(tmp_path, ImageData(unlisted="ignore")))
    assert [each.fault is None for each in examples] == [True, False, True]
    assert examples[1].fault.startswith(reason)


def test_a_file_that_is_not_there_and_one_that_is_not_listed_are_set_aside(tmp_path):
    build(tmp_path, "metadata.csv | file_name,label\n | 0.png,rose\n | gone.png,tulip\n0.png\n1.png\n")
    good, gone, unlisted = IMAGE.read(tmp_path, ImageData())
    assert (good.fault, gone.id) == (None, "gone.png")
    with pytest.raises(BadExample, match="unreadable: No such file"):
        load(tmp_path, gone.source)
    assert (unlisted.id, unlisted.fault) == ("1.png", "not_listed: no list says what it is")


def test_a_list_cannot_lead_out_of_the_raw_folder(tmp_path):
    raw = tmp_path / "raw"
    build(tmp_path, "secret.png\nraw/0.png\nraw/metadata.csv | file_name,label\n | 0.png,a\n | ../secret.png,b\n")
    _, out = IMAGE.read(raw, ImageData())
    with pytest.raises(BadExample, match="unreadable"):
        load(raw, out.source)


def test_a_table_of_something_else_may_lie_there(tmp_path):
    build(tmp_path, "classes.csv | id,label\n | 0,rose\n | 1,tulip\nrose/1.png\ntulip/2.png\n")
    assert [(each.id, each.target) for each in IMAGE.read(tmp_path, ImageData())] == [
        ("rose/1.png", "rose"),
        ("tulip/2.png", "tulip"),
    ]


def test_a_broken_record_does_not_break_the_sides(tmp_path):
    tree = "metadata.csv | file_name,label,split\n | 0.png,a,train\n | oh no\n | 1.png,b,test\n0.png\n1.png\n"
    build(tmp_path, tree)
    assert [each.split for each in IMAGE.read(tmp_path, ImageData())] == ["train", None, "test"]


# Paths


@pytest.mark.parametrize(
    ("named", "lies"),
    [
        ("{}.png", "{}.png"),
        ("{}", "{}.png"),
        ("{}.png", "photos/{}.png"),
        ("photos/{}.png", "{}.png"),
        ("photos/{}", "new/photos/{}.png"),
        ("old/deep/{}.png", "new/{}.png"),
        ("./{}.png", "{}.png"),
        ("photos\\{}.png", "photos/{}.png"),
    ],
)
def test_paths_are_meant_by_one_rule(named, lies, tmp_path):
    tree = "metadata.csv | file_name,label\n" + "".join(f" | {named.format(at)},c{at}\n" for at in range(3))
    build(tmp_path, tree + "".join(f"{lies.format(at)}\n" for at in range(3)))
    found = {each.id: each.target for each in IMAGE.read(tmp_path, ImageData())}
    assert found == {lies.format(at): f"c{at}" for at in range(3)}


def test_a_missing_file_is_not_taken_for_another_of_its_name(tmp_path):
    build(tmp_path, "metadata.csv | file_name,label\n | a/1.png,x\n | b/1.png,y\n | b/2.png,y\na/1.png\nc/2.png\n")
    found = [(each.id, each.target) for each in IMAGE.read(tmp_path, ImageData(unlisted="ignore"))]
    assert found == [("a/1.png", "x"), ("b/1.png", "y"), ("b/2.png", "y")]


@pytest.mark.parametrize("far", ["/mnt/photos/", "C:\\photos\\"])
def test_paths_of_another_machine_are_answered_with_what_to_strip(far, tmp_path):
    build(tmp_path, f"metadata.csv | file_name,label\n | {far}a/1.png,x\n | {far}b/1.png,y\na/1.png\nb/1.png\n")
    with pytest.raises(UnknownLayout, match="a path of another machine") as caught:
        list(IMAGE.read(tmp_path, ImageData()))
    strip = re.search(r"data.strip: '([^']*)'", caught.value.hint)[1]
    assert [each.target for each in IMAGE.read(tmp_path, ImageData(strip=strip))] == ["x", "y"]


# Sides that are given


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["train", "", "test"], "line 3 of metadata.csv says none"),
        (["train", "eval", "test"], "line 3 of metadata.csv says 'eval'"),
        (["train", "train", "val"], "put none into test"),
    ],
)
def test_half_a_split_in_a_column_is_told(column, message, tmp_path):
    rows = "".join(f" | {at}.png,a,{side}\n" for at, side in enumerate(column))
    build(tmp_path, f"metadata.csv | file_name,label,split\n{rows}0.png\n1.png\n2.png\n")
    with pytest.raises(UnknownLayout, match=message) as caught:
        list(IMAGE.read(tmp_path, ImageData()))
    assert "split_column: ''" in caught.value.hint
    assert {each.split for each in IMAGE.read(tmp_path, ImageData(split_column=""))} == {None}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/a/1.png", "val/a/2.png"], "folders train, val, and no test"),
        (["val/a/1.png", "test/a/2.png"], "folders test, val, and no train"),
        (["train/a/1.png", "test/a/2.png", "more/a/3.png"], "more beside them"),
        (["train/a/1.png", "train/b/2.png"], "lie in train/, which names a side, and no other side"),
    ],
)
def test_half_a_split_in_folders_is_told(names, message, tmp_path):
    build(tmp_path, "\n".join(names))
    with pytest.raises(UnknownLayout, match=message) as caught:
        list(IMAGE.read(tmp_path, ImageData()))
    assert "nearest: " in caught.value.hint


def test_a_class_may_be_called_train(tmp_path):
    build(tmp_path, "train/1.png\nplane/2.png\n")
    assert Counter(each.target for each in IMAGE.read(tmp_path, ImageData())) == {"train": 1, "plane": 1}


def test_unlabelled_files_of_a_contest_may_be_ignored(tmp_path):
    build(tmp_path, "train.csv | id,label\n | 1,a\n | 2,b\ntrain/1.png\ntrain/2.png\ntest/3.png\n")
    found = list(IMAGE.read(tmp_path, ImageData(unlisted="ignore")))
    assert [(each.id, each.target) for each in found] == [("train/1.png", "a"), ("train/2.png", "b")]
    assert {each.split for each in found} == {None}


# Groups and times


def test_groups_and_times_come_from_columns(tmp_path):
    build(tmp_path, "a.csv | path,label,speaker,day\n | 1.png,a,ann,2024-01-31\n | 2.png,b,,soon\n1.png\n2.png\n")
    one, two = IMAGE.read(tmp_path, ImageData(time_column="day"))
    assert (one.group, one.time, one.fault) == ("ann", 1706659200.0, None)
    assert (two.group, two.time) == (None, None)
    assert two.fault.startswith("bad_time: line 3 of a.csv: 'soon'")
    assert {each.group for each in IMAGE.read(tmp_path, ImageData(group_column=""))} == {None}
    assert {each.group for each in IMAGE.read(tmp_path, ImageData(group="^(.)"))} == {None}  # the id says it
    for options in ({"group": "^(.)", "group_column": "patient"}, {"time": "^(.)", "time_column": "when"}):
        with pytest.raises(ValidationError, match=r"both say where the (group|time) is found: give one of them"):
            ImageData(**options)


def test_a_text_without_its_column_is_told(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"txt": "x"}\n')
    with pytest.raises(UnknownLayout, match=r"no text below .*a.jsonl has the columns txt") as caught:
        list(read_text(tmp_path, TextData()))
    assert "data.text_column" in caught.value.hint
    with pytest.raises(UnknownLayout, match="has no column body") as caught:
        list(read_text(tmp_path, TextData(text_column="body")))
    assert [load(tmp_path, each.source) for each in read_text(tmp_path, TextData(text_column="txt"))] == [b"x"]


def test_a_broken_record_of_text_is_set_aside(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{"text": \n{"text": 3}\n[]\n')
    good, *bad = read_text(tmp_path, TextData())
    assert good.fault is None
    assert [each.fault.partition(":")[0] for each in bad] == ["unreadable", "missing_field", "unreadable"]


def test_ratings_in_parquet_lack_a_column(tmp_path):
    pl.DataFrame({"user": [1], "item": [2]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UnknownLayout, match="no column for the time: its columns are user, item"):
        list(find("recommendation", ROOT).read(tmp_path, InteractionData()))


def test_options_that_only_decide_what_is_listed_let_nothing_be_measured_again():
    from types import SimpleNamespace

    from sluiceway.stages.recall import _parameters

    for name in BUILT_IN:
        for usecase in targets_of(name, ROOT).values():
            assert usecase.data.listing <= usecase.data.model_fields.keys()

    def key(**options):
        params = SimpleNamespace(data=ImageData(**options))
        return _parameters(SimpleNamespace(params=params, usecase=IMAGE))

    assert key(label="kind", unlisted="ignore", list="a.csv", group="(a)") == key()
