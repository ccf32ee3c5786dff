"""``sluiceway split``: what is put elsewhere is written down, and the measuring pass obeys."""

from types import SimpleNamespace

import polars as pl
import pytest

from sluiceway.config import DataParams, Split
from sluiceway.data.measuring.measure_all import measure_all
from sluiceway.data.settled import read_settled
from sluiceway.data.splits import assign
from sluiceway.data.table import SPLITS, Example, read_table
from sluiceway.errors import DataError, UsageError
from sluiceway.stages.split import split
from sluiceway.usecases.pipeline import Pipeline

SENSES = SimpleNamespace(
    name="bytes",
    measures={},
    measure=lambda payload, data: {},
    tidy=None,
    amend=None,
    judge=None,
    features=None,
    fingerprint=None,
    parts=None,
)


def pipeline_of(root, *, target="class", **options):
    params = SimpleNamespace(data=DataParams(split=Split(**options)))
    return Pipeline(root=root, name="pets", code="", params=params, usecase=SimpleNamespace(target=target))


def validate(pipeline, classes):
    """Write the example table as the stage does: a content per entry, its class, and its group."""
    pipeline.raw.mkdir(parents=True, exist_ok=True)
    examples = []
    for name, (target, group) in classes.items():
        (pipeline.raw / name).write_text(name)
        examples.append(Example(id=name, source=name, target=target, group=group))
    measure_all(
        SENSES,
        pipeline.raw,
        iter(examples),
        pipeline.params.data,
        pipeline.validated,
        compared=100,
        settled=read_settled(pipeline.sides),
        engine=map,
    )
    return {row["id"]: row["split"] for row in read_table(pipeline.validated / "examples.parquet").to_pylist()}


def train_names(count, split=None):
    """Return contents that the hash puts into training."""
    from sluiceway.data.sources import checksum

    names = (f"n{number}" for number in range(10_000))
    chosen = (name for name in names if assign(checksum(name.encode()), split or Split()) == "train")
    return [next(chosen) for _ in range(count)]


def test_a_rare_class_comes_to_every_side_and_stays(tmp_path, capsys):
    pipeline = pipeline_of(tmp_path)
    classes = dict.fromkeys(train_names(4), ("owl", None)) | {f"c{at}": ("cat", None) for at in range(60)}
    before = validate(pipeline, classes)
    assert {before[name] for name, (target, _) in classes.items() if target == "owl"} == {"train"}
    split(pipeline)
    assert "2 of 64 put elsewhere" in capsys.readouterr().out
    after = validate(pipeline, classes)
    assert {after[name] for name, (target, _) in classes.items() if target == "owl"} == set(SPLITS)
    assert sum(before[name] != after[name] for name in classes) == 2
    split(pipeline)
    assert "nothing to put elsewhere" in capsys.readouterr().out
    more = classes | {f"o{at}": ("owl", None) for at in range(20)}
    assert {name: side for name, side in validate(pipeline, more).items() if name in after} == after


def test_examples_of_the_registered_version_stay(tmp_path, capsys):
    pipeline = pipeline_of(tmp_path)
    names = train_names(6)
    validate(pipeline, dict.fromkeys(names[:4], ("owl", None)))
    pipeline.reference.mkdir(parents=True)
    pl.read_parquet(pipeline.validated / "examples.parquet").write_parquet(pipeline.reference / "examples.parquet")
    split(pipeline)
    assert "class 'owl' has too few that may move to be in validation and test" in " ".join(
        capsys.readouterr().out.split()
    )
    classes = dict.fromkeys(names, ("owl", None))
    before = validate(pipeline, classes)
    split(pipeline)
    after = validate(pipeline, classes)
    assert {name for name in names if before[name] != after[name]} == set(names[4:])


def test_groups_move_as_a_whole(tmp_path):
    pipeline = pipeline_of(tmp_path, validation=0.0)
    groups = [f"g{at}" for at in range(200) if assign(f"g{at}", Split(validation=0.0)) == "train"][:3]
    classes = {f"{group}-{at}": ("owl", group) for group in groups for at in range(3)}
    validate(pipeline, classes)
    split(pipeline)
    after = validate(pipeline, classes)
    assert len(read_settled(pipeline.sides)) == 1
    assert sorted(after.values()) == ["test"] * 3 + ["train"] * 6


@pytest.mark.parametrize(("options", "sides"), [({"test_from": "2020"}, None), ({}, "test")])
def test_sides_that_are_not_made_by_hash_are_left_alone(options, sides, tmp_path):
    pipeline = pipeline_of(tmp_path, **options)
    pipeline.validated.mkdir(parents=True)
    row = {"group": "g", "checksum": "0", "target": "owl", "split": sides or "train"}
    pl.DataFrame([row], schema_overrides={"group": pl.String}).write_parquet(pipeline.validated / "examples.parquet")
    assert assign("g", Split()) == "train"
    with pytest.raises(UsageError, match="are not made by hash"):
        split(pipeline)


def test_without_classes_or_data_it_says_so(tmp_path):
    with pytest.raises(UsageError, match="pets learns a number"):
        split(pipeline_of(tmp_path, target="number"))
    with pytest.raises(DataError, match="was not validated yet"):
        split(pipeline_of(tmp_path))
