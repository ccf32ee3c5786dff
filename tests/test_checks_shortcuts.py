"""One property that gives the target away is found, nature is let through; numbers in time: stuck, late, mirrored."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_digits

from material import material_of
from sluiceway.checks.base import Material
from sluiceway.checks.series import best_shift, group_correlations, numbers_in_time, stuck_runs
from sluiceway.checks.shortcuts import shortcuts
from sluiceway.config import DataGateParams
from sluiceway.data.learning.learner import cross_fit
from sluiceway.data.sketches import Sketches
from sluiceway.gates.verdict import Severity

MEASURES = {"format": "text", "brightness": "number", "bytes": "integer"}


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return data.data / 16, data.target


def material(folder, digits, features=None, **columns):
    pixels, labels = digits
    rng = np.random.default_rng(0)
    given = {
        "format": ["PNG"] * len(labels),
        "brightness": pixels.mean(1),
        "bytes": rng.integers(200, 400, len(labels)),
    }
    targets = [str(value) for value in labels]
    chosen = pixels if features is None else features
    return material_of(folder, chosen, targets, columns=given | columns, measures=MEASURES, learn=False)


def test_clean_digits_have_no_shortcut(tmp_path, digits):
    (finding,) = shortcuts(material(tmp_path, digits))
    assert finding.check.passed
    assert 0.2 < finding.check.figure < 0.9


@pytest.mark.parametrize("fault", ["format", "brightness", "bytes", "mark"])
def test_a_property_of_one_class_closes(tmp_path, digits, fault):
    pixels, labels = digits
    of_three = labels == 3
    changed = {
        "format": {"format": np.where(of_three, "JPEG", "PNG").tolist()},
        "brightness": {"brightness": pixels.mean(1) + 0.6 * of_three},
        "bytes": {"bytes": np.where(of_three, 999, np.arange(len(labels)) % 300).tolist()},
        "mark": {"features": np.column_stack([pixels, 0.4 * of_three])},
    }[fault]
    (finding,) = shortcuts(material(tmp_path, digits, **changed))
    assert finding.check.closes
    assert "tells 3 from the rest" in finding.check.message
    assert (fault if fault != "mark" else "dimension 64 of the features") in finding.check.message


def test_what_holds_on_one_half_only_is_no_shortcut(tmp_path):
    rng = np.random.default_rng(0)  # 200 columns of chance against 60 examples of each class
    material = material_of(tmp_path, rng.normal(size=(120, 200)), ["ab"[at % 2] for at in range(120)], learn=False)
    (finding,) = shortcuts(material)
    assert finding.check.passed


def test_a_large_class_is_no_shortcut(tmp_path):
    rng = np.random.default_rng(0)
    targets = ["rare" if at % 30 == 0 else "common" for at in range(1500)]
    (finding,) = shortcuts(material_of(tmp_path, rng.normal(size=(1500, 4)), targets, learn=False))
    assert finding.check.passed


def test_two_classes_only_warn_unless_a_category_parts_them(tmp_path, digits):
    pixels, labels = digits
    rows = labels < 2
    targets = [str(value) for value in labels[rows]]
    easy = material_of(tmp_path, np.column_stack([pixels[rows], labels[rows]]), targets, learn=False)
    (finding,) = shortcuts(easy)
    assert not finding.check.passed
    assert finding.check.severity is Severity.warn
    given = {"format": ["JPEG" if value else "PNG" for value in labels[rows]]}
    (finding,) = shortcuts(
        material_of(tmp_path, pixels[rows], targets, columns=given, measures={"format": "text"}, learn=False)
    )
    assert finding.check.closes


def test_a_number_that_stands_in_a_column_is_found(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=800)
    targets = [f"{value:.4f}" for value in values]
    for column, passed in ((np.exp(values), False), (values + rng.normal(size=800), True)):
        (finding,) = shortcuts(
            material_of(
                tmp_path,
                rng.normal(size=(800, 5)),
                targets,
                kind="number",
                learn=False,
                columns={"loudness": column},
                measures={"loudness": "number"},
            )
        )
        assert finding.check.passed is passed


# Numbers in time.


def drives(folder, seed, fault="", *, groups=8, length=200, noise=3.0, lag=5):
    """Steering that changes slowly and often rests, features that follow it noisily, and the learner's answers."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(groups, length + 60))
    wheel = np.zeros_like(steps)
    for at in range(1, steps.shape[1]):
        wheel[:, at] = 0.95 * wheel[:, at - 1] + 0.31 * steps[:, at]
    wheel = np.where(np.abs(wheel) < 0.3, 0, wheel)
    seen, given = wheel[:, 60:], wheel[:, 60:].copy()
    if fault == "late":
        given = wheel[:, 60 - lag : -lag].copy()
    elif fault == "mirrored":
        given[2] *= -1
    elif fault == "stuck":
        given[1, 20:180] = 0.4321
    blur = rng.normal(size=(*seen.shape, 8))
    features = (seen[..., None] * rng.normal(size=8) + noise * blur).reshape(-1, 8).astype(np.float32)
    count = seen.size
    names = np.repeat([f"d{number}" for number in range(groups)], length)
    table = pl.DataFrame(
        {
            "id": [f"f{at}" for at in range(count)],
            "split": np.where(np.isin(names, ["d0"]), "test", "train").tolist(),
            "group": names.tolist(),
            "time": np.tile(np.arange(length) * 0.1, groups),
            "checksum": [f"{at:08x}" for at in range(count)],
            "target": [f"{value:.4f}" for value in given.reshape(-1)],
        }
    )
    order = rng.permutation(count)  # the table need not be in the order of time
    path = folder / "drives.parquet"
    table[order].write_parquet(path)
    sketches = Sketches(np.arange(count), features[order], None)
    answers = cross_fit(sketches, table[order], "number")
    return Material(path, path, "number", {}, DataGateParams(), sketches, answers=answers)


