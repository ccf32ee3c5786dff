"""Strangers, noise of labels, and what can be learned: what no planted fault in the other modules shows."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from material import found, material_of
from sluiceway.checks import noise
from sluiceway.checks.learnable import correlation, ranking, separation, target_depends_on_content
from sluiceway.checks.noise import label_noise
from sluiceway.checks.strangers import strangers
from sluiceway.config import DataGateParams
from sluiceway.data.answers import Answers
from sluiceway.data.sketches import Sketches


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# Strangers.


def stranger(material):
    return found(strangers, material)["strangers"]


def contents(rng, count, odd=0, features=10):
    vectors = rng.normal(size=(count, features))
    vectors[:odd] += 25
    return vectors


@pytest.mark.parametrize(("odd", "closes"), [(5, False), (6, True)])
def test_a_handful_closes_nothing_unless_none_may_be(tmp_path, rng, odd, closes):
    material = material_of(tmp_path, contents(rng, 500, odd), [None] * 500, kind="none", learn=False)
    assert stranger(material).check.closes is closes
    assert stranger(replace(material, limits=DataGateParams(max_strangers=0))).check.closes
    assert stranger(material).check.offenders == odd


def test_the_share_is_of_what_was_sketched(tmp_path, rng):
    """Of a larger table a sample is looked at: its rows are named, and its share counts."""
    material = material_of(tmp_path, contents(rng, 600), [None] * 600, kind="none", learn=False)
    rows = np.arange(1, 600, 3)
    sampled = replace(material, sketches=Sketches(rows, contents(rng, 200, 8).astype(np.float32), None))
    finding = stranger(sampled)
    assert finding.check.figure == pytest.approx(0.04)
    assert {each.id for each in finding.offenders} == {f"e{row}" for row in rows[:8]}
    assert finding.check.message.startswith("8 of 200 examples (4 %)")


def test_the_eye_that_sees_it_farthest_speaks(tmp_path, rng):
    material = material_of(tmp_path, contents(rng, 400, 3), [None] * 400, kind="none", learn=False)
    surprise = rng.normal(2.0, 0.1, 400)
    surprise[0] = 500.0
    surprise[9] = 5.0
    finding = stranger(replace(material, answers=Answers(np.arange(400), surprise=surprise)))
    details = {each.id: each.detail for each in finding.offenders}
    assert details.keys() == {"e0", "e1", "e2", "e9"}
    assert details["e0"].startswith("surprise 500.00; the middle half lies between 1.9")
    assert details["e1"].endswith("times as far from the others as most")
    assert finding.offenders[0].id == "e0"
    assert all(each.score > 1 for each in finding.offenders)


def test_a_class_half_of_which_is_strange_is_not_a_kind_of_its_own(tmp_path, rng):
    vectors = contents(rng, 600, 20)
    for own, named in ((40, 20), (39, 0)):
        targets = ["x"] * own + [str(at % 5) for at in range(600 - own)]
        assert stranger(material_of(tmp_path, vectors, targets, learn=False)).check.offenders == named


@pytest.mark.parametrize(("radius", "named"), [(1.6, 0), (3.0, 5)])
def test_nothing_is_strange_that_is_not_far_from_the_others(tmp_path, rng, radius, named):
    """All lie equally far from the middle: there, a fence stands close by."""
    vectors = rng.normal(size=(500, 10))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[:5] *= radius
    material = material_of(tmp_path, vectors, [None] * 500, kind="none", learn=False)
    assert stranger(material).check.offenders == named


@pytest.mark.parametrize("kind", ["equal", "nearly all equal", "two kinds", "of low rank", "wide"])
def test_odd_clouds_have_no_strangers(tmp_path, rng, kind):
    vectors = {
        "equal": np.full((300, 8), 0.1),
        "nearly all equal": np.concatenate([np.full((297, 8), 0.1), 0.1 + 1e-7 * rng.normal(size=(3, 8))]),
        "two kinds": rng.normal(size=(300, 8)) + 6 * rng.integers(2, size=(300, 1)),
        "of low rank": rng.normal(size=(300, 2)) @ rng.normal(size=(2, 30)),
        "wide": rng.normal(size=(60, 400)),
    }[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finding = stranger(material_of(tmp_path, vectors, [None] * len(vectors), kind="none", learn=False))
    assert finding.check.passed, finding.check.message


def test_clean_surprise_has_no_strangers(tmp_path, rng):
    material = material_of(tmp_path, None, [None] * 400, kind="none", learn=False)
    for seed in range(60):
        values = np.random.default_rng(seed)
        for surprise in (values.normal(2, 0.2, 400), values.lognormal(0.5, 0.3, 400), values.gamma(9, 0.2, 400)):
            answers = Answers(np.arange(400), surprise=surprise)
            assert stranger(replace(material, answers=answers)).check.passed


# Noise of labels.


def answered(rng, truth, classes, sure):
    """Probabilities of a learner that is right as often as its odds say."""
    odds = rng.normal(size=(len(truth), classes)) + sure * np.eye(classes)[truth]
    return np.exp(odds) / np.exp(odds).sum(1, keepdims=True)


def test_wrong_is_the_posterior_of_an_even_channel(rng):
    """By hand: P(given differs) = 1 - p_given (1 - e) / (p_given (1 - e) + (1 - p_given) e / (K - 1))."""
    odds = 4 * rng.normal(size=(6_000, 4))
    probabilities = np.exp(odds) / np.exp(odds).sum(1, keepdims=True)
    truth = (probabilities.cumsum(1) > rng.random((6_000, 1))).argmax(1)  # calibrated: the temperature is 1
    labels = np.where(rng.random(6_000) < 0.1, (truth + rng.integers(1, 4, 6_000)) % 4, truth)
    found_noise = noise._judge(probabilities, labels, even=True)
    own = probabilities[np.arange(6_000), labels]
    expected = 1 - own * 0.9 / (own * 0.9 + (1 - own) * 0.1 / 3)
    assert np.corrcoef(found_noise.wrong, expected)[0, 1] > 0.99
    assert found_noise.wrong.mean() == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_what_is_said_to_be_wrong_is_wrong_as_often_as_said(rng, classes):
    truth = rng.integers(classes, size=4_000)
    probabilities = answered(rng, truth, classes, 6.0)
    flipped = rng.random(4_000) < 0.08
    labels = np.where(flipped, (truth + rng.integers(1, classes, 4_000)) % classes, truth)
    judged = label_noise(probabilities, labels)
    assert judged.told
    for low, high in ((0.0, 0.2), (0.2, 0.8), (0.8, 1.0)):
        chosen = (judged.wrong >= low) & (judged.wrong <= high)
        if chosen.sum() >= 30:
            assert flipped[chosen].mean() == pytest.approx(judged.wrong[chosen].mean(), abs=0.15)
    assert roc_auc_score(flipped, judged.wrong) > 0.97


def test_a_pair_that_is_often_swapped_needs_a_channel_of_its_own(rng):
    truth = rng.integers(6, size=6_000)
    probabilities = answered(rng, truth, 6, 4.0)
    flipped = (truth == 4) & (rng.random(6_000) < 0.3)
    labels = np.where(flipped, 5, truth)
    own, even = (noise._judge(probabilities, labels, even=each).wrong > 0.5 for each in (False, True))
    assert (own & flipped).sum() > (even & flipped).sum()
    assert (own & flipped).sum() / own.sum() > 0.85


def test_a_learner_that_knows_nothing_is_not_told_to(rng):
    labels = rng.integers(5, size=2_000)
    judged = label_noise(answered(rng, rng.integers(5, size=2_000), 5, 3.0), labels)
    assert not judged.told


def test_probabilities_of_nothing_break_nothing(rng):
    labels = rng.integers(3, size=300)
    sure = np.eye(3)[labels]
    assert label_noise(sure, labels).wrong.max() < 0.01
    sure[:6] = np.eye(3)[(labels[:6] + 1) % 3]
    judged = label_noise(sure, labels)
    assert np.flatnonzero(judged.wrong > 0.5).tolist() == [0, 1, 2, 3, 4, 5]
    even = label_noise(np.full((300, 3), 1 / 3), labels)
    assert np.isfinite(even.wrong).all()
    assert not even.told


def test_a_class_that_no_label_has_breaks_nothing(rng):
    truth = rng.integers(3, size=600)
    judged = label_noise(answered(rng, truth, 5, 6.0), truth)
    assert np.isfinite(judged.wrong).all()
    assert (judged.wrong > 0.5).mean() < 0.02


def test_of_very_many_some_are_fitted_and_all_are_judged(rng, monkeypatch):
    truth = rng.integers(4, size=8_000)
    probabilities = answered(rng, truth, 4, 6.0)
    labels = np.where(rng.random(8_000) < 0.05, (truth + 1) % 4, truth)
    whole = label_noise(probabilities, labels).wrong
    monkeypatch.setattr(noise, "_MOST_FITTED", 2_000)
    monkeypatch.setattr(noise, "_BLOCK", 700)
    part = label_noise(probabilities, labels).wrong
    assert ((whole > 0.5) == (part > 0.5)).mean() > 0.995


# What can be learned.


def test_ranking_is_the_mean_of_scikit_learns_areas(rng):
    labels = rng.integers(4, size=400)
    probabilities = answered(rng, labels, 4, 1.0)
    expected = [2 * roc_auc_score(labels == k, probabilities[:, k]) - 1 for k in range(4)]
    assert ranking(probabilities, labels)[0] == pytest.approx(np.mean(expected))
    absent = np.where(labels == 3, 0, labels)  # a class that does not occur is left out
    expected = [2 * roc_auc_score(absent == k, probabilities[:, k]) - 1 for k in range(3)]
    assert ranking(probabilities, absent)[0] == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("classes", [2, 5])
def test_errors_of_ranking_are_those_of_chance(rng, classes):
    figures, errors = zip(
        *(
            ranking(answered(rng, rng.integers(classes, size=200), classes, 0.0), rng.integers(classes, size=200))
            for _ in range(400)
        ),
        strict=True,
    )
    assert np.std(figures) == pytest.approx(np.mean(errors), rel=0.2)


def test_separation_has_the_error_of_chance_and_may_have_nothing_to_separate(rng):
    figures = [separation(rng.normal(size=100), np.arange(100) < 30) for _ in range(1_000)]
    assert np.std([figure for figure, _ in figures]) == pytest.approx(figures[0][1], rel=0.1)
    assert separation(np.ones(5), np.ones(5, bool)) == (0.0, 1.0)
    assert separation(np.ones(10), np.arange(10) < 5)[0] == 0.0


def test_correlation_is_that_of_spearman(rng):
    one = rng.normal(size=300)
    other = np.exp(one + rng.normal(size=300))
    figure, error = correlation(one, other)
    assert figure == pytest.approx(spearmanr(one, other).statistic)
    assert error == pytest.approx(1 / np.sqrt(297), rel=0.1)
    assert correlation(np.ones(300), other)[0] == 0.0


def test_neighbours_that_resemble_each_other_count_as_fewer():
    """Two smooth series that have nothing to do with each other: the error is as large as their figures."""
    rng = np.random.default_rng(0)
    smooth = lfilter([1], [1, -0.95], rng.normal(size=(200, 2, 1_100)))[..., 100:]
    figures, errors = zip(*(correlation(*each) for each in smooth), strict=True)
    assert np.std(figures) == pytest.approx(np.mean(errors), rel=0.35)
    assert np.std(figures) > 3 / np.sqrt(1_000)  # as if they were independent: 1


@pytest.mark.parametrize("kind", ["class", "number"])
def test_targets_that_contents_tell_pass_and_shuffled_ones_close(tmp_path, rng, kind):
    features = rng.normal(size=(600, 5))
    value = features[:, 0] + 0.3 * rng.normal(size=600)
    targets = [f"{each:.3f}" if kind == "number" else "ab"[int(each > 0)] for each in value]
    for given, closes in ((targets, False), (rng.permutation(targets).tolist(), True)):
        check = found(target_depends_on_content, material_of(tmp_path, features, given, kind=kind))
        assert check["target_depends_on_content"].check.closes is closes
    assert "were they shuffled" in check["target_depends_on_content"].check.message


def test_what_is_not_asked(tmp_path, rng):
    features, targets = rng.normal(size=(100, 3)), ["ab"[at % 2] for at in range(100)]
    asked = material_of(tmp_path, features, targets)
    assert list(target_depends_on_content(asked))
    for other in (
        replace(asked, answers=None),
        replace(asked, answers=Answers(np.arange(100))),
        replace(asked, answers=Answers(np.arange(20), ("a", "b"), np.full((20, 2), 0.5))),
        replace(asked, target="none"),
        material_of(tmp_path, features, ["a"] * 100),
        material_of(tmp_path, features, [None] * 100),
        material_of(tmp_path, features, ["1.5"] * 100, kind="number"),
    ):
        assert not list(target_depends_on_content(other))


def test_labels_that_a_person_corrected_are_asked_too(tmp_path, rng):
    features = rng.normal(size=(100, 3))
    targets = ["ab"[at % 2] for at in range(100)]
    material = material_of(tmp_path, features, targets, corrected=frozenset(f"e{at}" for at in range(80)))
    assert list(target_depends_on_content(material))
