"""The MLflow UI of one's own: it answers when it says so, and leaves nothing behind."""

import signal
import subprocess
import urllib.error
import urllib.request

import psutil
import pytest

from projects import Project
from slurm import free_ports

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_once_it_says_so_and_ends_whole(finished: Project, stop: signal.Signals) -> None:
    (port,) = free_ports(1)
    with subprocess.Popen(
        ["sluiceway", "ui", "--port", str(port)],
        cwd=finished.root,
        env=finished.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        said = process.stdout.readline()
        assert f"MLflow is at http://127.0.0.1:{port}/" in said
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60) as answer:
            assert answer.status == 200
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2
        process.send_signal(stop)
        rest, _ = process.communicate(timeout=120)
        assert process.returncode == {signal.SIGINT: 0, signal.SIGTERM: 143}[stop], rest
        assert rest == ""
    assert psutil.wait_procs(family, timeout=60)[1] == []
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)


def test_a_port_in_use_is_told(finished: Project) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = finished.run("sluiceway", "ui", "--port", str(port), check=False)
    assert done.returncode == 1
    assert f"port {port} is in use" in done.stdout
    assert f"sluiceway ui --port {port + 1}" in done.stdout
