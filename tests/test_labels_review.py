"""Doubtful labels go to a person and come back as corrections."""

import csv
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from sluiceway.data.answers import Answers
from sluiceway.data.corrections import Correction, read_corrections
from sluiceway.data.sources import checksum, load
from sluiceway.errors import DataError, UsageError
from sluiceway.stages import labels
from sluiceway.usecases import find
from sluiceway.usecases.pipeline import Pipeline

ROOT = Path(__file__).parents[1]

CLASSES = ("cat", "dog", "owl")


def of_kind(target, **functions):
    plain = dict.fromkeys(("tidy", "amend", "judge", "measure"))
    return SimpleNamespace(target=target, measures={}, **plain | functions)


@pytest.fixture
def pipeline(tmp_path) -> Pipeline:
    """Six examples, three of them in doubt."""
    params = SimpleNamespace(data=None)
    made = Pipeline(root=tmp_path, name="pets", code="", params=params, usecase=of_kind("class"))
    made.validated.mkdir(parents=True)
    targets = ["cat", "cat", "dog", "dog", "owl", "owl"]
    pl.DataFrame(
        {
            "id": [f"{target}/{at}.png" for at, target in enumerate(targets)],
            "checksum": [f"{at:032x}" for at in range(6)],
            "target": targets,
            "source": [f"{target}/{at}.png" for at, target in enumerate(targets)],
        }
    ).write_parquet(made.validated / "examples.parquet")
    offenders = [
        ("label_errors", "dog/2.png", "looks like cat (0.90)", None, 0.8),
        ("label_errors", "cat/1.png", "looks like owl (0.97)", None, 0.9),
        ("copies_agree_on_class", "owl/5.png", "is also a cat", "cat/0.png", 1.0),
        ("copies_agree_on_class", "dog/2.png", "is also a cat", "cat/0.png", 1.0),
        ("outliers", "owl/4.png", "dark", None, 9.0),
    ]
    columns = ["check", "id", "detail", "other", "score"]
    pl.DataFrame(offenders, schema=columns, orient="row").write_parquet(made.validated / "offenders.parquet")
    probabilities = np.full((6, 3), 0.1)
    probabilities[[1, 2, 5], [2, 0, 2]] = [0.97, 0.9, 0.8]
    Answers(np.arange(6), CLASSES, probabilities).write(made.validated / "answers.parquet")
    return made


def rows(pipeline: Pipeline) -> list[dict[str, str]]:
    with labels.review_path(pipeline).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def decide(pipeline: Pipeline, **decisions: str) -> None:
    """Type decisions, by class and number of the example: ``dog2="cat"``."""
    path = labels.review_path(pipeline)
    table = rows(pipeline)
    for row in table:
        name = Path(row["id"]).stem
        row["decision"] = decisions.get(row["id"].split("/")[0] + name, row["decision"])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, labels.COLUMNS)
        writer.writeheader()
        writer.writerows(table)


def test_doubtful_labels_are_listed_worst_first(pipeline, capsys):
    labels.review(pipeline)
    found = rows(pipeline)
    assert list(found[0]) == list(labels.COLUMNS)
    assert [row["id"] for row in found] == ["cat/1.png", "dog/2.png", "owl/5.png"]
    assert found[0]["suggested"] == "owl"
    assert found[0]["confidence"] == "0.97"
    assert found[0]["file"] == "data/raw/pets/cat/1.png"
    assert found[0]["target"] == "cat"
    assert "3 labels to look at" in capsys.readouterr().out


def test_decisions_become_corrections_and_are_not_asked_again(pipeline, capsys):
    labels.review(pipeline)
    decide(pipeline, cat1="owl", dog2="Keep", owl5="drop")
    labels.apply(pipeline)
    said = capsys.readouterr().out
    assert "1 corrected, 1 confirmed, 1 left out" in said
    assert "dvc repro" in said
    found = read_corrections(pipeline.corrections)
    assert {name: each.target for name, each in found.items()} == {
        "cat/1.png": "owl",
        "dog/2.png": "dog",
        "owl/5.png": None,
    }
    assert found["cat/1.png"].checksum == f"{1:032x}"
    labels.review(pipeline)
    assert not labels.review_path(pipeline).exists()


