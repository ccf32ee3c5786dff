"""The MLflow UI on the project's own store, for this machine only."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sluiceway.errors import TrackingError
from sluiceway.tracking.store import artifacts, tracking_uri

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
        say(f"MLFLOW_TRACKING_URI names a server: open {uri}/#/experiments?workflowType=machine_learning")
        return
    if _is_taken(port):
        raise TrackingError(f"port {port} is in use", hint=f"sluiceway ui --port {port + 1}")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--registry-store-uri", uri]
    command += ["--host", _HOST, "--port", str(port), "--workers", "1"]
    if root_of_artifacts := artifacts(root):
        command += ["--default-artifact-root", root_of_artifacts]
    command += ["--uvicorn-opts", "--log-level warning"]
    say(f"MLflow is at http://{_HOST}:{port}/#/experiments?workflowType=machine_learning (Ctrl-C stops it)")
    subprocess.run(command, env={**os.environ, **_QUIET}, check=False)  # noqa: S603


def _is_taken(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0
