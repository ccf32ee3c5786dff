"""Copies of the server's database that are whole while others write, made and put back by the database's own means."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sluiceway.errors import MissingPackage, TrackingError
from sluiceway.server.settings import Stores


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


def refusal(stores: Stores, error: Exception) -> TrackingError:
    """Build the error for what SQLAlchemy raised: PostgreSQL refuses with ``FATAL``, all else did not come so far."""
    words = " ".join(str(getattr(error, "orig", error)).split())
    what = "refused" if "FATAL" in words or stores.kind == "sqlite" else "could not be reached"
    return TrackingError(
        f"the database {stores.database} {what}: {words}", hint="is it up, and are user, password and name right?"
    )


def _tables(stores: Stores) -> int:
    import sqlalchemy

    if stores.kind == "sqlite" and not _sqlite(stores).exists():
        return 0
    options = {"password": stores.password or None} if stores.kind == "postgresql" else {}
    engine = sqlalchemy.create_engine(stores.database, connect_args=options)
    try:
        return len(sqlalchemy.inspect(engine).get_table_names())
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise refusal(stores, error) from None
    finally:
        engine.dispose()


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
    if not _sqlite(stores).exists():
        raise TrackingError(f"the database {_sqlite(stores)} does not exist")
    _copy(_sqlite(stores), file)


def _sqlite_restore(stores: Stores, file: Path) -> None:
    _sqlite(stores).parent.mkdir(parents=True, exist_ok=True)
    _copy(file, _sqlite(stores))


def _copy(source: Path, target: Path) -> None:
    try:
        with closing(sqlite3.connect(source)) as there, closing(sqlite3.connect(target)) as here:
            there.backup(here)
    except sqlite3.Error as error:
        raise TrackingError(f"the database {source} cannot be copied to {target}: {error}") from error


def _sqlite(stores: Stores) -> Path:
    return Path(stores.database.partition("///")[2].partition("?")[0])


_MEANS = {"postgresql": Means(_pg_dump, _pg_restore), "sqlite": Means(_sqlite_dump, _sqlite_restore)}
