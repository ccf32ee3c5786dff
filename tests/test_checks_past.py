"""The version before, example by example: what is gone, what an id means now, which labels changed, which columns."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from material import found, material_of, registered
from sluiceway.checks.base import MOST_OFFENDERS
from sluiceway.checks.past import columns_as_before, examples_as_before
from sluiceway.config import DataGateParams
from sluiceway.gates.verdict import Severity

KEPT, MEANING, LABELS, COLUMNS = "examples_kept", "ids_mean_the_same", "labels_as_before", "columns_as_before"


def version(folder, ids, contents, targets, *, name="now", kind="class", reference=None, corrected=(), **limits):
    return material_of(
        folder,
        None,
        targets,
        kind=kind,
        columns={"id": ids, "checksum": contents},
        learn=False,
        name=name,
        reference=reference,
        corrected=frozenset(corrected),
        limits=DataGateParams(**limits),
    )


def rows(count):
    return (
        [f"e{at}" for at in range(count)],
        [f"{at:08x}" for at in range(count)],
        ["ab"[at % 2] for at in range(count)],
    )


@pytest.fixture
def before(tmp_path):
    return registered(version(tmp_path, *rows(1_000), name="before"), "p version 3")


def failed(material):
    return {name for name, each in found(examples_as_before, material).items() if not each.check.passed}


def test_without_a_version_before_nothing_is_asked(tmp_path):
    assert not list(examples_as_before(version(tmp_path, *rows(5))))
    assert not list(columns_as_before(version(tmp_path, *rows(5))))


def test_the_same_again_passes_and_so_does_more(tmp_path, before):
    for count in (1_000, 3_000):
        results = found(examples_as_before, version(tmp_path, *rows(count), reference=before))
        assert list(results) == [KEPT, MEANING, LABELS]
        assert all(each.check.passed and each.check.figure == 0 for each in results.values())


def test_the_order_of_the_table_does_not_matter(tmp_path, before):
    order = np.random.default_rng(0).permutation(1_000)
    shuffled = [[column[at] for at in order] for column in rows(1_000)]
    assert not failed(version(tmp_path, *shuffled, reference=before))


# Lost.


@pytest.mark.parametrize(("lost", "passes"), [(1, True), (200, True), (201, False), (1_000, False)])
def test_lost_examples_close_above_their_share(tmp_path, before, lost, passes):
    ids, contents, targets = (column[lost:] for column in rows(1_000))
    finding = found(examples_as_before, version(tmp_path, ids, contents, targets, reference=before))[KEPT]
    assert finding.check.passed is passes
    assert finding.check.closes is not passes
    assert finding.check.figure == pytest.approx(lost / 1_000)
    assert finding.check.offenders == lost
    assert {each.id for each in finding.offenders} == {f"e{at}" for at in range(lost)}
    assert f"{lost:,} of the 1,000 examples of p version 3 are gone" in finding.check.message


def test_new_examples_do_not_make_up_for_lost_ones(tmp_path, before):
    ids, contents, targets = (column[300:] for column in rows(5_000))
    assert failed(version(tmp_path, ids, contents, targets, reference=before)) == {KEPT}


def test_of_very_many_lost_ones_some_are_named_and_all_counted(tmp_path):
    old = registered(version(tmp_path, *rows(MOST_OFFENDERS + 500), name="before"))
    finding = found(examples_as_before, version(tmp_path, ["x"], ["x"], ["a"], reference=old))[KEPT]
    assert finding.check.offenders == MOST_OFFENDERS + 500
    assert len(finding.offenders) == MOST_OFFENDERS


def test_the_same_ones_are_named_each_time(tmp_path):
    """Joins of many rows come in any order unless they are told not to."""
    count = 300_000
    old = registered(version(tmp_path, *rows(count), name="before"))
    ids, contents, _ = (column[count // 2 :] for column in rows(count))
    now = version(tmp_path, ids, contents, ["z"] * len(ids), reference=old)
    results = found(examples_as_before, now)
    assert [each.id for each in results[KEPT].offenders] == [f"e{at}" for at in range(MOST_OFFENDERS)]
    assert [each.id for each in results[LABELS].offenders] == ids[:MOST_OFFENDERS]
    assert results[LABELS].check.offenders == count // 2


def test_renamed_examples_are_gone(tmp_path, before):
    _, contents, targets = rows(1_000)
    renamed = [f"new-{at}" for at in range(1_000)]
    assert failed(version(tmp_path, renamed, contents, targets, reference=before)) == {KEPT}


# Another content.


@pytest.mark.parametrize(("moved", "passes"), [(2, True), (5, True), (6, False)])
def test_ids_that_name_another_content_close(tmp_path, before, moved, passes):
    """The limit is 5 of 1,000. What became of their targets is no question of labels."""
    ids, contents, targets = rows(1_000)
    contents[:moved] = [f"other{at}" for at in range(moved)]
    targets[:moved] = ["b"] * moved
    results = found(examples_as_before, version(tmp_path, ids, contents, targets, reference=before))
    check = results[MEANING].check
    assert check.passed is passes
    assert check.offenders == moved
    assert set(check.examples) == {f"e{at}" for at in range(moved)}
    assert check.figure == pytest.approx(moved / 1_000)
    assert results[LABELS].check.offenders == 0


def test_numbers_that_moved_up_by_one_are_another_meaning(tmp_path, before):
    """A file was removed, and all after it were numbered anew."""
    ids, contents, targets = rows(1_000)
    material = version(tmp_path, ids[:-1], contents[1:], targets[1:], reference=before)
    assert found(examples_as_before, material)[MEANING].check.figure == 1.0


# Another label.


@pytest.mark.parametrize(("changed", "passes"), [(2, True), (5, True), (6, False)])
def test_changed_labels_close_and_both_are_said(tmp_path, before, changed, passes):
    ids, contents, targets = rows(1_000)
    targets[:changed] = ["z"] * changed
    results = found(examples_as_before, version(tmp_path, ids, contents, targets, reference=before))
    finding = results[LABELS]
    assert finding.check.passed is passes
    assert finding.check.closes is not passes
    assert finding.check.offenders == changed
    assert [(each.id, each.detail) for each in finding.offenders][:2] == [("e0", "was a, is z"), ("e1", "was b, is z")]
    assert results[MEANING].check.figure == 0


def test_a_persons_corrections_are_left_out(tmp_path, before):
    ids, contents, targets = rows(1_000)
    targets[:50] = ["z"] * 50
    material = version(tmp_path, ids, contents, targets, reference=before, corrected=ids[:50])
    assert found(examples_as_before, material)[LABELS].check.offenders == 0
    part = replace(material, corrected=frozenset(ids[:40]))
    assert found(examples_as_before, part)[LABELS].check.offenders == 10
    assert failed(part) == {LABELS}
    assert failed(replace(material, corrected=frozenset(["nobody"]))) == {LABELS}


def test_a_label_that_came_or_went_has_changed(tmp_path):
    ids, contents, targets = rows(600)
    old = registered(version(tmp_path, ids, contents, [None] * 10 + targets[10:], name="before"))
    now = [*targets[:300], *[None] * 10, *targets[310:]]
    finding = found(examples_as_before, version(tmp_path, ids, contents, now, reference=old))[LABELS]
    assert finding.check.offenders == 20
    details = {each.id: each.detail for each in finding.offenders}
    assert details["e0"] == "was nothing, is a"
    assert details["e300"] == "was a, is nothing"


def test_a_label_that_is_missing_twice_is_the_same(tmp_path):
    ids, contents, _ = rows(100)
    old = registered(version(tmp_path, ids, contents, [None] * 100, name="before"))
    assert not failed(version(tmp_path, ids, contents, [None] * 100, reference=old))
    assert failed(version(tmp_path, ids, contents, [""] * 100, reference=old)) == {LABELS}  # an empty text is one


def test_a_number_that_is_written_otherwise_is_the_same(tmp_path):
    ids, contents, _ = rows(100)
    old = registered(version(tmp_path, ids, contents, [f"{at:.2f}" for at in range(100)], name="before", kind="number"))
    same = [str(at) for at in range(100)]
    assert not failed(version(tmp_path, ids, contents, same, kind="number", reference=old))
    other = [str(at + 0.01) for at in range(100)]
    assert failed(version(tmp_path, ids, contents, other, kind="number", reference=old)) == {LABELS}
    assert failed(version(tmp_path, ids, contents, same, kind="text", reference=old)) == {LABELS}


def test_without_targets_labels_are_not_asked_for(tmp_path, before):
    material = version(tmp_path, *rows(1_000)[:2], [None] * 1_000, kind="none", reference=before)
    assert list(found(examples_as_before, material)) == [KEPT, MEANING]


# Small numbers.


@pytest.mark.parametrize("what", ["contents", "targets"])
def test_two_changes_close_nothing_unless_none_may_be(tmp_path, what):
    old = registered(version(tmp_path, *rows(20), name="before"))
    for count, limit, closes in ((2, 0.005, False), (3, 0.005, True), (1, 0.0, True), (2, 0.0, True)):
        given = dict(zip(("ids", "contents", "targets"), rows(20), strict=True))
        given[what] = [f"z{at}" for at in range(count)] + given[what][count:]
        material = version(tmp_path, *given.values(), reference=old, max_changed=limit)
        assert bool(failed(material)) is closes


def test_a_version_before_without_examples_asks_nothing(tmp_path):
    old = registered(version(tmp_path, [], [], [], name="before"))
    assert not list(examples_as_before(version(tmp_path, *rows(50), reference=old)))


def test_no_examples_now_is_all_lost(tmp_path, before):
    results = found(examples_as_before, version(tmp_path, [], [], [], reference=before))
    assert results[KEPT].check.figure == 1.0
    assert results[KEPT].check.closes
    assert results[MEANING].check.figure == results[LABELS].check.figure == 0


# Columns.


def table(folder, name="now", reference=None, **columns):
    return material_of(folder, None, ["a"] * 4, columns=columns, learn=False, name=name, reference=reference)


def test_the_same_columns_pass(tmp_path):
    old = registered(table(tmp_path, "before", width=[1] * 4))
    (finding,) = columns_as_before(table(tmp_path, reference=old, width=[2] * 4))
    assert finding.check.passed
    assert finding.check.figure == 0


def test_columns_that_came_went_or_changed_their_type_are_said(tmp_path):
    old = registered(table(tmp_path, "before", width=[1] * 4, format=["PNG"] * 4), "p version 3")
    (finding,) = columns_as_before(table(tmp_path, reference=old, width=[1.0] * 4, height=[2] * 4))
    check = finding.check
    assert (check.passed, check.severity, check.figure) == (False, Severity.warn, 3.0)
    assert "differ from p version 3: format is gone; height is new; width was Int64 and is Float64" in check.message


def test_many_changes_are_said_in_part(tmp_path):
    old = registered(table(tmp_path, "before"))
    (finding,) = columns_as_before(table(tmp_path, reference=old, **{f"c{at}": [1] * 4 for at in range(9)}))
    assert finding.check.figure == 9
    assert finding.check.message.endswith("c4 is new ...")


def test_another_order_of_columns_is_no_change(tmp_path):
    old = registered(table(tmp_path, "before"))
    now = table(tmp_path, reference=old)
    given = pl.read_parquet(now.examples)
    given.select(reversed(given.columns)).write_parquet(now.examples)
    (finding,) = columns_as_before(now)
    assert finding.check.passed


# Renamed: where folders are classes, a path is the id, and moving a file is relabelling it.


def moved(count, at, target):
    ids, contents, targets = rows(count)
    return (
        [f"{target}/{each}" if place in at else each for place, each in enumerate(ids)],
        contents,
        [target if place in at else each for place, each in enumerate(targets)],
    )


def test_a_content_that_moved_to_another_class_is_relabelled(tmp_path, before):
    finding = found(examples_as_before, version(tmp_path, *moved(1_000, range(0, 40, 2), "b"), reference=before))[
        LABELS
    ]
    assert not finding.check.passed
    assert finding.check.figure == pytest.approx(20 / 1_000)
    assert "20 of 1,000 known examples have another target than in p version 3" in finding.check.message
    assert [(each.id, each.detail) for each in finding.offenders][:2] == [
        ("b/e0", "was a as e0, is b"),
        ("b/e2", "was a as e2, is b"),
    ]


def test_a_content_that_took_the_name_of_another_is_relabelled(tmp_path, before):
    """The file that was there is gone, and another one of the other class lies in its place."""
    ids, contents, targets = (list(column) for column in rows(1_000))
    for at in range(0, 40, 2):  # a's content lies under b's name
        contents[at + 1] = contents[at]
    keep = [at for at in range(1_000) if at >= 40 or at % 2]
    table = [[column[at] for at in keep] for column in (ids, contents, targets)]
    finding = found(examples_as_before, version(tmp_path, *table, reference=before))[LABELS]
    assert finding.check.offenders == 20
    assert finding.offenders[0].detail == "was a as e0, is b"


def test_other_names_alone_are_no_other_labels(tmp_path, before):
    ids, contents, targets = rows(1_000)
    finding = found(
        examples_as_before, version(tmp_path, [f"new/{each}" for each in ids], contents, targets, reference=before)
    )[LABELS]
    assert finding.check.passed
    assert finding.check.figure == 0
    assert finding.check.offenders == 0


def test_copies_are_nobodys_former_selves(tmp_path):
    """Of a content that is there twice, nobody knows which of both it was."""
    ids, contents, targets = rows(1_000)
    contents[0] = contents[1]
    before = registered(version(tmp_path, ids, contents, targets, name="before"), "p version 3")
    ids[:2], targets[:2] = ["x", "y"], ["b", "b"]
    assert (
        found(examples_as_before, version(tmp_path, ids, contents, targets, reference=before))[LABELS].check.offenders
        == 0
    )
