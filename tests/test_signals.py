"""What goes to a whole group of processes, and what outlives one of them: loaders, locks, a cluster of one's own."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from jobs import curve_of, job_of, train_until, weights_of
from projects import ROOT, Project
from sluiceway.data.places import locked
from sluiceway.errors import Busy

_ENV = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}

_READER = """
import signal, sys, time
from torch.utils.data import IterableDataset
from sluiceway.data import loader as loading
from sluiceway.data.loader import loader

class Stream(IterableDataset):
    def __iter__(self):
        yield from ({"number": number} for number in range(1000))

def late(reader, number, serve=loading._serve):
    time.sleep(2 * number)
    serve(reader, number)

if "late" in sys.argv:
    loading._serve = late

heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
signal.signal(signal.SIGHUP, lambda *_: heard.append(1))
batches = iter(loader(Stream(), 2))
next(batches)
print("reads", flush=True)
sys.stdin.readline()
if "leave" in sys.argv:
    sys.exit()
print(len(heard), 1 + sum(1 for _ in batches), flush=True)
sys.stdin.readline()
"""


def begun(code: str, *words: str) -> "subprocess.Popen[str]":
    """Start a program in a group of its own, and wait for its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_ENV,
        start_new_session=True,
    )
    assert process.stdout
    assert process.stdout.readline().strip() == "reads"
    return process


def test_loaders_go_on_until_their_reader_is_done() -> None:
    process = begun(_READER)
    assert process.stdin
    assert process.stdout
    assert len(psutil.Process(process.pid).children()) == 2
    os.killpg(process.pid, signal.SIGTERM)
    os.killpg(process.pid, signal.SIGHUP)
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline().split() == ["2", "2000"]
    process.communicate("\n", timeout=60)
    assert process.returncode == 0

    process = begun(_READER, "leave")  # in the middle: it tells its loaders to end, and waits for them
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize("words", [(), ("late",)], ids=["begun", "beginning"])
def test_loaders_end_with_a_reader_that_is_killed(words: tuple[str, ...]) -> None:
    """A loader that has not begun to serve when its reader is gone must notice it too."""
    process = begun(_READER, *words)
    loaders = psutil.Process(process.pid).children()
    assert len(loaders) == 2
    process.kill()
    process.communicate(timeout=60)
    assert psutil.wait_procs(loaders, timeout=60)[1] == []


_HOLDER = """
import os, sys, time
from pathlib import Path
from sluiceway.data.places import locked
with locked(Path(sys.argv[1]), "this"):
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
    print("reads", flush=True)
    time.sleep(600)
"""


def test_a_lock_is_free_when_its_holder_is_dead_though_a_fork_of_it_lives(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = begun(_HOLDER, str(path))
    (fork,) = psutil.Process(process.pid).children()
    with pytest.raises(Busy, match=rf"process {process.pid} on "), locked(path, "that"):
        pass
    process.kill()
    process.wait()
    try:
        assert fork.is_running()
        with locked(path, "that"):
            assert f"process {os.getpid()} on" in path.read_text(encoding="utf-8")
    finally:
        fork.kill()


def test_who_comes_second_waits_for_the_name_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first has the lock a moment before it has written its name."""
    path = tmp_path / "lock"
    with locked(path, "this"):
        name = path.read_text(encoding="utf-8")
        path.write_text("", encoding="utf-8")
        monkeypatch.setattr(time, "sleep", lambda _: path.write_text(name, encoding="utf-8"))
        with pytest.raises(Busy, match=f"another process \\({name}\\) is busy with that"), locked(path, "that"):
            pass


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "processes"), [(1, 2), (2, 0)])
def test_a_group_that_is_told_to_leave_saves(finished: Project, tmp_path: Path, workers: int, processes: int) -> None:
    """As Slurm, systemd and a terminal tell it: every process, loaders and the private cluster too."""
    options: dict[str, object] = {
        "epochs": 60.0,  # so many that it does not end before the word has come
        "log_every": 5,
        "checkpoint_every": 10_000,
        "cpus_per_worker": 1,
        "workers": workers,
        "loader_processes": processes,
    }
    whole, broken = (job_of(finished, tmp_path / name, **options) for name in ("whole", "broken"))
    assert train_until(whole, None) == 0
    assert train_until(broken, 15, signal.SIGTERM, group=True) == 75
    assert train_until(broken, None) == 0
    assert weights_of(broken) == weights_of(whole)
    assert curve_of(broken) == curve_of(whole)


@pytest.mark.slow
def test_a_loader_that_is_killed_is_named_and_the_training_goes_on(finished: Project, tmp_path: Path) -> None:
    options: dict[str, object] = {
        "epochs": 8.0,
        "log_every": 5,
        "checkpoint_every": 10,
        "cpus_per_worker": 1,
        "loader_processes": 2,
    }
    whole, broken = (job_of(finished, tmp_path / name, **options) for name in ("whole", "broken"))
    assert train_until(whole, None) == 0
    said: list[str] = []

    def kill_loaders(process: "subprocess.Popen[bytes]") -> None:
        """Until it is noticed: one that has given its last batch is not missed."""
        while process.poll() is None:
            with suppress(psutil.Error):
                for loader in psutil.Process(process.pid).children():
                    loader.kill()
            time.sleep(0.05)

    assert train_until(broken, 15, kill_loaders, said) == 1
    assert "a process that reads batches is gone" in said[0]
    assert "Traceback" not in said[0]
    assert train_until(broken, None) == 0
    assert weights_of(broken) == weights_of(whole)
    assert curve_of(broken) == curve_of(whole)


def test_who_is_told_again_while_python_ends_still_asks_for_a_requeue() -> None:
    script = (
        "import atexit, os, signal\n"
        "from sluiceway import cli\n"
        "from sluiceway.errors import Preempted\n"
        "def leave(): raise Preempted('told to leave', hint='again')\n"
        "cli.app = leave\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGTERM)\n"
        "cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 75, done.stderr
    assert "told to leave" in done.stderr
