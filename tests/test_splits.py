"""Sides: a pure function of the group or the content."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway.config import Split
from sluiceway.data.settled import read_settled, write_settled
from sluiceway.data.splits import Sides, assign, read_time, stratify
from sluiceway.data.table import SPLITS
from sluiceway.errors import ConfigError

KEYS = [f"key {number}" for number in range(20_000)]


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.2), (0.0, 0.5), (0.3, 0.05), (0.08, 0.2), (0.49, 0.5)])
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_shares_are_within_binomial_bounds(validation, test, seed):
    from scipy.stats import binom

    split = Split(validation=validation, test=test, seed=seed)
    found = [assign(key, split) for key in KEYS]
    for side, share in (("validation", validation), ("test", test), ("train", 1 - validation - test)):
        low, high = binom.ppf([1e-6, 1 - 1e-6], len(KEYS), share)
        assert low <= found.count(side) <= high


def test_no_share_means_no_example():
    assert "validation" not in {assign(key, Split(validation=0.0, test=0.5)) for key in KEYS}


@given(key=st.text(), seed=st.integers(0, 2**32 - 1), validation=st.floats(0, 0.49), test=st.floats(0.01, 0.5))
def test_every_key_has_one_side_and_keeps_it(key, seed, validation, test):
    split = Split(validation=validation, test=test, seed=seed)
    assert assign(key, split) in SPLITS
    assert assign(key, split) == assign(key, Split(validation=validation, test=test, seed=seed))


@given(key=st.text(), test=st.floats(0.01, 0.4), more=st.floats(0.0, 0.4))
def test_a_larger_test_share_takes_examples_but_gives_none_back(key, test, more):
    if assign(key, Split(validation=0.1, test=test)) == "test":
        assert assign(key, Split(validation=0.1, test=test + more)) == "test"


def test_seeds_give_unrelated_splits():
    one, other = (np.array([assign(key, Split(seed=seed)) == "test" for key in KEYS]) for seed in (0, 1))
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(len(KEYS))


def test_sides_are_frozen():
    """These never change: another assignment would move test examples into training."""
    split = Split(validation=0.3, test=0.3, seed=3)
    assert [assign(f"key {number}", split) for number in range(8)] == FROZEN


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1970-01-02", 86400.0),
        ("19700102", 86400.0),
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("19700101T000130", 90.0),
        ("19700101_000130", 90.0),
        (" 12.5 ", 12.5),
        ("-3e2", -300.0),
        ("1700000000", 1.7e9),
        ("00012345", 12345.0),
        ("2024", 2024.0),
        ("20240231", 20240231.0),
        ("2024-02-31", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("1_000", None),
    ],
)
def test_times_are_iso_or_numbers(text, time):
    assert read_time(text) == time


@given(key=st.text(), time=st.none() | st.floats(allow_nan=False))
def test_without_boundaries_time_decides_nothing(key, time):
    assert Sides(Split(seed=5)).of(key, time) == assign(key, Split(seed=5))
    assert not Sides(Split()).by_time


@given(key=st.text(), time=st.floats(-1e12, 1e12))
def test_time_decides_and_the_boundary_belongs_to_what_it_begins(key, time):
    sides = Sides(Split(validation_from="100", test_from="200"))
    expected = "test" if time >= 200 else "validation" if time >= 100 else "train"
    assert sides.of(key, time) == expected
    assert sides.of(key, None) is None
    assert [sides.of(key, edge) for edge in (99.9, 100.0, 200.0)] == ["train", "validation", "test"]


def test_with_a_test_boundary_alone_validation_is_shared_out_by_hash():
    sides = Sides(Split(validation=0.3, test=0.5, test_from="1970-01-02"))
    assert {sides.of(key, 86400.0) for key in KEYS} == {"test"}
    before = [sides.of(key, 0.0) for key in KEYS]
    assert set(before) == {"train", "validation"}
    assert abs(before.count("validation") / len(KEYS) - 0.3) < 0.02
    assert before == [sides.of(key, 1.0) for key in KEYS]


@pytest.mark.parametrize(
    ("boundaries", "named"),
    [
        ({"test_from": "soon"}, "data.split.test_from"),
        ({"validation_from": "2024-13-01", "test_from": "2024-12-01"}, "data.split.validation_from"),
        ({"validation_from": "2024-02-01", "test_from": "2024-01-01"}, "is after test_from"),
    ],
)
def test_boundaries_that_cannot_be_meant_are_told(boundaries, named):
    with pytest.raises(ConfigError, match=named) as caught:
        Sides(Split(**boundaries))
    assert caught.value.hint


# Each class on every side


KEY = st.integers(0, 400).map("key {}".format)
CLASSES = st.frozensets(st.sampled_from("abcde"), min_size=1, max_size=2)
SPLIT = Split(validation=0.1, test=0.2)


def sides_by_class(classes, settled, split=SPLIT):
    sides, found = Sides(split, settled), {}
    for key, names in classes.items():
        for name in names:
            found.setdefault(name, []).append(sides.of(key, None))
    return found


@given(labels=st.dictionaries(KEY, st.sampled_from("abcde"), max_size=40), seed=st.integers(0, 99))
def test_each_class_with_three_examples_is_on_every_side(labels, seed):
    split = Split(validation=0.1, test=0.2, seed=seed)
    classes = {key: {name} for key, name in labels.items()}
    moves = stratify(classes, split, {})
    for name, sides in sides_by_class(classes, moves, split).items():
        if len(sides) >= 3:
            assert set(sides) == set(SPLITS), name
        else:
            assert not moves.keys() & {key for key in classes if name in classes[key]}
    assert all(assign(key, split) != side for key, side in moves.items())
    assert stratify(classes, split, moves) == {}
    assert len(moves) <= 2 * len(set(labels.values()))


@given(
    before=st.dictionaries(KEY, CLASSES, max_size=30),
    more=st.dictionaries(KEY, CLASSES, max_size=30),
    later=st.dictionaries(KEY, CLASSES, max_size=30),
)
def test_nobody_of_a_registered_version_changes_sides(before, more, later):
    """Versions of the data one after the other, with a model registered of each: by the list, all keep their sides."""
    settled, known = {}, {}
    for added in (before, more, later):
        data = known | {key: names for key, names in added.items() if key not in known}
        sides = Sides(SPLIT, settled)
        old = {key: sides.of(key, None) for key in known}
        settled |= (moves := stratify(data, SPLIT, settled, known.keys()))
        assert not moves.keys() & known.keys()
        now = Sides(SPLIT, settled)
        assert {key: now.of(key, None) for key in old} == old
        known = data


@given(classes=st.dictionaries(KEY, CLASSES, max_size=30))
def test_no_class_loses_a_side(classes):
    """With groups or several labels, where one moves with another."""
    before = sides_by_class(classes, {})
    after = sides_by_class(classes, stratify(classes, SPLIT, {}))
    for name, sides in before.items():
        assert set(sides) <= set(after[name])


def test_those_are_moved_whose_hash_is_nearest():
    rare = [key for key in KEYS if assign(key, SPLIT) == "train"][:50]
    moves = stratify({key: {"rare"} for key in rare}, SPLIT, {})
    assert set(moves.values()) == {"validation", "test"}
    wider = {key: assign(key, Split(validation=0.2, test=0.3)) for key in rare}
    assert all(wider[key] != "train" for key in moves)


def test_sides_that_were_written_down_are_read_again(tmp_path):
    sides = {"key 2": "test", 'a "group", of two': "validation", "0a1b": "train"}
    write_settled(sides, tmp_path / "sides" / "p.csv")
    assert read_settled(tmp_path / "sides" / "p.csv") == sides
    assert read_settled(tmp_path / "none.csv") == {}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("key\na\n", "line 1: found key"),
        ("key,side\na,left\n", "row 2"),
        ("key,side\na\n", "row 2"),
        ("key,side\n,test\n", "row 2"),
        ("key,side\na,test\na,train\n", "a is on test already"),
        ('key,side\n"a,test\n', "cannot be read"),
        ("", "cannot be read"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_list_of_sides_that_cannot_be_meant_is_told(text, named, tmp_path):
    (tmp_path / "p.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=named) as caught:
        read_settled(tmp_path / "p.csv")
    assert caught.value.hint


FROZEN = ["train", "validation", "train", "train", "train", "train", "test", "train"]
