"""Runs that outlive their terminal, are followed and ended from others; schedules, shown, written and taken away."""

import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from projects import Project
from sluiceway.errors import LaunchError
from sluiceway.launch.install import INSTALLERS
from sluiceway.launch.records import JobPlaces
from teams import keep_quick

pytestmark = pytest.mark.slow


def job(project: Project, *words: str, check: int | None = 0, **env: str) -> str:
    done = project.run("sluiceway", "job", *words, check=False, **env)
    assert check is None or done.returncode == check, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def test_a_run_outlives_its_terminal_and_is_followed_and_ended_from_another(tmp_path: Path) -> None:
    kept = keep_quick(tmp_path)
    (kept.origin / "told.txt").write_text("slow\n", encoding="utf-8")
    assert "has not run yet" in job(kept.project, "attach", "nightly", check=2, **kept.env())
    terminal = subprocess.Popen(
        ["sluiceway", "job", "submit", "nightly"],
        cwd=kept.project.root,
        env=kept.project.environment(**kept.env()),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGHUP, signal.SIG_DFL),  # also where the tests run under nohup
    )
    wait_for(tmp_path / "training")
    os.killpg(terminal.pid, signal.SIGHUP)  # the window is closed
    said, _ = terminal.communicate(timeout=300)
    assert "submit nightly: run" in said
    assert "new data: data/raw/digits" in said  # it was followed until then
    (record,) = JobPlaces(kept.folder).records()
    assert record.state == "running"
    assert "running" in job(kept.project, "list", **kept.env(COLUMNS="200"))
    assert "is busy with job 'nightly'" in job(kept.project, "submit", "nightly", "--detach", check=1, **kept.env())

    follower = subprocess.Popen(
        ["sluiceway", "job", "attach", "nightly"],
        cwd=kept.project.root,
        env=kept.project.environment(**kept.env()),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert "preempted" in job(kept.project, "cancel", "nightly", **kept.env())
    said, _ = follower.communicate(timeout=300)
    assert follower.returncode == 130  # what 75 says, schedulers begin again
    assert said.startswith("job nightly: digits at main")
    assert "nightly: told to stop; what was done is saved" in said
    assert (tmp_path / "saved").read_text(encoding="utf-8") == "1"
    # What was saved is gone on with.
    assert "nightly: digits version 1 is the new champion" in job(kept.project, "submit", "nightly", **kept.env())
    assert "promoted" in job(kept.project, "list", **kept.env(COLUMNS="200"))


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_cannot_begin_says_why(tmp_path: Path) -> None:
    project = described(tmp_path, "{pipeline: digits, secrets: [TOKEN]}")
    assert "TOKEN is not in the environment" in job(project, "submit", "nightly", check=1)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("slurm", "sbatch slurm/nightly.sbatch"),
        ("kubernetes, image: 'a:1'", "kubectl create -f k8s/nightly-rayjob.yaml"),
    ],
)
def test_what_a_scheduler_takes_is_handed_over_by_its_own_command(where: str, said: str, tmp_path: Path) -> None:
    project = described(tmp_path, f"{{pipeline: digits, where: {where}}}")
    assert said in job(project, "submit", "nightly", check=2)


# Schedules. The programs stand in for the real ones: a test must not write to anybody's crontab.

CRONTAB = """\
[ ! -e "$FAKE/away" ] || { echo "Unable to contact slurm controller" >&2; exit 1; }
[ "$1" = -l ] && { cat "$FAKE/table" 2>/dev/null || { echo "no crontab for me" >&2; exit 1; }; exit; }
[ "$1" = - ] && cat > "$FAKE/table"
"""
SCRONTAB = CRONTAB.replace("table", "scrontable")
SYSTEMCTL = 'echo "$*" >> "$FAKE/systemctl.log"; [ ! -e "$FAKE/no-bus" ] || { echo "no medium found" >&2; exit 1; }'


def described(folder: Path, text: str) -> Project:
    """Make the least that jobs can be described in."""
    root = folder / "pro ject"
    (root / "infra").mkdir(parents=True)
    (root / "params.yaml").write_text("pipelines: {digits: {code: src}}\n", encoding="utf-8")
    (root / "infra" / "jobs.yaml").write_text(f"jobs:\n  nightly: {text}\n", encoding="utf-8")
    return ScheduledProject(root)


