"""Drift: clean versions pass, however they are clustered; what moved is found, as a whole or in what is new."""

import math

import numpy as np
import polars as pl
import pytest

from material import found, material_of, registered, two_versions
from sluiceway.checks import versions as versions_module
from sluiceway.checks.drift import compared, drift
from sluiceway.checks.versions import ALL_NEW, LEAST_NEW, enough_new, versions
from sluiceway.config import DataGateParams

MEASURES, CLASSES, TARGETS = "drift_of_measures", "drift_of_classes", "drift_of_targets"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def failed(material):
    return {name for name, each in found(drift, material).items() if not each.check.passed}


def letters(rng, count, shares=(0.4, 0.3, 0.2, 0.1)):
    return rng.choice(list("abcdefgh"[: len(shares)]), count, p=shares).tolist()


def sample(rng, count):
    """Examples with a target and three measures; one measure depends on the class."""
    target = letters(rng, count)
    ink = np.array([ord(each) for each in target]) + rng.normal(size=count)
    return {"target": target, "ink": ink, "size": rng.lognormal(3, 1, count), "format": letters(rng, count, (0.7, 0.3))}


def clustered(rng, groups, of, level=1.0, spread=0.0, name="g"):
    """Each group has a level of its own, and a spread."""
    place = np.repeat(np.arange(groups), of)
    values = level * rng.normal(size=groups)[place]
    values = values + rng.normal(size=len(place)) * np.exp(spread * rng.normal(size=groups))[place]
    return {"pitch": values, "group": [f"{name}{each}" for each in place]}


# Clean data.


def test_without_a_version_before_nothing_is_asked(tmp_path, rng):
    assert not list(drift(material_of(tmp_path, None, ["a"] * 50, learn=False)))


@pytest.mark.parametrize("new", [False, True])
def test_resampled_data_is_no_drift(tmp_path, new):
    for seed in range(60):
        rng = np.random.default_rng(seed)
        material = two_versions(tmp_path, sample(rng, 400), sample(rng, 300), new=new)
        assert not failed(material), seed


CLUSTERED = {
    "many": (40, 20, {}),
    "a few of many": (40, 3, {"of": 60, "level": 0.3}),
    "one of many": (40, 1, {"of": 200, "level": 0.2}),
    "few before": (3, 10, {"of": 200, "level": 0.5}),
    "two and two": (2, 2, {"of": 200, "level": 0.5}),
    "one before": (1, 3, {"of": 200}),
    "own spreads": (40, 4, {"of": 60, "level": 0.0, "spread": 1.0}),
}


@pytest.mark.parametrize("name", CLUSTERED)
def test_new_groups_that_are_as_unlike_as_the_old_ones_are_no_drift(tmp_path, name):
    before, now, how = CLUSTERED[name]
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        given = {"of": 25, "level": 1.0} | how
        material = two_versions(
            tmp_path, clustered(rng, before, **given), clustered(rng, now, name="h", **given), kind="none"
        )
        alarms += bool(failed(material))
    assert alarms <= 1


def test_groups_of_uneven_sizes_are_no_drift(tmp_path):
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        sizes = [np.maximum(2, rng.lognormal(3, 1.2, 40).astype(int)) for _ in range(2)]
        material = two_versions(
            tmp_path, *(clustered(rng, 40, each, 0.5, name=name) for each, name in zip(sizes, "gh", strict=True))
        )
        alarms += bool(failed(material))
    assert alarms <= 1


