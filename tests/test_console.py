"""What stages say at the terminal, and what ``sluice sample`` leaves when a fetch fails."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.text import Text

from sluiceway.data import samples
from sluiceway.errors import FetchError
from sluiceway.stages.console import warn
from sluiceway.stages.sample import sample
from sluiceway.stages.show import _nothing_learned
from sluiceway.usecases.pipeline import Pipeline


def test_brackets_in_a_warning_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    warn("[enforce fail at alloc.cpp:9] no memory [/usr/lib/x]")
    assert capsys.readouterr().err == "warning: [enforce fail at alloc.cpp:9] no memory [/usr/lib/x]\n"


def test_show_says_that_nothing_was_learned_and_what_to_do() -> None:
    document = {"nothing_learned": {"signs": ["One answer [to all].", "Flat."], "causes": ["Try `train.lr`."]}}
    head, cause, _ = _nothing_learned(document)
    said = Text.from_markup(head).plain
    assert said.strip() == "This network seems to have learned nothing. One answer [to all]. Flat."
    assert Text.from_markup(cause).plain == "  - Try `train.lr`."
    assert _nothing_learned({}) == []


class Sample:
    """Lays a file out, and fails afterwards where told to."""

    summary = "one file"

    def __init__(self, fails: bool) -> None:
        self._fails = fails

    def lay_out(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "new.csv").write_text("new")
        if self._fails:
            raise FetchError("the registry did not answer")


def test_a_sample_that_cannot_be_fetched_leaves_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Any = SimpleNamespace()
    pipeline = Pipeline(root=tmp_path, name="tiny", code="", params=nothing, usecase=nothing)
    pipeline.raw.mkdir(parents=True)
    (pipeline.raw / "own.csv").write_text("own")
    monkeypatch.setattr(samples, "SAMPLES", {"tiny": Sample(fails=True)})
    with pytest.raises(FetchError):
        sample(pipeline)
    assert [path.name for path in pipeline.raw.parent.rglob("*")] == ["tiny", "own.csv"]
    monkeypatch.setattr(samples, "SAMPLES", {"tiny": Sample(fails=False)})
    sample(pipeline)
    assert [path.name for path in pipeline.raw.parent.rglob("*")] == ["tiny", "new.csv"]
