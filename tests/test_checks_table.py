"""The whole table: size, quarantine, splits, exact copies, classes, groups and times, each with one fault in it."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from material import found, material_of
from sluiceway.checks.base import MOST_OFFENDERS
from sluiceway.checks.classes import class_counts, classes_alike_across_splits, classes_present
from sluiceway.checks.sides import groups_apart, ordered_in_time, time_overlap
from sluiceway.checks.table import enough_examples, exact_copies, quarantined_share, repeated, splits_filled
from sluiceway.config import DataGateParams
from sluiceway.data.table import SPLITS
from sluiceway.gates.verdict import MOST_EXAMPLES, Severity

LIMITS = DataGateParams(min_examples=30, min_per_class=10, max_quarantined=0.1, max_duplicates=0.05, max_imbalance=3.0)
CHECKS = (
    enough_examples,
    quarantined_share,
    splits_filled,
    exact_copies,
    classes_present,
    classes_alike_across_splits,
    groups_apart,
    time_overlap,
)


def rows(classes=("cat", "dog"), each=5):
    """Return rows: each class ``each`` times in every split, all different."""
    return [
        {"id": f"{name}/{split}/{number}", "split": split, "target": name, "checksum": f"{name} {split} {number}"}
        for name in classes
        for split in SPLITS
        for number in range(each)
    ]


def table(folder, given, quarantined=(), *, kind="class", limits=LIMITS):
    columns = {name: [row.get(name) for row in given] for name in ("id", "split", "checksum", "group", "time")}
    targets = [row["target"] for row in given]
    return material_of(
        folder, None, targets, kind=kind, columns=columns, learn=False, limits=limits, quarantined=quarantined
    )


def asked(material):
    return {name: each for check in CHECKS for name, each in found(check, material).items()}


def failed(material):
    return [name for name, each in asked(material).items() if not each.check.passed]


def test_good_data_passes_and_names_are_unique(tmp_path):
    material = table(tmp_path, rows())
    names = [each.check.name for check in CHECKS for each in check(material)]
    assert len(set(names)) == len(names) == 9
    assert failed(material) == []


def test_no_data_at_all_is_said_and_breaks_nothing(tmp_path):
    assert failed(table(tmp_path, [])) == ["enough_examples", "splits_filled", "class_sizes"]


# Size and quarantine.


def test_too_few_examples_close(tmp_path):
    check = asked(table(tmp_path, rows()[:-1]))["enough_examples"].check
    assert (check.closes, check.figure, check.limit) == (True, 29, 30)
    assert check.message == "29 examples were accepted; 30 are the least"


@pytest.mark.parametrize(("bad", "passes"), [(0, True), (3, True), (4, False)])
def test_quarantine_closes_above_its_share(tmp_path, bad, passes):
    aside = [(f"bad{number}", "unreadable: x") for number in range(bad)]
    check = asked(table(tmp_path, rows(), aside))["quarantined_share"].check  # 3 of 33 is 9.1 %, 4 of 34 is 11.8 %
    assert check.passed is passes
    assert check.figure == pytest.approx(bad / (30 + bad))
    assert check.offenders == bad
    assert check.examples == tuple(name for name, _ in aside)


def test_quarantine_names_the_commonest_reasons(tmp_path):
    reasons = ["blank: a", "blank: b", "unreadable: c", "empty: d", "empty: e", "empty: f", "odd: g", None]
    aside = [(None if number == 0 else str(number), reason) for number, reason in enumerate(reasons)]
    finding = asked(table(tmp_path, rows(), aside))["quarantined_share"]
    assert "(3 empty, 2 blank, 1 odd, 2 for other reasons)" in finding.check.message
    assert "8 of 38 examples (21.05%)" in finding.check.message
    assert [(each.id, each.detail) for each in finding.offenders][:2] == [("without id", "blank: a"), ("1", "blank: b")]


def test_what_a_person_left_out_is_no_bad_data(tmp_path):
    """Who cleans labels is not refused for it."""
    aside = [(f"out{number}", "left_out: two digits at once") for number in range(60)] + [("bad", "blank: a")]
    check = asked(table(tmp_path, rows(), aside))["quarantined_share"].check
    assert check.passed
    assert check.figure == pytest.approx(1 / 31)
    assert check.message.endswith("(1 blank); 10.00% may be; 60 more were left out by a person")
    assert check.examples == ("bad",)


def test_all_examples_quarantined_is_the_whole(tmp_path):
    assert asked(table(tmp_path, [], [("a", "blank: x")]))["quarantined_share"].check.figure == 1.0


def test_offenders_are_counted_whole_and_named_in_part(tmp_path):
    aside = [(f"bad{number}", "blank: x") for number in range(100)]
    finding = asked(table(tmp_path, rows(), aside))["quarantined_share"]
    assert (finding.check.offenders, len(finding.offenders)) == (100, 100)
    assert len(finding.check.examples) == MOST_EXAMPLES


@pytest.mark.parametrize("split", SPLITS)
def test_an_empty_split_closes_and_is_named(tmp_path, split):
    check = asked(table(tmp_path, [row for row in rows(each=9) if row["split"] != split]))["splits_filled"].check
    assert check.closes
    assert f"; {split} must not be empty" in check.message
    assert f"0 {split}" in check.message


# Exact copies.


def test_a_copy_in_another_split_closes_and_names_both(tmp_path):
    given = rows()
    first, other = given[0], next(row for row in given if row["split"] == "test" and row["target"] == "cat")
    other["checksum"] = first["checksum"]
    material = table(tmp_path, given)
    finding = asked(material)["copies_across_splits"]
    assert failed(material) == ["copies_across_splits"]
    assert (finding.check.closes, finding.check.offenders) == (True, 2)
    assert {(each.id, each.other) for each in finding.offenders} == {
        (first["id"], other["id"]),
        (other["id"], first["id"]),
    }
    assert finding.offenders[0].detail == "train; its copy: test"


def test_copies_inside_a_split_warn_above_their_share(tmp_path):
    given = rows()
    given[1]["checksum"] = given[0]["checksum"]  # 1 of 30 is 3.3 %: below 5 %
    assert failed(table(tmp_path, given)) == []
    given[2]["checksum"] = given[0]["checksum"]  # 6.7 %
    material = table(tmp_path, given)
    finding = asked(material)["copies_inside_splits"]
    assert failed(material) == ["copies_inside_splits"]
    assert finding.check.severity is Severity.warn
    assert [(each.id, each.other) for each in finding.offenders] == [(given[at]["id"], given[0]["id"]) for at in (1, 2)]


def test_copies_with_different_classes_close(tmp_path):
    given = rows()
    cat, dog = given[0], next(row for row in given if row["target"] == "dog")
    dog["checksum"] = cat["checksum"]
    finding = asked(table(tmp_path, given))["copies_agree_on_class"]
    assert finding.check.closes
    assert {(each.id, each.detail) for each in finding.offenders} == {
        (cat["id"], "cat; its copy: dog"),
        (dog["id"], "dog; its copy: cat"),
    }


def test_contents_without_a_checksum_are_no_copies(tmp_path):
    given = rows()
    for row in given[:9]:
        row["checksum"] = None
    assert failed(table(tmp_path, given)) == []


def test_repeated_contents_are_those_of_pandas(tmp_path):
    rng = np.random.default_rng(0)
    contents = [str(each) for each in rng.integers(60, size=90)]
    material = material_of(tmp_path, None, ["a"] * 90, columns={"checksum": contents}, learn=False)
    again = pl.Series(contents).is_duplicated().arg_true().to_list()
    assert repeated(material)["row"].to_list() == again


def test_classes_of_copies_are_not_asked_about_where_there_are_none(tmp_path):
    names = asked(table(tmp_path, [row | {"target": None} for row in rows()], kind="none"))
    assert not set(names) & {
        "class_sizes",
        "class_balance",
        "classes_in_every_split",
        "copies_agree_on_class",
        "classes_alike_across_splits",
    }


# Classes.


def test_a_class_missing_from_a_split_closes_and_is_named(tmp_path):
    material = table(tmp_path, [row for row in rows(each=9) if (row["target"], row["split"]) != ("dog", "test")])
    assert failed(material) == ["classes_in_every_split"]
    assert "dog in test" in asked(material)["classes_in_every_split"].check.message


def test_a_split_whose_examples_have_no_class_lacks_them_all(tmp_path):
    given = [row | ({"target": None} if row["split"] == "train" else {}) for row in rows(each=9)]
    material = table(tmp_path, given)
    assert failed(material) == ["classes_in_every_split"]
    assert asked(material)["classes_in_every_split"].check.message.endswith(": cat in train, dog in train")


def test_missing_classes_are_listed_up_to_five(tmp_path):
    given = [row for row in rows(classes="abcdefg", each=9) if row["split"] == "train" or row["target"] == "a"]
    assert asked(table(tmp_path, given))["classes_in_every_split"].check.message.endswith(" ...")


def test_a_small_class_closes_and_the_smallest_is_named(tmp_path):
    rare = [
        {"id": f"rare{number}", "split": SPLITS[number % 3], "target": "emu", "checksum": f"emu {number}"}
        for number in range(9)
    ]
    material = table(tmp_path, rows(each=9) + rare)
    assert failed(material) == ["class_sizes"]
    check = asked(material)["class_sizes"].check
    assert check.figure == 9
    assert "'emu', has 9 examples; 10 are the least" in check.message


def test_imbalance_warns_only(tmp_path):
    material = table(tmp_path, rows(classes=("cat",), each=16) + rows(classes=("dog",), each=5))
    assert failed(material) == ["class_balance"]
    check = asked(material)["class_balance"].check
    assert check.figure == pytest.approx(16 / 5)
    assert check.severity is Severity.warn


def test_classes_are_counted_by_split_without_what_has_none(tmp_path):
    given = [*rows(each=2), {"id": "x", "split": "train", "target": None, "checksum": "x"}]
    assert class_counts(table(tmp_path, given)) == {
        name: {"test": 2, "train": 2, "validation": 2} for name in ("cat", "dog")
    }


def drawn(folder, rng, count, shares, test_shares=None, group=1):
    """Classes drawn by chance on each side; whole groups are of one class."""
    sides = rng.choice(SPLITS, count // group, p=[0.6, 0.2, 0.2])
    names = list("abcde"[: len(shares)])
    usual, of_test = (rng.choice(names, len(sides), p=each) for each in (shares, test_shares or shares))
    targets = np.where(sides == "test", of_test, usual).tolist()
    given = [
        {"id": f"{at}/{member}", "split": side, "target": name, "checksum": f"{at}/{member}"}
        | ({"group": f"g{at}"} if group > 1 else {})
        for at, (side, name) in enumerate(zip(sides, targets, strict=True))
        for member in range(group)
    ]
    return table(folder, given)


@pytest.mark.parametrize(("count", "group"), [(200, 1), (2_000, 1), (2_000, 10)])
def test_classes_that_chance_shared_out_are_alike(tmp_path, count, group):
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        (finding,) = classes_alike_across_splits(drawn(tmp_path, rng, count, (0.5, 0.3, 0.15, 0.05), group=group))
        alarms += not finding.check.passed
    assert alarms <= 1


def test_classes_that_are_not_alike_are_warned_of(tmp_path):
    rng = np.random.default_rng(0)
    material = drawn(tmp_path, rng, 5_000, (0.6, 0.3, 0.1), (0.55, 0.25, 0.2))
    (finding,) = classes_alike_across_splits(material)
    assert (finding.check.passed, finding.check.severity) == (False, Severity.warn)
    assert "class 'c' is" in finding.check.message
    assert "of test, an effect of 0." in finding.check.message
    truth = abs(2 * np.arcsin(np.sqrt(0.1)) - 2 * np.arcsin(np.sqrt(0.2)))  # Cohen's h
    assert finding.check.figure == pytest.approx(truth, abs=0.08)


def test_a_clear_but_small_difference_passes(tmp_path):
    rng = np.random.default_rng(0)
    (finding,) = classes_alike_across_splits(drawn(tmp_path, rng, 40_000, (0.5, 0.5), (0.47, 0.53)))
    assert finding.check.passed
    assert 0.03 < finding.check.figure < 0.1


@pytest.mark.parametrize("kind", ["small", "one class", "groups"])
def test_of_little_nothing_is_said_of_alikeness(tmp_path, kind):
    rng = np.random.default_rng(0)
    shares = (1.0,) if kind == "one class" else (0.5, 0.5)
    count, group = (100, 1) if kind == "small" else (2_000, 100 if kind == "groups" else 1)
    assert not list(classes_alike_across_splits(drawn(tmp_path, rng, count, shares, group=group)))


def test_a_training_split_without_any_class_breaks_nothing(tmp_path):
    given = [row | ({"target": None} if row["split"] == "train" else {}) for row in rows(each=40)]
    assert not list(classes_alike_across_splits(table(tmp_path, given)))


# Groups.


def grouped(folder, sides, times=None):
    """Return a table of (group, split) rows."""
    given = [
        {"id": f"e{at}", "split": split, "target": "a", "checksum": str(at), "group": group}
        | ({} if times is None else {"time": times[at]})
        for at, (group, split) in enumerate(sides)
    ]
    return table(folder, given, kind="none")


def test_groups_on_one_side_each_pass(tmp_path):
    sides = [(f"g{at % 9}", SPLITS[at % 3]) for at in range(90)]
    results = found(groups_apart, grouped(tmp_path, sides))
    assert all(each.check.passed for each in results.values())
    assert results["group_share"].check.figure == pytest.approx(1 / 9)


def test_a_torn_group_closes_and_its_smaller_part_is_named(tmp_path):
    sides = [(f"g{at % 9}", SPLITS[at % 3]) for at in range(90)]
    sides[0] = ("g0", "test")
    sides[12] = ("g3", "validation")
    finding = found(groups_apart, grouped(tmp_path, sides))["group_on_one_side"]
    assert (finding.check.closes, finding.check.figure, finding.check.offenders) == (True, 2.0, 2)
    assert [(each.id, each.detail) for each in finding.offenders] == [("e0", "g0"), ("e12", "g3")]
    assert "2 of 9 groups are on more than one side of the split (g0, g3); none may" in finding.check.message


def test_where_time_decides_torn_groups_only_warn(tmp_path):
    sides = [(f"g{at % 5}", "train" if at < 60 else "validation" if at < 80 else "test") for at in range(100)]
    check = found(groups_apart, grouped(tmp_path, sides, list(range(100))))["group_on_one_side"].check
    assert (check.passed, check.severity) == (False, Severity.warn)
    assert "(g0, g1, g2 ...)" in check.message
    shuffled = found(groups_apart, grouped(tmp_path, sides, [at * 37 % 100 for at in range(100)]))
    assert shuffled["group_on_one_side"].check.closes


def test_a_group_that_is_most_of_the_data_is_warned_of(tmp_path):
    sides = [("big", "train")] * 60 + [(f"g{at}", SPLITS[1 + at % 2]) for at in range(40)]
    check = found(groups_apart, grouped(tmp_path, sides))["group_share"].check
    assert (check.passed, check.severity, check.figure) == (False, Severity.warn, 0.6)
    assert "'big', has 60.0% of the examples; 50.0% may be" in check.message


def test_groups_are_not_asked_about_where_there_are_none_or_few(tmp_path):
    assert not list(groups_apart(grouped(tmp_path, [(None, "train")] * 5)))
    two = grouped(tmp_path, [("a", "train"), ("b", "test"), (None, "train")])
    assert list(found(groups_apart, two)) == ["group_on_one_side"]


def test_the_same_torn_examples_are_named_each_time(tmp_path):
    count = 300_000
    sides = [(f"g{at % 2}", "train" if at % 3 else "test") for at in range(count)]
    finding = found(groups_apart, grouped(tmp_path, sides))["group_on_one_side"]
    assert finding.check.offenders == count // 3
    assert [each.id for each in finding.offenders] == [f"e{3 * at}" for at in range(MOST_OFFENDERS)]


# Times.


def timed(folder, splits, times, groups=None):
    return grouped(folder, list(zip(groups or [None] * len(splits), splits, strict=True)), times)


def test_training_before_the_test_passes(tmp_path):
    material = timed(tmp_path, ["train"] * 5 + ["validation", "test", "test"], [0, 1, 2, 3, 6, 5, 6, 7])
    (finding,) = time_overlap(material)
    assert finding.check.passed
    assert finding.check.message == "0 of 5 training examples are later than the first test example"
    assert ordered_in_time(material)


def test_training_after_the_test_began_closes_and_the_latest_is_worst(tmp_path):
    (finding,) = time_overlap(timed(tmp_path, ["train"] * 4 + ["test"] * 2, [0, 20, 10, 5, 5, 6]))
    assert (finding.check.closes, finding.check.figure, finding.check.offenders) == (True, 2.0, 2)
    assert [(each.id, each.detail) for each in finding.offenders] == [
        ("e1", "15 after the first test example"),
        ("e2", "5 after the first test example"),
    ]


def test_groups_that_are_kept_apart_may_have_times_of_their_own(tmp_path):
    splits, times, groups = ["train", "train", "test", "test"], [0, 10, 5, 15], ["a", "a", "b", "b"]
    (apart,) = time_overlap(timed(tmp_path, splits, times, groups))
    (torn,) = time_overlap(timed(tmp_path, splits, times, ["a", "b", "b", "b"]))
    (partly,) = time_overlap(timed(tmp_path, splits, times, ["a", "a", "b", None]))
    assert [each.check.severity for each in (apart, torn, partly)] == [Severity.warn, Severity.close, Severity.close]


def test_times_are_not_asked_about_where_there_are_none(tmp_path):
    assert not list(time_overlap(timed(tmp_path, ["train", "test"], [None, None])))
    assert not list(time_overlap(timed(tmp_path, ["train", "test"], [None, 1.0])))
    assert not list(time_overlap(timed(tmp_path, ["train", "validation"], [1.0, 2.0])))


def test_time_decides_only_where_every_time_is_known_and_in_order(tmp_path):
    assert ordered_in_time(timed(tmp_path, ["train", "test"], [1.0, 1.0]))
    assert not ordered_in_time(timed(tmp_path, ["train", "test"], [2.0, 1.0]))
    assert not ordered_in_time(timed(tmp_path, ["train", "test", "train"], [1.0, 2.0, None]))
    assert not ordered_in_time(timed(tmp_path, ["train", "train"], [1.0, 2.0]))


def test_limits_are_those_of_the_pipeline(tmp_path):
    material = table(tmp_path, rows())
    strict = replace(material, limits=DataGateParams(min_examples=31, min_per_class=16, max_imbalance=1.0))
    assert failed(strict) == ["enough_examples", "class_sizes"]
