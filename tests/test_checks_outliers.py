"""Outliers and strangers: planted ones are found, and natural tails are left alone."""

import numpy as np
import pyarrow as pa
import pytest

from sluiceway.checks.base import Material
from sluiceway.checks.outliers import outliers
from sluiceway.checks.remoteness import remoteness
from sluiceway.checks.strangers import strangers
from sluiceway.config import DataGateParams
from sluiceway.data.answers import Answers
from sluiceway.data.fences import QUANTILES, Fences, plain_fences, reach
from sluiceway.data.sketches import Sketches
from sluiceway.data.table import schema, write_table

KINDS = {"i": "integer", "u": "integer", "b": "integer", "f": "number"}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def material(tmp_path, *, targets=None, kind="none", features=None, fingerprints=None, surprise=None, **measured):
    """Return what a check is given; values of a list may be None or text."""
    arrays = [each for each in (features, fingerprints, surprise, *measured.values()) if each is not None]
    count = len(arrays[0])
    kinds = {
        name: "text"
        if any(isinstance(value, str) for value in values)
        else KINDS[np.asarray(values, float if None in list(values)[:5000] else None).dtype.kind]
        for name, values in measured.items()
    }
    columns = schema(kinds)
    rows = {name: pa.array(list(values), columns.field(name).type) for name, values in measured.items()}
    given = {"id": [f"e{row}" for row in range(count)], "checksum": [str(row) for row in range(count)]}
    given |= {"split": ["train"] * count, "source": given["id"], "target": targets or [None] * count}
    identity = {name: given.get(name, [None] * count) for name in columns.names if name not in rows}
    table = pa.table({name: rows.get(name, identity.get(name)) for name in columns.names}, columns)
    write_table(table, columns, tmp_path / "examples.parquet")
    return Material(
        examples=tmp_path / "examples.parquet",
        quarantine=tmp_path / "none.parquet",
        target=kind,
        measures=kinds,
        limits=DataGateParams(),
        sketches=Sketches(np.arange(count), features, None, fingerprints),
        answers=None if surprise is None else Answers(np.arange(count), surprise=surprise),
    )


def found(check, given):
    return {each.check.name: each for each in check(given)}


# Fences.


def test_the_fence_of_an_exponential_tail_is_its_quantile():
    quantiles = [-np.log(1 - q) for q in QUANTILES]
    assert reach(*quantiles[2:], 1e-5) == pytest.approx(-np.log(1e-5))


def test_a_lower_tail_is_the_mirror_of_an_upper_one():
    assert reach(0.0, -1.0, -2.0) == -reach(0.0, 1.0, 2.0)


def test_positive_values_over_many_powers_are_looked_at_by_their_logarithm(rng):
    values = np.exp(rng.normal(0, 2, 10_000))
    fences = Fences.of(np.quantile(values, QUANTILES).tolist())
    logs = Fences.of(np.quantile(np.log(values), QUANTILES).tolist())
    assert (fences.low, fences.high) == pytest.approx((np.exp(logs.low), np.exp(logs.high)), rel=0.02)


def test_what_lies_far_out_does_not_move_the_fences(rng):
    clean = rng.normal(size=2_000)
    odd = plain_fences(np.concatenate([clean, np.full(100, 30.0)]))
    assert odd.high == pytest.approx(plain_fences(clean).high, rel=0.15)
    assert odd.high < 12


# Outliers.

TAILS = {
    "normal": lambda rng, n: rng.normal(5, 1, n),
    "uniform": lambda rng, n: rng.random(n),
    "exponential": lambda rng, n: rng.exponential(1, n),
    "log-normal": lambda rng, n: np.exp(rng.normal(3, 1.5, n)),
    "Pareto": lambda rng, n: rng.pareto(1.5, n) + 1,
    "Student": lambda rng, n: rng.standard_t(3, n),
    "Laplace": lambda rng, n: rng.laplace(0, 1, n),
    "words": lambda rng, n: 1 + rng.negative_binomial(2, 0.01, n),
    "counts with zeros": lambda rng, n: rng.poisson(0.4, n),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.97, 0.0, rng.random(n)),
    "two kinds": lambda rng, n: np.where(rng.random(n) < 0.3, rng.normal(0, 1, n), rng.normal(50, 1, n)),
    "few values": lambda rng, n: rng.choice([1, 3, 4], n, p=[0.6, 0.3, 0.1]),
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("count", [30, 100, 1_000, 100_000])
def test_natural_tails_are_no_outliers(tmp_path, tail, count):
    for seed in range(3 if count > 1_000 else 20):
        values = TAILS[tail](np.random.default_rng(seed), count)
        assert found(outliers, material(tmp_path, length=values))["outliers"].check.passed


