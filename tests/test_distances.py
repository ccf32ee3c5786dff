"""Distances of distributions against scipy; corrected probabilities by hand; likeness and worth of built cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import kolmogorov
from scipy.stats import chi2_contingency, fisher_exact, ks_2samp

from sluiceway.checks.distances import (
    holm,
    kolmogorov_smirnov,
    largest_gap,
    likeness,
    shifted_shares,
    total_variation,
    worth,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def evenly(one, other):
    """Two samples of independent examples that all count the same."""
    return one, other, np.ones(len(one)), np.ones(len(other)), float(len(one)), float(len(other))


# Numbers.


@pytest.mark.parametrize(("first", "second"), [(200, 300), (1_000, 50), (3_000, 3_000)])
@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0])
def test_kolmogorov_smirnov_is_that_of_scipy(rng, first, second, shift):
    one, other = rng.normal(size=first), rng.normal(shift, 1, second)
    expected = ks_2samp(one, other, method="asymp")
    distance, probability = kolmogorov_smirnov(*evenly(one, other))
    assert distance == pytest.approx(expected.statistic)
    # Of many examples; of fewer, scipy's own is the sharper one.
    assert np.log10(max(probability, 1e-12)) == pytest.approx(np.log10(max(expected.pvalue, 1e-12)), rel=0.1, abs=0.2)
    assert probability >= 0.9 * expected.pvalue


def test_ties_and_missing_values_count(rng):
    one, other = rng.integers(5, size=400).astype(float), rng.integers(5, size=300).astype(float)
    other[:60] = -np.inf
    assert kolmogorov_smirnov(*evenly(one, other))[0] == pytest.approx(ks_2samp(one, other).statistic)
    assert kolmogorov_smirnov(*evenly(one, np.full(50, -np.inf)))[0] == 1.0
    assert kolmogorov_smirnov(*evenly(one, one)) == (0.0, 1.0)


def test_a_weight_of_two_is_an_example_twice(rng):
    one, other = rng.normal(size=100), rng.normal(size=80)
    weights = rng.integers(1, 4, 100)
    weighed = kolmogorov_smirnov(one, other, weights.astype(float), np.ones(80), 50.0, 80.0)
    repeated = kolmogorov_smirnov(np.repeat(one, weights), other, np.ones(weights.sum()), np.ones(80), 50.0, 80.0)
    assert weighed == pytest.approx(repeated)


def test_fewer_independent_examples_prove_less(rng):
    one, other = rng.normal(size=500), rng.normal(0.2, 1, 500)
    given_all, given_few = (
        kolmogorov_smirnov(one, other, np.ones(500), np.ones(500), size, size) for size in (500.0, 50.0)
    )
    assert given_all[0] == given_few[0]
    assert given_all[1] < 0.05 < given_few[1]
    assert given_few[1] == pytest.approx(kolmogorov(5 * given_few[0]))


def test_the_largest_gap_says_on_which_side_there_is_too_much(rng):
    usual = rng.normal(size=2_000)
    place, below = largest_gap(usual, np.concatenate([usual[:1_400], rng.normal(9, 0.1, 600)]))
    assert (2 < place < 9, below) == (True, False)
    place, below = largest_gap(usual, np.concatenate([usual[:1_400], rng.normal(-9, 0.1, 600)]))
    assert (-9.5 < place < -2, below) == (True, True)


def test_the_largest_gap_by_hand():
    """At 0, three of four are there and only one of four was: at 1, it is less."""
    assert largest_gap(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 0.0, 0.0, 3.0])) == (0.0, True)
    assert largest_gap(np.array([0.0, 0.0, 0.0, 3.0]), np.array([0.0, 1.0, 2.0, 3.0])) == (0.0, False)


# Categories.


@pytest.mark.parametrize("values", [2, 5, 40])
@pytest.mark.parametrize("moved", [0.0, 0.1])
def test_total_variation_has_the_probability_of_chi_squared(rng, values, moved):
    shares = np.full(values, 1 / values)
    apart = shares.copy()
    apart[0], apart[1] = apart[0] * (1 - moved), apart[1] + apart[0] * moved
    counts = np.array([rng.multinomial(3_000, shares), rng.multinomial(2_000, apart)])
    one, other = counts / counts.sum(1, keepdims=True)
    distance, probability = total_variation(one, other, 3_000.0, 2_000.0)
    assert probability == pytest.approx(chi2_contingency(counts, correction=False).pvalue, rel=1e-6)
    assert 0 <= distance <= np.abs(one - other).sum() / 2


def test_what_chance_lets_expect_is_taken_off(rng):
    """Of many values and few examples, two samples of the same look far apart."""
    shares = np.full(40, 1 / 40)
    plain, left = [], []
    for _ in range(200):
        one, other = rng.multinomial(400, shares) / 400, rng.multinomial(400, shares) / 400
        plain.append(np.abs(one - other).sum() / 2)
        left.append(total_variation(one, other, 400.0, 400.0)[0])
    assert np.mean(plain) > 0.15
    assert np.mean(left) < 0.05


def test_a_large_distance_is_hardly_corrected():
    distance, probability = total_variation(np.array([0.9, 0.1]), np.array([0.2, 0.8]), 1_000.0, 1_000.0)
    assert distance == pytest.approx(0.7, abs=0.01)
    assert probability < 1e-100


def test_rare_values_are_one_value():
    one, other = np.array([0.9, *[0.001] * 100]), np.array([0.9, *[0.0] * 50, *[0.002] * 50])
    assert total_variation(one, other, 1_000.0, 1_000.0)[0] == 0.0  # 10 % rare ones in both
    assert total_variation(np.array([1.0]), np.array([1.0]), 50.0, 50.0) == (0.0, 1.0)


def test_probabilities_of_chi_squared_are_even_under_the_null(rng):
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    found = [
        total_variation(rng.multinomial(500, shares) / 500, rng.multinomial(200, shares) / 200, 500.0, 200.0)[1]
        for _ in range(1_000)
    ]
    assert np.mean(np.array(found) < 0.1) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(("first", "second"), [((3, 7), (9, 91)), ((1, 999), (0, 60_000)), ((0, 60), (12, 88))])
def test_a_rare_value_has_the_probability_of_fisher(first, second):
    """The second: one of a thousand is gone from sixty thousand, which a normal error takes for proof."""
    one, other = (np.array(each) / sum(each) for each in (first, second))
    _, probability = shifted_shares(one, other, float(sum(first)), float(sum(second)))
    expected = [fisher_exact([first, second], alternative=side).pvalue for side in ("less", "greater")]
    assert probability[0] == pytest.approx(min(1.0, 2 * 2 * min(expected)))  # two sides, two values


@pytest.mark.parametrize(("first", "second", "values"), [(60, 60, 5), (1_000, 100_000, 50), (2_000, 2_000, 10)])
def test_shares_shift_by_chance_no_more_often_than_they_say(first, second, values):
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(values))
    found = np.array(
        [
            shifted_shares(
                rng.multinomial(first, shares) / first,
                rng.multinomial(second, shares) / second,
                float(first),
                float(second),
            )[1].min()
            for _ in range(300)
        ]
    )
    assert (found < 0.05).mean() <= 0.06
    assert (found < 0.001).sum() <= 1


def test_a_share_that_doubles_or_goes_is_far_and_a_rare_one_is_less_so():
    one, other = np.array([0.25, 0.25, 0.5]), np.array([0.5, 0.0, 0.5])
    effects, chances = shifted_shares(one, other, 400.0, 400.0)
    assert effects == pytest.approx([0.25 / (0.75 + 1 / 3), 0.25 / (0.25 + 1 / 3), 0.0])
    assert (chances < [1e-6, 1e-6, 1.1]).all()
    assert chances[2] == 1.0
    rare, _ = shifted_shares(np.array([0.01, 0.99]), np.array([0.0, 1.0]), 400.0, 400.0)
    assert rare[0] < 0.05


# Many tests.


def test_holm_by_hand():
    """Sorted: 0.005 by 4, 0.01 by 3, 0.03 by 2, 0.04 by 1; and none less than one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_lies_between_nothing_and_bonferroni(given):
    corrected = holm(given)
    assert all(one <= two <= min(1, one * len(given)) + 1e-12 for one, two in zip(given, corrected, strict=True))
    order = np.argsort(given, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()


# Clusters.


def groups_with_own_level(rng, alike, groups=300, of=20):
    clusters = np.repeat(np.arange(groups), of)
    level = rng.normal(size=groups)[clusters] * np.sqrt(alike)
    return level + rng.normal(size=groups * of) * np.sqrt(1 - alike), clusters


@pytest.mark.parametrize("alike", [0.0, 0.05, 0.3, 0.9])
def test_likeness_is_the_intraclass_correlation(rng, alike):
    values, clusters = groups_with_own_level(rng, alike)
    assert likeness(values, clusters) == pytest.approx(alike, abs=0.04)


def test_likeness_by_hand():
    """Two clusters of two: between 16, within 2, so (16 - 2) / (16 + 2)."""
    assert likeness(np.array([0.0, 2.0, 4.0, 6.0]), np.array([0, 0, 1, 1])) == pytest.approx(14 / 18)


def test_likeness_of_uneven_clusters(rng):
    sizes = rng.integers(2, 60, 400)
    clusters = np.repeat(np.arange(400), sizes)
    values = rng.normal(size=400)[clusters] * np.sqrt(0.2) + rng.normal(size=len(clusters)) * np.sqrt(0.8)
    assert likeness(values, clusters) == pytest.approx(0.2, abs=0.04)


def test_likeness_of_a_category(rng):
    """Every cluster has one value only, or values come at random."""
    clusters = np.repeat(np.arange(50), 10)
    table = np.eye(4)[rng.integers(4, size=50)][clusters]
    assert likeness(table, clusters) == 1.0
    assert likeness(rng.permutation(table), clusters) < 0.05


def test_likeness_that_cannot_be_known_is_taken_for_whole(rng):
    values = rng.normal(size=40)
    assert likeness(values, np.zeros(40, np.int64)) == 1.0
    assert likeness(values, np.arange(40)) == 1.0
    assert likeness(np.ones(40), np.arange(40) // 4) == 0.0


@pytest.mark.parametrize(("groups", "alike"), [(2, 0.1), (3, 0.1), (5, 0.1), (5, 0.5), (40, 0.05)])
def test_doubt_covers_what_few_clusters_hide(groups, alike):
    rng = np.random.default_rng(0)
    found = [likeness(*groups_with_own_level(rng, alike, groups, 30), doubt=0.05) for _ in range(400)]
    assert np.mean(np.array(found) < alike) == pytest.approx(0.05, abs=0.03)


def test_doubt_costs_little_where_clusters_are_many(rng):
    values, clusters = groups_with_own_level(rng, 0.3)
    assert likeness(values, clusters) < likeness(values, clusters, doubt=0.05) < 0.37


def test_worth_by_hand():
    each = np.arange(4)
    assert worth(np.ones(4), each, 1.0) == 4.0
    assert worth(np.array([1.0, 1.0, 2.0, 0.0]), each, 0.0) == pytest.approx(16 / 6)  # Kish: (sum w)^2 / sum w^2
    assert worth(np.ones(100), np.arange(100) // 10, 1.0) == pytest.approx(10.0)
    assert worth(np.ones(100), np.arange(100) // 10, 0.5) == pytest.approx(100 / (1 + 9 * 0.5))
    assert worth(np.ones(100), np.arange(100) // 10, 0.0) == 100.0
    assert worth(np.zeros(3), np.arange(3), 0.0) == 0.0


@pytest.mark.parametrize("alike", [0.0, 0.1, 0.5])
def test_worth_is_what_the_error_of_a_mean_says(alike):
    """Of weighed and clustered examples: the variance of their mean is that of so many independent ones."""
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(30), 20)
    weights = rng.choice([0.5, 1.0, 3.0], 600)
    means = [float(np.average(groups_with_own_level(rng, alike, 30, 20)[0], weights=weights)) for _ in range(2_000)]
    assert 1 / np.var(means) == pytest.approx(worth(weights, clusters, alike), rel=0.12)