def test_typed_decisions_survive_another_review(pipeline):
    labels.review(pipeline)
    decide(pipeline, owl5="cat")
    (pipeline.validated / "offenders.parquet").unlink()
    columns = {"check": ["label_errors"], "id": ["dog/3.png"], "detail": [""], "other": [""], "score": [1.0]}
    pl.DataFrame(columns).write_parquet(pipeline.validated / "offenders.parquet")
    labels.review(pipeline)
    assert {row["id"]: row["decision"] for row in rows(pipeline)} == {"dog/3.png": "", "owl/5.png": "cat"}


def test_what_is_undecided_stays_listed_and_earlier_corrections_stay(pipeline):
    labels.review(pipeline)
    decide(pipeline, dog2="cat")
    labels.apply(pipeline)
    assert [row["id"] for row in rows(pipeline)] == ["cat/1.png", "owl/5.png"]
    decide(pipeline, cat1="keep")
    labels.apply(pipeline)
    assert set(read_corrections(pipeline.corrections)) == {"dog/2.png", "cat/1.png"}


def test_another_content_under_the_same_id_is_asked_again(pipeline):
    labels.review(pipeline)
    decide(pipeline, cat1="keep")
    labels.apply(pipeline)
    path = pipeline.validated / "examples.parquet"
    pl.read_parquet(path).with_columns(checksum=pl.lit("f" * 32)).write_parquet(path)
    labels.review(pipeline)
    assert "cat/1.png" in [row["id"] for row in rows(pipeline)]
    decide(pipeline, cat1="owl")
    labels.apply(pipeline)
    correction = read_corrections(pipeline.corrections)["cat/1.png"]
    assert replace(correction, note="") == Correction("cat/1.png", "f" * 32, "owl")


def test_an_unknown_class_is_told_with_the_nearest_and_nothing_is_written(pipeline):
    labels.review(pipeline)
    decide(pipeline, cat1="oowl", dog2="cat")
    with pytest.raises(DataError, match="unknown class 'oowl', did you mean 'owl'"):
        labels.apply(pipeline)
    assert not pipeline.corrections.exists()
    assert rows(pipeline)[1]["decision"] == "cat"


def test_numbers_must_be_numbers(pipeline):
    numeric = replace(pipeline, usecase=of_kind("number"))
    labels.review(numeric)
    decide(numeric, cat1="left")
    with pytest.raises(DataError, match="'left' is not a number"):
        labels.apply(numeric)
    decide(numeric, cat1="-0.25")
    labels.apply(numeric)
    assert read_corrections(pipeline.corrections)["cat/1.png"].target == "-0.25"


SOUNDS = find("speech", ROOT, "text")


def speaking(pipeline: Pipeline, seconds: float = 1.0) -> Pipeline:
    """The same examples as sounds of so many seconds, with the texts of their classes."""
    path = pipeline.validated / "examples.parquet"
    pl.read_parquet(path).with_columns(seconds=pl.lit(seconds)).write_parquet(path)
    return replace(pipeline, usecase=SOUNDS, params=SimpleNamespace(data=SOUNDS.data()))


def test_a_text_is_tidied_as_those_of_the_raw_data_are(pipeline):
    sounds = speaking(pipeline)
    labels.review(sounds)
    decide(sounds, cat1="  Kat,  HOND! ", dog2="Dog.", owl5="drop")
    labels.apply(sounds)
    found = read_corrections(pipeline.corrections)
    assert found["cat/1.png"].target == "kat hond"
    assert (found["dog/2.png"].target, found["dog/2.png"].note) == ("dog", "confirmed")  # it is what it was, tidied


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        ("een [gelach] uil", "markup: '[gelach]' is not said"),
        ("een hele lange zin, veel te lang voor een seconde geluid", "too_fast: "),
        ("?!", "no_transcript: "),
    ],
)
def test_a_text_is_judged_as_those_of_the_raw_data_are(pipeline, decision, reason):
    sounds = speaking(pipeline)
    labels.review(sounds)
    decide(sounds, cat1=decision, dog2="hond")
    with pytest.raises(DataError, match=re.escape(f"cat/1.png: {reason}")) as caught:
        labels.apply(sounds)
    assert "nothing was applied" in caught.value.hint
    assert not pipeline.corrections.exists()