@pytest.mark.parametrize("count", [1_000, 100_000])
def test_a_tail_without_an_end_has_no_gap(tmp_path, count):
    for seed in range(5):
        values = np.random.default_rng(seed).standard_cauchy(count)
        assert found(outliers, material(tmp_path, length=values))["outliers"].check.passed


@pytest.mark.parametrize("count", [1_000, 20_000])
@pytest.mark.parametrize("rate", [0.01, 0.05])
@pytest.mark.parametrize(
    ("usual", "odd"),
    [
        (lambda rng, n: np.full(n, 28), 64),
        (lambda rng, n: np.full(n, 1), 3),
        (lambda rng, n: rng.normal(0.13, 0.04, n), 0.87),
        (lambda rng, n: np.exp(rng.normal(6, 0.5, n)), 1.0),
        (lambda rng, n: np.exp(rng.normal(6, 0.5, n)), 200_000.0),
    ],
    ids=["width", "channels", "brightness", "one word", "very long"],
)
def test_odd_values_close_and_are_named(tmp_path, rng, count, rate, usual, odd):
    values = usual(rng, count)
    chosen = rng.choice(count, round(rate * count * 0.99), replace=False)
    values[chosen] = odd
    finding = found(outliers, material(tmp_path, size=values))["outliers"]
    assert finding.check.closes
    assert {each.id for each in finding.offenders} == {f"e{row}" for row in chosen}
    assert f"size ({len(chosen):,})" in finding.check.message


def test_an_outlier_says_what_the_others_are_like(tmp_path):
    finding = found(outliers, material(tmp_path, width=[28] * 199 + [280]))["outliers"]
    assert [(each.id, each.detail) for each in finding.offenders] == [("e199", "width 280: nearly all have 28")]
    assert finding.check.passed  # a single one closes nothing


def test_an_example_that_is_odd_twice_counts_once(tmp_path, rng):
    wide, high = np.full(1_000, 28), np.full(1_000, 28)
    wide[:10] = high[:10] = 99
    finding = found(outliers, material(tmp_path, width=wide, height=high))["outliers"]
    assert (finding.check.offenders, finding.check.figure) == (10, 0.01)
    assert "width (10)" in finding.check.message
    assert "height (10)" in finding.check.message


@pytest.mark.parametrize(("rare", "closes"), [(10, True), (30, False)])
def test_a_rare_format_is_an_outlier_and_a_second_one_is_not(tmp_path, rare, closes):
    formats = ["PNG"] * (1_000 - rare) + ["JPEG"] * rare
    assert found(outliers, material(tmp_path, format=formats))["outliers"].check.closes is closes


def test_missing_values_are_told_and_optional_ones_are_not(tmp_path, rng):
    some = [*rng.normal(size=970).tolist(), *[None] * 10, *[float("nan")] * 10, *[float("inf")] * 10]
    optional = [None if row % 2 else 1.0 + row for row in range(1_000)]
    finding = found(outliers, material(tmp_path, loudness=some, age=optional))["missing_values"]
    assert finding.check.offenders == 30
    assert "loudness (30)" in finding.check.message
    assert "age" not in finding.check.message
    assert not finding.check.passed


def test_without_measures_or_examples_nothing_is_said(tmp_path):
    assert not list(outliers(material(tmp_path, features=np.zeros((50, 2), np.float32))))
    assert not list(outliers(material(tmp_path, width=[28] * 5)))


def test_the_count_is_whole_when_not_all_are_kept(tmp_path):
    widths = np.full(600_000, 28)
    widths[::40] = 64
    finding = found(outliers, material(tmp_path, width=widths))["outliers"]
    assert (finding.check.offenders, len(finding.offenders)) == (15_000, 10_000)


# Strangers.


def cloud(rng, count, features=30):
    """Ten kinds of thing, in overlapping clouds."""
    middles = np.random.default_rng(1).normal(0, 1, (10, features))
    return (middles[rng.integers(10, size=count)] + rng.normal(0, 0.7, (count, features))).astype(np.float32)


