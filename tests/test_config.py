"""Parameter files: every fault at once, each with its key, its value and a way out."""

from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from ruamel.yaml import YAML

from sluiceway.config import (
    DataParams,
    ModelParams,
    PipelineParams,
    ProjectParams,
    Section,
    Split,
    Train,
    options_of,
    params_type,
    parse,
    read_yaml,
)
from sluiceway.errors import ConfigError
from sluiceway.usecases import image, text_generation

WHERE = Path("pipelines/p/params.yaml")
IMAGES = image.FAMILY.targets["class"].params
TEXTS = text_generation.USECASE.params
ROOT = Path(__file__).parents[1]


class Shallow(ModelParams):
    name: Literal["shallow"] = "shallow"
    """Which architecture."""
    width: int = Field(8, ge=1)
    """Units."""


class Deep(ModelParams):
    name: Literal["deep"] = "deep"
    """Which architecture."""
    width: int = Field(8, ge=1)
    """Units."""
    layers: int = Field(2, ge=1)
    """Layers."""


class Nested(Section):
    rate: float = Field(0.5, ge=0, le=1)
    """A share."""


class Objective(Section):
    kind: Literal["mean", "median"] = "mean"
    """What is learned."""
    inner: Nested = Field(default_factory=Nested)
    """A part of a part."""


UNION = params_type(DataParams, Section, (Shallow, Deep), Objective)


def faults(kind: type[Any], **document: Any) -> list[str]:
    """Return the faults of a document, one a line, without the indent."""
    with pytest.raises(ConfigError) as caught:
        parse(kind, {"usecase": "u", **document}, WHERE)
    head, *lines = caught.value.message.splitlines()
    assert head == f"{WHERE} has {len(lines)} fault{'s' if len(lines) > 1 else ''}:"
    assert "docs/params.md" in caught.value.hint
    return [line.removeprefix("  ") for line in lines]


# Faults


def test_all_faults_are_found_in_one_reading():
    found = faults(
        IMAGES,
        usecase=3,
        encode={"size": 2, "chanels": 1, "channels": 2},
        train={"epoch": 3, "lr": "fast", "precision": "bf16", "seed": 1.5},
        objectiv={},
        gates={"data": {"max_quarantined": 1.5}},
    )
    assert sorted(found) == sorted(
        [
            "usecase: 3 should be a valid string",
            "encode.size: 2 should be greater than or equal to 4",
            "encode.chanels: no such option; did you mean 'channels'?",
            "encode.channels: 2 is not one of 1, 3",
            "train.epoch: no such option; did you mean 'epochs'?",
            "train.lr: 'fast' should be a valid number",
            "train.precision: 'bf16' is not one of auto, float32, bfloat16, float16; did you mean 'bfloat16'?",
            "train.seed: 1.5 should be a valid integer",
            "objectiv: no such option; did you mean 'objective'?",
            "gates.data.max_quarantined: 1.5 should be less than or equal to 1",
        ]
    )


def test_a_missing_key_is_named():
    with pytest.raises(ConfigError, match=r"1 fault:\n  usecase: is missing$"):
        parse(IMAGES, {}, WHERE)


def test_a_far_name_lists_the_known_ones():
    (found,) = faults(TEXTS, evaluate={"zzz": 1})
    assert found == "evaluate.zzz: no such option; known: batch, layers, resamples, seed"


def test_the_alias_is_the_name_that_people_see():
    assert faults(IMAGES, registr={}) == ["registr: no such option; did you mean 'register'?"]
    assert parse(IMAGES, {"usecase": "u", "register": {"name": "n"}}, WHERE).register_.name == "n"


@pytest.mark.parametrize("value", ["0.1", True, None, [0.1], {"a": 1}])
def test_values_are_not_bent_into_another_type(value):
    (found,) = faults(IMAGES, train={"lr": value})
    assert found == f"train.lr: {value!r} should be a valid number"


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("key", ["lr", "epochs", "weight_decay", "validate_every", "clip_norm"])
def test_numbers_are_finite(key, value):
    assert len(faults(IMAGES, train={key: value})) == 1


def test_an_integer_is_a_number():
    assert parse(IMAGES, {"usecase": "u", "train": {"epochs": 3}}, WHERE).train.epochs == 3.0


def test_batch_that_cannot_be_shared_out_proposes_one_that_can():
    (found,) = faults(IMAGES, train={"global_batch": 100, "workers": 3, "accumulate": 2})
    assert found == "train: global_batch 100 does not divide by workers x accumulate = 6: use 102"


@given(batch=st.integers(1, 5000), workers=st.integers(1, 64), accumulate=st.integers(1, 16))
def test_the_proposed_batch_is_accepted(batch, workers, accumulate):
    rest: dict[str, Any] = {"workers": workers, "accumulate": accumulate}
    if batch % (workers * accumulate):
        (found,) = faults(IMAGES, train={"global_batch": batch, **rest})
        batch = int(found.rpartition("use ")[2])
    assert Train(global_batch=batch, **rest).global_batch % (workers * accumulate) == 0


