"""The job itself, on a real git remote, a real DVC remote and imported data: from something new to a pushed result."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from teams import Kept, keep

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, digits_folder: Callable[[Path, int], Path]) -> Kept:
    """A project whose job ran once. Tests of this module go on from one another's state, as days do."""
    kept = keep(tmp_path_factory.mktemp("made"), digits_folder)
    (kept.project.root.parent / "first.log").write_text(kept.job(), encoding="utf-8")
    return kept


def test_the_first_run_promotes_and_pushes(made: Kept) -> None:
    said = (made.project.root.parent / "first.log").read_text(encoding="utf-8")
    assert "new data: data/raw/digits" in said
    assert "nightly: digits version 1 is the new champion of digits" in said
    assert "data  gate  open" in said
    record = made.last()
    assert (record["event"], record["exit_code"]) == ("promoted", 0)
    # The lock is on the job's branch, on top of the ref, and nothing else is.
    head = made.git("rev-parse", "HEAD")
    assert made.git("rev-parse", "sluiceway/nightly^", folder=made.remote) == head
    assert made.git("diff", "--name-only", head, "sluiceway/nightly", folder=made.remote) == "dvc.lock"
    assert f"Code: {head} (main)" in made.git("log", "-1", "--format=%B", "sluiceway/nightly", folder=made.remote)
    # The person's own tree is as it was.
    assert made.git("status", "--porcelain") == ""
    assert not (made.project.root / "dvc.lock").exists()


def test_its_result_is_whole_on_another_machine(made: Kept, tmp_path: Path) -> None:
    other = tmp_path / "clone"
    made.git("clone", "-q", "-b", "sluiceway/nightly", str(made.remote), str(other), folder=tmp_path)
    made.project.run(
        "dvc",
        "--cd",
        str(other),
        "remote",
        "modify",
        "--local",
        "store",
        "url",
        str(made.project.root.parent / "store"),
    )
    made.project.run("dvc", "--cd", str(other), "pull", "register@digits", "--with-deps")
    assert json.loads((other / "reports/digits/registration.json").read_text(encoding="utf-8"))["version"] == 1


def test_nothing_new_is_nothing_to_do(made: Kept) -> None:
    tip = made.git("rev-parse", "sluiceway/nightly", folder=made.remote)
    said = made.job()
    assert "nothing changed since the last result" in said
    assert "Running stage" not in said
    assert made.last()["event"] == "unchanged"
    assert made.git("rev-parse", "sluiceway/nightly", folder=made.remote) == tip
