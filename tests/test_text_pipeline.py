"""Texts through all stages: of which kind of book a verse is, through DVC, faults found, served; and other targets."""

import json
import shutil
from pathlib import Path

import pytest

from projects import ALL_STAGES, Project, make_project, suite
from sluiceway.config import Split
from sluiceway.data.splits import assign
from small import UNIQUE, make_small, or_skip
from texts import lay_out

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


PARAMS = """\
usecase: text
target: {target}
data: {{split: {{validation: 0.15, test: 0.25}}}}
encode: {{vocabulary: 400, longest: 32}}
model: {model}
objective: {{}}
gates:
  data: {{min_examples: 100, max_label_errors: 0.3}}
  cost: {{probe_steps: 5}}
  model: {{beat_baselines: false}}
train: {{epochs: 8, global_batch: 32, lr: 0.003}}
evaluate: {{resamples: 100, layers: {layers}}}
register: {{}}
"""
ENCODER = "{name: encoder, channels: 32, layers: 1, heads: 2}"
BERT = (
    "{name: huggingface, config: {model_type: bert, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, "
    "intermediate_size: 64}}"
)
OTHERS = {"kinds": ("classes", ENCODER), "places": ("number", ENCODER), "letters": ("class", BERT)}
"""Pipelines: of which kind and testament a verse is; how far along in the Bible it stands; whether it is a letter's."""


def lay_out_others(raw: Path) -> None:
    """Write 8 verses of each book with a target of each kind."""
    lay_out(raw / "books", 8)
    rows = [json.loads(line) for line in (raw / "books" / "verses.jsonl").read_text(encoding="utf-8").splitlines()]
    targets = {
        "kinds": lambda row: {"labels": [row["label"], "old" if int(row["book"][:2]) < 40 else "new"]},
        "places": lambda row: {"number": int(row["book"][:2])},
        "letters": lambda row: {"label": "letter" if row["label"] == "letter" else "other"},
    }
    for name, target in targets.items():
        (raw / name).mkdir()
        lines = (json.dumps({"text": row["text"], **target(row)}) for row in rows)
        (raw / name / "verses.jsonl").write_text("\n".join(lines), encoding="utf-8")
    shutil.rmtree(raw / "books")


def test_labels_numbers_and_a_network_of_transformers_go_through_all_stages(tmp_path: Path) -> None:
    pipelines = {
        name: (
            "text",
            PARAMS.format(target=target, model=model, layers=200 if model == BERT else 0),
            suite(*UNIQUE),
        )
        for name, (target, model) in OTHERS.items()
    }
    project = make_project(tmp_path, pipelines)
    or_skip(lambda: lay_out_others(tmp_path / "data" / "raw"))
    project.run("python", "-c", ALL_STAGES, *pipelines)
    for name, metric, least in (("kinds", "macro_f1", 0.3), ("places", "r2", 0.0), ("letters", "macro_f1", 0.4)):
        evaluation = project.json(f"reports/{name}/evaluation.json")
        assert evaluation["model"][metric]["value"] > least
        assert any("TF-IDF" in learner for learner in evaluation["baselines"])
        assert project.json(f"reports/{name}/registration.json")["version"] == 1
    assert project.json("reports/letters/evaluation.json")["layers"]["depths"]
    assert project.json("models/letters/model.json")["model"]["config"]["model_type"] == "bert"
    assert "What is answered for what" in (tmp_path / "reports/places/report.html").read_text(encoding="utf-8")