def test_shares_must_leave_something_to_train_on():
    (found,) = faults(IMAGES, data={"split": {"validation": 0.5, "test": 0.5}})
    assert found == "data.split: validation + test is 1: nothing is left to train on"


@pytest.mark.parametrize("seed", [-1, 1 << 64])
@pytest.mark.parametrize("section", [{"data": "split"}, "train", "evaluate"])
def test_a_seed_that_no_generator_takes_is_a_fault(section, seed):
    document = {"data": {"split": {"seed": seed}}} if isinstance(section, dict) else {section: {"seed": seed}}
    (found,) = faults(IMAGES, **document)
    assert f"seed: {seed} should be" in found


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ({"widths": [48, 96], "depths": [2]}, "widths"),
        ({"widths": [48, 97]}, "97"),
        ({"stem": 25}, "25"),
        ({"widths": [0, 8]}, "widths"),
        ({"depths": [2, 0]}, "depths"),
    ],
)
def test_a_residual_network_that_cannot_be_built_is_a_fault(model, named):
    (found,) = faults(IMAGES, model=model)
    assert found.startswith("model")
    assert named in found


@pytest.mark.parametrize("model", [{"channels": 192, "heads": 5}, {"channels": 36, "heads": 4}])
def test_a_gpt_that_cannot_be_built_is_a_fault(model):
    (found,) = faults(TEXTS, model=model)
    assert found.startswith("model: channels")


# A choice of architectures


def test_the_name_chooses_the_architecture():
    assert parse(UNION, {"usecase": "u", "model": {"name": "deep", "layers": 5}}, WHERE).model == Deep(layers=5)
    assert parse(UNION, {"usecase": "u", "model": {"name": "shallow"}}, WHERE).model == Shallow()


def test_the_first_architecture_is_the_default():
    assert parse(UNION, {"usecase": "u"}, WHERE).model == Shallow()


def test_faults_within_a_union_are_named_without_its_tag():
    found = faults(UNION, model={"name": "deep", "layer": 5, "width": 0})
    assert sorted(found) == [
        "model.layer: no such option; did you mean 'layers'?",
        "model.width: 0 should be greater than or equal to 1",
    ]


def test_an_option_of_another_architecture_is_unknown_here():
    assert faults(UNION, model={"name": "shallow", "layers": 5}) == ["model.layers: no such option; known: name, width"]


def test_an_unknown_architecture_proposes_the_nearest():
    assert faults(UNION, model={"name": "deeper"}) == [
        "model: 'deeper' is not one of shallow, deep; did you mean 'deep'?"
    ]


def test_a_nameless_architecture_is_the_default():
    assert parse(UNION, {"usecase": "u", "model": {}}, WHERE).model == Shallow()
    assert faults(UNION, model={"layers": 3}) == ["model.layers: no such option; known: name, width"]


def test_a_single_architecture_needs_no_name_and_takes_no_other():
    from sluiceway.config import DataParams, Section, params_type
    from sluiceway.usecases.text_generation.params import GPTParams

    one = params_type(DataParams, Section, (GPTParams,), Section)
    assert parse(one, {"usecase": "u", "model": {"layers": 1}}, WHERE).model.name == "gpt"
    (found,) = faults(one, model={"name": "gtp"})
    assert found == "model.name: 'gtp' is not one of gpt; did you mean 'gpt'?"


def test_deeply_nested_faults_carry_their_whole_key():
    assert faults(UNION, objective={"inner": {"rte": 0.1}, "kind": "mode"}) == [
        "objective.kind: 'mode' is not one of mean, median",
        "objective.inner.rte: no such option; did you mean 'rate'?",
    ]


def test_options_are_listed_by_section():
    assert options_of(UNION, ["objective"]) == ["inner", "kind"]
    assert options_of(UNION, ["model"]) == ["layers", "name", "width"]
    assert options_of(UNION, ["model", "shallow"]) == ["name", "width"]
    assert "register" in options_of(UNION, [])
    assert options_of(UNION, ["nothing"]) == []


def test_every_option_is_documented():
    def walk(kind: type[Any], path: str = "") -> list[str]:
        missing = [f"{path}{name}" for name, field in kind.model_fields.items() if not field.description]
        for name, field in kind.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
                missing += walk(field.annotation, f"{path}{name}.")
        return missing

    assert walk(IMAGES) == []
    assert walk(TEXTS) == []
    assert walk(PipelineParams) == []


