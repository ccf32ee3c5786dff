"""Scores, calibration, slices, profile, figures and pages: against references, as properties, with faults put in."""

import base64
import io
import json
import math
import os
import re
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pages import HOSTILE, MEASURES, a_verdict, example_table, profile_of, sound, with_column
from sluiceway.errors import DataError
from sluiceway.evaluation import canvas, plots, text
from sluiceway.evaluation.calibration import calibrate
from sluiceway.evaluation.confusion import confuse
from sluiceway.evaluation.distributions import distribution_figure
from sluiceway.evaluation.learned import NothingLearned
from sluiceway.evaluation.report import Evaluation, evaluation_page, gate_page, write_verdict
from sluiceway.evaluation.scores import Score, paired_difference, resampled_rows, score, wilson
from sluiceway.evaluation.slices import slices
from sluiceway.gates.verdict import Check, Override, Verdict
from sluiceway.usecases.base import Metric, Panel

ACCURACY = Metric("accuracy", "Accuracy", True, lambda o: float(o["correct"].mean()), percent=True)
LOSS = Metric("loss", "Loss, nats", False, lambda o: float(o["loss"].mean()))


def answers(count, share, seed=0):
    """Make outcomes of which exactly a share is right."""
    correct = np.arange(count) < round(share * count)
    np.random.default_rng(seed).shuffle(correct)
    return {"row": np.arange(count), "correct": correct}


# Scores


@pytest.mark.parametrize(("count", "share"), [(1000, 0.5), (1000, 0.9), (400, 0.7), (2000, 0.98)])
def test_accuracy_interval_is_near_wilsons(count, share):
    found = score(answers(count, share), [ACCURACY], 4000, seed=1)["accuracy"]
    expected = wilson(share * count, count)
    assert found.value == pytest.approx(share)
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.12 * width)
    assert found.high == pytest.approx(expected.high, abs=0.12 * width)


@pytest.mark.parametrize(("right", "count"), [(0, 7), (7, 7), (3, 10), (985, 1000)])
def test_wilson_agrees_with_scipy(right, count):
    from scipy.stats import binomtest

    reference = binomtest(right, count).proportion_ci(method="wilson")
    found = wilson(right, count)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_interval_agrees_with_scipy_bootstrap():
    from scipy.stats import bootstrap

    loss = np.random.default_rng(3).gamma(2.0, size=300)
    found = score({"loss": loss}, [LOSS], 6000, seed=5)["loss"]
    reference = bootstrap((loss,), np.mean, n_resamples=6000, method="percentile", rng=7).confidence_interval
    width = reference.high - reference.low
    assert found.low == pytest.approx(reference.low, abs=0.05 * width)
    assert found.high == pytest.approx(reference.high, abs=0.05 * width)


def test_interval_covers_the_truth_in_about_19_of_20_test_splits():
    random = np.random.default_rng(11)
    scores = [
        score({"loss": random.normal(3.0, 2.0, size=80)}, [LOSS], 400, seed=number)["loss"] for number in range(300)
    ]
    covered = np.mean([each.low <= 3.0 <= each.high for each in scores])
    assert 0.90 <= covered <= 0.98


def test_interval_of_grouped_items_covers_the_truth_only_when_groups_are_resampled():
    random = np.random.default_rng(12)
    covered = {"groups": 0, "rows": 0}
    for number in range(150):
        groups = np.repeat(np.arange(40), 6)
        loss = random.normal(size=40)[groups] + random.normal(scale=0.3, size=240)
        for kind, column in (("groups", groups), ("rows", np.arange(240))):
            found = score({"loss": loss}, [LOSS], 300, seed=number, groups=column)["loss"]
            covered[kind] += found.low <= 0.0 <= found.high
    assert covered["groups"] / 150 >= 0.88
    assert covered["rows"] / 150 <= 0.75


def test_groups_of_equal_items_are_as_good_as_one_item_each():
    loss = np.random.default_rng(2).normal(size=50)
    single = score({"loss": loss}, [LOSS], 200, seed=4)
    repeated = {"loss": np.repeat(loss, 7), "group": np.repeat([f"g{number}" for number in range(50)], 7)}
    found = score(repeated, [LOSS], 200, seed=4)
    assert found["loss"].low == pytest.approx(single["loss"].low)
    assert found["loss"].high == pytest.approx(single["loss"].high)


@given(groups=st.lists(st.sampled_from(["a", "b", "c", "", None]), min_size=2, max_size=30))
def test_a_resample_holds_whole_groups(groups):
    column = np.asarray(groups, dtype=object)
    units = {row: value or f"alone {row}" for row, value in enumerate(groups)}
    sizes = {unit: list(units.values()).count(unit) for unit in units.values()}
    resamples = list(resampled_rows({"x": np.zeros(len(groups))}, 5, seed=0, groups=column))
    assert len(resamples) == (5 if len(sizes) > 1 else 0)
    for rows in resamples:
        drawn = [units[row] for row in rows.tolist()]
        times = {unit: [rows.tolist().count(row) for row in units if units[row] == unit] for unit in set(drawn)}
        assert all(len(set(counts)) == 1 for counts in times.values())
        assert sum(counts[0] for counts in times.values()) == len(sizes)


def test_scores_are_the_same_for_the_same_seed_and_differ_for_another():
    outcomes = answers(200, 0.8)
    assert score(outcomes, [ACCURACY], 300, seed=1) == score(outcomes, [ACCURACY], 300, seed=1)
    assert score(outcomes, [ACCURACY], 300, seed=1) != score(outcomes, [ACCURACY], 300, seed=2)


