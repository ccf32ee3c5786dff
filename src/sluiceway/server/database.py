"""Copies of the server's database that are whole while others write, made and put back by the database's own means."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sluiceway.errors import MissingPackage, TrackingError
from sluiceway.server.settings import Stores

if TYPE_CHECKING:
    from sqlalchemy import Engine

_SECONDS = 10
"""That PostgreSQL may take to answer: MLflow itself would try for minutes, and then print the trace of its library."""


class Means(NamedTuple):
    """What is done to a kind of database."""

    dump: Callable[[Stores, Path], None]
    restore: Callable[[Stores, Path], None]


def dump(stores: Stores, file: Path) -> None:
    """Write all of the database into a file, as it was at one moment.

    Raises:
        TrackingError: the database cannot be reached or refuses.
        MissingPackage: PostgreSQL's programs are not installed.
    """
    _MEANS[stores.kind].dump(stores, file)


def restore(stores: Stores, file: Path) -> None:
    """Fill the database, which must be empty, from such a file: with all of it, or with nothing.

    Raises:
        TrackingError: the database is not empty, cannot be reached, or refuses.
        MissingPackage: PostgreSQL's programs are not installed.
    """
    if tables := _tables(stores):
        raise TrackingError(
            f"the database {stores.database} is not empty: it has {tables} tables",
            hint="stop the server, and restore into a database that was made anew (`createdb`)",
        )
    _MEANS[stores.kind].restore(stores, file)


@contextmanager
def opened(stores: Stores) -> "Iterator[Engine]":
    """Open the database, and turn what it refuses into our error.

    Raises:
        TrackingError: it cannot be reached, or refuses.
    """
    import sqlalchemy

    options = {"connect_timeout": _SECONDS, "password": stores.password or None}
    engine = sqlalchemy.create_engine(stores.database, connect_args=options if stores.kind == "postgresql" else {})
    try:
        yield engine
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise refusal(stores, error) from None
    finally:
        engine.dispose()


def refusal(stores: Stores, error: Exception) -> TrackingError:
    """Build the error for what SQLAlchemy raised.

    What PostgreSQL answers has a code, or is ``FATAL`` where it lets nobody in; all else did not come so far.
    """
    cause = getattr(error, "orig", error)
    words = " ".join(str(cause).split())
    answered = "FATAL" in words or getattr(cause, "pgcode", None) or stores.kind == "sqlite"
    return TrackingError(
        f"the database {stores.database} {'refused' if answered else 'could not be reached'}: {words}",
        hint="is it up, and are user, password and name right?",
    )


def _tables(stores: Stores) -> int:
    import sqlalchemy

    if stores.kind == "sqlite" and not sqlite_file(stores).exists():
        return 0  # a look would make the file
    with opened(stores) as engine:
        return len(sqlalchemy.inspect(engine).get_table_names())


def _pg_dump(stores: Stores, file: Path) -> None:
    _postgres(stores, "pg_dump", "--format=custom", f"--file={file}")


def _pg_restore(stores: Stores, file: Path) -> None:
    _postgres(stores, "pg_restore", "--single-transaction", "--exit-on-error", str(file))


def _postgres(stores: Stores, program: str, *options: str) -> None:
    uri = stores.database.replace("+psycopg2", "", 1)
    done = subprocess.run(  # noqa: S603
        [_program(program), "--no-owner", "--no-privileges", "--no-password", f"--dbname={uri}", *options],
        env={**os.environ, **stores.environment()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise TrackingError(
            f"{program} failed for {uri}: {' '.join(done.stderr.split())[:500]}",
            hint=f"{program} must not be older than the server; is user, password and name right?",
        )


def _program(name: str) -> str:
    """Find a program of PostgreSQL's; Debian keeps those of each version in a folder of their own."""
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    found = str(newest[-1]) if newest else shutil.which(name)
    if not found:
        raise MissingPackage(f"{name} is not installed", hint="apt-get install postgresql-client")
    return found


def _sqlite_dump(stores: Stores, file: Path) -> None:
    if not sqlite_file(stores).exists():
        raise TrackingError(f"the database {sqlite_file(stores)} does not exist")
    copy_sqlite(sqlite_file(stores), file)


def _sqlite_restore(stores: Stores, file: Path) -> None:
    sqlite_file(stores).parent.mkdir(parents=True, exist_ok=True)
    copy_sqlite(file, sqlite_file(stores))


def copy_sqlite(source: Path, target: Path) -> None:
    """Make SQLite's database a copy of another one: all of it, or, when this is interrupted, nothing.

    Raises:
        TrackingError: one of them cannot be opened, or has no room.
    """
    try:
        with closing(sqlite3.connect(source)) as there, closing(sqlite3.connect(target)) as here:
            there.backup(here)
    except sqlite3.Error as error:
        raise TrackingError(f"the database {source} cannot be copied to {target}: {error}") from error


def sqlite_file(stores: Stores) -> Path:
    """Return the file that SQLite's database is."""
    return Path(stores.database.partition("///")[2].partition("?")[0])


_MEANS = {"postgresql": Means(_pg_dump, _pg_restore), "sqlite": Means(_sqlite_dump, _sqlite_restore)}
