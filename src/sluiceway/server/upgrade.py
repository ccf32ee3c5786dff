"""The tables of the server's database: whether they are those of the installed MLflow, and how they become that.

MLflow's own command does not say what a failure leaves behind. PostgreSQL takes all steps back where one fails, or
where whoever upgrades is killed. SQLite keeps half of them: so a copy of it is upgraded, and copied back whole.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sluiceway.errors import TrackingError
from sluiceway.server.database import copy_sqlite, opened, sqlite_file
from sluiceway.server.settings import Stores

if TYPE_CHECKING:
    from sqlalchemy import Engine

_LOCKS = 60
"""Seconds for which a step waits for others who use a table."""


@dataclass(frozen=True, slots=True)
class _State:
    """How a database's tables stand to the installed MLflow's."""

    revision: str | None
    """Theirs, in MLflow's counting; None: there are none yet."""
    known: bool
    """Whether this MLflow knows it; else a newer one made them."""
    behind: int
    """Steps that are missing."""


def check_tables(stores: Stores) -> None:
    """Make sure that the tables are MLflow's of here: with others it starts, and fails at the first request.

    Raises:
        TrackingError: the database cannot be reached, refuses, or is of another version of MLflow.
    """
    with opened(stores) as engine:
        state = _state(engine)
    _refuse_newer(stores, state)
    if state.behind:
        raise TrackingError(
            f"the tables of {stores.database} are {state.behind} steps older than MLflow {_version()}, which is here",
            hint="back up, then: sluiceway server upgrade (docs/server.md, Upgrades)",
        )


def upgrade(stores: Stores, say: Callable[[str], None]) -> None:
    """Bring the tables up to the installed MLflow: all of them, or none.

    Args:
        stores: which database. No server must run on it.
        say: told what is done.

    Raises:
        TrackingError: it cannot be reached, was made by a newer MLflow, or a step failed: then all is as it was.
    """
    with opened(stores) as engine:
        state = _state(engine)
    _refuse_newer(stores, state)
    if not state.behind:
        what = (
            f"are those of MLflow {_version()} already" if state.revision else "are not there yet: a start makes them"
        )
        say(f"the tables of {stores.database} {what}")
        return
    say(f"{state.behind} steps to MLflow {_version()}; if one fails, all is as it was")
    if stores.kind == "sqlite":
        _beside(stores)
    else:
        _in_place(stores)
    say(f"the tables of {stores.database} are those of MLflow {_version()}")


def _beside(stores: Stores) -> None:
    """Upgrade a copy of SQLite's file, and copy it back, which SQLite does whole or not at all."""
    file = sqlite_file(stores)
    copy = file.with_name(f"{file.name}.upgrade")
    try:
        copy.unlink(missing_ok=True)
        copy.touch(mode=0o600)
        copy_sqlite(file, copy)
        _in_place(replace(stores, database=f"sqlite:///{copy}"))
        copy_sqlite(copy, file)
    finally:
        copy.unlink(missing_ok=True)


def _in_place(stores: Stores) -> None:
    import sqlalchemy
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from mlflow.store.db.utils import _upgrade_db

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    try:
        with opened(stores) as engine:
            if stores.kind == "postgresql":
                sqlalchemy.event.listen(engine, "connect", _wait_for_locks)
            _upgrade_db(engine)  # type: ignore[no-untyped-call]
    except (TrackingError, CommandError, MlflowException) as error:
        raise TrackingError(
            f"the upgrade failed, and the tables are as they were: {getattr(error, 'message', error)}",
            hint="is every server on it stopped? Mend what was said, and give the same command again",
        ) from error


def _wait_for_locks(connection: Any, _: object) -> None:
    """Give up where others keep a table: a server that goes on, or PostgreSQL's part of an upgrade that was killed."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{_LOCKS}s'")
    connection.commit()


def _refuse_newer(stores: Stores, state: _State) -> None:
    if not state.known:
        raise TrackingError(
            f"the tables of {stores.database} were made by a newer MLflow than {_version()}, which is here",
            hint="install that one again; the way back to this one is a backup (docs/server.md, Upgrades)",
        )


def _state(engine: "Engine") -> _State:
    import sqlalchemy
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config, _get_schema_version

    if not sqlalchemy.inspect(engine).has_table("alembic_version"):
        return _State(None, known=True, behind=0)
    revision = _get_schema_version(engine)  # type: ignore[no-untyped-call]
    steps = [each.revision for each in ScriptDirectory.from_config(_get_alembic_config("")).walk_revisions()]  # type: ignore[no-untyped-call]
    if revision is None:
        return _State(None, known=True, behind=len(steps))
    return _State(revision, revision in steps, steps.index(revision) if revision in steps else 0)


def _version() -> str:
    from mlflow.version import VERSION

    return VERSION
