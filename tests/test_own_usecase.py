"""The use case that docs/usecases.md teaches goes through all stages, as its reader would do it."""

import re

import numpy as np
import pytest
from ruamel.yaml import YAML

from projects import ROOT, Project, assert_friendly, make_project

pytestmark = pytest.mark.slow


def block(language: str, mark: str = "") -> str:
    """Return the only block of the page in a language that has a mark in it."""
    page = (ROOT / "docs" / "usecases.md").read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (only,) = (each for each in found if mark in each)
    return only


@pytest.fixture
def houses(tmp_path) -> Project:
    """The page's files, and scikit-learn's diabetes data: 442 rows of ten numbers and one to predict."""
    from sklearn.datasets import load_diabetes

    listed = YAML(typ="safe").load(block("yaml", "pipelines:"))["pipelines"]
    assert listed == {"houses": {"code": "my_package"}}
    project = make_project(tmp_path, {})
    (tmp_path / "params.yaml").write_text(f"{block('yaml', 'pipelines:')}samples: []\n", encoding="utf-8")
    for path, text in (
        ("my_package/__init__.py", ""),
        ("my_package/table_regression.py", block("python")),
        ("pipelines/houses/params.yaml", block("yaml", "usecase:")),
        ("pipelines/houses/expectations.json", block("json")),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    (tmp_path / "data" / "raw" / "houses").mkdir(parents=True)
    rows = np.column_stack(load_diabetes(return_X_y=True))
    np.savetxt(tmp_path / "data" / "raw" / "houses" / "houses.csv", rows, delimiter=",")
    return project


def test_a_use_case_of_ones_own_runs_through_all_stages(houses: Project) -> None:
    said = houses.repro("register@houses")
    assert "Traceback" not in said
    scores = houses.json("reports/houses/evaluation.json")
    assert scores["model"]["rmse"]["value"] < scores["baselines"]["mean"]["rmse"]["value"]
    first = houses.json("reports/houses/registration.json")
    assert (first["version"], first["before"]) == (1, None)
    houses.run("sluiceway", "register", "houses")  # as after a result that could not be pushed
    again = houses.json("reports/houses/registration.json")
    assert (again["version"], again["champion"]) == (1, first["champion"])

    # Its data gate has eyes: a feature that is the target, in the test split too, is found by the classical learner.
    raw = houses.root / "data" / "raw" / "houses" / "houses.csv"
    rows = np.loadtxt(raw, delimiter=",")
    rows[:, 3] = rows[:, -1] / 1e4
    np.savetxt(raw, rows, delimiter=",")
    assert houses.run("dvc", "repro", "register@houses", check=False).returncode
    verdict = houses.json("data/validated/houses/verdict.json")
    assert verdict["state"] == "closed"


def test_a_use_case_that_cannot_be_imported_is_named(houses: Project) -> None:
    houses.set("houses", "usecase", "my_package.table_regresion:USECASE")
    done = houses.run("sluiceway", "validate", "houses", check=False)
    assert_friendly(done, 1, "my_package.table_regresion", "cannot be imported")
