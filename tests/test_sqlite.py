"""The embedded store while something is wrong with its file: what is waited for, what is said, and what is not lost."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sluiceway.errors import TrackingError
from sluiceway.tracking import sqlite, store


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        folder = tmp_path_factory.mktemp("project")
        store.experiment(folder, "first")
        yield folder


def database(root: Path) -> Path:
    return store.folder(root) / "mlflow.db"


@contextmanager
def held(path: Path) -> Iterator[sqlite3.Connection]:
    """Hold a database as another process does."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield other
    finally:
        other.close()


def test_sqlite_waits_as_long_as_we_say_in_whatever_mlflow_opens(root: Path) -> None:
    from mlflow.tracking._tracking_service.utils import _get_store

    engine = _get_store(store.tracking_uri(root)).engine
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 120_000  # before MLflow sets its own
    with _get_store(store.tracking_uri(root)).ManagedSessionMaker() as session:
        from sqlalchemy import text

        assert session.execute(text("PRAGMA busy_timeout")).scalar() == 120_000


def test_a_store_that_is_held_for_a_while_is_waited_for(root: Path) -> None:
    waited = threading.Event()

    def ask() -> None:
        store.experiment(root, "second")
        waited.set()

    with held(database(root)) as other:
        asking = threading.Thread(target=ask)
        asking.start()
        assert not waited.wait(0.5)
        other.execute("COMMIT")
        asking.join(60)
    assert waited.is_set()


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:] = bytes(len(content) - 100)
    path.write_bytes(content)


def test_what_is_wrong_is_said_with_the_way_out(root: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    from mlflow.tracking._tracking_service.utils import _get_store

    path = database(root)
    whole = path.read_bytes()

    def refused(name: str) -> TrackingError:
        _get_store(store.tracking_uri(root)).engine.dispose()  # else it answers from memory
        with pytest.raises(TrackingError) as caught:
            store.experiment(root, name)
        return caught.value

    monkeypatch.setattr(sqlite, "WAIT", 0.1)
    with held(path):
        error = refused("held")
    assert error.message.endswith("database is locked")  # and nothing of the statement
    assert error.hint.startswith(f"another process holds {path}: `fuser {path}` says which")

    damage(path)
    error = refused("damaged")
    assert f"{path} is damaged: put a backup of it in its place; or move it away" in error.hint
    path.write_bytes(whole)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("said", "way"),
    [
        ("(sqlite3.OperationalError) attempt to write a readonly database\n[SQL: INSERT", "must be allowed to write"),
        ("(raised by a flush) (sqlite3.OperationalError) attempt to write a readonly database [SQL: INSERT", "must be"),
        ("(sqlite3.OperationalError) unable to open database file\n(Background on", "must be allowed to write"),
        ("(sqlite3.OperationalError) database or disk is full\n[SQL: INSERT", "free some room on the disk of"),
        ("(sqlite3.OperationalError) disk I/O error\n[SQL: INSERT", "is damaged: put a backup"),
        ("(sqlite3.OperationalError) no such table: runs\n[SQL: SELECT", "is damaged: put a backup"),
        ("(sqlite3.DatabaseError) database disk image is malformed\n[SQL: SELECT", "is damaged: put a backup"),
    ],
)
def test_each_word_of_sqlites_has_its_way_out(tmp_path: Path, said: str, way: str) -> None:
    error, path = Exception(said), tmp_path / "mlflow.db"
    path.touch()
    hint = sqlite.way_out(f"sqlite:///{path}", error)
    assert way in hint
    assert str(path) in hint
    assert hint.endswith("run the same command again, which goes on")
    assert "[SQL" not in store.one_line(error)
    assert "Background" not in store.one_line(error)
    assert "raised" not in store.one_line(error)
    assert sqlite.way_out("postgresql://host/db", error) == ""
    path.unlink()
    assert "mlflow.db is gone: put it back" in sqlite.way_out(f"sqlite:///{path}", error)


@pytest.mark.parametrize("number", sorted(store._OF_THE_DISK))
def test_what_the_disk_refuses_is_no_question_of_the_server(tmp_path: Path, number: int) -> None:
    with pytest.raises(TrackingError) as caught, store.refusals(tmp_path, "keep it"):
        raise OSError(number, os.strerror(number), "artifacts")
    assert "goes on" in caught.value.hint
    assert "server" not in caught.value.hint


@pytest.mark.parametrize("empty", [True, False])
def test_a_store_that_takes_the_place_of_a_lost_one_is_told(
    tmp_path: Path, empty: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    made: list[Path] = []
    monkeypatch.setattr(store, "_create", lambda path, _: made.append(path))
    path = tmp_path / "mlflow.db"
    if empty:
        path.touch()
    else:
        store._made(path, None)  # where nothing ever was
        assert capfd.readouterr().err == ""
        (tmp_path / "artifacts" / "1").mkdir(parents=True)
        made.clear()
    store._made(path, None)
    assert f"warning: {path} is {'empty' if empty else 'gone'}: a new one does not know" in capfd.readouterr().err
    assert made == ([] if empty else [path])
    path.write_bytes(b"SQLite")
    store._made(path, None)
    assert capfd.readouterr().err == ""
