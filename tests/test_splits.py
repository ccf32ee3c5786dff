"""Sides: a pure function of the group or the content."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway.config import Split
from sluiceway.data.splits import Sides, assign, read_time
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


FROZEN = ["train", "validation", "train", "train", "train", "train", "test", "train"]
