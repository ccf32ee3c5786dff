"""Groups: machines among people, people under two names, and users who are tested on their past."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from material import material_of
from sluiceway.checks.groups import copied_groups, odd_groups
from sluiceway.checks.kinds import groups_of_one_kind, widest_gap
from sluiceway.checks.sides import groups_apart, time_overlap
from sluiceway.config import DataGateParams

USERS, EACH = 60, 40


def people(rng, users=USERS):
    """Users who choose among 500 things, in sittings, and rate as they like."""
    rows = []
    for user in range(users):
        steps = rng.exponential(40, EACH) * rng.choice([0, 1], EACH)
        for at, time in enumerate(np.cumsum(steps) + rng.integers(0, 10**7)):
            item, rating = int(rng.integers(500)), float(rng.integers(1, 6))
            rows.append({"group": f"u{user}", "time": float(time), "target": f"t{item}", "rating": rating, "at": at})
    return rows


def add(rows, user, times, *, ratings=None, targets=None):
    for at, time in enumerate(times):
        target = targets[at] if targets else f"t{(7 * at) % 500}"
        rows.append(
            {
                "group": user,
                "time": float(time),
                "target": target,
                "rating": float(ratings[at] if ratings else at % 5),
                "at": at,
            }
        )


@pytest.fixture
def material(tmp_path):
    def make(rows, **limits):
        table = pl.DataFrame(rows)
        made = material_of(
            tmp_path,
            None,
            table["target"].to_list(),
            kind="text",
            columns={name: table[name].to_list() for name in ("group", "time", "rating", "split") if name in table},
            measures={"rating": "number"},
            learn=False,
        )
        return replace(made, limits=DataGateParams(**limits))

    return make


def named(finding, rows):
    return {rows[int(each.id[1:])]["group"] for each in finding.offenders}


@pytest.mark.parametrize("seed", range(3))
def test_people_are_people(seed, material):
    rows = people(np.random.default_rng(seed))
    (odd,), (copied,) = odd_groups(material(rows)), copied_groups(material(rows))
    assert (odd.check.figure, copied.check.figure) == (0, 0)
    assert odd.check.passed
    assert copied.check.passed


def test_equal_steps_give_a_machine_away(material):
    rng = np.random.default_rng(0)
    rows = people(rng)
    add(rows, "clock", 5_000 + 10 * np.arange(100))
    add(rows, "jitter", 5_000 + np.cumsum(rng.uniform(9, 11, 100)))
    add(rows, "few", 10.0 * np.arange(5))
    (found,) = odd_groups(material(rows))
    assert named(found, rows) == {"clock", "jitter"}
    assert (found.check.passed, found.check.offenders) == (False, 200)
    assert "2 of 63 groups behave as no other does (clock, jitter)" in found.check.message
    assert "of its steps in time are equal" in found.offenders[0].detail


def test_one_answer_to_everything_is_no_opinion(material):
    rng = np.random.default_rng(0)
    rows = people(rng)
    add(rows, "fan", np.cumsum(rng.exponential(40, 60)), ratings=[5] * 60)
    (found,) = odd_groups(material(rows))
    assert named(found, rows) == {"fan"}
    assert "rating is the same in 100% of it" in found.offenders[0].detail


def test_a_days_work_in_an_hour_is_a_rush(material):
    rng = np.random.default_rng(0)
    rows = people(rng)
    add(rows, "rush", np.sort(rng.uniform(0, 3600, 3_000)))
    (found,) = odd_groups(material(rows))
    assert named(found, rows) == {"rush"}
    assert "in an hour" in found.offenders[0].detail


def drives(rng, draw, count=40):
    """Groups whose ratings lie around a middle of their own."""
    ratings = np.broadcast_to(draw(rng, count), (30, count)) * rng.uniform(0.8, 1.2, (30, count))
    return [
        {"group": f"d{group}", "time": float(at), "target": "x", "rating": float(ratings[at, group]), "at": at}
        for group in range(count)
        for at in range(30)
    ]


DRAWS = {
    "normal": lambda rng, count: rng.normal(20, 2, count),
    "log-normal": lambda rng, count: 20 * rng.lognormal(0, 0.4, count),
    "exponential": lambda rng, count: 20 + rng.exponential(4, count),
    "two kinds": lambda rng, count: np.where(rng.random(count) < 0.3, 30.0, 20.0),
    "rare": lambda rng, count: np.where(rng.random((30, count)) < 0.9, 0.0, rng.lognormal(0, 0.8, count)),
    "few values": lambda rng, count: rng.choice([18.0, 20.0, 20.0, 20.0, 24.0], count),
}


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("seed", range(8))
def test_groups_may_differ_as_much_as_their_kind_does(draw, seed, material):
    (odd,) = odd_groups(material(drives(np.random.default_rng(seed), DRAWS[draw])))
    assert odd.check.figure == 0, odd.offenders[:1]


def test_a_group_that_lies_elsewhere_is_of_another_camera(material):
    rows = drives(np.random.default_rng(0), DRAWS["normal"])
    for row in rows:
        row["rating"] += 30.0 if row["group"] in ("d3", "d30") else 0.0
    (odd,) = odd_groups(material(rows))
    assert not odd.check.passed
    assert named(odd, rows) == {"d3", "d30"}
    assert "its mean rating is 5" in odd.offenders[0].detail


def test_where_all_are_machines_none_is_odd(material):
    rows = []
    for drive in range(40):
        add(rows, f"drive{drive}", 0.1 * np.arange(50) + 1_000 * drive, ratings=[0] * 50)
    (found,) = odd_groups(material(rows))
    assert found.check.figure == 0


def test_nothing_is_asked_where_there_are_few_groups_or_none(material):
    assert list(odd_groups(material(people(np.random.default_rng(0), users=5)))) == []
    rows = [{**row, "group": None} for row in people(np.random.default_rng(0))]
    assert list(odd_groups(material(rows))) == []
    assert list(copied_groups(material(rows))) == []


def test_a_single_machine_is_named_and_closes_nothing(material):
    rows = people(np.random.default_rng(0))
    add(rows, "clock", 5_000 + 10 * np.arange(100))
    (found,) = odd_groups(material(rows, max_odd_groups=0.05))
    assert found.check.passed
    assert named(found, rows) == {"clock"}


@pytest.mark.parametrize("shift", [0, 86_400])
def test_a_user_under_another_name_is_a_copy(shift, material):
    rows = people(np.random.default_rng(0))
    rows += [{**row, "group": "again", "time": row["time"] + shift} for row in rows if row["group"] == "u7"]
    (found,) = copied_groups(material(rows))
    assert named(found, rows) == {"again"}
    assert found.offenders[0].detail == "again: 100% of its targets follow each other as in u7"
    assert not found.check.passed


def test_what_has_no_target_is_no_part_of_the_order(material):
    rows = people(np.random.default_rng(0))
    rows += [{**row, "group": "again"} for row in rows if row["group"] == "u7"]
    rows = [
        {**row, "target": None if row["group"] == "again" and row["at"] % 20 == 0 else row["target"]} for row in rows
    ]
    (found,) = copied_groups(material(rows))
    assert named(found, rows) == {"again"}
    assert "9" in found.offenders[0].detail  # not all follow each other any more
    rows = [{**row, "target": None} for row in rows]
    assert list(copied_groups(material(rows))) == []


def test_classes_are_the_same_in_a_row_by_nature(material):
    rows = people(np.random.default_rng(0))
    assert list(copied_groups(replace(material(rows), target="class"))) == []


# In turn.


def in_turn(rows):
    """Hold the last of each user out."""
    return [{**row, "split": {EACH - 1: "test", EACH - 2: "validation"}.get(row["at"], "train")} for row in rows]


def test_users_may_be_on_all_sides_in_turn(material):
    rows = in_turn(people(np.random.default_rng(0)))
    apart, _ = groups_apart(material(rows))
    assert not apart.check.passed
    (share,) = groups_apart(material(rows, groups_in_turn=True))
    assert share.check.name == "group_share"
    (found,) = time_overlap(material(rows, groups_in_turn=True))
    assert (found.check.passed, found.check.figure) == (True, 0)


def test_a_user_who_is_tested_on_the_past_is_named(material):
    rows = in_turn(people(np.random.default_rng(0)))
    rows[3]["time"] = rows[EACH - 1]["time"] + 7
    (found,) = time_overlap(material(rows, groups_in_turn=True))
    assert not found.check.passed
    assert [(each.id, each.detail) for each in found.offenders] == [("e3", "7 after its group's first test example")]


# Two kinds of groups.


def seen(rng, means, each=30, noise=0.02):
    """Drives whose frames have a rating around the drive's own mean."""
    return [
        {"group": f"d{number}", "time": float(at), "target": "x", "rating": float(mean + rng.normal(0, noise))}
        for number, mean in enumerate(means)
        for at in range(each)
    ]


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.8])
def test_another_camera_on_many_drives_is_a_second_kind(share, material):
    rng = np.random.default_rng(int(100 * share))
    other = round(share * 40)
    rows = seen(rng, [*rng.normal(1.43, 0.03, 40 - other), *rng.normal(1.05, 0.03, other)])
    (found,) = groups_of_one_kind(material(rows))
    assert not found.check.passed
    assert found.check.severity == "warn"
    assert "two kinds by rating" in found.check.message
    fewer = min(other, 40 - other)
    assert found.check.offenders == 30 * fewer
    if fewer < 20:
        expected = range(40 - other, 40) if other == fewer else range(fewer)
        assert named(found, rows) <= {f"d{number}" for number in expected}
    assert found.offenders[0].detail.startswith("d")


