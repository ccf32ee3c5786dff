"""Small real projects for tests of whole stages, on scikit-learn's digits and a licence's text."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

DIGITS_PARAMS = """\
usecase: image
target: class
data:
  split: {validation: 0.15, test: 0.25, seed: 0}
encode: {size: 8, channels: 1}
model: {name: residual, stem: 8, widths: [8, 16], depths: [1, 1]}
objective: {label_smoothing: 0.0}
gates:
  data: {min_examples: 100}
  cost: {max_hours: 0.2, probe_steps: 5}
  model: {beat_baselines: false, minimum: {accuracy: 0.05}}
train:
  epochs: 3
  global_batch: 20
  lr: 0.01
  checkpoint_every: 10
  log_every: 5
evaluate: {resamples: 200}
register: {}
"""

_OURS = ("MLFLOW_", "SLUICEWAY_", "RAY_", "PYTHONDONTWRITEBYTECODE")

ALL_STAGES = """
import sys
from pathlib import Path
from importlib import import_module
from sluiceway.usecases.pipeline import Pipeline
for name in sys.argv[1:]:
    for stage in ("validate", "gate", "preprocess", "train", "evaluate", "register"):
        getattr(import_module(f"sluiceway.stages.{stage}"), stage)(Pipeline.load(name, Path.cwd()))
"""
"""Runs the stages of some pipelines in one process, without DVC: a quarter of the time."""

VERSES_PARAMS = """\
usecase: text_generation
target: none
data:
  split: {validation: 0.2, test: 0.2, seed: 0}
encode: {vocabulary: 300, context: 32}
model: {name: gpt, channels: 32, layers: 1, heads: 2}
objective: {}
gates:
  data: {min_examples: 10}
  cost: {}
  model: {beat_baselines: false, maximum: {bits_per_byte: 8.0}}
train: {epochs: 2, global_batch: 8, lr: 0.005}
evaluate: {resamples: 200}
register: {}
"""


def suite(*expectations: tuple[str, dict[str, object]]) -> str:
    """Write a suite in Great Expectations' form."""
    entries = [{"type": kind, "kwargs": kwargs, "severity": "critical"} for kind, kwargs in expectations]
    return json.dumps({"name": "test", "expectations": entries}, indent=1)


DIGITS_SUITE = (
    ("expect_column_values_to_be_unique", {"column": "id"}),
    ("expect_column_values_to_be_between", {"column": "width", "min_value": 8, "max_value": 8}),
    ("expect_column_values_to_be_in_set", {"column": "target", "value_set": list("0123456789")}),
)
VERSES_SUITE = (("expect_column_values_to_be_between", {"column": "words", "min_value": 1}),)


@dataclass(frozen=True)
class Project:
    """A project folder, and a way to run commands in it."""

    root: Path

    def run(self, *command: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a user would, and return what it printed; stderr stands behind stdout."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(**env),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
        return done

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a user: this interpreter's tools, and the project's own code."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        path = f"{BIN}{os.pathsep}{kept.get('PATH', '')}"
        return {**kept, "PATH": path, "PYTHONPATH": str(self.root / "src"), "NO_COLOR": "1", **more}

    def repro(self, *targets: str) -> str:
        """Run ``dvc repro`` and return what it printed."""
        return self.run("dvc", "repro", *targets).stdout

    def ran(self, output: str) -> list[str]:
        """Return the stages that a ``dvc repro`` really ran."""
        return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]

    def set(self, pipeline: str, option: str, value: object) -> None:
        """Change an option in a pipeline's parameters."""
        path = self.root / "pipelines" / pipeline / "params.yaml"
        yaml = YAML()
        document = yaml.load(path)
        *sections, name = option.split(".")
        place = document
        for section in sections:
            place = place[section]
        place[name] = value
        yaml.dump(document, path)

    def json(self, path: str) -> dict[str, object]:
        """Read a JSON file of the project."""
        return json.loads((self.root / path).read_text(encoding="utf-8"))

    def commit(self) -> None:
        """Commit everything, as a user does after a run."""
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "run")


def make_project(root: Path, pipelines: dict[str, tuple[str, str, str]], *, samples: tuple[str, ...] = ()) -> Project:
    """Make a project with DVC and git, and this repository's code.

    Args:
        root: an empty folder.
        pipelines: by name: (use case, parameters, suite).
        samples: pipelines whose data is fetched.
    """
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in (
        "dvc.yaml",
        ".dvcignore",
        ".gitignore",
        "data/overrides.jsonl",
        "data/corrections/README.md",
        "data/sides/README.md",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    entries = "".join(f"  {name}: {{code: src/sluiceway/usecases/{each[0]}}}\n" for name, each in pipelines.items())
    (root / "params.yaml").write_text(f"pipelines:\n{entries}samples: [{', '.join(samples)}]\n", encoding="utf-8")
    for name, (_, params, expectations) in pipelines.items():
        folder = root / "pipelines" / name
        folder.mkdir(parents=True)
        (folder / "params.yaml").write_text(params, encoding="utf-8")
        (folder / "expectations.json").write_text(expectations, encoding="utf-8")
    project = Project(root)
    project.run("git", "init", "-q")
    project.run("dvc", "init", "-q")
    project.run("dvc", "config", "core.analytics", "false")
    return project


def write_verses(folder: Path) -> None:
    """Write real text in blocks: the licence of this project, a block per paragraph."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "LICENSE", folder / "licence.txt")


def runs_of(project: Project, pipeline: str) -> list[dict[str, str]]:
    """Return status and tags of a pipeline's runs in MLflow, newest first."""
    code = (
        "import json, sys; from pathlib import Path; from sluiceway.tracking.store import client, experiment\n"
        "root = Path.cwd(); runs = client(root).search_runs([experiment(root, sys.argv[1])])\n"
        "print(json.dumps([{'status': run.info.status, 'id': run.info.run_id, **run.data.tags} for run in runs]))"
    )
    return json.loads(project.run("python", "-c", code, pipeline).stdout.splitlines()[-1])


def assert_friendly(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stdout
    assert "Traceback" not in done.stdout
    assert any(line.startswith("error: ") for line in done.stdout.splitlines())
    assert "\n  try: " in done.stdout
    for word in words:
        assert word in done.stdout
