"""Drift of contents: what is new is told from what was there before where it is of another kind, and only there."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from material import found, two_versions
from sluiceway.checks import newcomers
from sluiceway.checks.drift import SIGNIFICANT
from sluiceway.checks.newcomers import clustered_separation, drift_of_contents, kish, tell
from sluiceway.config import DataGateParams

NAME = "drift_of_contents"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# The separation, and how sure it is.


def scored(rng, old, fresh, of=8, shift=0.5, alike=0.5, shared=0):
    """Clusters with a score of their own; the last ``shared`` old ones have new examples too."""
    clusters = np.repeat(np.concatenate([np.arange(old), np.arange(old - shared, old - shared + fresh)]), of)
    new = np.repeat([False, True], [old * of, fresh * of])
    level = rng.normal(size=old + fresh)[clusters] * np.sqrt(alike)
    return level + rng.normal(size=len(new)) * np.sqrt(1 - alike) + shift * new, new, clusters


@pytest.mark.parametrize("digits", [1, 9])
def test_the_separation_is_that_of_scikit_learn(rng, digits):
    scores, new, clusters = scored(rng, 30, 20)
    scores, weights = np.round(scores, digits), rng.choice([0.5, 1.0, 4.0], len(new))
    effect, _ = clustered_separation(scores, new, clusters, weights)
    assert effect == pytest.approx(2 * roc_auc_score(new, scores, sample_weight=weights) - 1)


def standard_error(scores, new, clusters):
    """Undo the interval: half of it is so many standard errors."""
    least = min(kish(clusters[side]) for side in (new, ~new))
    return clustered_separation(scores, new, clusters, np.ones(len(new)))[1] / student.ppf(
        1 - SIGNIFICANT / 2, least - 1
    )


@pytest.mark.parametrize(("old", "fresh", "of", "shared"), [(40, 25, 8, 0), (150, 100, 1, 0), (30, 30, 10, 15)])
def test_its_error_is_that_of_a_bootstrap_of_clusters(rng, old, fresh, of, shared):
    scores, new, clusters = scored(rng, old, fresh, of, shared=shared)
    members = [np.flatnonzero(clusters == each) for each in np.unique(clusters)]
    effects = []
    for _ in range(250):
        drawn = np.concatenate([members[each] for each in rng.integers(len(members), size=len(members))])
        effects.append(2 * roc_auc_score(new[drawn], scores[drawn]) - 1)
    assert standard_error(scores, new, clusters) == pytest.approx(np.std(effects), rel=0.15)


def test_its_error_is_that_of_leaving_out_each_cluster(rng):
    """The jackknife, with the areas of scikit-learn: what one cluster alone decides is unsure."""
    scores, new, clusters = scored(rng, 5, 6, of=4)
    whole = roc_auc_score(new, scores)
    without = [roc_auc_score(new[clusters != each], scores[clusters != each]) for each in range(11)]
    assert standard_error(scores, new, clusters) == pytest.approx(
        2 * np.sqrt(np.square(np.array(without) - whole).sum())
    )


def test_one_example_that_weighs_most_makes_it_unsure(rng):
    scores, new, clusters = scored(rng, 200, 200, of=1)
    weights = np.ones(400)
    assert clustered_separation(scores, new, clusters, weights)[1] < 0.3
    weights[0] = 1_000
    assert clustered_separation(scores, new, clusters, weights)[1] > 1


def test_the_interval_covers_the_truth():
    """Of two equal distributions: 0, outside the interval in 1 of 1,000."""
    outside = 0
    for seed in range(1_000):
        effect, error = clustered_separation(*scored(np.random.default_rng(seed), 12, 8, shift=0.0), np.ones(160))
        outside += abs(effect) > error
    assert outside <= 4


def test_clusters_count_and_not_examples(rng):
    scores, new, clusters = scored(rng, 20, 20, of=30, alike=0.8)
    apart = standard_error(scores, new, np.arange(len(new)))
    assert standard_error(scores, new, clusters) > 3 * apart


def test_kish_by_hand():
    assert kish(np.array([0, 1, 2, 3])) == 4.0
    assert kish(np.array([7, 7, 7, 9, 9, 9])) == 2.0
    assert kish(np.array([0] * 8 + [1, 2])) == pytest.approx(100 / 66)


# The classifier.


def contents(rng, clusters, of, level, features=8, shift=0.0, widen=1.0):
    place = np.repeat(np.arange(clusters), of)
    middle = level * rng.normal(size=(clusters, features))[place]
    return shift + widen * (middle + rng.normal(size=(len(place), features)))


def told(seed, old, fresh, of=1, level=0.0, **change):
    rng = np.random.default_rng(seed)
    features = np.concatenate([contents(rng, old, of, level), contents(rng, fresh, of, level, **change)])
    new = np.repeat([False, True], [old * of, fresh * of])
    return tell(features.astype(np.float32), new, np.repeat(np.arange(old + fresh), of), np.ones(len(new)))


CLEAN = {
    "each by itself": (90, 60, 1, 0.0),
    "groups": (40, 20, 5, 1.0),
    "faint groups": (40, 20, 5, 0.3),
    "few new ones": (30, 6, 10, 1.0),
    "few of both": (6, 6, 30, 2.0),
}


@pytest.mark.parametrize("name", CLEAN)
def test_the_same_is_told_apart_in_one_of_sixty_at_most(name):
    results = [told(seed, *CLEAN[name]) for seed in range(60)]
    assert abs(np.mean([each.effect for each in results])) < 0.15
    assert sum(each.effect > max(0.2, each.error) for each in results) <= 1


def test_folds_that_share_what_they_learn_from_are_less_sure():
    """Effects of equal distributions vary by half as much again as if each fold had learned by itself."""
    results = [told(seed, 60, 60) for seed in range(60)]
    reach = student.ppf(1 - SIGNIFICANT / 2, 59)
    assert np.std([each.effect for each in results]) < 1.2 * np.mean([each.error for each in results]) / reach


@pytest.mark.parametrize("name", ["each by itself", "groups"])
@pytest.mark.parametrize(("change", "least"), [({"shift": 2.0}, 0.9), ({"widen": 2.0}, 0.8), ({"widen": 0.5}, 0.8)])
def test_another_kind_is_told_apart(name, change, least):
    """What only widens, or narrows, is seen by the squares."""
    result = told(0, *CLEAN[name], **change)
    assert result.effect > least
    assert result.effect > result.error


def test_new_ones_have_the_higher_scores(rng):
    result = told(0, 100, 60, shift=1.5)
    assert np.median(result.scores[100:]) > np.median(result.scores[:100]) + 1
    assert np.isfinite(result.scores).all()


def test_equal_inputs_give_equal_answers():
    assert told(3, 60, 30, shift=0.5).scores.tobytes() == told(3, 60, 30, shift=0.5).scores.tobytes()


def test_no_cluster_is_known_by_itself(rng):
    """Two features name the cluster: an honest fold learns nothing from them."""
    features = np.repeat(rng.normal(size=(40, 30)), 20, axis=0).astype(np.float32)
    new, clusters = np.repeat([False, True], 400), np.repeat(np.arange(40), 20)
    assert tell(features, new, np.arange(800), np.ones(800)).effect > 0.8  # as if each were its own
    assert abs(tell(features, new, clusters, np.ones(800)).effect) < 0.5


@pytest.mark.parametrize("kind", ["constant", "one varies", "of low rank", "far from 0"])
def test_poor_features_are_taken_as_they_are(rng, kind):
    features = {
        "constant": np.ones((300, 6)),
        "one varies": np.eye(6)[0] * rng.normal(size=(300, 1)),
        "of low rank": rng.normal(size=(300, 2)) @ rng.normal(size=(2, 50)),
        "far from 0": 1e4 + rng.normal(size=(300, 3)),
    }[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = tell(features.astype(np.float32), np.arange(300) >= 150, np.arange(300), np.ones(300))
    assert abs(result.effect) < 0.25


def test_what_is_but_rounding_is_no_component(rng):
    features = (rng.normal(size=(200, 2)) @ rng.normal(size=(2, 50))).astype(np.float32)
    assert newcomers._components(features.astype(np.float64)).shape[1] <= 2 * 2 + 2
    assert newcomers._components(rng.normal(size=(200, 50)).astype(np.float32)).shape == (200, 64)


def test_a_fold_without_one_side_says_nothing(rng):
    clusters = np.concatenate([np.zeros(50, np.int64), 1 + np.arange(50)])
    features = rng.normal(size=(100, 4)).astype(np.float32)
    assert tell(features, np.arange(100) >= 50, clusters, np.ones(100)) is None


# The check.


def classes(rng, count, shares=(0.5, 0.3, 0.2)):
    return rng.choice(list("abcd"[: len(shares)]), count, p=shares)


def digits(rng, target, shift=0.0):
    """Each class lies somewhere of its own."""
    middles = 3 * np.random.default_rng(9).normal(size=(4, 12))
    return middles[[ord(each) - ord("a") for each in target]] + rng.normal(size=(len(target), 12)) + shift


def grown(folder, rng, *, added=120, shares=(0.5, 0.3, 0.2), shift=0.0, known=400, **rest):
    """A version that has all the old contents, and some new ones."""
    old, fresh = classes(rng, known), classes(rng, added, shares)
    features = digits(rng, old)
    before = {"target": old, "features": features}
    now = {
        "target": np.concatenate([old, fresh]),
        "features": np.concatenate([features, digits(rng, fresh, shift)]),
    }
    return two_versions(folder, before, now, new=np.arange(known + added) >= known, **rest)


def test_new_contents_of_the_same_kind_pass(tmp_path):
    for seed in range(5):
        check = found(drift_of_contents, grown(tmp_path, np.random.default_rng(seed)))[NAME].check
        assert check.passed
        assert check.offenders == 0
        assert abs(check.figure) < 0.35


@pytest.mark.parametrize("change", ["none", "darker", "noisy", "mirrored"])
def test_digits_that_were_drawn_otherwise_are_seen(tmp_path, change):
    """Real contents: one half is the version before, of the other 200 are new."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    pixels, target = data.images[order] / 16, data.target[order]
    old, new = slice(0, 800), slice(800, 1_000)
    noise = np.random.default_rng(1).normal(0, 0.3, pixels[new].shape)
    changed = {"none": pixels[new], "darker": 0.6 * pixels[new], "noisy": pixels[new] + noise}
    fresh = changed.get(change, pixels[new][:, :, ::-1])
    before = {"target": target[old], "features": pixels[old].reshape(-1, 64)}
    now = {"target": target[new], "features": fresh.reshape(-1, 64)}
    check = found(drift_of_contents, two_versions(tmp_path, before, now))[NAME].check
    assert check.passed is (change == "none")
    assert check.figure < 0.2 if change == "none" else check.figure > 0.6


