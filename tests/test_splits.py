"""Sides: a pure function of the group or the content."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway.config import Split
from sluiceway.data.splits import assign
from sluiceway.data.table import SPLITS

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


FROZEN = ["train", "validation", "train", "train", "train", "train", "test", "train"]
