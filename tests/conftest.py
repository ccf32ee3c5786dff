"""Fixtures that more than one test module uses."""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from projects import (
    DIGITS_PARAMS,
    DIGITS_SUITE,
    VERSES_PARAMS,
    VERSES_SUITE,
    Project,
    make_project,
    suite,
    write_verses,
)

os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # as our own start of Ray says, before a test module imports it

# A shared machine may be slow at any moment: a test fails for what it finds, not for how long it took.
settings.register_profile("sluiceway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sluiceway")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let several processes begin with the files that have most slow tests, and fill up with the quick ones."""
    if hasattr(config, "workerinput"):
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def digits_folder() -> Callable[[Path, int], Path]:
    """A function ``(path, per_class)`` that writes scikit-learn's 8x8 digits as ``<class>/<number>.png``."""

    def write(path: Path, per_class: int) -> Path:
        from PIL import Image
        from sklearn.datasets import load_digits

        digits = load_digits()
        for digit in range(10):
            folder = path / str(digit)
            folder.mkdir(parents=True, exist_ok=True)
            for row in np.flatnonzero(digits.target == digit)[:per_class]:
                pixels = np.minimum(digits.images[row] * 16, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{row:04d}.png")
        return path

    return write


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, digits_folder: Callable[[Path, int], Path]) -> Project:
    """A project with two unlike pipelines that ran through once. Tests that change it must work on a copy."""
    several = "PYTEST_XDIST_WORKER" in os.environ  # then it is made by the first process that wants it
    root = (tmp_path_factory.getbasetemp().parent if several else tmp_path_factory.mktemp("once")) / "finished"
    with FileLock(f"{root}.lock"):
        project = Project(root)
        if not (root / "first-run.log").exists():
            _finish(project, digits_folder)
    return project


def _finish(project: Project, digits_folder: Callable[[Path, int], Path]) -> None:
    make_project(
        project.root,
        {
            "digits": ("image", DIGITS_PARAMS, suite(*DIGITS_SUITE)),
            "verses": ("text_generation", VERSES_PARAMS, suite(*VERSES_SUITE)),
        },
    )
    digits_folder(project.root / "data" / "raw" / "digits", 40)
    write_verses(project.root / "data" / "raw" / "verses")
    output = project.repro()
    (project.root / "first-run.log").write_text(output, encoding="utf-8")
    project.commit()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one mebibyte; only root can mount one."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, to be changed at will."""
    root = tmp_path / "project"
    shutil.copytree(finished.root, root, symlinks=True)
    return Project(root)
