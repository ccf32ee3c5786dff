"""Numbers in time: what is stuck, late or mirrored is found; a plausible drive, however straight, is let through."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from material import found, material_of
from sluiceway.checks.series import MAX_STUCK, best_shift, group_correlations, numbers_in_time, stuck_runs
from sluiceway.data.answers import Answers

VARIES, STEP, SIGN = "target_varies", "target_in_step", "target_sign"


def steering(rng, groups, length, kept=0.95):
    """AR(1): each value is the last one, a little less, and something new."""
    noise = rng.normal(size=(groups, length + 300))
    return lfilter([np.sqrt(1 - kept**2)], [1, -kept], noise, axis=1)[:, 300:].reshape(-1)


def straights(rng, length, usual, spread):
    """Zero on straight roads, whose lengths have a long tail, and bends in between."""
    parts = []
    while sum(map(len, parts)) < length:
        bend = np.sin(np.linspace(0.05, np.pi - 0.05, max(5, int(rng.exponential(40)))))
        parts += [np.zeros(max(1, int(usual * rng.lognormal(0, spread)))), np.round(rng.normal() * bend, 3)]
    return np.concatenate(parts)[:length]


def drives(folder, values, groups, predictions=None, order=None, **columns):
    """What the check is given; the learner's predictions are as they are said to be."""
    count = len(values)
    order = np.arange(count) if order is None else order
    given_columns = {"group": [f"d{group}" for group in groups[order]], "time": np.arange(count)[order] * 0.1} | columns
    material = material_of(
        folder, None, [f"{v:.4f}" for v in values[order]], kind="number", columns=given_columns, learn=False
    )
    if predictions is None:
        return material
    return replace(material, answers=Answers(np.arange(count), predictions=predictions[order]))


def failed(material):
    return {name for name, each in found(numbers_in_time, material).items() if not each.check.passed}


# Plausible drives.


@pytest.mark.parametrize("kept", [0.9, 0.98])
@pytest.mark.parametrize("seen", [0.0, 0.9], ids=["white", "smooth"])
def test_predictions_that_know_nothing_make_no_alarm(kept, seen):
    """Smooth ones resemble the target now and then, at some shift of 31: that must be told from a lag."""
    late = mirrored = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(6), 200)
        values = np.round(steering(rng, 6, 200, kept), 2)
        predictions = steering(rng, 6, 200, seen) if seen else rng.normal(size=1_200)
        late += best_shift(predictions, values, groups)[0] != 0
        mirrored += bool(group_correlations(predictions, values, groups))
    assert late <= 1
    assert mirrored <= 1


@pytest.mark.parametrize("known", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("seen", [0.0, 0.98], ids=["white", "smooth"])
def test_predictions_that_know_something_make_no_alarm(known, seen):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(4), 300)
        values = steering(rng, 4, 300, 0.98)
        noise = steering(rng, 4, 300, seen) if seen else rng.normal(size=1_200)
        predictions = known * values + np.sqrt(1 - known**2) * noise
        assert best_shift(predictions, values, groups) == (0, 0.0), seed
        assert not group_correlations(predictions, values, groups), seed


@pytest.mark.parametrize("usual", [5, 30, 150])
@pytest.mark.parametrize("spread", [0.5, 1.0, 1.5])
def test_long_straight_roads_are_not_stuck(usual, spread):
    stuck = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = np.concatenate([straights(rng, 3_000, usual, spread) for _ in range(3)])
        _, lengths = stuck_runs(values, np.repeat(np.arange(3), 3_000))
        stuck += lengths.sum() > MAX_STUCK * len(values)
    assert stuck <= 1


def test_a_whole_plausible_data_set_passes(tmp_path):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        values = np.concatenate([straights(rng, 400, 20, 0.7) for _ in range(5)])
        groups = np.repeat(np.arange(5), 400)
        predictions = 0.5 * values + 0.4 * rng.normal(size=2_000)
        results = found(numbers_in_time, drives(tmp_path, values, groups, predictions))
        assert list(results) == [VARIES, STEP, SIGN]
        assert all(each.check.passed for each in results.values())


@pytest.mark.parametrize("values", [5, 31])
def test_ratings_are_no_numbers_in_time(tmp_path, values):
    rng = np.random.default_rng(0)
    given_values = rng.integers(values, size=600).astype(float)
    given_values[:200] = 3.0
    assert not list(numbers_in_time(drives(tmp_path, given_values, np.zeros(600, int), given_values)))


# Stuck.


