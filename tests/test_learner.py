"""The cross-fitted classical learner: honest, deterministic, and at ease with little data."""

import warnings
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC

from sluiceway.data.answers import Answers
from sluiceway.data.learning import learner
from sluiceway.data.learning.folds import FOLDS, folds, plan
from sluiceway.data.learning.learner import cross_fit
from sluiceway.data.learning.margins import best_scale, probabilities, worst_duels
from sluiceway.data.sketches import Sketches


def table_of(targets: Sequence[str | None], *, splits=None, groups=None, checksums=None) -> pl.DataFrame:
    count = len(targets)
    return pl.DataFrame(
        {
            "split": splits
            or ["test" if at % 5 == 0 else "validation" if at % 5 == 1 else "train" for at in range(count)],
            "group": pl.Series(groups or [None] * count, dtype=pl.String),
            "checksum": checksums or [f"{at:08x}" for at in range(count)],
            "target": pl.Series(list(targets), dtype=pl.String),
        }
    )


def sketches_of(features) -> Sketches:
    return Sketches(np.arange(len(features)) * 3, np.asarray(features, np.float32), None)


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return data.data / 16, [str(value) for value in data.target]


def svc():
    return SVC(C=10.0)


def test_digits_are_recognised_and_probabilities_are_honest(digits):
    features, targets = digits
    answers = cross_fit(sketches_of(features), table_of(targets), "class", estimator=svc)
    assert answers is not None
    assert answers.classes == tuple("0123456789")
    assert answers.rows.tolist() == (np.arange(len(targets)) * 3).tolist()
    assert np.allclose(answers.probabilities.sum(1), 1)
    hit = np.array(answers.classes)[answers.probabilities.argmax(1)] == np.array(targets)
    assert hit.mean() > 0.97
    assert abs(answers.probabilities.max(1).mean() - hit.mean()) < 0.03


def test_the_test_split_is_answered_from_the_training_split_alone(digits):
    features, targets = digits
    table = table_of(targets)
    before = cross_fit(sketches_of(features), table, "class", estimator=svc)
    validation = (table["split"] == "validation").to_numpy()
    spoiled = [("0" if bad else target) for bad, target in zip(validation, targets, strict=True)]
    after = cross_fit(sketches_of(features), table_of(spoiled), "class", estimator=svc)
    test = (table["split"] == "test").to_numpy()
    assert (before.probabilities[test].argmax(1) == after.probabilities[test].argmax(1)).all()
    train = (table["split"] == "train").to_numpy()
    assert (before.probabilities[train].argmax(1) != after.probabilities[train].argmax(1)).any()


def test_no_example_answers_for_itself():
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(300, 5)), [str(value) for value in rng.integers(0, 2, 300)]
    answers = cross_fit(sketches_of(features), table_of(targets), "class", estimator=lambda: SVC(C=1e4, gamma=50.0))
    hit = np.array(answers.classes)[answers.probabilities.argmax(1)] == np.array(targets)
    assert hit.mean() < 0.6  # learned by heart it would be 1


def test_copies_do_not_answer_for_each_other():
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(150, 5)), 2, axis=0)
    targets = [str(value) for value in np.repeat(rng.integers(0, 2, 150), 2)]
    table = table_of(targets, splits=["train"] * 300, checksums=[f"{at // 2:08x}" for at in range(300)])
    answers = cross_fit(sketches_of(features), table, "class", estimator=lambda: SVC(C=1e4, gamma=50.0))
    hit = np.array(answers.classes)[answers.probabilities.argmax(1)] == np.array(targets)
    assert hit.mean() < 0.65


def test_same_data_same_answers_and_no_warning(digits):
    features, targets = digits
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, other = (
            cross_fit(sketches_of(features[:600]), table_of(targets[:600]), "class", estimator=None) for _ in range(2)
        )
    assert (one.probabilities == other.probabilities).all()


def test_probabilities_of_a_classifier_that_has_them_are_taken_as_they_are(digits):
    features, targets = digits
    table = table_of(targets)
    answers = cross_fit(sketches_of(features), table, "class", estimator=GaussianNB)
    train, test = ((table["split"] == name).to_numpy() for name in ("train", "test"))
    fitted = GaussianNB().fit(np.float32(features)[train], np.array(targets)[train])
    assert np.allclose(answers.probabilities[test], fitted.predict_proba(np.float32(features)[test]), atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 4, 7, 30])
@pytest.mark.parametrize("classes", [1, 2, 3, 10])
def test_little_data_is_answered(count, classes):
    rng = np.random.default_rng(count)
    targets = [str(at % classes) for at in range(count)]
    answers = cross_fit(sketches_of(rng.normal(size=(count, 100))), table_of(targets), "class")
    assert answers.probabilities.shape == (count, min(count, classes))
    assert np.isfinite(answers.probabilities).all()
    assert np.allclose(answers.probabilities.sum(1), 1)


def test_a_class_that_a_fit_has_not_seen_has_no_probability():
    rng = np.random.default_rng(0)
    targets = ["new" if at % 5 == 0 else "ab"[at % 2] for at in range(200)]  # each fifth is in the test split
    answers = cross_fit(sketches_of(rng.normal(size=(200, 4))), table_of(targets), "class", estimator=svc)
    assert (answers.probabilities[::5, answers.classes.index("new")] == 0).all()