class ScheduledProject(Project):
    def environment(self, **more: str) -> dict[str, str]:
        fake = self.root.parent / "fake"
        fake.mkdir(exist_ok=True)
        for name, text in {"crontab": CRONTAB, "scrontab": SCRONTAB, "systemctl": SYSTEMCTL}.items():
            (fake / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
            (fake / name).chmod(0o755)
        made = super().environment(**more)
        made |= {"FAKE": str(fake), "XDG_CONFIG_HOME": str(self.root.parent / "config")}
        return {**made, "PATH": f"{fake}{os.pathsep}{made['PATH']}", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}


def test_who_cancels_what_has_ended_is_told_so(tmp_path: Path) -> None:
    project = described(tmp_path, "{pipeline: digits}")
    places = JobPlaces.of(project.root, "nightly")
    places.end(places.begin(), "kept", "nightly: digits version 2 is registered", 3)
    said = job(project, "cancel", "nightly")
    assert "nothing is running; the last run was kept: nightly: digits version 2 is registered" in " ".join(
        said.split()
    )


@pytest.mark.parametrize("word", ["attach", "cancel"])
def test_runs_on_kubernetes_are_shown_by_kubectl(tmp_path: Path, word: str) -> None:
    where = "{pipeline: digits, where: kubernetes, image: 'x:1', kubernetes: {namespace: ml}}"
    said = " ".join(job(described(tmp_path, where), word, "nightly", check=2).split())
    assert "kubectl get rayjobs --namespace ml --selector sluiceway/job=nightly" in said


def test_where_slurm_has_no_scrontab_there_is_a_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="scrontab is not installed here") as caught:
        INSTALLERS["slurm"]("nightly", None, tmp_path).present()
    assert "--to slurm` works in the crontab" in caught.value.hint


PLAIN = "{pipeline: digits, schedule: {cron: '30 2 * * *'}}"


def test_a_crontab_line_is_shown_written_once_changed_and_taken_away(tmp_path: Path) -> None:
    project = described(tmp_path, PLAIN)
    table = tmp_path / "fake" / "table"
    project.environment()
    theirs = "MAILTO=me\n0 4 * * * backup"
    table.write_text(theirs, encoding="utf-8")

    shown = job(project, "install", "nightly", "--to", "cron", "--show")
    assert "+30 2 * * * cd " in shown
    assert table.read_text(encoding="utf-8") == theirs
    job(project, "install", "nightly", "--to", "cron", "--yes")
    written = table.read_text(encoding="utf-8")
    assert written.startswith(f"{theirs}\n# >>> sluiceway job nightly of {project.root}\n")
    assert written.count("--if-due") == 2
    assert (project.root / ".sluiceway/jobs/nightly/installed").exists()

    assert "has it already" in job(project, "install", "nightly", "--to", "cron", "--yes")
    assert table.read_text(encoding="utf-8") == written
    table.write_text(written + "5 5 * * * later\n", encoding="utf-8")
    (project.root / "infra/jobs.yaml").write_text(
        f"jobs:\n  nightly: {PLAIN.replace('30 2', '15 6')}\n", encoding="utf-8"
    )
    changed = job(project, "install", "nightly", "--to", "cron", "--yes")
    assert "-30 2 * * * cd " in changed
    assert "+15 6 * * * cd " in changed
    assert table.read_text(encoding="utf-8").endswith("5 5 * * * later\n")
    assert "30 2 * * *" not in table.read_text(encoding="utf-8")

    job(project, "uninstall", "nightly", "--to", "cron")
    assert table.read_text(encoding="utf-8") == f"{theirs}\n5 5 * * * later\n"
    assert "does not have it" in job(project, "uninstall", "nightly", "--to", "cron")


def test_a_line_that_was_written_is_one_that_a_shell_runs(tmp_path: Path) -> None:
    project = described(tmp_path, PLAIN)
    job(project, "install", "nightly", "--to", "cron", "--yes")
    lines = (tmp_path / "fake" / "table").read_text(encoding="utf-8").splitlines()
    (line,) = [each.removeprefix("@reboot ") for each in lines if each.startswith("@reboot")]
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}  # cron's, and where our code is
    done = subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert (project.root / ".sluiceway/jobs/nightly/cron.log").read_text(encoding="utf-8") == ""  # it was not due


