"""Wrong labels are found and hard tasks are not taken for them; targets that nothing can learn close the gate."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC

from material import material_of
from sluiceway.checks.labels import label_errors, residual_distances
from sluiceway.checks.learnable import separation, target_depends_on_content
from sluiceway.checks.noise import label_noise
from sluiceway.data.answers import Answers
from sluiceway.gates.verdict import Severity


def svc():
    return SVC(C=10.0)


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return data.data / 16, data.target


def flipped(labels, rate, seed, pair=None):
    rng = np.random.default_rng(seed)
    pool = np.arange(len(labels)) if pair is None else np.flatnonzero(np.isin(labels, pair))
    chosen = rng.choice(pool, round(rate * len(pool)), replace=False)
    wrong = labels.copy()
    wrong[chosen] = (
        (labels[chosen] + rng.integers(1, 10, len(chosen))) % 10 if pair is None else sum(pair) - labels[chosen]
    )
    return [str(value) for value in wrong], {f"e{at}" for at in chosen}


def found_and_true(material, truth):
    (finding,) = label_errors(material)
    named = {offender.id for offender in finding.offenders}
    return finding, len(named & truth) / max(1, len(named)), len(named & truth) / len(truth)


@pytest.mark.parametrize("seed", range(3))
def test_five_in_a_hundred_flipped_labels_close_and_are_named(tmp_path, digits, seed):
    features, labels = digits
    targets, truth = flipped(labels, 0.05, seed)
    finding, precision, recall = found_and_true(material_of(tmp_path, features, targets, estimator=svc), truth)
    assert finding.check.closes
    assert precision >= 0.8
    assert recall >= 0.6
    assert finding.offenders[0].detail.startswith("looks like ")
    assert finding.check.offenders == len(finding.offenders)


def test_a_few_flipped_labels_warn(tmp_path, digits):
    features, labels = digits
    targets, truth = flipped(labels, 0.02, 0)
    finding, precision, recall = found_and_true(material_of(tmp_path, features, targets, estimator=svc), truth)
    assert not finding.check.passed
    assert finding.check.severity is Severity.warn
    assert precision >= 0.8
    assert recall >= 0.6


def test_two_classes_mixed_up_are_found(tmp_path, digits):
    features, labels = digits
    targets, truth = flipped(labels, 0.3, 0, pair=(4, 9))
    finding, precision, recall = found_and_true(material_of(tmp_path, features, targets, estimator=svc), truth)
    assert finding.check.closes
    assert precision >= 0.6
    assert recall >= 0.6


@pytest.mark.parametrize("seed", range(6))
def test_clean_digits_pass(tmp_path, digits, seed):
    features, labels = digits
    rows = np.random.default_rng(seed).permutation(len(labels))[: len(labels) // (1 + seed % 2)]
    (finding,) = label_errors(material_of(tmp_path, features[rows], [str(v) for v in labels[rows]], estimator=svc))
    assert finding.check.passed


@pytest.mark.parametrize("estimator", [svc, lambda: RandomForestClassifier(50, random_state=0)])
@pytest.mark.parametrize("noise", [0.3, 0.5, 0.8, 1.2, 3.0])
def test_a_hard_task_is_not_a_noisy_one(tmp_path, digits, noise, estimator):
    features, labels = digits
    spoiled = features + np.random.default_rng(1).normal(0, noise, features.shape)
    material = material_of(tmp_path, spoiled, [str(value) for value in labels], estimator=estimator)
    (finding,) = label_errors(material)
    assert not finding.check.closes


def test_labels_that_a_person_confirmed_are_trusted(tmp_path, digits):
    features, labels = digits
    targets, truth = flipped(labels, 0.05, 0)
    (finding,) = label_errors(material_of(tmp_path, features, targets, estimator=svc, corrected=frozenset(truth)))
    assert finding.check.passed
    assert not truth & {offender.id for offender in finding.offenders}


def test_nothing_is_said_of_little(tmp_path, digits):
    features, labels = digits
    assert not list(label_errors(material_of(tmp_path, features[:20], [str(v) for v in labels[:20]])))
    assert not list(label_errors(material_of(tmp_path, features, [str(v) for v in labels], learn=False)))


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2])
def test_the_rate_of_noise_is_estimated(rate):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 4000)
    odds = rng.normal(size=(4000, 5)) + 7 * np.eye(5)[truth]
    probabilities = np.exp(odds) / np.exp(odds).sum(1, keepdims=True)
    wrong = rng.random(4000) < rate
    labels = np.where(wrong, (truth + rng.integers(1, 5, 4000)) % 5, truth)
    assert label_noise(probabilities, labels).wrong.mean() == pytest.approx(rate, abs=0.012)


@pytest.mark.parametrize("spread", ["normal", "t", "zeros"])
def test_wild_numbers_are_named_and_tame_ones_are_not(tmp_path, spread):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1500, 6))
    noise = {"normal": rng.normal(size=1500), "t": rng.standard_t(3, 1500), "zeros": rng.normal(size=1500)}[spread]
    truth = 5 * features[:, 0] + noise
    if spread == "zeros":
        truth = np.where(np.abs(truth) < 3, 0, truth)
    clean = material_of(tmp_path, features, [f"{value:.4f}" for value in truth], kind="number")
    (finding,) = label_errors(clean)
    assert finding.check.passed, finding.check.message
    chosen = rng.choice(1500, 90, replace=False)
    truth[chosen] += rng.choice([-1, 1], 90) * 60
    (finding,) = label_errors(material_of(tmp_path, features, [f"{value:.4f}" for value in truth], kind="number"))
    named = {offender.id for offender in finding.offenders}
    touched = {f"e{at}" for at in chosen}
    assert finding.check.closes
    assert len(named & touched) >= 0.8 * len(touched)
    assert len(named & touched) >= 0.8 * len(named)


def test_residuals_are_measured_by_those_around_them():
    rng = np.random.default_rng(0)
    predictions = np.linspace(0, 10, 2000)
    residuals = rng.normal(size=2000) * (1 + predictions)
    assert residual_distances(predictions, residuals).max() < 6
    residuals[10] = 12.0
    assert residual_distances(predictions, residuals)[10] > 3


def test_shuffled_targets_close_and_clean_ones_do_not(tmp_path, digits):
    features, labels = digits
    targets = np.array([str(value) for value in labels])
    clean = {
        f.check.name: f.check for f in target_depends_on_content(material_of(tmp_path, features, targets.tolist()))
    }
    assert clean["target_depends_on_content"].passed
    assert clean["classes_learnable"].passed
    for wrong in (
        np.random.default_rng(0).permutation(targets),
        np.roll(np.random.default_rng(1).permutation(targets), 1),
    ):
        found = {
            f.check.name: f.check for f in target_depends_on_content(material_of(tmp_path, features, wrong.tolist()))
        }
        assert found["target_depends_on_content"].closes


@pytest.mark.parametrize("count", [10, 30, 60])
def test_few_examples_prove_nothing(tmp_path, digits, count):
    features, labels = digits
    targets = np.random.default_rng(0).permutation([str(value) for value in labels[:count]]).tolist()
    assert all(f.check.passed for f in target_depends_on_content(material_of(tmp_path, features[:count], targets)))


def test_a_rare_class_that_is_never_answered_is_learnable(tmp_path):
    rng = np.random.default_rng(0)
    targets = ["rare" if at % 20 in (0, 1) and at % 3 == 0 else "common" for at in range(2000)]
    features = rng.normal(size=(2000, 5)) + np.array([[0.8 * (target == "rare")] for target in targets])
    assert all(f.check.passed for f in target_depends_on_content(material_of(tmp_path, features, targets)))


def test_classes_that_hold_the_same_are_named(tmp_path, digits):
    features, labels = digits
    rng = np.random.default_rng(0)
    targets = [f"{v}{rng.choice(['', 'b']) if v == 3 else ''}" for v in labels]
    found = {f.check.name: f.check for f in target_depends_on_content(material_of(tmp_path, features, targets))}
    assert found["target_depends_on_content"].passed
    assert not found["classes_learnable"].passed
    assert "3" in found["classes_learnable"].message
    junk = np.array([str(v) for v in labels], object)
    junk[rng.choice(len(labels), 200, replace=False)] = "junk"
    found = {f.check.name: f.check for f in target_depends_on_content(material_of(tmp_path, features, junk.tolist()))}
    assert "junk is not told from the rest" in found["classes_learnable"].message


@pytest.mark.parametrize(("share", "closes"), [(0.0, True), (0.35, False)])
def test_numbers_must_follow_from_contents(tmp_path, share, closes):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2000, 6))
    truth = share * features[:, 0] + rng.normal(size=2000)
    (finding,) = target_depends_on_content(
        material_of(tmp_path, features, [f"{value:.4f}" for value in truth], kind="number")
    )
    assert finding.check.closes is closes


def test_separation_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    own = rng.random(500) < 0.3
    score = np.round(rng.normal(size=500) + own, 1)
    assert separation(score, own)[0] == pytest.approx(2 * roc_auc_score(own, score) - 1)


def texts_of(folder, surprise):
    count = len(surprise)
    groups = [f"book {at // 200}" for at in range(count)]
    material = material_of(folder, None, ["words"] * count, kind="text", columns={"group": groups}, learn=False)
    return replace(material, answers=Answers(np.arange(count), surprise=surprise))


def test_shifted_lines_close_and_are_named_in_a_row(tmp_path):
    rng = np.random.default_rng(0)
    surprise = rng.normal(-2, 0.5, 1_000)
    surprise[300:380] = 0.8
    surprise[310] = -0.4  # shifted, and by chance of use
    surprise[700] = np.nan
    (finding,) = label_errors(texts_of(tmp_path, surprise))
    assert finding.check.closes
    assert {offender.id for offender in finding.offenders} == {f"e{at}" for at in range(300, 380)}
    assert "80 of them in a row: were lines shifted" in finding.check.message
    assert finding.offenders[-1].detail == "its content helps by 0.40 bits per word, but those beside it are wrong"


def test_texts_that_follow_from_contents_pass(tmp_path):
    rng = np.random.default_rng(0)
    material = texts_of(tmp_path, rng.normal(-2, 0.4, 1_000))
    (finding,) = label_errors(material)
    assert finding.check.passed
    (finding,) = target_depends_on_content(material)
    assert finding.check.passed
    assert finding.check.figure == 1.0


def test_texts_that_do_not_follow_from_contents_close(tmp_path):
    rng = np.random.default_rng(0)
    (finding,) = target_depends_on_content(texts_of(tmp_path, rng.normal(0.2, 0.4, 1_000)))
    assert finding.check.closes
    assert "were they shuffled, or shifted" in finding.check.message