def failed(material):
    return {finding.check.name: finding for finding in numbers_in_time(material) if not finding.check.passed}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("fault", "name"), [("late", "target_in_step"), ("mirrored", "target_sign"), ("stuck", "target_varies")]
)
def test_faults_of_drives_close(tmp_path, fault, name, seed):
    found = failed(drives(tmp_path, seed, fault))
    assert list(found) == [name]
    check = found[name].check
    assert check.closes
    assert {"late": "5 examples later", "mirrored": "in d2", "stuck": "in d1"}[fault] in check.message


@pytest.mark.parametrize("noise", [1.0, 4.0, 20.0])
@pytest.mark.parametrize("seed", range(4))
def test_clean_drives_pass(tmp_path, seed, noise):
    assert not failed(drives(tmp_path, 100 + seed, noise=noise, groups=4 + seed))


def test_a_late_target_is_seen_in_a_sample(tmp_path):
    material = drives(tmp_path, 0, "late", noise=1.0)
    sketches, answers = material.sketches, material.answers
    kept = np.flatnonzero(np.random.default_rng(0).random(len(answers)) < 0.7)
    fewer = replace(answers, rows=answers.rows[kept], predictions=answers.predictions[kept])
    sampled = Sketches(sketches.rows[kept], sketches.features[kept], None)
    assert list(failed(replace(material, answers=fewer, sketches=sampled))) == ["target_in_step"]


def test_nothing_is_asked_where_there_is_no_time(tmp_path):
    rng = np.random.default_rng(0)
    material = material_of(
        tmp_path, rng.normal(size=(200, 3)), [f"{v:.3f}" for v in rng.normal(size=200)], kind="number"
    )
    assert not list(numbers_in_time(material))
    assert not list(numbers_in_time(material_of(tmp_path, rng.normal(size=(200, 3)), ["a", "b"] * 100)))


def test_a_wheel_may_rest_where_it_often_rests():
    rests = [np.append(np.zeros(25), number + 0.5) for number in range(30)]
    values = np.concatenate([np.arange(1.0, 101.0), *rests, np.zeros(60)])
    starts, _ = stuck_runs(values, np.zeros(len(values), np.int64))
    assert not len(starts)
    values[10:60] = 3.25
    starts, lengths = stuck_runs(values, np.zeros(len(values), np.int64))
    assert (starts.tolist(), lengths.tolist()) == ([10], [50])


def test_shifts_do_not_cross_groups():
    rng = np.random.default_rng(0)
    values = rng.normal(size=1200)
    groups = np.repeat(np.arange(4), 300)
    assert best_shift(np.roll(values, -4), values, groups)[0] == 4
    assert best_shift(values + rng.normal(size=1200), values, groups) == (0, 0.0)


def test_mirrored_groups_are_those_that_oppose():
    rng = np.random.default_rng(0)
    values = rng.normal(size=1000)
    groups = np.repeat(np.arange(5), 200)
    predictions = 0.5 * values + rng.normal(size=1000)
    assert not group_correlations(predictions, values, groups)
    values[groups == 3] *= -1
    assert [group for group, _ in group_correlations(predictions, values, groups)] == [3]