def test_groups_that_are_given_for_the_first_time_are_no_drift(tmp_path):
    """The version before cannot say how alike examples of a group are."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        before = {"pitch": rng.normal(size=600) * math.sqrt(2)}
        assert not failed(two_versions(tmp_path, before, clustered(rng, 6, 100), kind="none")), seed


def test_groups_with_classes_of_their_own_are_no_drift(tmp_path):
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        one, other = (
            {"target": np.repeat(letters(rng, 30), 20), "group": np.repeat([f"{name}{g}" for g in range(30)], 20)}
            for name in "gh"
        )
        alarms += bool(failed(two_versions(tmp_path, one, other)))
    assert alarms <= 1


def test_passages_of_one_document_count_as_one(tmp_path):
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        one, other = (clustered(rng, count, 30, name=name) for count, name in ((40, "g"), (12, "h")))
        for each in (one, other):
            each["source"] = [f"{group}.txt#bytes={at}-{at + 9}" for at, group in enumerate(each.pop("group"))]
        alarms += bool(failed(two_versions(tmp_path, one, other, kind="none")))
    assert alarms <= 1


def test_a_rare_class_that_did_not_come_again_is_no_drift(tmp_path, rng):
    before = {"target": ["rare", *letters(rng, 999)]}
    assert not failed(two_versions(tmp_path, before, {"target": letters(rng, 60_000)}))


@pytest.mark.parametrize("kind", ["number", "text"])
def test_resampled_targets_are_no_drift(tmp_path, kind):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        targets = [rng.normal(size=300) if kind == "number" else ["x" * n for n in rng.poisson(20, 300)] for _ in "12"]
        material = two_versions(tmp_path, {"target": targets[0]}, {"target": targets[1]}, kind=kind)
        assert list(found(drift, material)) == [TARGETS]
        assert not failed(material), seed


# What moved.


def test_a_shifted_measure_closes_and_the_farthest_are_named(tmp_path, rng):
    now = sample(rng, 400)
    now["size"] = now["size"] * 3
    material = two_versions(tmp_path, sample(rng, 400), now)
    check = found(drift, material)[MEASURES].check
    assert check.closes
    assert check.message.startswith("size by 0.4")
    assert "p version 1" in check.message
    largest = [f"e{at + 10**9}" for at in np.argsort(-now["size"])[:20]]
    assert check.examples == tuple(largest)
    assert failed(material) == {MEASURES}


def test_the_effect_is_the_distance_of_the_cumulative_distributions(tmp_path, rng):
    before, now = rng.random(2_000), rng.random(2_000)
    now[:600] += 1  # at 1, 30 % of it is still to come
    check = found(drift, two_versions(tmp_path, {"x": before}, {"x": now}))[MEASURES].check
    assert check.figure == pytest.approx(0.3, abs=0.005)


def test_a_third_that_is_shifted_closes(tmp_path):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        now = sample(rng, 400)
        now["size"][: 400 // 3] += 200
        assert failed(two_versions(tmp_path, sample(rng, 400), now)) == {MEASURES}


def test_another_format_closes(tmp_path, rng):
    now = sample(rng, 400)
    now["format"] = ["b"] * 200 + now["format"][200:]
    check = found(drift, two_versions(tmp_path, sample(rng, 400), now))[MEASURES].check
    assert check.closes
    assert "format by 0.3" in check.message
    assert check.offenders == 0


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_values_that_are_missing_now_close(tmp_path, rng, share):
    now = sample(rng, 500)
    gone = int(share * 500)
    now["size"] = [None] * gone + now["size"][gone:].tolist()
    finding = found(drift, two_versions(tmp_path, sample(rng, 500), now))[MEASURES]
    assert finding.check.closes
    assert finding.check.figure == pytest.approx(share, abs=0.01)
    assert {each.id for each in finding.offenders} <= {f"e{at + 10**9}" for at in range(gone)}
    assert finding.offenders[0].detail.startswith("size is missing")
    assert all(math.isfinite(each.score) for each in finding.offenders)


@pytest.mark.parametrize("missing", [0.2, 0.8])
def test_values_that_were_missing_before_can_be_named(tmp_path, rng, missing):
    before, now = sample(rng, 500), sample(rng, 500)
    before["size"] = [None] * int(500 * missing) + before["size"][int(500 * missing) :].tolist()
    now["size"] *= 30
    finding = found(drift, two_versions(tmp_path, before, now))[MEASURES]
    assert finding.check.closes
    assert all(math.isfinite(each.score) for each in finding.offenders)
    assert "inf" not in finding.offenders[0].detail


def test_a_new_batch_that_is_shifted_closes_though_the_whole_hardly_moves(tmp_path, rng):
    """5 in 100 are new, and lie elsewhere: of the whole that is 0.05, of what is new nearly 1."""
    before = sample(rng, 2_000)
    batch = sample(rng, 100)
    batch["size"] = batch["size"] * 50
    now = {name: [*before[name], *batch[name]] for name in before}
    new = np.arange(2_100) >= 2_000
    material = two_versions(tmp_path, before, now, new=new)
    finding = found(drift, material)[MEASURES]
    assert finding.check.closes
    assert "in what is new" in finding.check.message
    assert {each.id for each in finding.offenders} <= {f"e{at + 10**9}" for at in range(2_000, 2_100)}
    _, tests = compared(material)
    assert max(each.effect for each in tests if each.part == "the data") < 0.1
    clean = sample(rng, 100)
    assert not failed(two_versions(tmp_path, before, {n: [*before[n], *clean[n]] for n in before}, new=new))


def test_a_shift_of_all_groups_is_seen_through_their_levels(tmp_path):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        now = clustered(rng, 60, 10, name="h")
        now["pitch"] += 2
        assert failed(two_versions(tmp_path, clustered(rng, 60, 10), now, kind="none")) == {MEASURES}


@pytest.mark.parametrize("kind", ["number", "text"])
def test_targets_that_moved_close(tmp_path, rng, kind):
    targets = {
        "number": [rng.normal(size=300), rng.normal(1, 1, 300)],
        "text": [["x" * n for n in rng.poisson(mean, 300)] for mean in (20, 30)],
    }[kind]
    assert failed(two_versions(tmp_path, {"target": targets[0]}, {"target": targets[1]}, kind=kind)) == {TARGETS}


# Classes.


def test_changed_class_shares_close_and_the_measures_that_follow_do_not(tmp_path):
    """``ink`` depends on the class: compared class by class, it has not moved."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        now = sample(rng, 600)
        now["target"] = letters(rng, 600, (0.1, 0.2, 0.3, 0.4))
        now["ink"] = np.array([ord(each) for each in now["target"]]) + rng.normal(size=600)
        material = two_versions(tmp_path, sample(rng, 600), now)
        assert failed(material) == {CLASSES}, seed


