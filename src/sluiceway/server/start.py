"""Running the server: MLflow's own, with accounts, its settings handed over where nobody else can read them."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from sluiceway.errors import MissingPackage, TrackingError
from sluiceway.server.settings import ADMIN, Door, Stores, check, stores

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
        UsageError: what is missing, impossible or unsafe in the settings.
        MissingPackage: an extra is not installed.
        TrackingError: the database cannot be reached.
    """
    check(environ, door)
    kept = stores(environ)
    if find_spec("flask_wtf") is None:
        raise MissingPackage("accounts need mlflow[auth]", hint="pip install 'sluiceway[server]'")
    reach(kept)
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
    if door.names:
        line += ["--allowed-hosts", ",".join(_hosts(door)), "--cors-allowed-origins", ",".join(_origins(door))]
    tls = ["--ssl-certfile", str(door.certificate), "--ssl-keyfile", str(door.key)] if door.certificate else []
    return [*line, "--uvicorn-opts", shlex.join(["--no-access-log", *tls])]


def address(door: Door) -> str:
    """Return what clients set ``MLFLOW_TRACKING_URI`` to, as far as it is known here."""
    name = door.names[0] if door.names else door.host
    if door.behind_proxy and door.names:
        return f"https://{name}"
    return f"{'https' if door.certificate else 'http'}://{name}:{door.port}"


def reach(kept: Stores) -> None:
    """Open the database once: MLflow itself would try for minutes, and then print the trace of its library.

    Raises:
        TrackingError: it cannot be reached, or refuses.
    """
    import sqlalchemy

    url = sqlalchemy.make_url(kept.database)
    options = {"connect_timeout": 10, "password": kept.password or None} if kept.kind == "postgresql" else {}
    engine = sqlalchemy.create_engine(url, connect_args=options)
    try:
        engine.connect().close()
    except sqlalchemy.exc.SQLAlchemyError as error:
        words = " ".join(str(getattr(error, "orig", error)).split())
        raise TrackingError(
            f"the database {kept.database} refused: {words}", hint="is it up, and are user, password and name right?"
        ) from None
    finally:
        engine.dispose()


def _hosts(door: Door) -> list[str]:
    """MLflow compares the whole header, and clients on another port than the usual one name it."""
    local = ("localhost", "127.0.0.1", "[::1]")
    return [each for name in (*door.names, *local) for each in (name, f"{name}:{door.port}")]


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