def test_a_single_item_or_group_has_no_interval():
    alone = score({"loss": np.array([2.0])}, [LOSS], 100, seed=0)["loss"]
    one_group = score({"loss": np.arange(5.0), "group": np.array(["a"] * 5)}, [LOSS], 100, seed=0)["loss"]
    assert (alone.value, one_group.value) == (2.0, 2.0)
    assert not alone.known
    assert not one_group.known
    assert alone.document() == {"value": 2.0, "low": None, "high": None}


def test_a_constant_metric_has_an_interval_of_no_width():
    assert score(answers(50, 1.0), [ACCURACY], 100, seed=0)["accuracy"] == Score(1.0, 1.0, 1.0)


def test_an_undefined_metric_has_no_interval():
    def recall_of_rare_class(outcomes):
        return float(outcomes["correct"][outcomes["rare"]].mean()) if outcomes["rare"].any() else math.nan

    recall = Metric("recall", "Recall", True, recall_of_rare_class)
    outcomes = {"correct": np.ones(100, bool), "rare": np.arange(100) < 1}
    found = score(outcomes, [recall], 200, seed=0)["recall"]  # the one item is absent from a third of the resamples
    assert found.value == 1.0
    assert not found.known
    never = score({**outcomes, "rare": np.zeros(100, bool)}, [recall], 200, seed=0)["recall"]
    assert math.isnan(never.value)
    assert not never.known
    often = score({**outcomes, "rare": np.arange(100) < 30}, [recall], 200, seed=0)["recall"]
    assert often.known


def test_no_items_and_crooked_columns_are_refused():
    with pytest.raises(DataError, match="no test item"):
        score({"correct": np.array([], bool)}, [ACCURACY], 100, seed=0)
    with pytest.raises(ValueError, match="unequal length"):
        score({"correct": np.ones(3), "row": np.arange(2)}, [ACCURACY], 100, seed=0)
    with pytest.raises(ValueError, match="2 groups for 3"):
        score({"correct": np.ones(3)}, [ACCURACY], 100, seed=0, groups=np.array(["a", "b"]))


def test_scoring_is_fast_enough():
    random = np.random.default_rng(0)
    outcomes = {**answers(1000, 0.98), "loss": random.random(1000), "probabilities": random.random((1000, 10))}
    start = time.perf_counter()
    score(outcomes, [ACCURACY, LOSS, Metric("again", "Again", True, ACCURACY.compute)], 2000, seed=0)
    assert time.perf_counter() - start < 5.0  # 0.2 s on an idle core; the limit leaves room for a busy one


def test_paired_difference_is_positive_for_the_better_one_in_either_direction():
    random = np.random.default_rng(1)
    good, bad = answers(500, 0.95), answers(500, 0.80, seed=2)
    good["loss"] = random.random(500)
    bad["loss"] = good["loss"] + 0.1 + 0.1 * random.random(500)
    for metric in (ACCURACY, LOSS):
        ahead = paired_difference(good, bad, metric, 500, seed=0)
        behind = paired_difference(bad, good, metric, 500, seed=0)
        assert 0 < ahead.low < ahead.value < ahead.high
        assert (behind.low, behind.value, behind.high) == pytest.approx((-ahead.high, -ahead.value, -ahead.low))
    assert paired_difference(good, bad, ACCURACY, 500, seed=0).value == pytest.approx(0.15)


def test_pairing_takes_out_what_is_hard_for_both():
    random = np.random.default_rng(1)
    hard = random.gamma(1.0, 5.0, size=300)
    one, other = {"loss": hard}, {"loss": hard + 0.1 + 0.05 * random.normal(size=300)}
    alone = score(one, [LOSS], 500, seed=0)["loss"]
    paired = paired_difference(one, other, LOSS, 500, seed=0)
    assert paired.low > 0
    assert paired.high - paired.low < 0.05 * (alone.high - alone.low)


def test_a_learner_is_not_better_than_itself():
    outcomes = answers(100, 0.7)
    assert paired_difference(outcomes, outcomes, ACCURACY, 100, seed=0) == Score(0.0, 0.0, 0.0)


def test_only_the_same_items_are_compared():
    outcomes = answers(10, 0.7)
    with pytest.raises(DataError, match="same test items"):
        paired_difference(outcomes, {**outcomes, "row": outcomes["row"][::-1]}, ACCURACY, 100, seed=0)
    with pytest.raises(DataError, match="10 and 9"):
        paired_difference(outcomes, answers(9, 0.7), ACCURACY, 100, seed=0)


# Calibration


def test_calibration_error_agrees_with_torchmetrics():
    import torch
    from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.full(5, 0.4), size=3000)
    target = random.integers(5, size=3000)
    outcomes = {"confidence": probabilities.max(1), "correct": probabilities.argmax(1) == target}
    for bins in (10, 15):
        found = calibrate(outcomes, bins)
        reference = multiclass_calibration_error(
            torch.tensor(probabilities), torch.tensor(target), num_classes=5, n_bins=bins
        )
        assert found is not None
        assert found.ece == pytest.approx(float(reference), abs=1e-6)
        assert sum(each.count for each in found.bins) == 3000
    positive, happened = random.random(1000), random.integers(2, size=1000)
    found = calibrate({"confidence": positive, "correct": happened})
    reference = binary_calibration_error(torch.tensor(positive), torch.tensor(happened), n_bins=15)
    assert found is not None
    assert found.ece == pytest.approx(float(reference), abs=1e-6)