def test_a_measure_that_moved_inside_the_classes_is_seen_though_their_shares_changed(tmp_path, rng):
    """Of the whole, more dark ones and lighter ones cancel out."""
    before, now = sample(rng, 800), sample(rng, 800)
    now["target"] = letters(rng, 800, (0.1, 0.2, 0.3, 0.4))
    now["ink"] = np.array([ord(each) for each in now["target"]]) - 1 + rng.normal(size=800)
    assert abs(np.mean(now["ink"]) - np.mean(before["ink"])) < 0.2
    assert failed(two_versions(tmp_path, before, now)) == {CLASSES, MEASURES}


def test_a_class_that_has_gone_closes_and_is_named(tmp_path, rng):
    """Of 5,000, 100 cannot be missed; of 500, 10 may be: 3 classes, two sides, 1 to 2^10."""
    for count, closes in ((500, False), (5_000, True)):
        rare = count // 50
        now = {"target": letters(rng, count, (0.52, 0.48))}
        before = {"target": ["c"] * rare + now["target"][rare:]}
        check = found(drift, two_versions(tmp_path, before, now))[CLASSES].check
        assert check.closes is closes
    assert check.figure == 1.0
    assert "(c 2 % before, 0 % now)" in check.message


def test_a_class_that_is_not_in_what_is_new_has_not_gone(tmp_path, rng):
    """One may add to some classes only, as long as that is no large part of the data."""
    target = letters(rng, 2_000)
    now = {"target": [*target, *["a"] * 100]}
    assert not failed(two_versions(tmp_path, {"target": target}, now, new=np.arange(2_100) >= 2_000))


def test_a_new_class_of_a_tenth_closes(tmp_path, rng):
    now = {"target": letters(rng, 1_000, (0.36, 0.27, 0.18, 0.09, 0.1))}
    check = found(drift, two_versions(tmp_path, {"target": letters(rng, 1_000)}, now))[CLASSES].check
    assert check.closes
    assert "e 0 % before" in check.message


def test_measures_of_classes_that_one_version_lacks_are_not_compared(tmp_path, rng):
    before, now = sample(rng, 500), sample(rng, 500)
    now["target"] = ["z" if each == "a" else each for each in now["target"]]
    now["ink"] = np.where(np.array(now["target"]) == "z", 900.0, now["ink"])
    before["ink"] = np.where(np.array(before["target"]) == "a", -900.0, before["ink"])
    assert failed(two_versions(tmp_path, before, now)) == {CLASSES}


def test_examples_without_a_class_are_a_class_of_their_own(tmp_path, rng):
    before, now = sample(rng, 600), sample(rng, 600)
    for each in (before, now):
        each["target"][:100] = [None] * 100
    assert not failed(two_versions(tmp_path, before, now))
    now["size"][:] = now["size"] * 20
    assert failed(two_versions(tmp_path, before, now)) == {MEASURES}


# Significance and effect.


def test_significance_alone_closes_nothing(tmp_path, rng):
    count = 40_000
    before = {"size": rng.normal(size=count), "target": letters(rng, count, (0.5, 0.5))}
    now = {"size": rng.normal(0.1, 1, count), "target": letters(rng, count, (0.53, 0.47))}
    material = two_versions(tmp_path, before, now)
    results = found(drift, material)
    _, tests = compared(material)
    assert all(each.significant for each in tests)
    assert not failed(material)
    assert results[MEASURES].check.figure == pytest.approx(0.04, abs=0.01)
    assert "largest clear distance" in results[MEASURES].check.message


def test_a_large_effect_of_little_closes_nothing(tmp_path, rng):
    before, now = {"size": rng.normal(size=40)}, {"size": rng.normal(0.6, 1, 40)}
    (test,) = [each for each in compared(two_versions(tmp_path, before, now))[1] if each.column == "size"]
    assert test.effect > 0.2
    assert not failed(two_versions(tmp_path, before, now))


