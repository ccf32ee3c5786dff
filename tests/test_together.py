"""Many starts at one instant: one of them works, the others say who it is, and nothing is damaged."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs import digest
from projects import Project, runs_of
from sluiceway.data.places import locked
from sluiceway.errors import Busy

_READY = """
import sys, time
from pathlib import Path
from sluiceway import cli
import sluiceway.stages.train
Path(sys.argv[1]).touch()
while not Path("go").exists():
    time.sleep(0.001)
sys.argv[1:] = ["train", "digits"]
cli.main()
"""


@pytest.mark.slow
def test_of_ten_trainings_that_start_at_one_instant_one_trains(project: Project) -> None:
    weights = digest(project.root / "models" / "digits" / "weights.safetensors")
    before = len(runs_of(project, "digits"))
    logs = [project.root / f"start-{number}.log" for number in range(10)]
    processes = []
    for number, log in enumerate(logs):
        with log.open("wb") as words:
            command = [sys.executable, "-c", _READY, f"ready-{number}"]
            processes.append(
                subprocess.Popen(
                    command, cwd=project.root, env=project.environment(), stdout=words, stderr=subprocess.STDOUT
                )
            )
    while len(list(project.root.glob("ready-*"))) < len(logs):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)
    (project.root / "go").touch()
    codes = [process.wait(timeout=600) for process in processes]
    said = [log.read_text(encoding="utf-8") for log in logs]
    assert sorted(codes) == [0] + [1] * 9, said
    winner = processes[codes.index(0)].pid
    for code, words in zip(codes, said, strict=True):
        assert "Traceback" not in words
        if code:
            assert re.search(
                rf"error: another process \(process {winner} on \S+\) is busy with pipeline 'digits'", words
            )
            assert "try: wait for it, or stop it" in words
    assert digest(project.root / "models" / "digits" / "weights.safetensors") == weights
    runs = runs_of(project, "digits")
    assert len(runs) == before + 1
    assert runs[0]["status"] == "FINISHED"


_LOCK = """
import sys, time
from pathlib import Path
from sluiceway.data.places import locked
from sluiceway.errors import Busy
folder = Path(sys.argv[1])
(folder / f"ready-{sys.argv[2]}").touch()
while not (folder / "go").exists():
    pass
try:
    with locked(folder / "lock", "this"):
        print("mine", flush=True)
        sys.stdin.readline()
except Busy as error:
    print(error.message, flush=True)
"""


def test_a_lock_has_one_holder_and_the_others_know_its_name(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _LOCK, str(tmp_path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    while len(list(tmp_path.glob("ready-*"))) < len(processes):
        time.sleep(0.01)
    (tmp_path / "go").touch()
    said = [process.stdout.readline().strip() for process in processes if process.stdout]
    holder = processes[said.index("mine")].pid
    assert sum(words == "mine" for words in said) == 1
    assert sum(f"another process (process {holder} on " in words for words in said) == len(said) - 1
    with pytest.raises(Busy, match=f"process {holder} on "), locked(tmp_path / "lock", "this"):
        pass
    for process in processes:
        process.communicate("\n", timeout=60)
    with locked(tmp_path / "lock", "this"):
        pass