def test_nothing_is_written_without_a_yes(tmp_path: Path) -> None:
    project = described(tmp_path, PLAIN)
    done = subprocess.run(
        ["sluiceway", "job", "install", "nightly", "--to", "cron"],
        cwd=project.root,
        env=project.environment(),
        input="n\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "nothing was written" in done.stdout
    assert not (tmp_path / "fake" / "table").exists()


def test_a_crontab_whose_marks_are_broken_is_left_alone(tmp_path: Path) -> None:
    project = described(tmp_path, PLAIN)
    project.environment()
    table = tmp_path / "fake" / "table"
    table.write_text(f"# >>> sluiceway job nightly of {project.root}\n0 4 * * * backup\n", encoding="utf-8")
    assert "without its end" in job(project, "install", "nightly", "--to", "cron", "--yes", check=1)
    assert "backup" in table.read_text(encoding="utf-8")


@pytest.mark.parametrize("to", ["cron", "slurm"])
def test_a_table_that_cannot_be_read_is_not_written_over(to: str, tmp_path: Path) -> None:
    project = described(tmp_path, PLAIN)
    project.environment()
    table = tmp_path / "fake" / {"cron": "table", "slurm": "scrontable"}[to]
    table.write_text("0 4 * * * backup\n", encoding="utf-8")
    (tmp_path / "fake" / "away").touch()
    said = job(project, "install", "nightly", "--to", to, "--yes", check=1)
    assert "Unable to contact slurm controller" in said
    (tmp_path / "fake" / "away").unlink()
    assert table.read_text(encoding="utf-8") == "0 4 * * * backup\n"


def test_a_line_of_scrontab_and_its_script_come_and_go(tmp_path: Path) -> None:
    project = described(tmp_path, PLAIN)
    project.environment()
    table, script = tmp_path / "fake" / "scrontable", project.root / ".sluiceway/jobs/nightly/nightly.sbatch"
    theirs = "#SCRON --time=5\n0 4 * * * backup\n"
    table.write_text(theirs, encoding="utf-8")
    job(project, "install", "nightly", "--to", "slurm", "--yes")
    written = table.read_text(encoding="utf-8")
    assert written.startswith(f"{theirs}# >>> sluiceway job nightly of {project.root}\n#SCRON --job-name=")
    assert str(script) in written
    assert os.access(script, os.X_OK)
    assert "has it already" in job(project, "install", "nightly", "--to", "slurm", "--yes")
    assert table.read_text(encoding="utf-8") == written
    job(project, "uninstall", "nightly", "--to", "slurm")
    assert table.read_text(encoding="utf-8") == theirs
    assert not script.exists()


def test_units_are_written_begun_and_taken_away(tmp_path: Path) -> None:
    project = described(tmp_path, PLAIN)
    folder, log = tmp_path / "config" / "systemd" / "user", tmp_path / "fake" / "systemctl.log"
    job(project, "install", "nightly", "--to", "systemd", "--yes")
    assert {path.name for path in folder.iterdir()} == {"sluiceway-nightly.service", "sluiceway-nightly.timer"}
    assert log.read_text(encoding="utf-8").splitlines() == [
        "--user daemon-reload",
        "--user daemon-reload",
        "--user enable sluiceway-nightly.timer",
        "--user restart sluiceway-nightly.timer",
    ]
    job(project, "uninstall", "nightly", "--to", "systemd")
    assert list(folder.iterdir()) == []
    assert "--user disable --now sluiceway-nightly.timer" in log.read_text(encoding="utf-8")


def test_a_systemd_that_cannot_be_reached_gets_no_units_and_keeps_none(tmp_path: Path) -> None:
    project = described(tmp_path, PLAIN)
    project.environment()
    folder, bus = tmp_path / "config" / "systemd" / "user", tmp_path / "fake" / "no-bus"
    bus.touch()
    said = job(project, "install", "nightly", "--to", "systemd", "--yes", check=1)
    assert "XDG_RUNTIME_DIR" in said
    assert not folder.exists()
    bus.unlink()
    job(project, "install", "nightly", "--to", "systemd", "--yes")
    bus.touch()
    assert "XDG_RUNTIME_DIR" in job(project, "uninstall", "nightly", "--to", "systemd", check=1)
    assert list(folder.iterdir()) == []


def test_a_schedule_goes_with_a_job_that_is_no_longer_described(tmp_path: Path) -> None:
    project = described(tmp_path, PLAIN)
    job(project, "install", "nightly", "--to", "cron", "--yes")
    (project.root / "infra/jobs.yaml").write_text(f"jobs:\n  other: {PLAIN}\n", encoding="utf-8")
    job(project, "uninstall", "nightly", "--to", "cron")
    assert (tmp_path / "fake" / "table").read_text(encoding="utf-8") == ""
    assert "unknown job 'nightly'" in job(project, "uninstall", "nightly", "--to", "cron", check=2)