def test_other_class_shares_are_no_drift_of_contents(tmp_path):
    for seed in range(5):
        material = grown(tmp_path, np.random.default_rng(seed), shares=(0.1, 0.1, 0.8))
        assert found(drift_of_contents, material)[NAME].check.passed
    assert not found(drift_of_contents, replace(material, target="none"))[NAME].check.passed


def test_new_contents_of_another_kind_close_and_are_named(tmp_path, rng):
    finding = found(drift_of_contents, grown(tmp_path, rng, shift=1.5))[NAME]
    assert finding.check.closes
    assert finding.check.figure > 0.8
    assert finding.check.offenders == 120
    assert "120 new contents are told from those of p version 1 by 1.00 (0.9" in finding.check.message
    assert {each.id for each in finding.offenders} <= {f"e{at + 10**9}" for at in range(400, 520)}
    assert finding.offenders[0].score == max(each.score for each in finding.offenders)


def test_the_limit_is_that_of_the_pipeline(tmp_path, rng):
    lenient = grown(tmp_path, rng, shift=0.4, limits=DataGateParams(max_drift=0.95))
    assert found(drift_of_contents, lenient)[NAME].check.passed
    assert found(drift_of_contents, replace(lenient, limits=DataGateParams()))[NAME].check.closes


def test_a_class_that_is_new_is_not_compared(tmp_path, rng):
    """Those of known classes are like before; and where there is none of them, nothing is told."""
    assert found(drift_of_contents, grown(tmp_path, rng, shares=(0.3, 0.2, 0.1, 0.4)))[NAME].check.passed
    check = found(drift_of_contents, grown(tmp_path, rng, shares=(0.0, 0.0, 0.0, 1.0)))[NAME].check
    assert (check.passed, check.figure) == (True, None)
    assert "known classes" in check.message


