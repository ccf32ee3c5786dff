"""What whoever runs a stage may not read or write: it is named, nothing is lost, and the same command goes on."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobs import digest
from projects import Project, assert_friendly, runs_of
from sluiceway.data.places import emptied

_POWERS = "--bounding-set=-dac_override,-dac_read_search"
"""What lets root read and write whatever it likes; without it, root is an owner of files like any other."""
PLAIN: tuple[str, ...] = ("setpriv", _POWERS) if os.geteuid() == 0 else ()

needs_setpriv = pytest.mark.skipif(
    bool(PLAIN) and shutil.which("setpriv") is None, reason="root is let in everywhere; Debian's util-linux has setpriv"
)


@contextmanager
def forbidden(*folders: Path, mode: int = 0o555) -> Iterator[None]:
    """Take rights to folders away, and give them back."""
    before = {folder: folder.stat().st_mode for folder in folders}
    for folder in folders:
        folder.chmod(mode)
    try:
        yield
    finally:
        for folder, earlier in before.items():
            folder.chmod(earlier)


def plainly(project: Project, *command: str) -> "subprocess.CompletedProcess[str]":
    return project.run(*PLAIN, *command, check=False)


def test_an_emptied_folder_is_empty_and_there(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert emptied(folder).is_dir()
    (folder / "deep").mkdir()
    (folder / "deep" / "file").touch()
    assert list(emptied(folder).iterdir()) == []
    (folder / "file").touch()
    (tmp_path / "link").symlink_to(folder)
    assert list(emptied(tmp_path / "link").iterdir()) == []
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        emptied(tmp_path / "file")


@needs_setpriv
def test_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    (tmp_path / "kept" / "inner").mkdir(parents=True)
    script = (
        "import sys; from pathlib import Path; from sluiceway.data.places import emptied; emptied(Path(sys.argv[1]))"
    )
    with forbidden(tmp_path / "kept"):
        done = subprocess.run(
            [*PLAIN, "python", "-c", script, str(tmp_path / "kept" / "inner")],
            capture_output=True,
            text=True,
            check=False,
        )
    assert f"PermissionError: [Errno 13] Permission denied: '{tmp_path / 'kept' / 'inner'}'" in done.stderr


@needs_setpriv
@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "folder", "mode", "said"),
    [
        ("train", ".sluiceway/digits", 0o555, "permission denied: "),
        ("train", "mlflow/store", 0o555, "must be allowed to write"),
        ("train", "data/shards/digits", 0o000, "permission denied: "),
        ("preprocess", "data/validated/digits", 0o000, "permission denied"),
        ("evaluate", "reports/digits", 0o555, "permission denied: "),
    ],
)
def test_what_may_not_be_read_or_written_is_named(
    project: Project, stage: str, folder: str, mode: int, said: str
) -> None:
    place = project.root / folder
    with forbidden(place, mode=mode):
        done = plainly(project, "sluiceway", stage, "digits")
    assert_friendly(done, 1, said, place.name, "must be allowed to")
    assert "Error" not in done.stdout.replace("OperationalError", "")


@needs_setpriv
@pytest.mark.slow
def test_a_training_that_may_not_write_its_model_is_not_lost(project: Project) -> None:
    model, reports = project.root / "models" / "digits", project.root / "reports" / "digits"
    weights = digest(model / "weights.safetensors")
    with forbidden(project.root / "models"):
        done = plainly(project, "sluiceway", "train", "digits")
    assert_friendly(done, 1, f"permission denied: {model}", "must be allowed to")
    shutil.rmtree(model, ignore_errors=True)
    with forbidden(reports):
        done = plainly(project, "sluiceway", "train", "digits")
    assert_friendly(done, 1, f"permission denied: {reports}", "must be allowed to")
    done = plainly(project, "sluiceway", "train", "digits")
    assert done.returncode == 0, done.stdout
    assert "was trained to the end before; its model is written again" in done.stdout
    assert digest(model / "weights.safetensors") == weights
    run = runs_of(project, "digits")[0]
    assert run["status"] == "FINISHED"
    assert "sluiceway.error" not in run
