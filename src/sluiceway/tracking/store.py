"""Where MLflow keeps its records, and how it is spoken to: quietly, without global state, with our own errors.

The store is what ``MLFLOW_TRACKING_URI`` names, else an SQLite file and an artifact folder below ``mlflow/store/``.
MLflow takes 2 s to import and 1 s to open SQLite, so nothing here imports it before it is needed.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sluiceway.data.places import home
from sluiceway.errors import TrackingError
from sluiceway.redaction import address
from sluiceway.tracking import sqlite

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

QUIET = {
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A project's uv.lock would replace the requirements that are written for serving.
    "MLFLOW_UV_AUTO_DETECT": "false",
    # MLflow's own defaults (7 tries of 120 s) make a stage hang for minutes when the server is away.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # A server with an S3 store sends clients there, for every download and for large uploads; they may not reach it.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
}
"""Settings MLflow reads when it is imported; one that stands in the environment already is left as it is."""


_RETRIES, _MANY = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "6"
"""Waits between tries double, from 4 s: 3 take 12 s, 6 take 124 s."""
FORBIDDEN, _UNKNOWN = 403, 401
_CODES = {"PERMISSION_DENIED": FORBIDDEN, "UNAUTHENTICATED": _UNKNOWN}
_HINTS = {
    _UNKNOWN: "are MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD those of an account there?",
    FORBIDDEN: "the account may not; an admin of the server lets it: `sluiceway server user role NAME writer`",
}
_OF_THE_DISK = {
    errno.ENOSPC: "free some room there, and run the same command again, which goes on",
    errno.EDQUOT: "free some of what you may use of the disk, and run the same command again, which goes on",
    errno.EACCES: "whoever runs this must be allowed to write there; then the same command goes on",
    errno.EPERM: "whoever runs this must be allowed to write there; then the same command goes on",
    errno.EROFS: "that disk is there for reading only; where it can be written, the same command goes on",
}
_UNFORESEEN = "`sluiceway doctor` looks at the store; the same command goes on when that is well"
_UNREACHABLE = "is the server up, and MLFLOW_TRACKING_URI right? Unset it to use the store below mlflow/store/"


def folder(root: Path) -> Path:
    """Return the folder of the embedded store; it outlives DVC's temporary copies of the project."""
    return home(root) / "mlflow" / "store"


def tracking_uri(root: Path) -> str:
    """Return the URI of the tracking store: ``MLFLOW_TRACKING_URI``, or the embedded SQLite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_database(root)}"


def page(uri: str, place: str) -> str:
    """Return the address of a page of a server, as people see it.

    Without a workspace in it, a server that has workspaces shows a choice of one in the place of the page.

    Args:
        uri: of the server.
        place: of the page, such as ``experiments/1/runs/abc``.
    """
    workspace = os.environ.get("MLFLOW_WORKSPACE") or "default"
    return f"{uri.rstrip('/')}/#/{place}?workflowType=machine_learning&workspace={workspace}"


def client(root: Path) -> "MlflowClient":
    """Return a client of the project's store, which is made when it is missing.

    Raises:
        TrackingError: the store cannot be reached or opened.
    """
    uri = tracking_uri(root)
    with refusals(root, "open its store"):
        if uri == f"sqlite:///{_database(root)}":
            _made(_database(root), artifacts(root))
        return _client(uri, os.environ.get("MLFLOW_REGISTRY_URI") or uri)


def experiment(root: Path, name: str) -> str:
    """Return the id of the experiment with this name, which is made when it is missing.

    Raises:
        TrackingError: the store refused, or the experiment was deleted.
    """
    store = client(root)
    with refusals(root, f"open the experiment {name!r}"):
        found = store.get_experiment_by_name(name) or _create_experiment(store, name, root)
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"the MLflow experiment {name!r} was deleted",
                hint=f"`mlflow experiments restore --experiment-id {found.experiment_id}` brings it back",
            )
        return str(found.experiment_id)


def artifacts(root: Path) -> str | None:
    """Return where artifacts go, as a URI; None where the tracking server decides."""
    if urlsplit(tracking_uri(root)).scheme in ("http", "https"):
        return None
    return (folder(root).absolute() / "artifacts").as_uri()


@contextmanager
def as_default(root: Path) -> Iterator[None]:
    """Make the project's store MLflow's default for what asks no client of its own."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = tracking_uri(root)
    try:
        yield
    finally:
        if given is None:
            del os.environ["MLFLOW_TRACKING_URI"]


