"""The MLflow UI on the project's own store, for this machine only."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import psutil

from sluiceway.data.places import STATE, home
from sluiceway.errors import TrackingError
from sluiceway.tracking.store import artifacts, page, tracking_uri

_LOOK = 0.1
"""Seconds between two looks whether the server answers."""
_HOST = "127.0.0.1"
"""Never wider: the UI has no passwords. A server for a team is in mlflow/."""


_QUIET = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # half the memory, and nothing here uses it
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "PYTHONWARNINGS": "ignore",
}


def serve(root: Path, port: int, say: Callable[[str], None]) -> None:
    """Run the UI until Ctrl-C.

    Args:
        root: the project.
        port: on the loopback address.
        say: told where the UI is.

    Raises:
        TrackingError: there is nothing to show yet, or the port is taken.
    """
    uri = tracking_uri(root)
    if uri.startswith("http"):
        say(f"MLFLOW_TRACKING_URI names a server: open {page(uri, 'experiments')}")
        return
    if _is_taken(port):
        raise TrackingError(f"port {port} is in use", hint=f"sluiceway ui --port {port + 1}")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--registry-store-uri", uri]
    command += ["--host", _HOST, "--port", str(port), "--workers", "1"]
    if root_of_artifacts := artifacts(root):
        command += ["--default-artifact-root", root_of_artifacts]
    command += ["--uvicorn-opts", "--log-level warning"]
    where = f"http://{_HOST}:{port}/#/experiments?workflowType=machine_learning"
    log = home(root) / STATE / "ui.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as words, _ended(command, words) as server:
        while server.poll() is None and not _is_taken(port):
            time.sleep(_LOOK)
        if server.poll() is None:
            say(f"MLflow is at {where} (Ctrl-C stops it)")
        with suppress(KeyboardInterrupt):
            server.wait()
        if code := server.poll():
            raise TrackingError(f"MLflow's server ended with {code}", hint=f"{log} has its words")


@contextmanager
def _ended(command: list[str], log: TextIO) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a server, and end it with all its processes when the block ends, by SIGTERM too."""

    def leave(signum: int, frame: object) -> None:
        sys.exit(128 + signum)

    before = signal.signal(signal.SIGTERM, leave)
    server = subprocess.Popen(command, env={**os.environ, **_QUIET}, stdout=log, stderr=log)  # noqa: S603
    try:
        yield server
    finally:
        signal.signal(signal.SIGTERM, before)
        with suppress(psutil.NoSuchProcess):
            family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
            for end in (psutil.Process.terminate, psutil.Process.kill):
                for each in family:
                    with suppress(psutil.NoSuchProcess):
                        end(each)
                _, family = psutil.wait_procs(family, timeout=5)
        server.wait()


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0
