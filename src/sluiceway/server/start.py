"""Running the server: MLflow's own, with accounts, its settings handed over where nobody else can read them."""

import errno
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from sluiceway.errors import MissingPackage, UsageError
from sluiceway.server.files import StoreAway, look
from sluiceway.server.settings import ADMIN, Door, check, stores
from sluiceway.server.upgrade import check_tables

ACCOUNTS = """\
[mlflow]
database_uri = {database}
# Whoever has an account reads; rights to change anything come with a role.
default_permission = READ
# Of MLflow's workspaces there is only the default one. They are on because without them whoever can read can also
# create experiments and models, and owns what he created.
grant_default_workspace_access = true
# Without it the password is hashed anew at every request, which takes a tenth of a second of a core.
auth_cache_ttl_seconds = 60
"""
"""MLflow's file about accounts, which are kept in the one database; nothing secret is in it."""

_FIXED = {
    "MLFLOW_ENABLE_WORKSPACES": "true",
    # Half the memory; judges and prompts of language models are what it is for.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}


def start(door: Door, workers: int, environ: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Run the server until it is told to stop.

    Args:
        door: where it listens.
        workers: processes that answer.
        environ: with the settings and secrets.
        say: told where the server is.

    Returns:
        MLflow's exit code; 0 after SIGTERM and Ctrl-C.

    Raises:
        UsageError: what is missing, impossible or unsafe in the settings; nobody can listen there.
        MissingPackage: an extra is not installed.
        TrackingError: the database cannot be reached, or is another MLflow's; the store of files refuses. One that is
            away is only told of: it may be back in a moment, and curves do not need it.
    """
    check(environ, door)
    kept = stores(environ)
    if find_spec("flask_wtf") is None:
        raise MissingPackage("accounts need mlflow[auth]", hint="pip install 'sluiceway[server]'")
    listen(door)
    check_tables(kept)
    try:
        look(kept)
    except StoreAway as error:
        say(f"warning: {error.message}; files and models wait for it, all else is taken ({error.hint})")
    with TemporaryDirectory(prefix="sluiceway-server-") as folder:
        accounts = Path(folder) / "accounts.ini"
        accounts.write_text(ACCOUNTS.format(database=kept.database.replace("%", "%%")), encoding="utf-8")
        environment = {**environ, **_FIXED, **kept.environment(), "MLFLOW_AUTH_CONFIG_PATH": str(accounts)}
        environment.setdefault(ADMIN, "admin")
        say(f"MLflow will be at {address(door)} (Ctrl-C stops it)")
        return _run(command(door, workers), environment)


def command(door: Door, workers: int) -> list[str]:
    """Return MLflow's command line. Everybody on the machine can read it: nothing secret is in it."""
    line = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--serve-artifacts"]
    line += ["--host", door.host, "--port", str(door.port), "--workers", str(workers)]
    # Also where there are none: MLflow would advise options that are not ours.
    line += ["--allowed-hosts", ",".join(_hosts(door))]
    if door.names:
        line += ["--cors-allowed-origins", ",".join(_origins(door))]
    tls = ["--ssl-certfile", str(door.certificate), "--ssl-keyfile", str(door.key)] if door.certificate else []
    return [*line, "--uvicorn-opts", shlex.join(["--no-access-log", *tls])]


def address(door: Door) -> str:
    """Return what clients set ``MLFLOW_TRACKING_URI`` to, as far as it is known here."""
    name = door.names[0] if door.names else door.host
    if door.behind_proxy and door.names:
        return f"https://{name}"
    return f"{'https' if door.certificate else 'http'}://{name}:{door.port}"


def listen(door: Door) -> None:
    """Open the port once: MLflow would tell of a taken one amid its warnings, after half a minute.

    Raises:
        UsageError: another program has it, or this machine has no such address.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            door.host, door.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"port {door.port} of {door.host} is in use by another program",
                hint=f"does the server run already? Otherwise: sluiceway server start --port {door.port % 65535 + 1}",
            ) from None
        raise UsageError(
            f"nobody can listen at port {door.port} of {door.host}: {error.strerror}",
            hint="--host is an address of this machine; ports below 1024 are root's: --port 5000",
        ) from None


def _hosts(door: Door) -> list[str]:
    """MLflow compares the whole header, and clients on another port than the usual one name it; so do tunnels."""
    local = ["localhost", "localhost:*", "127.0.0.1", "127.0.0.1:*", "[::1]", "[[]::1]:*"]
    return [each for name in door.names for each in (name, f"{name}:{door.port}")] + local


def _origins(door: Door) -> list[str]:
    scheme = "https" if door.certificate or door.behind_proxy else "http"
    return [f"{scheme}://{each}" for name in door.names for each in (name, f"{name}:{door.port}")]


def _run(line: list[str], environment: Mapping[str, str]) -> int:
    stopped: list[int] = []
    with subprocess.Popen(line, env=dict(environment)) as process:  # noqa: S603

        def stop(number: int, _: object) -> None:
            stopped.append(number)
            process.terminate()

        before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
        try:
            code = process.wait()
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
    return 0 if stopped else code or os.EX_SOFTWARE