SPREADS = {
    "normal": lambda rng, n: rng.normal(9, 1, n),
    "even": lambda rng, n: rng.uniform(0, 1, n),
    "exponential": lambda rng, n: rng.exponential(1, n),
    "lognormal": lambda rng, n: rng.lognormal(0, 1.5, n),
    "heavy": lambda rng, n: np.abs(rng.standard_t(2, n)),
    "mostly nothing": lambda rng, n: rng.gamma(0.3, 1, n),
    "constant": lambda rng, n: np.full(n, 3.0),
}


@pytest.mark.parametrize("kind", SPREADS)
@pytest.mark.parametrize("groups", [20, 40, 200])
def test_one_kind_however_wide_is_one_kind(kind, groups):
    rng = np.random.default_rng(groups)
    gaps = [widest_gap(np.sort(SPREADS[kind](rng, groups)))[0] for _ in range(300)]
    assert max(gaps) < 4


def test_a_few_odd_groups_are_no_kind_and_two_values_are_two():
    rng = np.random.default_rng(0)
    few = np.sort(np.append(rng.normal(9, 1, 40), [90.0, 91.0, 92.0]))
    assert widest_gap(few)[0] < 4  # those are for odd_groups
    assert widest_gap(np.array([1.0] * 30 + [3.0] * 10)) == (1000.0, 30)
    assert widest_gap(np.sort(np.append(rng.normal(0, 1, 30), rng.normal(20, 1, 10))))[1] == 30
    assert widest_gap(np.array([1.0] * 4 + [2.0] * 3)) == (0.0, 0)


def test_kinds_are_looked_for_among_enough_groups_with_enough_examples(material):
    rng = np.random.default_rng(0)
    assert list(groups_of_one_kind(material(seen(rng, [1.0] * 9 + [5.0] * 8)))) == []
    assert list(groups_of_one_kind(material(seen(rng, [1.0] * 30 + [5.0] * 9, each=9)))) == []
    rows = seen(rng, [1.0] * 30 + [5.0] * 9)
    (found,) = groups_of_one_kind(material(rows, max_groups_apart=10_000))
    assert found.check.passed
    assert found.offenders == ()
