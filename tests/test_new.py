"""``sluiceway new``: what it writes can be read and run, and nothing that was there changes."""

import json
from pathlib import Path

import pytest

from sluiceway.errors import ConfigError, UsageError
from sluiceway.stages.new import new
from sluiceway.usecases import BUILT_IN, targets_of
from sluiceway.usecases.pipeline import Pipeline

PARAMS = """\
# The pipelines of this project.
pipelines:
  digits: {code: src/sluiceway/usecases/image}  # as an example

# Fetched.
samples: [digits]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("usecase", sorted(BUILT_IN))
def test_every_use_case_and_target_can_be_begun(root: Path, usecase: str, capsys: pytest.CaptureFixture[str]) -> None:
    for target in targets_of(usecase, root):
        new(root, f"my-{target}", usecase, target)
        pipeline = Pipeline.load(f"my-{target}", root)
        assert pipeline.usecase.target == target
        assert pipeline.params.model.name == pipeline.usecase.models[0].model_fields["name"].default
        assert pipeline.code == f"src/sluiceway/usecases/{usecase}"
        assert json.loads(pipeline.expectations.read_text(encoding="utf-8"))["expectations"] == []
        assert f"dvc repro register@my-{target}" in capsys.readouterr().out


def test_only_a_line_is_added_to_the_list(root: Path) -> None:
    new(root, "flowers", "image", None)
    text = (root / "params.yaml").read_text(encoding="utf-8")
    line = "  flowers: {code: src/sluiceway/usecases/image}\n"
    assert text.replace(line, "") == PARAMS
    assert text.index("digits:") < text.index(line) < text.index("# Fetched.")


@pytest.mark.parametrize(
    "text",
    [
        "pipelines: {}\n",
        "samples: []\npipelines: {}  # none yet\n",
        "pipelines:\n    digits:\n        code: a\n",
        "pipelines:\n  digits: {code: a}",
        "pipelines:  # mine\n  digits: {code: a}\nsamples: []\n",
    ],
)
def test_other_layouts_of_the_list(root: Path, text: str) -> None:
    (root / "params.yaml").write_text(text, encoding="utf-8")
    new(root, "flowers", "image", None)
    assert Pipeline.load("flowers", root).params.usecase == "image"


def test_a_list_on_one_line_is_left_to_the_person(root: Path) -> None:
    text = "pipelines: {digits: {code: a}}\n"
    (root / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="no line can be added") as caught:
        new(root, "flowers", "image", None)
    assert "flowers: {code: src/sluiceway/usecases/image}" in caught.value.hint
    assert (root / "params.yaml").read_text(encoding="utf-8") == text
    assert not (root / "pipelines").exists()


def test_what_is_there_is_left_alone(root: Path) -> None:
    folder = root / "pipelines" / "kept"
    folder.mkdir(parents=True)
    for name in ("digits", "kept"):
        with pytest.raises(UsageError, match=f"there is a pipeline '{name}' already"):
            new(root, name, "image", None)
    assert not list(folder.iterdir())
    assert (root / "params.yaml").read_text(encoding="utf-8") == PARAMS


@pytest.mark.parametrize("name", ["a/b", "..", "", "a b", "-a", "a.b"])
def test_names_that_cannot_be_folders_are_refused(root: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a pipeline's name"):
        new(root, name, "image", None)


def test_an_unknown_use_case_or_target_changes_nothing(root: Path) -> None:
    for usecase, target in (("imag", None), ("image", "text"), ("nowhere:USECASE", None)):
        with pytest.raises(ConfigError):
            new(root, "flowers", usecase, target)
    assert not (root / "pipelines").exists()
    assert (root / "params.yaml").read_text(encoding="utf-8") == PARAMS


def test_a_use_case_of_ones_own(root: Path) -> None:
    (root / "mine_of_test_new.py").write_text("from sluiceway.usecases.image import FAMILY as TASK\n", encoding="utf-8")
    new(root, "flowers", "mine_of_test_new:TASK", "number")
    pipeline = Pipeline.load("flowers", root)
    assert (pipeline.code, pipeline.usecase.target) == ("mine_of_test_new.py", "number")
