"""Texts through all stages and DVC: of which kind of book a verse is; faults put in and found; served."""

import json

import pytest

from projects import Project
from sluiceway.config import Split
from sluiceway.data.splits import assign
from small import make_small

pytestmark = pytest.mark.slow
NAME = "books"
SPANISH = "Y dijo Dios a Noé: El fin de toda carne ha venido delante de mí, porque la tierra está llena de violencia."
_PREDICT = """
import json, sys
import mlflow, pandas
mlflow.set_tracking_uri("sqlite:///mlflow/store/mlflow.db")
model = mlflow.pyfunc.load_model("models:/books/1")
answers = model.predict(pandas.DataFrame({"text": ["Grace be unto you, and peace.", ""]}))
assert "sluiceway.training" not in sys.modules
print(json.dumps([answers.to_dict(orient="records"), str(model.metadata.signature.inputs)]))
"""


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with faults: a verse in Spanish, one decoded wrongly, one held out that is, nearly, learned."""
    project = make_small(tmp_path_factory.mktemp("learned"), NAME)
    path = project.root / "data" / "raw" / NAME / "verses.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows[700] |= {"text": SPANISH}
    rows.append({**rows[-1], "text": "cafÃ© and thÃ©, as it was written"})
    sides = {row["book"]: assign(row["book"], Split(validation=0.2, test=0.3, seed=157)) for row in rows}
    known = max((row for row in rows if sides[row["book"]] == "train"), key=lambda row: len(row["text"]))
    held = next(row for row in rows if sides[row["book"]] == "test")
    rows.append({**held, "text": f"{known['text']} Selah."})
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    project.repro(f"register@{NAME}")
    return project


def test_what_is_wrong_with_a_text_is_found_and_shown(learned: Project) -> None:
    folder = learned.root / "data" / "validated" / NAME
    verdict = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    checks = {check["name"]: check for check in verdict["checks"]}
    assert verdict["figures"]["quarantined_examples"] == 2
    assert checks["near_copies_across_splits"]["figure"] > 0
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "mojibake" in page
    assert "wrong_language" in page


def test_verses_are_learned_evaluated_and_registered(learned: Project) -> None:
    evaluation = learned.json(f"reports/{NAME}/evaluation.json")
    assert set(evaluation["model"]) >= {"accuracy", "macro_f1"}
    assert set(evaluation["baselines"]) == {"commonest class", "TF-IDF + logistic regression"}
    scores = {name: each["accuracy"]["value"] for name, each in evaluation["baselines"].items()}
    assert scores["TF-IDF + logistic regression"] > scores["commonest class"]
    assert [each["layer"] for each in evaluation["layers"]["depths"]] == ["input", "embedding", "layers.0"]
    report = (learned.root / "reports" / NAME / "report.html").read_text(encoding="utf-8")
    assert "taken for" in report
    assert "<blockquote>" in report


def test_a_registered_model_answers_texts(learned: Project) -> None:
    (first, empty), signature = json.loads(learned.run("python", "-c", _PREDICT).stdout.splitlines()[-1])
    assert first.keys() == empty.keys() == {"label", "probability"}
    assert first["label"] in {"narrative", "poetry", "prophecy", "letter"}
    assert 0.2 < first["probability"] <= 1
    assert "string" in signature
    assert not list(learned.root.glob("models/**/*.pkl"))