def test_a_text_of_another_content_is_not_judged_by_this_one(pipeline):
    sounds = speaking(pipeline)
    labels.review(sounds)
    decide(sounds, cat1="een hele lange zin, veel te lang voor een seconde geluid")
    path = pipeline.validated / "examples.parquet"
    pl.read_parquet(path).with_columns(checksum=pl.lit("f" * 32)).write_parquet(path)
    labels.apply(sounds)  # `validate` will say that the content has changed since
    assert set(read_corrections(pipeline.corrections)) == {"cat/1.png"}


def test_a_number_is_judged_as_those_of_the_raw_data_are(pipeline):
    usecase = find("driving", ROOT)
    drives = replace(pipeline, usecase=usecase, params=SimpleNamespace(data=usecase.data()))
    labels.review(drives)
    decide(drives, cat1="1.5")
    with pytest.raises(DataError, match=r"impossible_steering: 1\.5 times full lock"):
        labels.apply(drives)
    decide(drives, cat1=" -0.5 ")
    labels.apply(drives)
    assert read_corrections(pipeline.corrections)["cat/1.png"].target == "-0.5"


@pytest.fixture
def pairs(pipeline) -> Pipeline:
    """The same examples as pairs of sentences."""
    usecase = find("translation", ROOT)
    source = "The king loves the queen and the old house by the sea."
    pipeline.raw.mkdir(parents=True)
    target = "El rey ama a la reina y la vieja casa junto al mar."
    (pipeline.raw / "a.tsv").write_text(f"en\tes\n{source}\t{target}\n", encoding="utf-8")
    (example,) = usecase.read(pipeline.raw, usecase.data())
    content = load(pipeline.raw, example.source)
    path = pipeline.validated / "examples.parquet"
    table = pl.read_parquet(path).with_columns(
        source=pl.lit(example.source), target=pl.lit(target), checksum=pl.lit(checksum(content))
    )
    table.write_parquet(path)
    return replace(pipeline, usecase=usecase, params=SimpleNamespace(data=usecase.data()))


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        ("El rey.", "unequal_lengths: "),
        ("The king loves the queen and the old house by the sea.", "not_translated: "),
        ("Король любит королеву и старый дом возле синего моря.", "wrong_script: "),
        ("El rey ama a la reina y la vieja casa del seÃ±or JosÃ©.", "mojibake: "),
    ],
)
def test_a_translation_is_judged_beside_its_source(pairs, decision, reason):
    labels.review(pairs)
    decide(pairs, cat1=decision)
    with pytest.raises(DataError, match=re.escape(f"cat/1.png: {reason}")):
        labels.apply(pairs)
    assert not pairs.corrections.exists()
    decide(pairs, cat1=" El rey quiere a la reina y la vieja casa junto al mar. ")
    labels.apply(pairs)
    found = read_corrections(pairs.corrections)["cat/1.png"]
    assert found.target == "El rey quiere a la reina y la vieja casa junto al mar."


def test_what_is_missing_is_told(pipeline):
    with pytest.raises(UsageError, match="does not exist"):
        labels.apply(pipeline)
    labels.review(pipeline)
    with pytest.raises(UsageError, match="has no decisions"):
        labels.apply(pipeline)
    labels.review_path(pipeline).write_text("id;checksum;target\n", encoding="utf-8")
    with pytest.raises(DataError, match="lacks the columns"):
        labels.review(pipeline)
    (pipeline.validated / "offenders.parquet").unlink()
    labels.review_path(pipeline).unlink()
    with pytest.raises(UsageError, match="has not been validated"):
        labels.review(pipeline)