def test_a_model_that_is_always_sure_and_half_right_is_half_off():
    found = calibrate({"confidence": np.ones(10, np.float32), "correct": np.arange(10) % 2 == 0})
    assert found is not None
    assert found.ece == pytest.approx(0.5)
    assert found.overconfidence == pytest.approx(0.5)
    assert [(each.count, each.high) for each in found.bins] == [(10, 1.0)]


def test_calibration_needs_its_columns_and_probabilities():
    assert calibrate(answers(10, 0.5)) is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibrate({"confidence": np.array([0.5, np.nan]), "correct": np.array([True, True])})


def test_confusion_agrees_with_sklearn():
    from sklearn.metrics import confusion_matrix

    random = np.random.default_rng(0)
    target, predicted = random.integers(4, size=200), random.integers(4, size=200)
    found = confuse({"target": target, "predicted": predicted}, ["a", "b", "c", "d"])
    assert found is not None
    assert np.array_equal(found.counts, confusion_matrix(target, predicted))
    truth, taken, count = found.worst()[0]
    wrong = found.counts - np.diag(np.diag(found.counts))
    assert count == wrong.max() == wrong["abcd".index(truth), "abcd".index(taken)]
    assert confuse({"target": target}, ["a"]) is None
    assert confuse({"target": target, "predicted": predicted}, []) is None


# Slices


def dark_errors(table, seed=0):
    """Answer everything right but half of the dark examples; rows in no order."""
    random = np.random.default_rng(seed)
    rows = random.permutation(table.num_rows)
    brightness = np.array([1.0 if value is None else value for value in table["brightness"].to_pylist()])[rows]
    wrong = (brightness < 0.25) & (random.random(len(rows)) < 0.5)
    return {"row": rows, "correct": ~wrong, "loss": wrong.astype(float)}


@pytest.mark.parametrize("metric", [ACCURACY, LOSS])
def test_the_bad_slice_is_found_and_comes_first(metric):
    table = example_table()
    outcomes = dark_errors(table)
    found = slices(outcomes, table, metric, 500, seed=0)
    values = [part.score.value for part in found]
    assert values == sorted(values, reverse=not metric.higher_is_better)
    assert (found[0].column, found[0].worse) == ("brightness", True)
    assert found[0].label.startswith(text.number(min(value for value in table["brightness"].to_pylist() if value)))
    assert not any(part.worse for part in found if part.column in ("colour", "width"))
    assert {part.column for part in found} == {"target", "group", "brightness", "width", "colour"}


def test_slices_of_a_column_part_the_test_split():
    table = example_table()
    found = slices(dark_errors(table), table, ACCURACY, 100, seed=0, smallest=1)
    for column in ("target", "group", "brightness", "width", "colour"):
        assert sum(part.count for part in found if part.column == column) == table.num_rows
    missing = [part for part in found if part.label == "(missing)"]
    assert [(part.column, part.count) for part in missing] == [("brightness", 60)]


def test_a_slice_is_scored_as_if_it_stood_alone():
    table = example_table()
    outcomes = dark_errors(table)
    red = np.array(table["colour"].to_pylist())[outcomes["row"]] == "red"
    expected = score({name: values[red] for name, values in outcomes.items()}, [ACCURACY], 300, seed=3)["accuracy"]
    found = slices(outcomes, table, ACCURACY, 300, seed=3)
    assert [part.score for part in found if part.label == "red"] == [expected]


def test_small_slices_and_unsliceable_columns_are_left_out():
    table = example_table()
    outcomes = dark_errors(table)
    assert all(part.count >= 150 for part in slices(outcomes, table, ACCURACY, 100, seed=0, smallest=150))
    prose = with_column(table, "target", [f"a long text {number}" for number in range(600)])
    assert not any(part.column == "target" for part in slices(outcomes, prose, ACCURACY, 100, seed=0, smallest=1))
    angles = with_column(table, "target", [str(number / 600) for number in range(600)])
    steering = [part for part in slices(outcomes, angles, ACCURACY, 100, seed=0) if part.column == "target"]
    assert [part.count for part in steering] == [150] * 4
    users = with_column(table, "group", [str(number) for number in range(600)])
    assert not any(part.column == "group" for part in slices(outcomes, users, ACCURACY, 100, seed=0, smallest=1))
    assert slices({"correct": np.ones(600, bool)}, table, ACCURACY, 100, seed=0) == []


def test_a_slice_of_one_group_has_an_interval():
    table = example_table()
    outcomes = dark_errors(table)
    outcomes["group"] = np.array(table["group"].to_pylist())[outcomes["row"]]
    found = slices(outcomes, table, ACCURACY, 200, seed=0)
    assert all(part.score.known for part in found if part.column == "group")


def test_slices_resample_what_belongs_together():
    table = example_table()
    outcomes = dark_errors(table)
    pairs = outcomes["row"] % 300
    red = np.array(table["colour"].to_pylist())[outcomes["row"]] == "red"
    part = {name: values[red] for name, values in outcomes.items()}
    expected = score(part, [ACCURACY], 200, 0, groups=pairs[red])["accuracy"]
    found = slices(outcomes, table, ACCURACY, 200, seed=0, groups=pairs)
    assert [part.score for part in found if part.label == "red"] == [expected]
    assert expected != score(part, [ACCURACY], 200, 0)["accuracy"]


