"""Checks of targets that are texts, or labels: what they name, and what they let pass."""

import numpy as np
import polars as pl
import pytest

from sluiceway.checks.base import Material
from sluiceway.checks.classes import class_counts, classes_alike_across_splits, classes_present
from sluiceway.checks.labels import label_errors
from sluiceway.checks.learnable import target_depends_on_content
from sluiceway.checks.shortcuts import shortcuts
from sluiceway.checks.texts import texts_across_splits
from sluiceway.config import DataGateParams
from sluiceway.data.labels import joined
from sluiceway.data.learning.learner import cross_fit
from sluiceway.data.profile import profile
from sluiceway.data.sketches import Sketches
from sluiceway.data.table import schema, write_table

WORDS = [
    "de",
    "het",
    "een",
    "vis",
    "water",
    "steen",
    "boot",
    "zwemt",
    "kijkt",
    "naar",
    "boven",
    "onder",
    "rots",
    "zei",
    "niet",
    "wel",
    "gaat",
    "door",
    "diep",
    "anker",
    "zee",
]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def material(tmp_path, targets, splits, kind, features=None, estimator=None, limits=None):
    rows = [
        {"id": f"e{n}", "split": split, "target": target, "checksum": f"{n:032x}", "source": "x", "group": None}
        for n, (target, split) in enumerate(zip(targets, splits, strict=True))
    ]
    path = tmp_path / "examples.parquet"
    write_table(rows, schema({}), path)
    sketches = Sketches(np.arange(len(rows)), None if features is None else np.asarray(features, np.float32), None)
    answers = None
    if features is not None:
        table = pl.DataFrame(rows, schema_overrides={"group": pl.String, "target": pl.String})
        answers = cross_fit(sketches, table, kind, estimator=estimator)
    return Material(path, path, kind, {}, limits or DataGateParams(), sketches, answers)


def sides(count):
    return [("train", "train", "train", "validation", "test")[n % 5] for n in range(count)]


def sentence(rng, words=9):
    return " ".join(rng.choice(WORDS, words))


# Texts


def test_a_held_out_text_that_is_trained_on_is_named(tmp_path, rng):
    texts = [sentence(rng) for _ in range(200)]
    texts[4] = f"{texts[0]} nu"  # a test text that is nearly a training text
    texts[9] = texts[14]  # two test texts that are equal: no leak
    (found,) = texts_across_splits(material(tmp_path, texts, sides(200), "text"))
    assert not found.check.passed
    assert found.check.severity == "warn"
    assert [each.id for each in found.offenders] == ["e4"]
    assert found.offenders[0].other == "e0"


def test_short_texts_and_titles_say_nothing(tmp_path, rng):
    assert list(texts_across_splits(material(tmp_path, ["ja hoor"] * 100, sides(100), "text"))) == []
    titles = [sentence(rng) for _ in range(10)] * 10
    limits = DataGateParams(groups_in_turn=True)
    assert list(texts_across_splits(material(tmp_path, titles, sides(100), "text", limits=limits))) == []
    assert list(texts_across_splits(material(tmp_path, titles, sides(100), "class"))) == []


@pytest.mark.parametrize("shuffled", [False, True])
def test_texts_that_were_shuffled_do_not_depend_on_their_sounds(tmp_path, rng, shuffled):
    lengths = rng.integers(2, 20, 2000)
    texts = [sentence(rng, count) for count in lengths]
    features = np.column_stack([lengths + rng.normal(0, 1, 2000), rng.normal(0, 1, (2000, 2))])
    if shuffled:
        texts = [texts[at] for at in rng.permutation(2000)]
    (found,) = target_depends_on_content(material(tmp_path, texts, sides(2000), "text", features))
    assert found.check.passed != shuffled
    assert (found.check.figure > 0.5) != shuffled


# Labels


def labelled(rng, count=400, wrong=()):
    has = rng.random((count, 2)) < 0.4
    features = has * 4.0 + rng.normal(0, 0.7, (count, 2))
    has[list(wrong), 0] ^= True
    return [joined(name for name, there in zip("ab", row, strict=True) if there) for row in has], features


def test_labels_are_counted_one_by_one(tmp_path, rng):
    targets, _ = labelled(rng)
    data = material(tmp_path, targets, sides(400), "classes")
    counts = class_counts(data)
    assert set(counts) == {"a", "b"}
    assert sum(counts["a"].values()) == sum("a" in target for target in targets)
    assert all(each.check.passed for each in (*classes_present(data), *classes_alike_across_splits(data)))
    drawn = profile(data.scan(), {}, "classes")["target"]
    assert dict(zip(drawn["values"], drawn["splits"]["train"]["counts"], strict=True)) == {
        name: counts[name]["train"] for name in drawn["values"]
    }


def test_a_label_that_one_split_lacks_is_named(tmp_path, rng):
    targets = ["a|b" if split != "test" else "a" for split in sides(400)]
    first, *_ = classes_present(material(tmp_path, targets, sides(400), "classes"))
    assert not first.check.passed
    assert "b in test" in first.check.message
    (alike,) = classes_alike_across_splits(material(tmp_path, targets, sides(400), "classes"))
    assert not alike.check.passed


def test_labels_that_are_lacking_or_too_many_are_named(tmp_path, rng):
    wrong = rng.choice(400, 24, replace=False).tolist()
    targets, features = labelled(rng, wrong=wrong)
    data = material(tmp_path, targets, sides(400), "classes", features)
    assert data.answers.classes == ("a", "b")
    (found,) = label_errors(data)
    assert not found.check.passed
    named = {int(each.id[1:]) for each in found.offenders}
    assert len(named & set(wrong)) >= 20
    assert len(named - set(wrong)) <= 6
    assert all("a is lacking" in each.detail or "a does not show" in each.detail for each in found.offenders[:15])
    (depends,) = target_depends_on_content(data)
    assert depends.check.passed
    (alone,) = shortcuts(data)
    assert "tells" in alone.check.message


def test_clean_labels_pass_and_shuffled_ones_do_not(tmp_path, rng):
    targets, features = labelled(rng, 2000)
    (found,) = label_errors(material(tmp_path, targets, sides(2000), "classes", features))
    assert found.check.passed
    shuffled = [targets[at] for at in rng.permutation(2000)]
    (depends,) = target_depends_on_content(material(tmp_path, shuffled, sides(2000), "classes", features))
    assert not depends.check.passed
