"""From the raw folder to the example table: raw = accepted + quarantined, whatever lies there."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway.config import DataParams, Split
from sluiceway.data.measuring import measure_all
from sluiceway.data.sources import checksum
from sluiceway.data.splits import assign
from sluiceway.data.table import BadExample, Example, read_table, schema, write_table

PARAMS = DataParams(split=Split(validation=0.2, test=0.3, seed=4))
KINDS = ("good", "bad", "empty", "missing")


def measure(payload, params):
    assert params is PARAMS
    if payload.startswith(b"bad"):
        raise BadExample("blank", "made to be bad")
    return {"size": len(payload)}


def lay_out(raw, kinds):
    """Write a file for each kind of example and list them: ids may repeat."""
    for number, (kind, *_) in enumerate(kinds):
        content = {"good": b"good %d", "bad": b"bad %d", "empty": b""}.get(kind)
        if content is not None:
            (raw / f"{number}.bin").write_bytes(content % number if content else b"")
    return [
        Example(id=name, source=f"{number}.bin", target="t", group=group, split=split)
        for number, (_, name, group, split) in enumerate(kinds)
    ]


def run(raw, examples):
    seen = []
    result = measure_all(raw, iter(examples), measure, PARAMS, seen.append)
    assert seen == list(range(1, len(examples) + 1))
    return result


MIXTURES = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.sampled_from("abcdefghijklmnopqrst"),
        st.sampled_from([None, None, "g1", "g2", "g3"]),
        st.sampled_from([None, None, "train", "test"]),
    ),
    max_size=30,
)


@settings(max_examples=80)
@given(kinds=MIXTURES)
def test_raw_is_accepted_and_quarantined(kinds, tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    examples = lay_out(raw, kinds)
    accepted, quarantined = run(raw, examples)

    expected_good, expected_bad, ids = [], [], set()
    reasons = {"bad": "blank", "empty": "empty", "missing": "unreadable"}
    for (kind, name, *_), example in zip(kinds, examples, strict=True):
        reason = "repeated_id" if name in ids else reasons.get(kind)
        ids.add(name)
        if reason:
            expected_bad.append((example.source, reason))
        else:
            expected_good.append(example.source)
    assert [row["source"] for row in accepted] == expected_good
    assert [(row["source"], row["reason"].split(":")[0]) for row in quarantined] == expected_bad
    assert len(accepted) + len(quarantined) == len(kinds)
    assert len({row["id"] for row in accepted}) == len(accepted)


@settings(max_examples=40)
@given(kinds=MIXTURES)
def test_sides_are_given_or_follow_from_group_or_content(kinds, tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    accepted, _ = run(raw, lay_out(raw, kinds))
    for row in accepted:
        number = int(row["source"].removesuffix(".bin"))
        _, _, group, split = kinds[number]
        payload = (raw / row["source"]).read_bytes()
        assert row["checksum"] == checksum(payload)
        assert row["size"] == len(payload)
        assert row["split"] == (split or assign(group or checksum(payload), PARAMS.split))
    for group in ("g1", "g2", "g3"):
        assert (
            len({row["split"] for row in accepted if row["group"] == group and not kinds[int(row["source"][:-4])][3]})
            < 2
        )


def test_adding_data_moves_no_example(tmp_path):
    kinds = [("good", f"id{number}", None, None) for number in range(200)]
    few, _ = run(tmp_path, lay_out(tmp_path, kinds[:100]))
    sides = {row["checksum"]: row["split"] for row in few}
    more, _ = run(tmp_path, lay_out(tmp_path, kinds)[::-1])
    assert len({*sides.values()}) == 3
    shared = [row for row in more if row["checksum"] in sides]
    assert len(shared) == len(few)
    assert all(row["split"] == sides[row["checksum"]] for row in shared)


def test_copies_share_a_side(tmp_path):
    for number in range(50):
        (tmp_path / f"{number}.bin").write_bytes(b"good %d" % (number // 2))
    accepted, _ = run(tmp_path, [Example(id=str(n), source=f"{n}.bin") for n in range(50)])
    sides = [row["split"] for row in accepted]
    assert sides[::2] == sides[1::2]
    assert len(set(sides)) == 3


def test_an_empty_reader_gives_two_empty_tables(tmp_path):
    assert run(tmp_path, []) == ([], [])


def test_another_error_is_not_hidden_in_the_quarantine(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"good")

    def broken(payload, params):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measure_all(tmp_path, iter([Example(id="a", source="a.bin")]), broken, PARAMS, lambda number: None)


def test_rows_fit_the_tables(tmp_path):
    kinds = [(kind, f"{kind}{number % 3}", None, None) for number in range(5) for kind in KINDS]
    accepted, quarantined = run(tmp_path, lay_out(tmp_path, kinds))
    measures = {"size": "integer"}
    write_table(accepted, schema(measures), tmp_path / "examples.parquet")
    write_table(quarantined, schema(measures, quarantine=True), tmp_path / "quarantine.parquet")
    assert read_table(tmp_path / "examples.parquet").to_pylist() == accepted
    back = read_table(tmp_path / "quarantine.parquet").to_pylist()
    assert [row["reason"] for row in back] == [row["reason"] for row in quarantined]
    assert {row["size"] for row in back} == {None}
    write_table(accepted, schema(measures), tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "examples.parquet").read_bytes()