def test_a_class_that_is_new_does_not_lend_its_groups(tmp_path, rng):
    """Of 60 new groups 59 have a new class: the known one is of one group, and that may be as it likes."""
    material = grown(tmp_path, rng)
    old = {
        "target": ["a"] * 200,
        "features": rng.normal(size=(200, 12)),
        "group": [f"g{at // 10}" for at in range(200)],
    }
    fresh = {
        "target": ["a"] * 40 + ["z"] * 118,
        "features": np.concatenate([3 + rng.normal(size=(40, 12)), rng.normal(size=(118, 12))]),
        "group": ["h"] * 40 + [f"h{at // 2}" for at in range(118)],
    }
    material = two_versions(tmp_path, old, fresh)
    check = found(drift_of_contents, material)[NAME].check
    assert (check.passed, check.figure) == (True, None)


def test_unclassed_examples_are_compared_with_their_like(tmp_path, rng):
    old, fresh = np.array([*"ab" * 100]), np.array([*"ab" * 40])
    given = [
        {"target": [None if at % 4 == 0 else each for at, each in enumerate(t)], "features": digits(rng, t)}
        for t in (old, fresh)
    ]
    check = found(drift_of_contents, two_versions(tmp_path, *given))[NAME].check
    assert check.passed
    assert check.figure is not None


