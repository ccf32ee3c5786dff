"""The order of examples: a bijection, the same for every number of workers, and never silently another one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway.data.order import Nearby, draws, examples_at, mix, permute, positions_of

SEEDS = st.integers(0, 2**32 - 1)


# One permutation


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1000, 4096, 4097, 65537, 100_003])
def test_permute_is_a_bijection_at_the_edges(n):
    assert np.array_equal(np.sort(permute(np.arange(n), n, 12345)), np.arange(n))


@given(n=st.integers(1, 3000), key=st.integers(0, 2**63 - 1))
def test_permute_is_a_bijection(n, key):
    assert np.array_equal(np.sort(permute(np.arange(n), n, key)), np.arange(n))


@given(n=st.integers(1, 500), key=st.integers(0, 2**63 - 1), data=st.data())
def test_each_position_goes_its_own_way(n, key, data):
    """What a position becomes depends on no other position of the batch."""
    some = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=20)), np.int64)
    assert np.array_equal(permute(some, n, key), permute(np.arange(n), n, key)[some])


@given(n=st.integers(1, 200), keys=st.lists(st.integers(0, 2**62), min_size=1, max_size=20))
def test_one_key_per_position_is_as_good_as_one_call_per_key(n, keys):
    positions = np.arange(len(keys)) % n
    apart = [permute(positions[[row]], n, key)[0] for row, key in enumerate(keys)]
    assert permute(positions, n, np.array(keys)).tolist() == apart


def test_a_permutation_far_beyond_memory_stays_inside():
    n = 10**15 + 37
    positions = np.array([0, 1, n // 2, n - 2, n - 1])
    found = permute(positions, n, 7)
    assert len(set(found.tolist())) == 5
    assert ((found >= 0) & (found < n)).all()


def test_permutations_are_shuffled_evenly():
    """Over many keys each position goes everywhere alike: chi-squared over a 10 x 10 table of (position, example)."""
    from scipy.stats import chi2

    n, keys = 10, 20_000
    positions = np.tile(np.arange(n), keys)
    found = permute(positions, n, np.repeat(np.array([mix(1, key) for key in range(keys)]), n))
    table = np.bincount(positions * n + found, minlength=n * n)
    statistic = ((table - keys / n) ** 2 / (keys / n)).sum()
    low, high = chi2.ppf([1e-4, 1 - 1e-4], (n - 1) ** 2)
    assert low < statistic < high


def test_neighbours_do_not_stay_together():
    n = 10_000
    found = permute(np.arange(n), n, mix(3, 0))
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 4 / np.sqrt(n)
    assert (np.abs(np.diff(found)) == 1).mean() < 0.002
    assert (found == np.arange(n)).sum() < 10


# The stream


@settings(max_examples=60)
@given(
    world=st.integers(1, 6),
    accumulate=st.integers(1, 4),
    share=st.integers(1, 5),
    step=st.integers(0, 1000),
)
def test_the_workers_together_read_the_global_batch(world, accumulate, share, step):
    batch = world * accumulate * share
    parts = [
        positions_of(step, batch, rank=rank, world=world, micro=micro, of=accumulate)
        for rank in range(world)
        for micro in range(accumulate)
    ]
    assert all(len(part) == share for part in parts)
    assert np.array_equal(np.concatenate(parts), positions_of(step, batch))
    assert np.array_equal(positions_of(step, batch), np.arange(step * batch, (step + 1) * batch))


@settings(max_examples=40)
@given(n=st.integers(1, 60), world=st.sampled_from([1, 2, 3, 4]), accumulate=st.integers(1, 3), seed=SEEDS)
def test_training_sees_the_same_global_batches_on_any_number_of_workers(n, world, accumulate, seed):
    batch = 12 * accumulate
    for step in range(4):
        alone, epochs = examples_at(positions_of(step, batch), n, seed)
        shared = [
            examples_at(positions_of(step, batch, rank=rank, world=world, micro=micro, of=accumulate), n, seed)
            for rank in range(world)
            for micro in range(accumulate)
        ]
        assert np.array_equal(np.concatenate([items for items, _ in shared]), alone)
        assert np.array_equal(np.concatenate([each for _, each in shared]), epochs)


@given(n=st.integers(1, 200), epochs=st.integers(1, 4), batch=st.integers(1, 50), seed=SEEDS)
def test_each_epoch_holds_each_example_once(n, epochs, batch, seed):
    """Whatever the batches' borders are: an epoch is n positions in a row."""
    steps = -(-n * epochs // batch)
    parts = [examples_at(positions_of(step, batch), n, seed) for step in range(steps)]
    items, ages = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    for epoch in range(epochs):
        assert np.array_equal(np.sort(items[ages == epoch]), np.arange(n))


def test_order_differs_between_epochs_and_seeds():
    n = 500
    orders = [
        tuple(examples_at(np.arange(n) + epoch * n, n, seed)[0].tolist()) for seed in range(6) for epoch in range(6)
    ]
    assert len(set(orders)) == 36
    same = [np.mean(np.array(one) == np.array(other)) for one in orders for other in orders if one is not other]
    assert max(same) < 0.02  # expected 1 in 500


@given(numbers=st.lists(st.integers(-(2**70), 2**70), max_size=4))
def test_mix_gives_a_seed_of_63_bits(numbers):
    assert 0 <= mix(*numbers) < 2**63


def test_mix_tells_numbers_and_their_order_apart():
    found = {mix(first, second) for first in range(100) for second in range(100)}
    assert len(found) == 10_000
    assert mix(1) != mix(1, 0)


def test_the_order_is_frozen():
    """These values never change: another order would make every earlier run impossible to reproduce or resume."""
    assert permute(np.arange(10), 10, 7).tolist() == [3, 4, 1, 5, 7, 9, 2, 0, 6, 8]
    assert mix(0) == 8147104208329303767
    assert mix(1, 2, 3) == 1796156100034908110
    assert mix(-1) == 8245168133484221968
    items, epochs = examples_at(positions_of(2, 8), 11, 42)
    assert items.tolist() == FROZEN_ITEMS
    assert epochs.tolist() == [1, 1, 1, 1, 1, 1, 2, 2]
    dice = draws(items[:2], epochs[:2], 42, 3)
    assert dice.dtype == np.float32
    assert np.array_equal(dice, np.array(FROZEN_DRAWS, np.float32))


FROZEN_ITEMS = [5, 6, 3, 7, 4, 2, 5, 2]
FROZEN_DRAWS = [
    [0.5007619857788086, 0.8511937856674194, 0.6701875925064087],
    [0.4853211045265198, 0.2758258581161499, 0.10889321565628052],
]


# The dice


def test_draws_are_uniform():
    from scipy.stats import kstest

    found = draws(np.arange(20_000), np.zeros(20_000, np.int64), 5, 4).astype(np.float64)
    assert ((found >= 0) & (found < 1)).all()
    for column in found.T:
        assert kstest(column, "uniform").pvalue > 1e-4
        assert column.mean() == pytest.approx(0.5, abs=5 / np.sqrt(12 * 20_000))
        assert column.var() == pytest.approx(1 / 12, abs=5 * np.sqrt(1 / 180 / 20_000))


@pytest.mark.parametrize("along", ["examples", "epochs", "seeds", "draws"])
def test_draws_are_uniform_and_unrelated_along_every_counter(along):
    from scipy.stats import kstest

    count = 4000
    numbers, zeros = np.arange(count), np.zeros(count, np.int64)
    match along:
        case "examples":
            found = draws(numbers, zeros, 1, 1)[:, 0]
        case "epochs":
            found = draws(zeros, numbers, 1, 1)[:, 0]
        case "seeds":
            found = np.array([draws(zeros[:1], zeros[:1], seed, 1)[0, 0] for seed in range(count)])
        case "draws":
            found = draws(zeros[:1], zeros[:1], 1, count)[0]
    assert kstest(found.astype(np.float64), "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 4 / np.sqrt(count)


def test_draws_of_different_dice_are_unrelated():
    table = np.corrcoef(draws(np.arange(20_000), np.ones(20_000, np.int64), 9, 7).T)
    assert np.abs(table - np.eye(7)).max() < 5 / np.sqrt(20_000)


@settings(max_examples=50)
@given(
    examples=st.lists(st.integers(0, 10**6), min_size=1, max_size=12),
    epoch=st.integers(0, 1000),
    seed=SEEDS,
    count=st.integers(1, 9),
)
def test_draws_belong_to_the_example_not_to_its_batch(examples, epoch, seed, count):
    column = np.array(examples)
    together = draws(column, np.full(len(examples), epoch), seed, count)
    assert together.shape == (len(examples), count)
    for row, example in enumerate(examples):
        alone = draws(np.array([example]), np.array([epoch]), seed, count)
        assert np.array_equal(alone[0], together[row])
        assert np.array_equal(draws(np.array([example]), np.array([epoch]), seed, count + 3)[0, :count], together[row])


def test_draws_do_not_repeat_over_examples_epochs_and_seeds():
    grid = np.array([(example, epoch) for example in range(100) for epoch in range(20)])
    found = np.concatenate([draws(grid[:, 0], grid[:, 1], seed, 2) for seed in range(5)])
    assert len(np.unique(found, axis=0)) == len(found)


# Shards mixed a few at a time


def starts_of(rows):
    return np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)


ROWS = st.lists(st.integers(1, 30), min_size=1, max_size=12)


@given(rows=ROWS, reach=st.integers(1, 14), seed=SEEDS, epoch=st.integers(0, 10**6))
def test_each_example_comes_once_in_an_epoch(rows, reach, seed, epoch):
    starts = starts_of(rows)
    n = int(starts[-1])
    examples, epochs = Nearby(starts, reach, seed)(np.arange(epoch * n, (epoch + 1) * n))
    assert np.array_equal(np.sort(examples), np.arange(n))
    assert set(epochs.tolist()) == {epoch}


@given(rows=ROWS, reach=st.integers(1, 14), seed=SEEDS, epoch=st.integers(0, 50))
def test_no_more_shards_than_asked_for_are_mixed(rows, reach, seed, epoch):
    starts = starts_of(rows)
    n = int(starts[-1])
    examples, _ = Nearby(starts, reach, seed)(np.arange(epoch * n, (epoch + 1) * n))
    owners = np.searchsorted(starts, examples, side="right") - 1
    seen, groups = set(), []
    for owner in owners:
        if owner not in seen:
            if not groups or len(groups[-1]) == reach:
                groups.append(set())
            groups[-1].add(owner)
            seen.add(owner)
        assert owner in groups[-1]  # what was left is not come back to


@given(rows=ROWS, reach=st.integers(1, 14), seed=SEEDS, data=st.data())
def test_nearby_each_position_goes_its_own_way(rows, reach, seed, data):
    """Across epochs and groups, asked for in any order and by any number of workers."""
    starts = starts_of(rows)
    some = np.array(data.draw(st.lists(st.integers(0, 4 * int(starts[-1]) - 1), max_size=30)), np.int64)
    whole, epochs = Nearby(starts, reach, seed)(np.arange(4 * int(starts[-1])))
    found = Nearby(starts, reach, seed)(some)
    assert np.array_equal(found[0], whole[some])
    assert np.array_equal(found[1], epochs[some])


def test_shards_come_in_another_order_in_each_epoch_and_examples_too():
    starts = starts_of([50] * 20)
    order = Nearby(starts, 4, 7)
    epochs = [order(np.arange(epoch * 1000, (epoch + 1) * 1000))[0] for epoch in range(3)]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert (epochs[one] == epochs[other]).sum() < 20
        assert set((epochs[one][:200] // 50).tolist()) != set((epochs[other][:200] // 50).tolist())
    inside = epochs[0][:200]
    assert len(set((inside[:20] // 50).tolist())) > 1  # shards of a group are mixed, not read one by one
    assert abs(np.corrcoef(inside[:-1] % 50, inside[1:] % 50)[0, 1]) < 4 / np.sqrt(200)


def test_the_order_nearby_is_never_silently_another_one():
    examples, _ = Nearby(starts_of([3, 5, 2, 4]), 2, 11)(np.arange(28))
    assert examples[:14].tolist() == [6, 3, 1, 2, 7, 5, 0, 4, 12, 10, 13, 8, 9, 11]
    assert examples[14:].tolist() == [10, 12, 9, 11, 13, 8, 7, 3, 6, 1, 0, 2, 5, 4]
