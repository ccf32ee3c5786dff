"""``sluiceway doctor`` as it is typed: one table, an exit code, no secret, and an end."""

import shutil
from pathlib import Path

import pytest

from projects import ROOT
from sluiceway.stages.doctor import examine
from slurm import free_ports
from teams import Kept, keep_quick


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return keep_quick(tmp_path)


def doctor(kept: Kept, *options: str, **env: str) -> tuple[int, str]:
    done = kept.project.run("sluiceway", "doctor", *options, check=False, **kept.env(**env))
    assert "Traceback" not in done.stdout
    return done.returncode, done.stdout


def test_a_project_that_is_well(kept: Kept) -> None:
    code, said = doctor(kept, "--seconds", "60")
    assert code == 0, said
    assert "doctor: no faults" in said
    for what in ("Python", "packages", "disk", "GPUs", "git remote", "DVC remote", "raw data", "tracking server"):
        assert f"\n{what} " in f"\n{said}"
    assert "Slurm" not in said
    assert "Kubernetes" not in said
    assert kept.git("status", "--porcelain", "--untracked-files=no") == ""


def test_what_is_wrong_is_told_with_its_way_out_and_without_secrets(kept: Kept, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    kept.describe(where="ray", ray={"address": f"http://127.0.0.1:{port}"}, secrets=["HOOK"])
    kept.git("remote", "set-url", "origin", f"http://ann:pass-word-1@127.0.0.1:{port}/project.git")
    shutil.rmtree(kept.project.root / "data" / "raw" / "digits")
    (kept.project.root / "data" / "raw" / "digits.dvc").unlink()
    code, said = doctor(
        kept, "--seconds", "60", MLFLOW_TRACKING_URI=f"http://ann:pass-word-2@127.0.0.1:{port}", HOOK="pass-word-3"
    )
    assert code == 1, said
    assert "doctor: 4 faults" in said
    for what in ("git remote", "raw data", "tracking server", "Ray jobs"):
        assert any(line.startswith(what) and "fault" in line for line in said.splitlines()), said
    assert "pass-word" not in said


def test_faults_of_jobs_are_told_among_the_others(kept: Kept) -> None:
    kept.describe(pipeline="digits", where="moon")
    (seen,) = (each for each in examine(kept.project.root, 60) if each.what == "jobs")
    assert seen.state == "fault"
    assert "moon" in seen.found


def test_what_jobs_ask_for_is_looked_at(kept: Kept, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sluiceway.stages.doctor.machine.gpus", lambda *_: [])  # they need PyTorch, each time anew
    for options, what in (
        ({"where": "slurm"}, "Slurm"),
        ({"where": "kubernetes", "image": "x:1"}, "Kubernetes"),
        ({"schedule": {"cron": "0 3 * * *"}}, "schedules"),
    ):
        kept.describe(**options)
        seen = {each.what: each.state for each in examine(kept.project.root, 60)}
        assert seen[what] == "fault"
        assert sum(name in seen for name in ("Slurm", "Kubernetes", "schedules")) == 1


def test_outside_a_project_it_says_so(kept: Kept, tmp_path: Path) -> None:
    done = kept.project.run("sh", "-c", f"cd {tmp_path} && sluiceway doctor", check=False, PYTHONPATH=str(ROOT / "src"))
    assert done.returncode == 2
    assert "has no params.yaml" in done.stdout