@pytest.mark.parametrize("groups", [1, 4, 30])
def test_few_new_groups_cannot_be_told_from_another_kind(tmp_path, rng, groups):
    old = {"features": contents(rng, 30, 10, 1.0), "group": np.repeat([f"g{g}" for g in range(30)], 10)}
    fresh = {"features": contents(rng, groups, 60 // groups, 1.0, shift=4.0)}
    fresh["group"] = np.repeat([f"h{g}" for g in range(groups)], 60 // groups)
    check = found(drift_of_contents, two_versions(tmp_path, old, fresh, kind="none"))[NAME].check
    assert check.passed is (groups < 30)
    assert (check.figure is None) is (groups < 30)


def test_groups_with_contents_of_their_own_are_no_drift(tmp_path):
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        old, fresh = (
            {"features": contents(rng, count, 8, 1.5), "group": np.repeat([f"{name}{g}" for g in range(count)], 8)}
            for name, count in (("g", 30), ("h", 10))
        )
        alarms += not found(drift_of_contents, two_versions(tmp_path, old, fresh, kind="none"))[NAME].check.passed
    assert alarms == 0


def test_of_little_that_is_new_nothing_is_asked(tmp_path, rng):
    assert not list(drift_of_contents(grown(tmp_path, rng, added=49, shift=9.0)))
    assert list(drift_of_contents(grown(tmp_path, rng, added=50, shift=9.0)))


def test_without_comparable_features_nothing_is_asked(tmp_path, rng):
    material = grown(tmp_path, rng)
    sketches = material.sketches
    assert not list(drift_of_contents(replace(material, reference=None)))
    assert not list(drift_of_contents(replace(material, sketches=replace(sketches, features=None))))
    narrower = replace(sketches, features=sketches.features[:, :5])
    assert not list(drift_of_contents(replace(material, sketches=narrower)))


def test_very_many_are_sampled_evenly(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(newcomers, "_MOST", 100)
    finding = found(drift_of_contents, grown(tmp_path, rng, added=300, shift=1.5))[NAME]
    assert finding.check.closes
    assert finding.check.offenders == 300
    assert len({each.id for each in finding.offenders}) == 60