# Profile


def test_profile_agrees_with_pandas():
    table = example_table()
    found = profile_of(table, MEASURES)
    frame = table.to_pandas()
    assert found["rows"] == 600
    assert found["splits"] == {"train": 300, "validation": 150, "test": 150}
    for split, part in frame.groupby("split"):
        described = found["measures"]["brightness"]["splits"][split]
        assert described["missing"] == part["brightness"].isna().sum()
        assert described["mean"] == pytest.approx(part["brightness"].mean())
        assert described["quantiles"]["p95"] == pytest.approx(part["brightness"].quantile(0.95))
        assert sum(described["histogram"]) == described["count"] == part["brightness"].notna().sum()
        counts = dict(zip(found["target"]["values"], found["target"]["splits"][split]["counts"], strict=True))
        assert counts == part["target"].value_counts().to_dict()
    assert found["measures"]["width"]["edges"] == [7.5, 8.5, 9.5, 10.5, 11.5]
    assert found["measures"]["colour"]["values"] == ["blue", "red"]


def test_profile_counts_values_and_missing_ones_apart():
    table = example_table(40)
    table = with_column(table, "target", ["a", None] * 20)
    found = profile_of(table, {})["target"]
    assert found["values"] == ["a"]
    assert found["splits"]["train"] == {"count": 10, "missing": 10, "counts": [10], "other": 0}
    rare = profile_of(example_table(400), {"id": "text"})["measures"]["id"]
    assert len(rare["values"]) == 50
    assert sum(part["other"] for part in rare["splits"].values()) == 350


def test_profile_is_json_and_the_same_each_time():
    one, other = (json.dumps(profile_of(example_table(), MEASURES), allow_nan=False) for _ in range(2))
    assert one == other
    assert json.dumps(profile_of(example_table(seed=1), MEASURES)) != one


@pytest.mark.parametrize("kind", ["class", "number", "text", "none"])
def test_profile_describes_every_kind_of_target(kind):
    found = profile_of(example_table(), MEASURES, kind)["target"]
    if kind == "none":
        assert found is None
        return
    assert found["kind"] == ("values" if kind == "class" else "number")
    assert found["splits"]["test"]["count"] == 150
    if kind == "text":
        assert (found["splits"]["test"]["min"], found["splits"]["test"]["max"]) == (1, 1)


@given(values=st.lists(st.one_of(st.none(), st.floats(width=32)), max_size=40))
@settings(deadline=None)
def test_profile_counts_every_number_once(values):
    columns = {"split": ["train"] * len(values), "target": [None] * len(values), "x": values}
    table = pa.table(columns, pa.schema([("split", pa.string()), ("target", pa.string()), ("x", pa.float64())]))
    found = profile_of(table, {"x": "number"})
    part = found["measures"]["x"]["splits"]["train"]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    assert sum(part["histogram"]) == part["count"] == len(finite)
    assert part["missing"] == len(values) - len(finite)
    json.dumps(found, allow_nan=False)
    drawn(distribution_figure("x", found["measures"]["x"]))


# Figures


SVG = "{http://www.w3.org/2000/svg}"


def drawn(svg):
    """Parse a figure, and see that it has a name, that all is defined and inside, and that no word lies on another."""
    root = ElementTree.fromstring(svg)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"]
    assert not re.search(r'="[^"]*\b(nan|inf)\b|>inf<|<style|<metadata', re.sub(r'aria-label="[^"]*"', "", svg))
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    for x, y in marked_places(root):
        assert -0.5 <= x <= width + 0.5
        assert -0.5 <= y <= height + 0.5
    rows = {}
    for mark in root.iter(f"{SVG}text"):
        (start, end), level, upright = extent(mark)
        assert -0.5 <= start <= end <= (height if upright else width) + 0.5, mark.text
        assert 0 <= level <= (width if upright else height), mark.text
        rows.setdefault((upright, round(level)), []).append((start, end))
    for row in rows.values():
        assert all(before[1] < after[0] for before, after in pairwise(sorted(row)))
    return root


def marked_places(root):
    """Return the corners of lines and areas, and the places of dots."""
    shapes = {mark for part in root.iter(f"{SVG}defs") for mark in part}
    corners = [mark.attrib["d"] for mark in root.iter(f"{SVG}path") if mark not in shapes]
    found = [pair.split() for d in corners for pair in re.findall(r"[-.\de+]+ [-.\de+]+", d)]
    found += [(mark.attrib["x"], mark.attrib["y"]) for mark in root.iter(f"{SVG}use")]
    return [(float(x), float(y)) for x, y in found]


