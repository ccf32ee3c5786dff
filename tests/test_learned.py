"""Whether a network learned anything: what is told of those that did not, and nothing of those that did."""

import re
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_digits
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split

from sluiceway.config import Train
from sluiceway.data.outcomes import class_outcomes
from sluiceway.evaluation.learned import FLAT, Course, nothing_learned
from sluiceway.evaluation.scores import paired_difference
from sluiceway.usecases.targets.classes import CLASS
from sluiceway.usecases.targets.labels import CLASSES, label_outcomes
from sluiceway.usecases.targets.numbers import NUMBER
from sluiceway.usecases.targets.transcripts import TEXT, text_outcomes
from sluiceway.usecases.text_generation.scoring import METRICS as BITS

FALLING = Course((2.3, 1.5, 0.8, 0.4), (1.6, 0.9, 0.5), 1000)
STILL = Course((2.303, 2.303, 2.302, 2.301), (2.304, 2.302), 1000)
BY_HEART = Course((2.3, 1.0, 0.2, 0.01), (2.3, 2.9, 3.5), 1000)
WILD = Course((2.3, 9.0, 40.0, 38.0), (30.0, 35.0), 1000)
TRAIN = Train(lr=1e-3, epochs=7, global_batch=64)

compare = partial(paired_difference, resamples=200, seed=0)


def rows(outcomes):
    return {**outcomes, "row": np.arange(len(next(iter(outcomes.values()))))}


@pytest.fixture(scope="module")
def digits():
    """scikit-learn's digits: targets of the test split, a linear learner's answers, and the commonest class."""
    images, numbers = load_digits(return_X_y=True)
    train, test, of_train, of_test = train_test_split(images, numbers, random_state=0)
    linear = LogisticRegression(max_iter=200).fit(train, of_train).predict(test)
    commonest = DummyClassifier().fit(train, of_train).predict(test)
    return of_test, linear, {"commonest class": classes(of_test, commonest), "linear": classes(of_test, linear)}


def classes(target, predicted):
    return rows(class_outcomes(target, predicted, np.full(len(target), 0.5)))


def told(model, baselines, metrics=CLASS.metrics, course=FALLING, train=TRAIN):
    return nothing_learned(model, baselines, metrics, compare, course, train, "flowers")


@pytest.mark.parametrize("course", [FALLING, STILL, BY_HEART, WILD, Course((), (), 3)])
def test_who_tells_classes_apart_is_left_in_peace(digits, course):
    target, linear, baselines = digits
    assert told(classes(target, linear), baselines, course=course) is None
    weak = np.where(np.arange(len(target)) % 6 == 0, linear, np.random.default_rng(0).integers(10, size=len(target)))
    assert told(classes(target, weak), baselines, course=course) is None


def test_one_answer_for_all_is_told_with_what_others_make_of_the_data(digits):
    target, _, baselines = digits
    found = told(classes(target, np.full(len(target), 3)), baselines, course=STILL, train=Train(lr=1e-6))
    assert found.signs[0].endswith("commonest class, which looks at nothing, has 8.44 %.")
    assert "one and the same answer to all 450 test items" in found.signs[1]
    assert "hardly moved, from 2.303 to 2.301" in found.signs[2]
    assert re.match(r"linear has 9\d\.\d\d % on the same items: the data can be learned", found.signs[3])
    assert found.causes[0].startswith("The learning rate may be too low: `train.lr` is 1e-06. Try `dvc exp run")
    assert "params.yaml:train.lr=0.001 register@flowers`" in found.causes[0]
    assert not any("targets" in cause for cause in found.causes)


def test_chance_is_told_with_its_cause(digits):
    target, _, baselines = digits
    chance = classes(target, (target + 1 + np.arange(len(target)) % 9) % 10)
    wrong = {name: baselines[name] for name in ("commonest class",)} | {"linear": {**chance}}
    by_heart = told(chance, wrong, course=BY_HEART)
    assert "that of the validation did not: 2.3 to 3.5" in by_heart.signs[1]
    assert by_heart.causes[0].startswith("No simpler learner is better than that either. The targets may not belong")
    assert "by heart" in by_heart.causes[1]
    wild = told(chance, baselines, course=WILD, train=Train(lr=0.5))
    assert "rose, from 2.3 to 38" in " ".join(wild.signs)
    assert (
        "too high: `train.lr` is 0.5. Try `dvc exp run -S pipelines/flowers/params.yaml:train.lr=0.05 "
        in wild.causes[0]
    )
    few = told(chance, baselines, course=Course((2.3,), (2.3,), 12))
    assert few.causes == ("12 steps may be too few: raise `train.epochs` (7), or lower `train.global_batch` (64).",)
    alone = told(chance, {"commonest class": baselines["commonest class"]}, course=STILL)
    assert "may not fit" in alone.causes[0]
    assert "The targets may not belong" in alone.causes[-1]