@contextmanager
def patient() -> Iterator[None]:
    """Wait two minutes, and not a quarter of one, for a server or its store that is away: what is to be kept is made.

    MLflow reads this setting at each request. A user's own stays.
    """
    if os.environ.get(_RETRIES, QUIET[_RETRIES]) != QUIET[_RETRIES]:
        yield
        return
    os.environ[_RETRIES] = _MANY
    try:
        yield
    finally:
        os.environ[_RETRIES] = QUIET[_RETRIES]


@contextmanager
def refusals(root: Path, what: str) -> Iterator[None]:
    """Turn what MLflow, its database or its artifact store raises into a :class:`TrackingError`.

    Args:
        root: the project, whose store is named in the message.
        what: what was asked of MLflow, to follow the word "to".
    """
    _load()
    try:
        yield
    except Exception as error:
        if not _is_refusal(error):
            raise
        raise TrackingError(
            f"MLflow at {address(tracking_uri(root))} refused to {what}: {one_line(error)}", hint=_way_out(root, error)
        ) from error


def _way_out(root: Path, error: Exception) -> str:
    uri = tracking_uri(root)
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return _OF_THE_DISK[error.errno]
    return sqlite.way_out(uri, error) or _HINTS.get(_status(error), _UNFORESEEN if _is_file(uri) else _UNREACHABLE)


def _is_file(uri: str) -> bool:
    return uri.startswith(sqlite.SCHEME)


def one_line(error: BaseException, limit: int = 500) -> str:
    """Write an error as one line of at most ``limit`` characters."""
    text = " ".join(sqlite.said(error).split()) or type(error).__name__
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def is_missing(error: Exception) -> bool:
    """Whether MLflow says that the thing asked for does not exist.

    A server with accounts says instead that it may not be read, so as not to tell what there is. Whoever really may not
    read a thing is refused when he changes it.
    """
    return getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST" or _status(error) == FORBIDDEN


def _database(root: Path) -> Path:
    return folder(root).absolute() / "mlflow.db"


def _load() -> None:
    """Import MLflow under our settings."""
    if "mlflow" not in sys.modules:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        import mlflow  # noqa: F401


@cache
def _client(uri: str, registry_uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    if _is_file(uri):
        sqlite.be_patient()
    return MlflowClient(tracking_uri=uri, registry_uri=registry_uri)


def _create_experiment(store: "MlflowClient", name: str, root: Path) -> "Experiment":
    from mlflow.exceptions import MlflowException

    try:
        return store.get_experiment(store.create_experiment(name, artifact_location=artifacts(root)))
    except MlflowException:
        if found := store.get_experiment_by_name(name):  # another process was faster
            return found
        raise


def _made(database: Path, artifact_root: str | None) -> None:
    """Make the SQLite file where there is none, and say so where there must have been one."""
    there = database.exists()
    if there and database.stat().st_size:
        return
    if there or any(database.with_name("artifacts").glob("*")):
        said = f"warning: {database} {'is empty' if there else 'is gone'}: a new one does not know its runs and models"
        print(said, file=sys.stderr, flush=True)  # noqa: T201 - nobody above knows that it is made here
    if not there:  # MLflow fills an empty one
        _create(database, artifact_root)


def _create(database: Path, artifact_root: str | None) -> None:
    """Make the SQLite file under another name and put it in place when it is whole.

    MLflow runs 70 migrations: 3.5 s of which 2 are spent waiting for the disk at every statement. A file that nobody
    sees yet needs no such care, and an interrupted creation leaves no half-made store.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import event
    from sqlalchemy.pool import Pool

    def careless(connection, record):  # type: ignore[no-untyped-def]
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")

    database.parent.mkdir(parents=True, exist_ok=True)
    draft = database.with_name(f".{database.name}.{os.getpid()}")
    event.listen(Pool, "connect", careless)
    try:
        SqlAlchemyStore(f"sqlite:///{draft}", artifact_root).engine.dispose()  # type: ignore[no-untyped-call]
        with suppress(FileExistsError):
            os.link(draft, database)
    finally:
        event.remove(Pool, "connect", careless)
        draft.unlink(missing_ok=True)


def _is_refusal(error: Exception) -> bool:
    from mlflow.exceptions import MlflowException

    # Network errors of requests are OSErrors; those of databases and S3 come from libraries that may not be there.
    foreign = type(error).__module__.startswith(("sqlalchemy.", "botocore.", "boto3."))
    return foreign or isinstance(error, MlflowException | OSError)


def _status(error: Exception) -> int:
    """Return the HTTP status that an error comes from; 0 where it comes from none."""
    if response := getattr(error, "response", None):
        return int(response.status_code)
    return _CODES.get(getattr(error, "error_code", ""), 0)