def test_the_limit_is_that_of_the_pipeline(tmp_path, rng):
    before, now = {"size": rng.normal(size=2_000)}, {"size": rng.normal(0.3, 1, 2_000)}
    for limit, closes in ((0.05, {MEASURES}), (0.3, set())):
        assert failed(two_versions(tmp_path, before, now, limits=DataGateParams(max_drift=limit))) == closes


@pytest.mark.parametrize("count", [0, 1, 29])
def test_of_few_examples_nothing_is_said(tmp_path, rng, count):
    many, few = ({"size": rng.normal(size=n), "target": letters(rng, n)} for n in (100, count))
    few["size"] = pl.Series(few["size"] + 9, dtype=pl.Float64)
    for pair in ((many, few), (few, many)):
        assert not list(drift(two_versions(tmp_path, *pair)))


def test_columns_that_one_version_lacks_are_not_compared(tmp_path, rng):
    before, now = sample(rng, 200), sample(rng, 200)
    del before["size"]
    now["size"] *= 100
    now["format"] = np.arange(200.0)  # it was text
    assert not failed(two_versions(tmp_path, before, now))


# Versions.


def test_what_is_new_is_what_contents_say(tmp_path):
    new = np.arange(200) % 3 == 0
    material = two_versions(tmp_path, {"x": np.zeros(200)}, {"x": np.zeros(200)}, new=new)
    both = versions(material, material.reference, ["x"])
    assert both.new.tolist() == new.tolist()
    assert [len(each) for each in both.parts.values()] == [200, int(new.sum())]


def test_what_is_new_is_looked_at_from_a_share_on_and_when_it_is_not_all(tmp_path):
    assert [enough_new(count, 20_000) for count in (199, 200)] == [False, True]
    assert [enough_new(count, 100) for count in (LEAST_NEW - 1, LEAST_NEW)] == [False, True]
    for share in (0.5, ALL_NEW + 0.005):
        material = two_versions(
            tmp_path, {"x": np.zeros(1_000)}, {"x": np.zeros(1_000)}, new=np.arange(1_000) < share * 1_000
        )
        assert len(versions(material, material.reference, []).parts) == (2 if share < ALL_NEW else 1)


def test_clusters_are_numbered_alike_in_both_versions(tmp_path):
    before, now = ({"x": np.zeros(4), "group": names} for names in (["b", "a", "a", None], ["c", "a", None, None]))
    material = two_versions(tmp_path, before, now, new=False)
    both = versions(material, material.reference, [])
    old, fresh = (each.table["cluster"].to_list() for each in (both.before, both.now))
    assert old[1] == old[2] == fresh[1] != old[0] != fresh[0]
    assert len({*old, *fresh}) == 3 + 2  # e3 is in both; e2 has lost its group
    assert both.before.clusters.tolist() == np.unique(old, return_inverse=True)[1].tolist()


@pytest.mark.parametrize(("files", "clusters"), [(3, 300), (30, 30)])
def test_few_files_only_contain_the_data(tmp_path, files, clusters):
    given = {"x": np.zeros(300), "source": [f"f{at % files}#bytes={at}-{at + 1}" for at in range(300)]}
    material = two_versions(tmp_path, given, given, new=False)
    assert versions(material, material.reference, []).before.table["cluster"].n_unique() == clusters


def test_a_sample_takes_the_same_contents_of_both_versions(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(versions_module, "MOST", 500)
    before, now = {"x": rng.normal(size=2_000)}, {"x": rng.normal(size=2_600)}
    new = np.arange(2_600) >= 2_000
    material = two_versions(tmp_path, before, now, new=new)
    both = versions(material, material.reference, ["x"])
    assert len(both.before) == pytest.approx(500, abs=80)
    assert len(both.now) == pytest.approx(500, abs=80)
    assert both.new.mean() == pytest.approx(600 / 2_600, abs=0.06)
    known = set(both.now.table["checksum"].filter(pl.Series(~both.new)))
    assert known <= set(both.before.table["checksum"])  # a smaller share of the larger version
    again = versions(material, material.reference, ["x"])
    assert both.now.table.equals(again.now.table)


def test_the_name_of_the_reference_is_said(tmp_path, rng):
    clean = material_of(tmp_path, None, letters(rng, 100), learn=False, name="one")
    same = material_of(tmp_path, None, letters(rng, 100), learn=False, reference=registered(clean, "q version 7"))
    assert found(drift, same)[CLASSES].check.message == "nothing clearly differs from q version 7"
