"""The catalogue knows every name that a check can answer under, and nothing else; an unknown name is told."""

import ast
import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from material import found, material_of, registered
from sluiceway import checks
from sluiceway.checks import catalogue
from sluiceway.checks.catalogue import ACROSS, CATALOGUE, LIMITS, NAMES, check_severities, examine
from sluiceway.config import DataGateParams
from sluiceway.data.answers import Answers
from sluiceway.errors import ConfigError
from sluiceway.gates.verdict import Severity

MODULES = sorted({inspect.getmodule(check) for check in CATALOGUE}, key=lambda module: module.__name__)


def given(rng, kind):
    """Everything that a use case may have: measures, groups, times, features, and a target of this kind."""
    count = 1000
    value = rng.normal(size=count)
    features = np.column_stack([value, rng.normal(size=(count, 5))])
    targets = {
        "class": ["ab"[int(each > 0)] for each in value],
        "number": [f"{each:.4f}" for each in value],
        "text": ["x" * (1 + int(abs(each) * 20)) for each in value],
        "none": [None] * count,
    }[kind]
    at = np.arange(count)
    group = np.where(at < 300, at // 12, at // 2)  # few groups with much to compare, many to share out
    columns = {
        "split": np.array(["train", "train", "train", "validation", "test"])[group % 5].tolist(),
        "group": [f"g{each}" for each in group],
        "time": np.arange(count) * 1.0,
        "size": rng.lognormal(3, 1, count),
        "format": ["PNG"] * count,
    }
    return features, targets, columns


def material(folder, kind):
    """Return this version with the one before; of a text, also its surprise."""
    rng = np.random.default_rng(0)
    measures = {"size": "number", "format": "text"}
    features, targets, columns = given(rng, kind)
    before = material_of(
        folder, features, targets, kind=kind, columns=columns, measures=measures, learn=False, name="before"
    )
    features, targets, columns = given(rng, kind)
    columns["checksum"] = [f"new {at // 2}" if at < 10 else f"new {at}" for at in range(len(targets))]
    now = material_of(
        folder,
        features,
        targets,
        kind=kind,
        columns=columns,
        measures=measures,
        reference=registered(before),
        quarantined=[("x", "blank: x")],
    )
    if kind in ("text", "none"):
        now = replace(now, answers=Answers(np.arange(1000), surprise=rng.normal(2, 0.1, 1000)))
    return now


@pytest.fixture(scope="module")
def materials(tmp_path_factory):
    return {kind: material(tmp_path_factory.mktemp(kind), kind) for kind in ("class", "number", "text", "none")}


def test_names_belong_to_one_check():
    names = [name for listed in CATALOGUE.values() for name in listed]
    assert len(set(names)) == len(names)
    assert set(names) == NAMES


@pytest.mark.parametrize("check", CATALOGUE, ids=lambda check: check.__name__)
def test_each_check_answers_under_its_names_and_under_all_of_them(materials, check):
    answers = [list(found(check, each)) for each in materials.values()]
    assert {name for names in answers for name in names} == set(CATALOGUE[check])


@pytest.mark.parametrize("kind", ["class", "number", "text", "none"])
def test_a_verdict_has_each_name_once(materials, kind):
    names = [each.check.name for each in examine(materials[kind])]
    assert len(set(names)) == len(names)
    order = [name for listed in CATALOGUE.values() for name in listed]
    assert sorted(names, key=order.index) == names


def test_whatever_is_there_every_check_has_an_answer_or_none(tmp_path):
    """Nothing but ids and splits; and nothing at all."""
    for count in (0, 1, 40):
        for kind in ("class", "number", "text", "none"):
            bare = material_of(tmp_path, None, [None] * count, kind=kind, learn=False)
            for each in (bare, replace(bare, reference=registered(bare))):
                answers = [finding.check for finding in examine(each)]
                assert {"enough_examples", "quarantined_share"} <= {check.name for check in answers} <= NAMES
                assert all(check.figure is None or np.isfinite(check.figure) for check in answers)


def test_findings_are_whole(materials):
    """A message for people, no more examples named than counted, and figures that JSON can hold."""
    for each in (finding for kind in materials.values() for finding in examine(kind)):
        check = each.check
        assert check.message
        assert "nan" not in check.message
        assert isinstance(check.severity, Severity)
        assert len(each.offenders) <= check.offenders or not check.offenders
        assert check.figure is None or isinstance(check.figure, str) or np.isfinite(check.figure)
        assert check.examples == tuple(offender.id for offender in each.offenders)[: len(check.examples)]
        scores = [offender.score for offender in each.offenders]
        assert scores == sorted(scores, reverse=True)


def test_progress_counts_the_checks(materials):
    told = []
    list(examine(materials["none"], told.append))
    assert told == list(range(1, len(CATALOGUE) + 1))


# The source.


def listed_of(module):
    return {name for check, names in CATALOGUE.items() if inspect.getmodule(check) is module for name in names}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_names_in_the_source_are_listed_and_listed_names_are_in_the_source(module):
    tree = ast.parse(inspect.getsource(module))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    said = {
        call.args[0].value
        for call in calls
        if call.func.id in ("finding", "_judged") and call.args and isinstance(call.args[0], ast.Constant)
    }
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert said <= listed_of(module)
    assert listed_of(module) <= texts


def test_no_check_is_forgotten():
    """A public function from a material alone to findings is a check."""
    (folder,) = checks.__path__
    found_checks = {
        f"{path.stem}.{node.name}"
        for path in Path(folder).glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and [argument.arg for argument in node.args.args] == ["material"]
        and "Finding" in ast.unparse(node.returns)
    }
    assert found_checks == {f"{check.__module__.rpartition('.')[2]}.{check.__name__}" for check in CATALOGUE}


# Severities.


def test_known_names_are_taken():
    check_severities(NAMES, [])
    check_severities(["not_null:width", "outliers"], ["not_null:width"])
    check_severities([], [])


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(ConfigError) as caught:
        check_severities({"label_error": "warn"}, [])
    assert str(caught.value) == ("gates.data.severity: there is no check 'label_error'; did you mean 'label_errors'?")
    assert "strangers" in caught.value.hint
    with pytest.raises(ConfigError, match="did you mean 'between:width'"):
        check_severities(["betwen:width"], ["between:width"])
    with pytest.raises(ConfigError, match=r"there is no check 'zzz'; known: .*outliers"):
        check_severities(["outliers", "zzz"], [])


def test_every_name_may_stand_in_the_parameters():
    assert set(DataGateParams(severity=dict.fromkeys(NAMES, "off")).severity) == NAMES


def test_a_check_that_answers_under_another_name_would_be_seen(materials, monkeypatch):
    """The test of the tests: a name that is not listed is found."""
    (check, names), *_ = CATALOGUE.items()
    monkeypatch.setattr(catalogue, "CATALOGUE", {check: ("another_name",)})
    said = {each.check.name for each in catalogue.examine(materials["none"])}
    assert said == set(names) != set(catalogue.CATALOGUE[check])


def test_every_limit_belongs_to_checks_and_is_named_by_them():
    assert {*LIMITS, *ACROSS} <= NAMES
    options = {name for name in DataGateParams.model_fields if name.startswith(("max_", "min_"))}
    assert set(LIMITS.values()) == options | {"groups_in_turn"}
    for module in MODULES:  # who is held against an option uses it
        source = inspect.getsource(module)
        names = {name for check, names in CATALOGUE.items() if inspect.getmodule(check) is module for name in names}
        for name in names & set(LIMITS):
            assert f"limits.{LIMITS[name]}" in source, name