def extent(mark):
    """Return where a text begins and ends, its height, and whether it is written upwards (then: x in place of y)."""
    turn = mark.attrib["transform"]
    x, y = (float(part) for part in re.search(r"(?:-0 |-90 |translate\()([-.\d]+) ([-.\d]+)", turn).groups())
    size = float(re.search(r"font-size: ([.\d]+)px", mark.attrib["style"])[1])
    bold = "font-weight: bold" in mark.attrib["style"] or "font-weight: 700" in mark.attrib["style"]
    room = size / 100 * font(bold=bold).getlength(mark.text)
    anchor = (re.search(r"text-anchor: (\w+)", mark.attrib["style"]) or ["", "start"])[1]
    before = {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * room
    if "rotate(-90" in turn:
        return (y + before - room, y + before), x, True
    return (x - before, x - before + room), y, False


@cache
def font(*, bold):
    """Return the widest of the fonts that figures name."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), 100)


def words(root):
    return [mark.text for mark in root.iter(f"{SVG}text")]


def strokes(root, colour):
    """Return the lines of a colour as lists of the places that they lead through."""
    lines = [mark.attrib["d"] for mark in root.iter(f"{SVG}path") if f"stroke: {colour}" in mark.attrib["style"]]
    return [[tuple(map(float, pair.split())) for pair in re.findall(r"[ML] ([-.\d]+ [-.\d]+)", d)] for d in lines]


finite = st.floats(min_value=-1e12, max_value=1e12, allow_subnormal=False)


@given(low=finite, high=finite, step=st.integers(0, 10**12))
@settings(deadline=None, max_examples=25)
def test_any_range_gets_a_few_labels_that_stand_apart(low, high, step):
    root = drawn(plots.curve_figure("x", {"x": [(0, low), (step, high)]}))
    marks = list(root.iter(f"{SVG}text"))
    for anchor, most in (("middle", 7), ("end", 7)):
        labels = [mark.text for mark in marks if f"text-anchor: {anchor}" in mark.attrib["style"]]
        assert 1 <= len(labels) - (anchor == "middle") <= most  # below stands the name of the axis, too


@given(low=st.floats(1e-9, 1e6), factor=st.floats(40, 1e9))
@settings(deadline=None, max_examples=25)
def test_logarithmic_scales_get_a_few_labels(low, factor):
    root = drawn(plots.curve_figure("loss", {"loss": [(0, low * factor), (1, low)]}))
    labels = [mark.text for mark in root.iter(f"{SVG}text") if "text-anchor: end" in mark.attrib["style"]]
    assert 2 <= len(labels) <= 10
    assert all(re.fullmatch(r"0\.0*[1352]|[135][0,]*|[2][0,]*|[1235]e[-+]\d+", label) for label in labels)


def test_history_becomes_curves_by_metric():
    history = [
        {"step": 10, "train/loss": 1.0, "lr": 0.1},
        {"step": 20, "epoch": 1, "train/loss": 0.5, "validation/loss": 0.7, "validation/accuracy": 0.8},
        {"step": 20, "train_accuracy": 0.9},
    ]
    assert plots.training_curves(history) == {
        "loss": {"train": [(10, 1.0), (20, 0.5)], "validation": [(20, 0.7)]},
        "lr": {"lr": [(10, 0.1)]},
        "accuracy": {"validation": [(20, 0.8)], "train": [(20, 0.9)]},
    }


def test_phases_of_pretraining_are_curves_of_one_figure():
    history = [
        {"step": 10, "train/machines.0/error": 0.5},
        {"step": 20, "train/machines.1/error": 0.4, "train/lr": 0.1},
    ]
    assert plots.training_curves(history) == {
        "error": {"machines.0": [(10, 0.5)], "machines.1": [(20, 0.4)]},
        "lr": {"train": [(20, 0.1)]},
    }


def test_curves_are_drawn_whatever_is_in_them():
    steep = [(step, 3.0 * 0.99**step) for step in range(2000)]
    root = drawn(plots.curve_figure("loss", {"train": steep, "validation": [(1000, 0.5)]}))
    assert {"1", "0.01", "train", "validation", "step"} <= set(words(root))  # powers of ten: the scale is logarithmic
    curve = max(strokes(root, canvas.BLUE), key=len)
    assert 2 <= len(curve) <= plots.MOST_POINTS
    straight = np.polyfit(*np.transpose(curve), 1)
    assert np.abs(np.polyval(straight, [x for x, _ in curve]) - [y for _, y in curve]).max() < 1
    assert drawn(plots.curve_figure("loss", {"train": [(5, 1.0)]})).findall(f".//{SVG}use")  # a lone point is seen
    drawn(plots.curve_figure("loss", {f"a series with a long name {number}": [(5, 1.0)] for number in range(3)}))
    millions = drawn(plots.curve_figure("x", {"x": [(step * 1_234_567.0, -1e-7 * step) for step in range(9)]}))
    assert all(len(label or "") < 12 for label in words(millions))
    assert "no finite value" in words(drawn(plots.curve_figure("loss", {"train": [(1, math.nan)]})))


def test_a_curve_breaks_where_it_is_not_finite():
    points = [(0, 1.0), (1, 2.0), (2, math.nan), (3, math.inf), (4, 0.5), (5, 1.0)]
    root = drawn(plots.curve_figure("x", {"x": points}))
    pieces = [mark.attrib["d"] for mark in root.iter(f"{SVG}path") if canvas.BLUE in mark.attrib["style"]]
    assert [(piece.count("M"), piece.count("L")) for piece in pieces] == [(2, 2)]
    assert len(root.findall(f".//{SVG}use")) == 4


def test_the_letters_of_any_language_and_of_formulas_are_drawn_as_they_are():
    names = ["数字", "$x_1$", "_hidden", "a & b"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        root = drawn(plots.curve_figure("loss", {name: [(0, 1.0), (1, 0.5)] for name in names}))
    assert set(names) <= set(words(root))


def test_whiskers_lie_where_their_figures_are():
    scores = {
        "model": Score(0.9, 0.8, 1.0),
        "baseline": Score(0.5, 0.4, 0.6),
        "without interval": Score(0.7, math.nan, math.nan),
        "unknown": Score(math.nan, math.nan, math.nan),
    }
    root = drawn(plots.whisker_figure(ACCURACY, scores, best="model"))
    drawn(plots.whisker_figure(ACCURACY, {HOSTILE: Score(0.5, 0.5, 0.5)}))
    dots = [(float(mark.attrib["x"]), mark.attrib["style"]) for mark in root.iter(f"{SVG}use")]
    centres = [x for x, style in dots if canvas.PAPER in style]
    assert len(centres) == 3
    assert centres[0] > centres[2] > centres[1]
    for colour, centre in ((canvas.BLUE, centres[0]), (canvas.MUTED, centres[1])):
        (low, _), (high, _) = max(strokes(root, colour), key=lambda line: line[-1][0] - line[0][0])
        assert (low + high) / 2 == pytest.approx(centre, abs=0.02)
        assert [x for x, style in dots if f"stroke: {colour}" in style] == pytest.approx([low, high], abs=0.02)
    assert {"90.00 %", "50.00 %", "70.00 %", "unknown"} <= set(words(root))


def test_whiskers_of_a_table_share_one_scale():
    cell = plots.whisker_cell(Score(0.5, 0.25, 0.75), 0.6, (0.0, 1.0), worse=False)
    assert re.findall(r'class="(\w+)" style="(.*?)"', cell) == [
        ("all", "left:60.00%"),
        ("range", "left:25.00%;right:calc(100% - 75.00%)"),
        ("dot", "left:50.00%"),
    ]
    assert 'role="img" aria-label="not clearly worse than overall"' in cell
    worse = plots.whisker_cell(Score(0.5, math.nan, math.nan), 0.6, (0.4, 0.6), worse=True)
    assert ('class="whisker bad"' in worse, 'class="range"' in worse, 'class="dot"' in worse) == (True, False, True)
    nothing = plots.whisker_cell(Score(math.nan, math.nan, math.nan), 0.6, (0.6, 0.6), worse=False)
    assert "nan" not in nothing
    assert 'class="dot"' not in nothing


def test_reliability_shows_every_bin():
    random = np.random.default_rng(0)
    confidence = random.random(500)
    calibration = calibrate({"confidence": confidence, "correct": random.random(500) < confidence})
    assert calibration is not None
    root = drawn(plots.reliability_figure(calibration))
    dots = list(root.iter(f"{SVG}use"))
    assert len(dots) == len(calibration.bins) == 15
    left, right = (x for x, _ in strokes(root, canvas.MUTED)[0])  # the dashed line, from 0 to 1
    places = [(float(dot.attrib["x"]) - left) / (right - left) for dot in dots]
    assert places == pytest.approx([each.confidence for each in calibration.bins], abs=1e-3)
    bars = [mark for mark in root.iter(f"{SVG}path") if f"fill: {canvas.BAR}" in mark.attrib["style"]]
    assert len(bars) == 15
    assert str(max(each.count for each in calibration.bins)) in words(root)


@pytest.mark.parametrize("size", [2, 10, 30, 60])
def test_confusion_is_drawn_for_few_and_many_classes(size):
    random = np.random.default_rng(0)
    outcomes = {"target": random.integers(size, size=500), "predicted": random.integers(size, size=500)}
    confusion = confuse(outcomes, [f"a class with the name {number}" for number in range(size)])
    assert confusion is not None
    root = drawn(plots.confusion_figure(confusion))
    counted = [word for word in words(root) if (word or "").isdigit()]
    right = size <= plots.MOST_CELLS_WITH_COUNTS
    assert sorted(map(int, counted)) == (sorted(confusion.counts[confusion.counts > 0].tolist()) if right else [])
    assert sum((word or "").startswith("a class") for word in words(root)) == (2 * size if size <= 30 else 0)
    colours = cells(root)
    assert colours.shape == (size, size, 3)
    reddish = colours[:, :, 0] > colours[:, :, 2]
    assert np.array_equal(reddish, (confusion.counts > 0) & ~np.eye(size, dtype=bool))


def cells(root):
    """Return the colours of the cells of a confusion matrix, as they are drawn from the top."""
    from PIL import Image

    (image,) = root.iter(f"{SVG}image")
    data = image.attrib["{http://www.w3.org/1999/xlink}href"].removeprefix("data:image/png;base64,")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)
    upside_down = "scale(1 -1)" in image.attrib["transform"]
    return pixels[::-1] if upside_down else pixels


def test_distributions_are_drawn_for_every_kind():
    found = profile_of(example_table(), {**MEASURES, "id": "text"}, "text")
    for name, each in [*found["measures"].items(), ("target", found["target"])]:
        root = drawn(distribution_figure(name, each))
        assert ({"train", "validation", "test"} <= set(words(root))) == (name != "target")
    assert {"blue", "red"} <= set(words(drawn(distribution_figure("colour", found["measures"]["colour"]))))
    assert "the 20 most frequent values" in words(drawn(distribution_figure("id", found["measures"]["id"])))
    assert words(drawn(distribution_figure("target", found["target"]))) == ["always 1"]
    nothing = profile_of(example_table().slice(0, 0), MEASURES)
    assert "no value" in distribution_figure("width", nothing["measures"]["width"])
    assert "no value" in distribution_figure("target", nothing["target"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (0.12345678, "0.1235"),
        (12345.6, "12,346"),
        (3e12, "3e+12"),
        (math.nan, "unknown"),
        (-math.inf, "-inf"),
    ],
)
def test_numbers_are_written_for_people(value, expected):
    assert text.number(value) == expected


def test_differences_of_percentages_are_points():
    assert text.difference(ACCURACY, 0.0123) == "+1.23 points"
    assert text.difference(LOSS, -0.5) == "-0.5"
    assert text.interval(ACCURACY, Score(0.9, 0.8, 0.95)) == "80.00 to 95.00 %"


# Pages


def an_evaluation(name="hog + svm", **changes):
    random = np.random.default_rng(0)
    table = example_table()
    model = dark_errors(table)
    model |= {"confidence": random.random(600), "target": random.integers(3, size=600)}
    model["predicted"] = np.where(model["correct"], model["target"], (model["target"] + 1) % 3)
    other = {**model, "correct": random.random(600) < 0.5}
    fields = {
        "pipeline": "digits",
        "model": "residual, 123,456 parameters",
        "run_id": "7f0c2a4e",
        "cost": "0.0006 USD",
        "count": 600,
        "metrics": [ACCURACY, LOSS],
        "scores": {"residual": score(model, [ACCURACY, LOSS], 200, 0), name: score(other, [ACCURACY], 200, 0)},
        "advantages": {name: paired_difference(model, other, ACCURACY, 200, 0)},
        "facts": {"Training": "48 s"},
        "curves": {"loss": {"train": [(0, 2.0), (10, 1.0)], name: [(10, 1.5)]}},
        "slices": slices(model, table, ACCURACY, 200, 0),
        "calibration": calibrate(model),
        "confusion": confuse(model, ["0", "1", name]),
        "panels": [Panel(name, name, "<p>shown by the use case</p>")],
        "parameters": {"train": {"lr": 0.001, "clip_norm": None}, "usecase": name},
        "digests": {"raw data": name},
    }
    return Evaluation(**{**fields, **changes})


def test_evaluation_page_says_what_matters_first():
    page = sound(evaluation_page(an_evaluation()))
    before_details = page.words.split("How it was learned")[0]
    for fact in (
        "Better than the baseline",
        "hog + svm",
        "clearly better",
        "600",
        "residual",
        "7f0c2a4e",
        "0.0006 USD",
    ):
        assert fact in before_details
    assert "shown by the use case" in page.words
    assert "train.clip_norm null" in page.words
    assert page.tags.count("svg") == 4
    assert page.attributes.count(("div", "role", "img")) == len(an_evaluation().slices)


def test_the_headline_follows_the_paired_intervals():
    def headline(**advantages):
        scores = {name: {"accuracy": Score(0.9, 0.8, 0.95)} for name in ("model", *advantages)}
        return re.search(r"<h1>(.*?)</h1>", evaluation_page(an_evaluation(scores=scores, advantages=advantages)))[1]

    better, even, worse = Score(0.1, 0.05, 0.2), Score(0.1, -0.05, 0.2), Score(-0.1, -0.2, -0.05)
    unknown = Score(0.1, math.nan, math.nan)
    assert headline(a=better, b=better) == "Better than every baseline"
    assert headline(a=better, b=even, c=unknown) == "Not clearly better than b and c"
    assert headline(a=worse, b=even) == "Worse than a"
    assert headline() == "Not compared with any baseline"


@pytest.mark.parametrize("metric", [ACCURACY, LOSS])
def test_a_baseline_that_answered_other_items_is_compared_by_intervals(metric):
    def headline(low, high):
        model, other = Score(0.5, 0.4, 0.6), Score(0.5 * (low + high), low, high)
        scores = {"model": {metric.name: model}, "xz": {metric.name: other}}
        page = evaluation_page(an_evaluation(metrics=[metric], scores=scores, advantages={}, slices=()))
        return re.search(r"<h1>(.*?)</h1>", page)[1]

    good, bad = "Better than the baseline", "Worse than xz"
    assert headline(0.1, 0.3) == (good if metric.higher_is_better else bad)
    assert headline(0.7, 0.8) == (bad if metric.higher_is_better else good)
    assert headline(0.3, 0.45) == headline(0.55, 0.7) == "Not clearly better than xz"
    assert headline(math.nan, math.nan) == "Not clearly better than xz"


def test_the_comparison_has_its_interval_and_says_how_it_was_made():
    scores = {name: {"loss": Score(0.5, 0.4, 0.6)} for name in ("model", "n-grams")}
    scores["xz"] = {"loss": Score(0.9, math.nan, math.nan)}
    page = evaluation_page(
        an_evaluation(metrics=[LOSS], scores=scores, advantages={"n-grams": Score(0.1, 0.05, 0.2)}, slices=())
    )
    words = sound(page).words
    assert "-0.1 (-0.2 to -0.05) against n-grams (0.5): clearly better" in words
    assert "-0.4 (-0.5 to -0.3) against xz (0.9): clearly better; not compared item by item" in words


def test_names_that_look_like_numbers_are_no_quantities():
    table = with_column(example_table(), "target", [str(number % 200) for number in range(600)])
    outcomes = dark_errors(table)
    columns = {each.column for each in slices(outcomes, table, ACCURACY, 100, 0)}
    assert "target" in columns
    named = {each.column for each in slices(outcomes, table, ACCURACY, 100, 0, numbers=False)}
    assert named == columns - {"target"}


def test_many_metrics_take_the_whole_width():
    metrics = [replace(ACCURACY, name=name) for name in "abcd"]
    scores = {learner: {each.name: Score(0.5, 0.4, 0.6) for each in metrics} for learner in ("model", "other")}
    wide = an_evaluation(metrics=metrics, scores=scores, advantages={}, slices=(), sliced=metrics[0])
    assert 'class="stack across"' in evaluation_page(wide)
    few = an_evaluation(metrics=metrics[:3], scores=scores, advantages={}, slices=(), sliced=metrics[0])
    assert 'class="stack across"' not in evaluation_page(few)


def test_the_page_says_first_that_nothing_was_learned():
    found = NothingLearned(("One answer <b> to all.",), ("The rate: `train.lr` is 1. Try `dvc exp run`.", "Or this."))
    html = evaluation_page(an_evaluation(nothing=found))
    page = sound(html)
    assert page.words.index("This network seems to have learned nothing") < page.words.index("beside its baselines")
    assert "<li>The rate: <code>train.lr</code> is 1. Try <code>dvc exp run</code>.</li>" in html
    assert "One answer <b> to all." in page.words
    assert "learned nothing" not in evaluation_page(an_evaluation())


def test_evaluation_page_of_a_use_case_with_little_to_show():
    bare = an_evaluation(
        curves={},
        slices=(),
        calibration=None,
        confusion=None,
        panels=(),
        parameters={},
        digests={},
        facts={},
        advantages={},
    )
    page = sound(evaluation_page(bare))
    assert "Where it is weaker" not in page.words
    assert "as sure as it is right" not in page.words


def test_hostile_words_stay_words():
    table = with_column(with_column(example_table(40), "target", [HOSTILE, "b"] * 20), "colour", [HOSTILE, "b"] * 20)
    override = Override(who=HOSTILE, when=HOSTILE, why=HOSTILE, checks=("duplicates", HOSTILE), subject=HOSTILE)
    verdict = a_verdict(HOSTILE, pipeline=HOSTILE, subject=HOSTILE, override=override, figures={HOSTILE: 1.0})
    outcomes = {"row": np.arange(40), "correct": np.arange(40) % 2 == 0}
    texts = dict.fromkeys(("pipeline", "model", "run_id", "cost"), HOSTILE)
    hostile_slices = slices(outcomes, table, ACCURACY, 100, 0, smallest=5)
    evaluation = evaluation_page(an_evaluation(HOSTILE, **texts, facts={HOSTILE: HOSTILE}, slices=hostile_slices))
    for html in (evaluation, gate_page(verdict, run_id=HOSTILE)):
        page = sound(html)
        assert "img" not in page.tags
        assert page.words.count("<script>alert") >= 10


def test_pages_are_the_same_each_time():
    assert evaluation_page(an_evaluation()) == evaluation_page(an_evaluation())


def test_figures_are_the_same_in_any_process_and_whatever_a_user_prefers(tmp_path):
    (tmp_path / "matplotlibrc").write_text(
        "font.size: 30\naxes.ymargin: 0.4\nytick.major.pad: 20\nsvg.fonttype: path\n"
    )
    code = """if True:
        import sys
        from sluiceway.evaluation import plots, report
        assert "matplotlib" not in sys.modules
        print(plots.curve_figure("loss", {"train": [(0, 2.0), (9, 1.0)], "validation": [(9, 1.5)]}))
        import matplotlib
        assert matplotlib.rcParams["font.size"] == 30
        assert "matplotlib.pyplot" not in sys.modules
    """
    environment = {**os.environ, "MATPLOTLIBRC": str(tmp_path), "PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    here = plots.curve_figure("loss", {"train": [(0, 2.0), (9, 1.0)], "validation": [(9, 1.5)]})
    assert other.stdout == here + "\n"
    assert other.stderr == ""


@pytest.mark.parametrize("gate", ["cost", "model"])
@pytest.mark.parametrize(("overridden", "state"), [((), "closed"), (("duplicates",), "overridden")])
def test_gate_page_says_state_reason_and_checks(tmp_path, gate, overridden, state):
    override = Override(who="Ada", when="2026-01-05T12:00:00Z", why="known", checks=overridden, subject="abc")
    verdict = a_verdict(gate=gate, override=override if overridden else None, figures={"seconds_per_step": 0.25})
    html = gate_page(verdict, run_id="7f0c2a4e")
    page = sound(html)
    assert f'class="verdict {"bad" if state == "closed" else "care"}"' in html
    body = page.words.split(f" verdict of the {gate} gate ")[1]
    assert body.startswith(f"{state.capitalize()}: ")
    assert body.index(verdict.cause) < body.index("Checks")
    assert body.index("failed duplicates") < body.index("warning smallest class") < body.index("passed schema")
    assert ("Ada overrode duplicates" in body) == bool(overridden)
    assert "seconds per step 0.25" in body
    assert "7f0c2a4e" in body
    write_verdict(verdict, tmp_path / "verdicts", "7f0c2a4e")
    assert (tmp_path / "verdicts" / f"{gate}.html").read_text(encoding="utf-8") == html
    assert Verdict.read(tmp_path / "verdicts" / f"{gate}.json") == verdict


def test_gate_page_of_an_open_gate():
    verdict = a_verdict(gate="model", checks=(Check(name="schema", passed=True, message="fine"),))
    html = gate_page(verdict)
    assert "Open: this model becomes the champion all 1 checks passed" in sound(html).words
    assert 'class="verdict good"' in html