def naive_stuck(values, groups):
    """The definition, without haste."""
    runs, start = [], 0
    for at in range(1, len(values) + 1):
        if at == len(values) or values[at] != values[start] or groups[at] != groups[start]:
            runs.append((start, at - start))
            start = at
    stuck = []
    for number, (start, length) in enumerate(runs):
        others = [n for other, (at, n) in enumerate(runs) if values[at] == values[start] and other != number]
        usual = 10.0
        if len(others) >= 3:
            half, tenth = np.quantile(others, [0.5, 0.9])
            usual = max(10 * tenth, half * (tenth / half) ** 3.3)
        if length >= 30 and length >= usual:
            stuck.append((start, length))
    return stuck


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1, 2, 3, 8, 29, 30, 31, 90, 400])), min_size=1, max_size=25),
    st.integers(1, 4),
)
def test_stuck_runs_are_those_of_the_definition(runs, of):
    values = np.repeat([value for value, _ in runs], [length for _, length in runs]).astype(float)
    groups = np.arange(len(values)) * of // len(values)
    starts, lengths = stuck_runs(values, groups)
    assert list(zip(starts.tolist(), lengths.tolist(), strict=True)) == naive_stuck(values, groups)


def test_a_wheel_that_gets_stuck_again_and_again_is_seen(tmp_path):
    rng = np.random.default_rng(0)
    values = steering(rng, 4, 500)
    values[100:180] = values[300:390] = 0.4321
    groups = np.repeat(np.arange(4), 500)
    finding = found(numbers_in_time, drives(tmp_path, values, groups))[VARIES]
    assert finding.check.closes
    assert finding.check.figure == pytest.approx(170 / 2_000)
    assert finding.check.offenders == 170
    assert [(each.id, each.detail) for each in finding.offenders] == [
        ("e300", "0.4321 for 90 examples"),
        ("e100", "0.4321 for 80 examples"),
    ]
    assert "in d0" in finding.check.message


def test_a_run_does_not_go_on_in_the_next_group():
    values = np.concatenate([np.arange(100.0), np.full(40, 7.5), np.arange(100.0)])
    assert len(stuck_runs(values, np.zeros(240, int))[0]) == 1
    assert not len(stuck_runs(values, (np.arange(240) >= 120).astype(int))[0])


@pytest.mark.parametrize(("length", "passes"), [(50, True), (51, False)])
def test_the_share_that_may_be_stuck(tmp_path, length, passes):
    values = np.round(np.random.default_rng(0).normal(size=1_000), 4)
    values[200 : 200 + length] = 9.0
    assert found(numbers_in_time, drives(tmp_path, values, np.zeros(1_000, int)))[VARIES].check.passed is passes


def test_millions_of_rows_are_looked_at_in_little_time():
    """Each run of zeros was once held against all others: a minute for a million rows."""
    rng = np.random.default_rng(0)
    values = np.concatenate([straights(rng, 5_000, 60, 0.8)] * 400)
    before = time.process_time()
    starts, _ = stuck_runs(values, np.zeros(len(values), int))
    assert not len(starts)
    assert time.process_time() - before < 20


# Late.


@pytest.mark.parametrize("lag", [-15, -6, 5, 15])
def test_a_lag_is_measured(lag):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), 500)
    values = steering(rng, 4, 500, 0.9)
    seen = np.concatenate([np.roll(each, -lag) for each in values.reshape(4, 500)]) + rng.normal(size=2_000)
    found_lag, gain = best_shift(seen, values, groups)
    assert found_lag == pytest.approx(lag, abs=1)
    assert gain > 0.1


def test_a_bend_that_is_seen_a_little_before_it_is_steered_is_no_lag():
    rng = np.random.default_rng(0)
    values = steering(rng, 4, 500, 0.98)
    assert best_shift(np.roll(values, -2) + 0.3 * rng.normal(size=2_000), values, np.repeat(np.arange(4), 500))[0] == 0


def test_a_shift_that_leads_into_the_next_group_is_none():
    rng = np.random.default_rng(0)
    values = rng.normal(size=2_000)
    seen = np.roll(values, -12)
    assert best_shift(seen, values, np.zeros(2_000, int))[0] == 12
    assert best_shift(seen, values, np.arange(2_000) // 10)[0] == 0


def test_predictions_that_are_partly_missing_are_left_out():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), 500)
    values = steering(rng, 4, 500, 0.9)
    seen = np.roll(values, -6) + rng.normal(size=2_000)
    seen[rng.random(2_000) < 0.3] = np.nan
    assert best_shift(seen, values, groups)[0] == pytest.approx(6, abs=1)
    seen[:] = np.nan
    seen[:10] = 1.0
    assert best_shift(seen, values, groups) == (0, 0.0)


# Mirrored.


def test_mirrored_groups_are_named_with_their_figure(tmp_path):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(6), 300)
    values = steering(rng, 6, 300, 0.9)
    predictions = values + 0.5 * rng.normal(size=1_800)
    values[(groups == 1) | (groups == 4)] *= -1
    finding = found(numbers_in_time, drives(tmp_path, values, groups, predictions))[SIGN]
    assert finding.check.closes
    assert (finding.check.figure, finding.check.offenders) == (2.0, 600)
    assert {each.id for each in finding.offenders} == {"e300", "e1200"}
    assert finding.check.message.startswith("2 of 6 groups")
    assert all(": -0." in each.detail for each in finding.offenders)


