"""The embedded store's file, when something is wrong with it: how long it is waited for, and what would help."""

import logging
import re
from functools import cache
from pathlib import Path

SCHEME = "sqlite:///"
WAIT = 120.0
"""Seconds that a store which another process holds is waited for. MLflow waits for 20 s, and Python for 5 s."""

_WAYS = (
    ("database is locked", "another process holds {path}: `fuser {path}` says which; end it, or wait"),
    ("readonly database|unable to open", "whoever runs this must be allowed to write {path} and the folder it lies in"),
    ("database or disk is full", "free some room on the disk of {path}"),
    (
        "malformed|not a database|no such table|no such column|disk I/O error",
        "{path} is damaged: put a backup of it in its place; or move it away, and a new one is made, which does not "
        "know the runs and models of this one",
    ),
)
_AGAIN = "; then run the same command again, which goes on"


def way_out(uri: str, error: BaseException) -> str:
    """Return what would help against an error of SQLite's; nothing where it is none.

    Args:
        uri: of the store.
        error: as MLflow or SQLAlchemy raised it.
    """
    if not uri.startswith(SCHEME):
        return ""
    path, said = Path(uri.removeprefix(SCHEME)), str(error)
    if not path.exists() and "sqlite3." in said:
        return f"{path} is gone: put it back; or a new one is made, which does not know its runs and models{_AGAIN}"
    for words, way in _WAYS:
        if "sqlite3." in said and re.search(words, said):
            return way.format(path=path) + _AGAIN
    return ""


def said(error: BaseException) -> str:
    """Return what an error says; of SQLite's what it says itself, without SQLAlchemy's words and the statement."""
    found = re.search(r"\(sqlite3\.\w+\) (.*?)\s*(\[SQL:|\(Background on|$)", str(error), re.DOTALL)
    return found[1] if found else str(error)


@cache
def be_patient() -> None:
    """Let SQLite wait for ``WAIT`` seconds, in whatever MLflow opens, and MLflow keep its traces to itself.

    MLflow sets its own 20 s in each session, ahead of whatever it asks; no setting of its own changes that.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import Pool

    def longer(connection, cursor, statement, parameters, context, executemany):  # type: ignore[no-untyped-def]
        if statement.startswith("PRAGMA busy_timeout"):
            statement = f"PRAGMA busy_timeout = {WAIT * 1000:.0f};"
        return statement, parameters

    def from_the_first(connection, record):  # type: ignore[no-untyped-def]
        if type(connection).__module__.startswith("sqlite3"):
            connection.execute(f"PRAGMA busy_timeout = {WAIT * 1000:.0f}")

    event.listen(Engine, "before_cursor_execute", longer, retval=True)
    event.listen(Pool, "connect", from_the_first)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it is raised as well
