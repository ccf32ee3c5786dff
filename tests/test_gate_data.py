"""The data gate: each check against tables with exactly one fault in them."""

import pytest

from sluiceway.config import DataGateParams
from sluiceway.gates.data import judge
from sluiceway.gates.verdict import MOST_EXAMPLES, Check, Severity
from support import check_of, table_of

LIMITS = DataGateParams(min_examples=30, min_per_class=10, max_quarantined=0.1, max_duplicates=0.05, max_imbalance=3.0)
SPLITS = ("train", "validation", "test")


def rows(*, classes=("cat", "dog"), each=5):
    """Make rows: each class ``each`` times in every split, all different."""
    return [
        {"id": f"{name}/{split}/{number}", "split": split, "target": name, "checksum": f"{name} {split} {number}"}
        for name in classes
        for split in SPLITS
        for number in range(each)
    ]


def judged(accepted, quarantined=(), contract=(), limits=LIMITS, *, classes=True):
    return judge(
        table_of(accepted),
        table_of(quarantined, quarantine=True),
        contract,
        limits,
        classes=classes,
        pipeline="p",
        subject="s",
    )


def failed(verdict):
    return [check.name for check in verdict.checks if not check.passed]


def test_good_data_opens_the_gate():
    verdict = judged(rows())
    assert verdict.state == "open"
    assert failed(verdict) == []
    assert verdict.figures == {"raw_examples": 30, "accepted_examples": 30, "quarantined_examples": 0}
    assert (verdict.gate, verdict.pipeline, verdict.subject) == ("data", "p", "s")


def test_names_of_checks_are_unique():
    names = [check.name for check in judged(rows()).checks]
    assert len(set(names)) == len(names)


def test_too_few_examples_close():
    verdict = judged(rows()[:-1])
    check = check_of(verdict, "enough_examples")
    assert (check.passed, check.figure, check.limit) == (False, 29, 30)
    assert "29 examples were accepted; 30 are the least" in verdict.reason


@pytest.mark.parametrize(("bad", "passes"), [(0, True), (3, True), (4, False)])
def test_quarantine_closes_above_its_share(bad, passes):
    quarantined = [{"id": f"bad{number}", "reason": "unreadable: x"} for number in range(bad)]
    check = check_of(judged(rows(), quarantined), "quarantined_share")  # 3 of 33 is 9.1 %, 4 of 34 is 11.8 %
    assert check.passed is passes
    assert check.figure == pytest.approx(bad / (30 + bad))
    assert check.offenders == bad
    assert check.examples == tuple(row["id"] for row in quarantined)


def test_quarantine_names_the_commonest_reasons():
    reasons = ["blank: a", "blank: b", "unreadable: c", "empty: d", "empty: e", "empty: f", "odd: g"]
    quarantined = [{"id": str(number), "reason": reason} for number, reason in enumerate(reasons)]
    message = check_of(judged(rows(), quarantined), "quarantined_share").message
    assert "3 empty, 2 blank, 1 unreadable" in message
    assert "7 of 37 examples (18.92%)" in message


def test_no_data_at_all_is_closed_and_said():
    verdict = judged([])
    assert verdict.state == "closed"
    assert {"enough_examples", "splits_filled", "class_sizes"} <= set(failed(verdict))


def test_all_examples_quarantined_is_closed():
    verdict = judged([], [{"id": "a", "reason": "blank: x"}])
    assert check_of(verdict, "quarantined_share").figure == 1.0
    assert not verdict.open


@pytest.mark.parametrize("split", SPLITS)
def test_an_empty_split_closes_and_is_named(split):
    verdict = judged([row for row in rows(each=9) if row["split"] != split])
    check = check_of(verdict, "splits_filled")
    assert not check.passed
    assert f"; {split} must not be empty" in check.message
    assert f"0 {split}" in check.message


def test_a_copy_in_another_split_closes_and_names_both():
    data = rows()
    first, other = data[0], next(row for row in data if row["split"] == "test" and row["target"] == "cat")
    other["checksum"] = first["checksum"]
    verdict = judged(data)
    check = check_of(verdict, "copies_across_splits")
    assert failed(verdict) == ["copies_across_splits"]
    assert check.offenders == 2
    assert set(check.examples) == {first["id"], other["id"]}


def test_copies_inside_a_split_warn_above_their_share():
    data = rows()
    data[1]["checksum"] = data[0]["checksum"]  # 1 of 30 is 3.3 %: below 5 %
    assert failed(judged(data)) == []
    data[2]["checksum"] = data[0]["checksum"]  # 6.7 %
    verdict = judged(data)
    check = check_of(verdict, "copies_inside_splits")
    assert failed(verdict) == ["copies_inside_splits"]
    assert check.severity is Severity.warn
    assert check.examples == (data[1]["id"], data[2]["id"])
    assert verdict.open


def test_copies_with_different_classes_close():
    data = rows()
    cat, dog = data[0], next(row for row in data if row["target"] == "dog")
    dog["checksum"] = cat["checksum"]
    check = check_of(judged(data), "copies_agree_on_class")
    assert not check.passed
    assert set(check.examples) == {cat["id"], dog["id"]}


def test_a_class_missing_from_a_split_closes_and_is_named():
    data = [row for row in rows(each=9) if (row["target"], row["split"]) != ("dog", "test")]
    verdict = judged(data)
    assert failed(verdict) == ["classes_in_every_split"]
    assert "dog in test" in verdict.reason


def test_missing_classes_are_listed_up_to_five():
    data = [row for row in rows(classes="abcdefg", each=9) if row["split"] == "train" or row["target"] == "a"]
    assert check_of(judged(data), "classes_in_every_split").message.endswith(" ...")


def test_a_small_class_closes_and_the_smallest_is_named():
    data = rows(each=9) + [
        {"id": f"rare{number}", "split": SPLITS[number % 3], "target": "emu", "checksum": f"emu {number}"}
        for number in range(9)
    ]
    verdict = judged(data)
    assert failed(verdict) == ["class_sizes"]
    assert check_of(verdict, "class_sizes").figure == 9
    assert "'emu', has 9 examples; 10 are the least" in verdict.reason


def test_imbalance_warns_only():
    data = rows(classes=("cat",), each=16) + rows(classes=("dog",), each=5)
    verdict = judged(data)
    assert failed(verdict) == ["class_balance"]
    assert check_of(verdict, "class_balance").figure == pytest.approx(16 / 5)
    assert verdict.open


def test_classes_are_not_asked_about_where_there_are_none():
    data = [row | {"target": None} for row in rows()]
    verdict = judged(data, classes=False)
    assert verdict.open
    assert not {"class_sizes", "class_balance", "classes_in_every_split", "copies_agree_on_class"} & {
        check.name for check in verdict.checks
    }


def test_the_contract_decides_with_the_rest():
    broken = Check(name="expect_x", passed=False, message="x is not there")
    verdict = judged(rows(), contract=[broken])
    assert verdict.closed_by == (broken,)
    assert verdict.reason == "x is not there"


def test_offenders_are_counted_whole_and_named_in_part():
    quarantined = [{"id": f"bad{number}", "reason": "blank: x"} for number in range(100)]
    check = check_of(judged(rows(), quarantined), "quarantined_share")
    assert check.offenders == 100
    assert len(check.examples) == MOST_EXAMPLES
