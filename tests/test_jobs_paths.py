"""Whatever a project's folder is called, what is rendered runs there: blanks, quotes, percent signs, dollars, umlauts.

Each engine that is here takes what is written for it: cron itself, systemd's own checker, sbatch, shells.
"""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluiceway.launch.render import RENDERERS
from sluiceway.launch.render.place import Place
from slurm import missing, slurm
from teams import FULL, PLAIN

NAMES = ("pro ject", "100%", "grün ö", "%j %H 50%% it's", 'quo"te $HOME', "${x} $$ `id`", "a&b;c|d #e", "-n ~ !1 *")
SIGNS = "a %äß'\"$&;~#!*(){}[]<>|`-=@,.^+?:"
names = st.text(SIGNS, min_size=1, max_size=12).map(str.strip).filter(lambda name: name not in ("", ".", ".."))


def placed(folder: Path, name: str) -> Place:
    """Make a project with a program that writes down where it runs and what it is asked; it ends with 1."""
    root = folder / name
    root.mkdir(exist_ok=True)
    program = root / "sluiceway"
    program.write_text('#!/bin/sh\necho "$PWD: $*" >> "${0%/*}/asked"\necho said\nexit 1\n', encoding="utf-8")
    program.chmod(0o755)
    return Place(str(root), str(program))


def asked(place: Place) -> list[str]:
    path = Path(place.root) / "asked"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def both(place: Place, *options: str) -> list[str]:
    """Return what is to be asked of a program that fails: a run, and whether it was lost."""
    return [f"{place.root}: {' '.join(['job run nightly', *options])}", f"{place.root}: job check nightly"]


def log(place: Place, name: str) -> str:
    return (Path(place.folder("nightly")) / name).read_text(encoding="utf-8")


@settings(max_examples=40, deadline=None)
@given(name=names)
def test_a_crontabs_command_runs_in_any_folder(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = placed(Path(folder), name)
        (line,) = re.findall("^@reboot (.*)$", RENDERERS["cron"]("nightly", PLAIN, place)["crontab"], re.MULTILINE)
        assert not re.search(r"(?<!\\)%", line)  # where cron would end the command
        subprocess.run(["sh", "-c", line.replace("\\%", "%")], check=False)
        assert asked(place) == both(place, "--if-due")
        assert log(place, "cron.log") == "said\n" * 2


HAS_CRON = os.geteuid() == 0 and all(map(shutil.which, ("cron", "crontab", "unshare")))


@pytest.mark.skipif(not HAS_CRON, reason="needs root and cron (Debian: cron)")
def test_cron_itself_runs_it(tmp_path: Path) -> None:
    """In a place of its own, where nobody's crontab is seen, and the machine seems to have just been started."""
    places = [placed(tmp_path, name) for name in NAMES]
    table = tmp_path / "table"
    table.write_text("".join(RENDERERS["cron"]("nightly", PLAIN, place)["crontab"] for place in places))
    apart = "mount -t tmpfs none /var/spool/cron/crontabs && mount -t tmpfs none /run && crontab - < $0 && exec cron -f"
    with (tmp_path / "cron.out").open("w") as said:
        process = subprocess.Popen(["unshare", "--mount", "sh", "-c", apart, table], stdout=said, stderr=said)
    try:
        until(lambda: all(len(asked(place)) == 2 for place in places) or process.poll() is not None)
    finally:
        process.terminate()
        process.wait()
    if "mount" in (text := (tmp_path / "cron.out").read_text()):
        pytest.skip(f"nothing can be mounted here: {text}")
    assert [asked(place) for place in places] == [both(place, "--if-due") for place in places], text


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("name", NAMES)
def test_systemd_finds_the_program_and_the_folder(name: str, tmp_path: Path) -> None:
    place = placed(tmp_path, name)
    files = RENDERERS["systemd"]("nightly", PLAIN, place)
    for file, text in files.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / file) for file in files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    service = files["sluiceway-nightly.service"]
    (folder,) = re.findall("^WorkingDirectory=(.*)$", service, re.MULTILINE)
    assert folder.replace("%%", "%") == place.root
    if "/usr/bin/env" in service:  # whose arguments it does not look at
        (line,) = re.findall("^ExecStart=/usr/bin/env (.*)$", service, re.MULTILINE)
        assert shlex.split(line.replace("%%", "%"))[0].replace("$$", "$") == place.program
        return
    Path(place.program).unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"{place.program} is not executable" in done.stdout + done.stderr  # it was this one that it looked for


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=names)
def test_a_batch_script_and_scrontabs_line_run_in_any_folder(name: str, tmp_path: Path) -> None:
    """With a ``sbatch`` that runs what it is given, and a queue that is empty at first."""
    with tempfile.TemporaryDirectory() as folder:
        place = placed(Path(folder), name)
        files = RENDERERS["slurm"]("nightly", PLAIN, place)
        script = Path(place.script("nightly.sbatch", place.root))
        for path in (script.parent, Path(place.folder("nightly"))):
            path.mkdir(parents=True)
        script.write_text(files[script.name], encoding="utf-8")
        programs = {"sbatch": 'cd "$ROOT" && exec bash "$1"', "squeue": 'echo "$QUEUE"'}
        for program, text in programs.items():
            (tmp_path / program).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
            (tmp_path / program).chmod(0o755)
        (line,) = [each for each in files["nightly.scrontab"].splitlines() if each and each[0] != "#"]
        for queue in ("", f"/else/where\n{place.root}", f"{place.root}/nearly"):
            env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "ROOT": place.root, "QUEUE": queue}
            subprocess.run(["sh", "-c", line.split(maxsplit=5)[5]], env=env, check=False)
        assert asked(place) == both(place) * 2  # one that is queued stands for this one too
        assert log(place, "scrontab.log") == "said\n" * 4


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=missing() or "Slurm")
def test_sbatch_runs_it_there_and_writes_the_log_there(tmp_path: Path) -> None:
    places = [placed(tmp_path, name) for name in NAMES]
    with slurm() as cluster:
        for place in places:
            Path(place.folder("nightly")).mkdir(parents=True)
            script = tmp_path / "nightly.sbatch"
            text = RENDERERS["slurm"]("nightly", PLAIN, place)[script.name]
            script.write_text(text.replace("--mem=4096M", "--mem=100M"), encoding="utf-8")
            cluster.run("sbatch", str(script), cwd=tmp_path)
        until(lambda: not cluster.run("squeue", "--noheader"))
        for number, place in enumerate(places, 1):
            assert asked(place) == both(place), cluster.logs()
            assert log(place, f"slurm-{number}.log") == "said\n" * 2


def test_no_path_of_ours_goes_to_kubernetes(tmp_path: Path) -> None:
    """Pods see the project where it is mounted."""
    for text in RENDERERS["kubernetes"]("nightly", FULL, placed(tmp_path, NAMES[3])).values():
        assert str(tmp_path) not in text


def until(done: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)