@pytest.mark.parametrize("kind", [IMAGES, TEXTS, UNION])
def test_parameters_survive_their_own_file(kind, tmp_path):
    params = parse(kind, {"usecase": "u", "train": {"lr": 1e-3}}, WHERE)
    with (tmp_path / "params.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(params.model_dump(mode="json", by_alias=True), file)
    assert parse(kind, read_yaml(tmp_path / "params.yaml"), WHERE) == params


def test_parameters_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        Split().seed = 3


@pytest.mark.parametrize(("name", "kind"), [("digits", IMAGES), ("verses", TEXTS)])
def test_the_shipped_parameters_are_right(name, kind):
    path = ROOT / "pipelines" / name / "params.yaml"
    assert isinstance(parse(kind, read_yaml(path), path), PipelineParams)
    project = parse(ProjectParams, read_yaml(ROOT / "params.yaml"), ROOT / "params.yaml")
    assert (ROOT / project.pipelines[name].code).exists()


# Reading


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E+2", 100.0),
        ("2e5", 2e5),
        (".5", 0.5),
        ("yes", "yes"),
        ("off", "off"),
        ("true", True),
        ("012", 12),
        ("0o12", 10),
        ("null", None),
        ("~", None),
        ("1_000", 1000),
        ("12:30", "12:30"),
    ],
)
def test_scalars_are_read_as_yaml_1_2(text, value, tmp_path):
    found = read_yaml(written(tmp_path, f"value: {text}\n"))["value"]
    assert found == value
    assert type(found) is type(value)


def test_exponents_become_learning_rates(tmp_path):
    document = read_yaml(written(tmp_path, "usecase: u\ntrain: {lr: 4e-3}\n"))
    assert parse(TEXTS, document, WHERE).train.lr == 0.004


def test_an_empty_file_is_an_empty_mapping(tmp_path):
    assert read_yaml(written(tmp_path, "# nothing yet\n")) == {}


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b\n", "list"), ("word\n", "str"), ("3\n", "int")])
def test_a_file_without_keys_is_refused(text, kind, tmp_path):
    with pytest.raises(ConfigError, match=f"holds a {kind}, not keys with values"):
        read_yaml(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: 1\nb: 2\na: 3\n", 'duplicate key "a"'),
        ("train:\n  lr: 1\n  lr: 2\n", 'duplicate key "lr"'),
        ("a: [1, 2\n", "line 2"),
        ("a: 1\n  b: 2\n", "line 2"),
        ("\tb: 1\n", "line 1"),
        ("a: *nowhere\n", "nowhere"),
    ],
)
def test_broken_yaml_is_one_line_that_says_where(text, word, tmp_path):
    with pytest.raises(ConfigError) as caught:
        read_yaml(written(tmp_path, text))
    assert word in caught.value.message
    assert "\n" not in caught.value.message
    assert str(tmp_path / "params.yaml") in caught.value.message


@pytest.mark.parametrize("value", ["2026-13-45", "2026-02-30T10:00:00", "!!int seven"])
def test_a_value_that_cannot_be_is_told(value, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(f"seed: {value}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="has a value that cannot be") as caught:
        read_yaml(path)
    assert "quotes" in caught.value.hint


def test_a_date_without_quotes_is_told_how_to_be_a_text(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("test_from: 2026-01-31\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="test_from: YAML takes 2026-01-31 for a date; put it into quotes"):
        parse(Split, read_yaml(path), path)


def test_a_key_that_is_no_name_is_told(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("pipelines: {}\n7: {}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="7: a name is wanted here"):
        parse(ProjectParams, read_yaml(path), path)


def test_a_folder_in_the_place_of_a_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        read_yaml(tmp_path / "params.yaml")


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        read_yaml(path)


def test_no_python_objects_are_made_from_yaml(tmp_path):
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_yaml(written(tmp_path, "a: !!python/object/apply:os.getcwd []\n"))


@pytest.mark.parametrize(
    ("workers", "worlds"), [(1, (1,)), (2, (2,)), ([1, 4], (1, 2, 4)), ([2, 8], (2, 4, 8)), ([3, 6], (3, 4, 6))]
)
def test_a_pair_of_workers_allows_what_divides_the_batch(workers, worlds):
    train = Train(global_batch=24 if 3 in worlds else 128, workers=workers)
    assert train.worlds == worlds
    assert (train.fewest, train.most) == (worlds[0], worlds[-1])


@pytest.mark.parametrize("workers", [0, -1, True, 1.5, "2", [1], [2, 2], [4, 1], [0, 2], [1, 2, 4]])
def test_workers_are_a_number_or_a_pair(workers):
    (found,) = faults(IMAGES, train={"workers": workers})
    assert found.startswith(f"train.workers: {workers!r} should be a number of workers")


def test_both_ends_of_a_pair_must_divide_the_batch():
    (found,) = faults(IMAGES, train={"global_batch": 100, "workers": [2, 3]})
    assert found == "train: global_batch 100 does not divide by workers x accumulate = 6: use 102"