@pytest.mark.parametrize("count", [30, 100, 1_000, 5_000])
@pytest.mark.parametrize("features", [2, 30, 200])
def test_clean_contents_have_no_strangers(tmp_path, count, features):
    for seed in range(3):
        vectors = cloud(np.random.default_rng(seed), count, features)
        assert found(strangers, material(tmp_path, features=vectors))["strangers"].check.passed


@pytest.mark.parametrize("spread", [0.01, 2.0], ids=["alike", "various"])
@pytest.mark.parametrize("count", [20, 50])
def test_strangers_are_named_however_alike_they_are(tmp_path, rng, spread, count):
    vectors = cloud(rng, 1_000)
    place = rng.normal(size=30)
    vectors[:count] = 14 * place / np.linalg.norm(place) + rng.normal(0, spread, (count, 30))
    finding = found(strangers, material(tmp_path, features=vectors))["strangers"]
    assert finding.check.closes
    assert {each.id for each in finding.offenders} == {f"e{row}" for row in range(count)}


def test_a_few_strangers_are_named_and_close_nothing(tmp_path, rng):
    vectors = cloud(rng, 300)
    vectors[:3] += 20
    finding = found(strangers, material(tmp_path, features=vectors))["strangers"]
    assert finding.check.passed
    assert {each.id for each in finding.offenders} == {"e0", "e1", "e2"}
    assert "times as far" in finding.offenders[0].detail


def test_a_fingerprint_sees_what_features_do_not(tmp_path, rng):
    vectors, prints = cloud(rng, 1_000), cloud(rng, 1_000)
    prints[:10] -= 20
    assert found(strangers, material(tmp_path, features=vectors, fingerprints=prints))["strangers"].check.closes
    assert not found(strangers, material(tmp_path, features=vectors))["strangers"].check.closes


def test_a_crowd_that_may_be_a_kind_of_its_own_only_warns(tmp_path, rng):
    vectors = cloud(rng, 1_000)
    vectors[:80] += 20
    check = found(strangers, material(tmp_path, features=vectors))["strangers"].check
    assert (check.passed, check.closes, check.offenders) == (False, False, 80)


def test_a_class_of_its_own_kind_is_no_crowd_of_strangers(tmp_path, rng):
    vectors = cloud(rng, 1_000)
    vectors[:30] += 20
    own = ["x"] * 30 + [str(row % 9) for row in range(970)]
    spread = [str(row % 9) for row in range(1_000)]
    assert not found(strangers, material(tmp_path, features=vectors, targets=own, kind="class"))[
        "strangers"
    ].check.closes
    assert found(strangers, material(tmp_path, features=vectors, targets=spread, kind="class"))[
        "strangers"
    ].check.closes


@pytest.mark.parametrize("odd", [5.5, 0.05], ids=["gibberish", "boilerplate"])
def test_too_much_and_too_little_surprise_are_strange(tmp_path, rng, odd):
    surprise = rng.normal(1.7, 0.13, 1_000)
    surprise[:10] = odd
    finding = found(strangers, material(tmp_path, surprise=surprise))["strangers"]
    assert {each.id for each in finding.offenders} == {f"e{row}" for row in range(10)}
    assert f"surprise {odd:.2f}" in finding.offenders[0].detail


def test_unknown_surprise_is_no_stranger(tmp_path, rng):
    surprise = rng.normal(1.7, 0.13, 1_000)
    surprise[:100] = np.nan
    assert found(strangers, material(tmp_path, surprise=surprise))["strangers"].check.passed
    assert found(strangers, material(tmp_path, surprise=np.full(50, np.nan)))["strangers"].check.passed


def test_without_eyes_or_examples_nothing_is_said(tmp_path, rng):
    assert not list(strangers(material(tmp_path, width=[28] * 50)))
    assert not list(strangers(material(tmp_path, features=cloud(rng, 10))))


def test_remoteness_is_a_mahalanobis_distance_where_nothing_is_odd(rng):
    """Up to what is added to every direction, which is the same for all here."""
    vectors = rng.normal(size=(20_000, 5)) @ np.diag([1.0, 1.0, 1.0, 1.0, 1.0])
    expected = np.linalg.norm(vectors, axis=1)
    assert np.corrcoef(remoteness(vectors.astype(np.float32)), expected)[0, 1] > 0.999