def test_where_all_oppose_it_is_the_learner_that_is_wrong():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), 300)
    values = steering(rng, 4, 300, 0.5)
    assert not group_correlations(-values, values, groups)
    assert group_correlations(np.where(groups == 1, -values, values), values, groups) == [(1, pytest.approx(-1.0))]


def test_a_faint_slope_and_a_short_group_are_no_mirror():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), 300)
    values = steering(rng, 4, 300, 0.5)
    faint = np.where(groups == 1, -5 * values, values)  # contents say much more than is steered
    assert not group_correlations(faint, values, groups)
    short = np.concatenate([np.zeros(29, int), np.ones(300, int)])
    assert not group_correlations(np.where(short == 0, -values[:329], values[:329]), values[:329], short)
    constant = np.where(groups == 1, 3.0, values)
    assert not group_correlations(values, constant, groups)


# The table.


def test_time_makes_the_order_and_not_the_table(tmp_path):
    rng = np.random.default_rng(0)
    values = steering(rng, 4, 300)
    values[500:560] = 0.4321
    values[600:700] = 0.1234
    groups = np.repeat(np.arange(4), 300)
    order = rng.permutation(1_200)
    assert found(numbers_in_time, drives(tmp_path, values, groups, values, order))[VARIES].check.offenders == 160


def test_without_groups_the_whole_is_one_series(tmp_path):
    rng = np.random.default_rng(0)
    values = steering(rng, 1, 600)
    results = found(numbers_in_time, drives(tmp_path, values, np.zeros(600, int), values, group=[None] * 600))
    assert list(results) == [VARIES, STEP]


def test_what_is_not_asked(tmp_path):
    """No number, no time, too few, no answer."""
    rng = np.random.default_rng(0)
    values, groups = steering(rng, 2, 100), np.repeat(np.arange(2), 100)
    asked = drives(tmp_path, values, groups, values)
    assert len(list(numbers_in_time(asked))) == 3
    assert not list(numbers_in_time(replace(asked, target="class")))
    assert len(list(numbers_in_time(replace(asked, answers=None)))) == 1
    assert len(list(numbers_in_time(replace(asked, answers=Answers(np.arange(200)))))) == 1
    few = Answers(np.arange(59), predictions=values[:59])
    assert len(list(numbers_in_time(replace(asked, answers=few)))) == 1
    assert not list(numbers_in_time(drives(tmp_path, values, groups, values, time=[None] * 200)))
    assert not list(numbers_in_time(drives(tmp_path, values[:59], groups[:59], values[:59])))


def test_targets_that_are_no_numbers_are_left_out(tmp_path):
    rng = np.random.default_rng(0)
    values = steering(rng, 2, 100)
    material = drives(tmp_path, values, np.repeat(np.arange(2), 100), target=["?", None, "nan", "inf"] * 50)
    assert not list(numbers_in_time(material))


# Targets that all lag alike, which the learner has learned.


def seen_drives(folder, lag, seed=0, groups=10, length=120):
    """Contents that show a bend a little ahead and behind, and targets that all come late."""
    rng = np.random.default_rng(seed)
    values = np.stack([np.convolve(each, np.ones(5) / 5, "same") for each in rng.normal(size=(groups, length + 40))])
    reach = np.arange(-3, 7)
    shown = np.stack([np.roll(values, -ahead, axis=1) for ahead in reach], 2)  # [groups, length + 40, 10]
    blur = 0.1 * (1 + 2 * np.abs(reach))  # what is far is seen badly
    features = (shown + blur * rng.normal(size=shown.shape))[:, 20:-20].reshape(-1, 10)
    targets = np.roll(values, lag, axis=1)[:, 20:-20].reshape(-1)
    names = [f"d{group}" for group in range(groups) for _ in range(length)]
    columns = {"group": names, "time": [float(at) for at in range(len(names))]}
    return material_of(folder, features, [f"{v:.5f}" for v in targets], kind="number", columns=columns)


@pytest.mark.parametrize("lag", [5, 9, -8])
def test_a_lag_of_all_drives_is_found_though_the_learner_has_learned_it(tmp_path, lag):
    finding = found(numbers_in_time, seen_drives(tmp_path, lag))[STEP]
    assert not finding.check.passed
    assert abs(finding.check.figure - lag) <= 2


@pytest.mark.parametrize("seed", range(8))
def test_contents_that_show_the_road_ahead_are_no_lag(tmp_path, seed):
    assert failed(seen_drives(tmp_path, 0, seed)) == set()


def test_a_short_drive_that_is_clearly_mirrored_is_found():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(10), 150)
    values = steering(rng, 10, 150, 0.93)
    predictions = values + rng.normal(0, 0.3, 1_500)
    values[groups == 3] *= -1
    assert [group for group, _ in group_correlations(predictions, values, groups)] == [3]
