"""Jobs for tests: a description with much in it, and a small project that is kept as a user keeps one."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from projects import DIGITS_PARAMS, DIGITS_SUITE, ROOT, Project, make_project, suite
from sluiceway.launch.jobs import Job

PLAIN = Job.model_validate({"pipeline": "digits", "schedule": {"cron": "30 2 * * 1-5"}, "budget": {"hours": 2.0}})
FULL = Job.model_validate(
    {
        "pipeline": "digits",
        "ref": "v1.2",
        "where": "kubernetes",
        "schedule": {"cron": "0 3 1 * MON", "zone": "Europe/Berlin"},
        "resources": {"workers": 4, "gpus": 1, "cpus": 8, "memory": "32Gi"},
        "budget": {"hours": 6.0},
        "grace": 90,
        "image": "registry.example.org/sluiceway:0.1.0",
        "env": {"MLFLOW_TRACKING_URI": "https://tracking.example.org", "NCCL_DEBUG": "WARN"},
        "secrets": ["SLACK_WEBHOOK", "MLFLOW_TRACKING_PASSWORD"],
        "notify": {"webhook": "SLACK_WEBHOOK"},
        "kubernetes": {
            "queue": "nightly",
            "priority_class": "batch",
            "node_selector": {"gpu": "a100"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "pull_secrets": ["registry"],
            "pod_account": "trainer",
            "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
            "labels": {"team": "vision", "kueue.x-k8s.io/priority-class": "night"},
            "pod": {"runtimeClassName": "nvidia"},
        },
        "slurm": {"partition": "gpu", "account": "vision", "nodes": 2, "setup": ["module load cuda"]},
    }
)


@dataclass(frozen=True)
class Kept:
    """A project as a team keeps it: a git remote, a DVC remote, and data that is imported from elsewhere."""

    project: Project
    remote: Path
    """Bare git repository."""
    origin: Path
    """Where the data comes from."""

    @property
    def folder(self) -> Path:
        return self.project.root / ".sluiceway" / "jobs" / "nightly"

    def job(self, *options: str, check: int | None = 0, **env: str) -> str:
        """Run the job, and return what it said."""
        done = self.project.run("sluiceway", "job", "run", "nightly", *options, check=False, **self.env(**env))
        assert check is None or done.returncode == check, done.stdout
        assert "Traceback" not in done.stdout
        return done.stdout

    def env(self, **more: str) -> dict[str, str]:
        """Return what a project without code of its own needs to find ours."""
        return {"PYTHONPATH": str(ROOT / "src"), **more}

    def last_event(self, **env: str) -> str:
        """Run the job, and return what it came to."""
        self.job(check=None, **env)
        return str(self.last()["event"])

    def describe(self, **options: Any) -> None:
        """Write ``infra/jobs.yaml``; the job is read from here, and not from the ref."""
        path = self.project.root / "infra" / "jobs.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"jobs": {"nightly": {"pipeline": "digits", **options}}}), encoding="utf-8")

    def push(self, message: str) -> str:
        """Commit everything, push, and return the commit."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        self.git("push", "-q", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str, folder: Path | None = None) -> str:
        return self.project.run("git", "-C", str(folder or self.project.root), *arguments).stdout.strip()

    def last(self) -> dict[str, Any]:
        """Return the newest record of a run."""
        newest = max(self.folder.glob("runs/*/run.json"))
        return json.loads(newest.read_text(encoding="utf-8"))


def keep(folder: Path, digits_folder: Callable[[Path, int], Path], params: str = DIGITS_PARAMS) -> Kept:
    """Make such a project with the digits pipeline; nothing has run yet."""
    origin, root = folder / "origin", folder / "project"
    digits_folder(origin, 30)
    project = make_project(root, {"digits": ("image", params, suite(*DIGITS_SUITE))})
    return _shared(project, folder, origin)


def keep_quick(folder: Path) -> Kept:
    """Make one whose stages take no time: real DVC, git and verdicts, and a script in the place of learning."""
    origin, root = folder / "origin", folder / "project"
    origin.mkdir()
    (origin / "told.txt").write_text("good\n", encoding="utf-8")
    root.mkdir()
    for name, there in (("stage.py", "stage.py"), ("stages.yaml", "dvc.yaml")):  # of ours, DVC reads every dvc.yaml
        shutil.copy(ROOT / "tests" / "quick" / name, root / there)
    (root / ".gitignore").write_text("/.sluiceway/\n/data/*/*/\n/reports/\n", encoding="utf-8")
    (root / "params.yaml").write_text("pipelines: {digits: {code: stage.py}}\n", encoding="utf-8")
    (root / "pipelines" / "digits").mkdir(parents=True)
    (root / "pipelines" / "digits" / "params.yaml").write_text("train: {lr: 0.1}\n", encoding="utf-8")
    project = Project(root)
    for command in (("git", "init", "-q"), ("dvc", "init", "-q"), ("dvc", "config", "core.analytics", "false")):
        project.run(*command)
    return _shared(project, folder, origin)


def _shared(project: Project, folder: Path, origin: Path) -> Kept:
    """Give a project its remotes and its data; nothing has run yet."""
    kept = Kept(project, folder / "remote.git", origin)
    project.run("git", "init", "-q", "--bare", "-b", "main", str(kept.remote))
    for name, value in {"user.name": "t", "user.email": "t@t"}.items():
        kept.git("config", name, value)
    kept.git("remote", "add", "origin", str(kept.remote))
    project.run("dvc", "remote", "add", "-d", "store", "../store")  # relative, as people write it
    (project.root / "data" / "raw").mkdir(parents=True)
    project.run("dvc", "import-url", str(origin), "data/raw/digits")
    kept.describe()
    kept.push("a project")
    return kept


def running(kept: Kept, **env: str) -> "subprocess.Popen[str]":
    """Start the job of a quick project, and wait until it trains."""
    process = subprocess.Popen(
        ["sluiceway", "job", "run", "nightly"],
        cwd=kept.project.root,
        env=kept.project.environment(**kept.env(**env)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (kept.project.root.parent / "training").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process