def test_an_example_without_a_target_is_answered_and_not_learned():
    features = np.repeat(np.eye(2), 50, axis=0)
    targets = [None if at % 7 == 0 else "ab"[at // 50] for at in range(100)]
    answers = cross_fit(sketches_of(features), table_of(targets), "class")
    assert answers.classes == ("a", "b")
    assert (answers.probabilities.argmax(1) == np.arange(100) // 50).all()
    assert cross_fit(sketches_of(features), table_of([None] * 100), "class") is None


@pytest.mark.parametrize("count", [80, 1500])
def test_numbers_are_predicted(count):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(count, 8)) @ rng.normal(size=(8, 100))
    truth = features[:, 0] * 5 + 40
    targets = [f"{value:.5f}" for value in truth]
    targets[3] = "n/a"
    answers = cross_fit(sketches_of(features), table_of(targets), "number")
    assert np.isfinite(answers.predictions).all()
    rest = np.arange(count) != 3
    assert np.corrcoef(answers.predictions[rest], truth[rest])[0, 1] > 0.95


@pytest.mark.parametrize("kind", ["none", "text"])
def test_surprise_is_asked_of_contents_and_the_test_split_of_training_contents_alone(kind):
    contents = [f"text {at}".encode() for at in range(50)]
    table = table_of([None] * 50)
    asked: list[tuple[set[bytes], list[bytes]]] = []

    def surprise(known, wanted):
        asked.append((set(known), list(wanted)))
        return np.array([float(len(text)) for text in wanted])

    answers = cross_fit(
        Sketches(np.arange(50) * 2, np.ones((50, 3), np.float32), None),  # which could be answered from as well
        table,
        kind,
        surprise=surprise,
        load=lambda row: contents[row // 2],
    )
    assert answers.surprise.tolist() == [float(len(text)) for text in contents]
    assert all(not known & set(wanted) for known, wanted in asked)
    of = dict(zip(contents, table["split"], strict=True))
    tests = [known for known, wanted in asked if any(of[text] == "test" for text in wanted)]
    assert tests
    assert all({of[text] for text in known} == {"train"} for known in tests)
    assert cross_fit(Sketches(np.arange(50), None, None), table, "text") is None


def test_contents_to_learn_from_are_bounded(monkeypatch):
    monkeypatch.setattr(learner, "MOST_BYTES", 1_000)
    sizes = []

    def surprise(known, wanted):
        sizes.append(sum(map(len, known)))
        return np.zeros(len(wanted))

    table = table_of([None] * 100)
    answers = cross_fit(
        Sketches(np.arange(100), None, None), table, "none", surprise=surprise, load=lambda row: bytes([row]) * 100
    )
    assert np.isfinite(answers.surprise).all()
    assert max(sizes) <= 1_100


def test_a_fit_is_bounded(monkeypatch, digits):
    features, targets = digits
    monkeypatch.setattr(learner, "MOST_KNOWN", 200)
    seen = []

    class Noting(SVC):
        def fit(self, inputs, labels):
            seen.append(len(labels))
            return super().fit(inputs, labels)

    answers = cross_fit(sketches_of(features), table_of(targets), "class", estimator=Noting)
    hit = np.array(answers.classes)[answers.probabilities.argmax(1)] == np.array(targets)
    assert set(seen) == {200}
    assert hit.mean() > 0.9


@given(st.lists(st.integers(0, 12), min_size=1, max_size=80))
def test_groups_are_not_torn_apart_and_everyone_is_answered_once(groups):
    keys = [f"g{group}" for group in groups]
    fold = folds(keys, np.ones(len(keys), bool))
    assert all(len({int(fold[at]) for at in range(len(keys)) if keys[at] == key}) == 1 for key in keys)
    sides = ["test" if group % 4 == 0 else "train" for group in groups]
    jobs = plan(sides, keys)
    assert sorted(at for job in jobs for at in job.asked.tolist()) == list(range(len(keys)))
    assert all(not {keys[at] for at in job.known} & {keys[at] for at in job.asked} for job in jobs)


def test_folds_are_even():
    sizes = np.bincount(folds([str(at) for at in range(1003)], np.ones(1003, bool)), minlength=FOLDS)
    assert sizes.max() - sizes.min() <= 1


def test_one_group_alone_is_answered_by_itself(digits):
    features, targets = digits
    answers = cross_fit(
        sketches_of(features[:500]), table_of(targets[:500], groups=["only"] * 500), "class", estimator=svc
    )
    hit = np.array(answers.classes)[answers.probabilities.argmax(1)] == np.array(targets[:500])
    assert hit.mean() > 0.9


def test_worst_duels_are_those_of_scikit_learn(digits):
    features, targets = digits
    fitted = SVC(decision_function_shape="ovo").fit(features[:900], targets[:900])
    duels = fitted.decision_function(features[900:])
    worst = worst_duels(duels, 10)
    won = np.array([(row > 0).any() for row in worst])  # who wins all duels wins the vote
    assert won.mean() > 0.9
    assert (fitted.classes_[worst.argmax(1)][won] == fitted.predict(features[900:])[won]).all()


def test_the_best_scale_is_found():
    rng = np.random.default_rng(0)
    odds = rng.normal(size=(20_000, 4))
    chances = probabilities(odds, 2.5)
    labels = (chances.cumsum(1) > rng.random((20_000, 1))).argmax(1)
    assert best_scale(odds, labels) == pytest.approx(2.5, rel=0.05)
    assert best_scale(np.array([[5.0, -5.0]] * 3), np.zeros(3, np.int64)) < 1  # three hits make no certainty


def test_places_of_rows_that_are_not_answered():
    answers = Answers(np.array([2, 5, 9]), predictions=np.zeros(3))
    place, there = answers.places(np.array([0, 2, 9, 10, 5]))
    assert there.tolist() == [False, True, True, False, True]
    assert place[there].tolist() == [0, 2, 1]