def test_a_rare_class_that_is_found_is_learned_though_accuracy_does_not_show_it():
    target = (np.arange(400) % 20 == 0).astype(int)
    found = target.copy()
    found[1:400:19] = 1  # half of what it finds is none
    commonest = classes(target, np.zeros(400, int))
    assert CLASS.metrics[0].compute(classes(target, found)) <= CLASS.metrics[0].compute(commonest)
    assert told(classes(target, found), {"commonest class": commonest}) is None
    assert told(commonest, {"commonest class": commonest}) is not None


def test_a_test_split_of_one_class_says_nothing_of_one_answer():
    target = np.zeros(50, int)
    found = told(classes(target, target), {"commonest class": classes(target, target)})
    assert found is None or "one and the same" not in " ".join(found.signs)


def test_numbers():
    table, values = load_diabetes(return_X_y=True)
    train, test, of_train, of_test = train_test_split(table, values, random_state=0)
    ridge = Ridge(alpha=0.1).fit(train, of_train).predict(test)

    def numbers(predicted):
        return rows({"target": of_test, "predicted": np.asarray(predicted, float)})

    mean = {"mean": numbers(np.full(len(of_test), of_train.mean()))}
    assert told(numbers(ridge), mean, NUMBER.metrics, STILL) is None
    wobble = np.random.default_rng(0).normal(size=len(of_test)) * 0.01
    flat = told(numbers(np.median(of_train) + wobble), mean | {"ridge": numbers(ridge)}, NUMBER.metrics)
    assert "one and the same answer" in " ".join(flat.signs)
    assert "ridge has" in flat.signs[-1]
    assert told(numbers(-ridge), mean, NUMBER.metrics) is not None


def test_texts_and_labels():
    wanted = ["ein Fisch", "zwei Fische", "das Wrack", "die Kiste"] * 10
    constant = {"best constant text": rows(text_outcomes(wanted, ["die Fische"] * 40))}
    assert told(rows(text_outcomes(wanted, wanted)), constant, TEXT.metrics) is None
    silent = told(rows(text_outcomes(wanted, [""] * 40)), constant, TEXT.metrics)
    assert "one and the same answer to all 40 test items" in silent.signs[1]
    random = np.random.default_rng(0)
    has = random.random((200, 3)) < [0.2, 0.5, 0.8]
    shares = rows(label_outcomes(has, np.tile(has.mean(0), (200, 1))))
    assert told(rows(label_outcomes(has, np.where(has, 0.8, 0.3))), {"shares": shares}, CLASSES.metrics) is None
    assert told(shares, {"shares": shares}, CLASSES.metrics) is not None


def test_of_windows_only_a_still_loss_tells():
    def windows(bits):
        return rows({"bits": np.asarray(bits, float), "bytes": np.full(60, 100), "words": np.full(60, 20)})

    random = np.random.default_rng(0)
    frequencies = {"byte frequencies": windows(430 + random.normal(size=60))}
    good, bad = windows(150 + random.normal(size=60)), windows(800 + random.normal(size=60))
    assert told(good, frequencies, BITS, FALLING) is None
    assert told(good, frequencies, BITS, STILL) is None
    assert told(bad, frequencies, BITS, FALLING) is None
    found = told(bad, frequencies, BITS, STILL)
    assert "is the simplest learner here" in found.signs[0]
    xz = {"xz -9": {name: column[:1] for name, column in good.items()}}
    assert told(bad, xz, BITS, STILL) is None  # nobody who answered the same windows


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6), kinds=st.integers(2, 6), right=st.floats(0.0, 1.0), losses=st.lists(st.floats(0.1, 9))
)
def test_who_is_clearly_better_is_never_told(seed, kinds, right, losses):
    random = np.random.default_rng(seed)
    target = random.integers(kinds, size=150)
    model = classes(target, np.where(random.random(150) < right, target, random.integers(kinds, size=150)))
    blind = classes(target, np.full(150, np.bincount(target).argmax()))
    course = Course(tuple(losses), tuple(losses[::2]), len(losses))
    if compare(model, blind, CLASS.metrics[0]).low > 0:
        assert told(model, {"commonest class": blind}, course=course) is None


def test_a_course_is_read_from_the_history():
    history = [
        {"step": 5, "train/machines.0/free_energy": 9.0},
        {"step": 10, "train/loss": 2.0, "train/lr": 0.1},
        {"step": 20, "train/loss": 1.0},
        {"step": 20, "validation/loss": 1.5, "validation/accuracy": 0.5},
    ]
    course = Course.of(history, 20)
    assert course == Course((2.0, 1.0), (1.5,), 20)
    assert not course.flat
    assert Course((1.0, 1.0 - FLAT / 2), (), 20).flat
    assert not Course((1.0,), (1.0,), 20).flat  # nobody can say
