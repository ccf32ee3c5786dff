"""The team's server as it is: accounts and rights over HTTP, a whole pipeline, a backup lost and brought back."""

import base64
import json
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from projects import DIGITS_PARAMS, DIGITS_SUITE, Project, assert_friendly, make_project, runs_of, suite
from sluiceway.errors import TrackingError, UsageError
from sluiceway.server import files, people, settings, upgrade
from sluiceway.stages.train import _metric_points
from sluiceway.tracking import registry, runs, store
from sluiceway.tracking.shipper import Shipper
from sluiceway.training.spool import Spool
from sluiceway.usecases.pipeline import Pipeline
from slurm import free_ports
from team import ADMIN, ADMIN_PASSWORD, DATABASE_PASSWORD, KEY, KEY_ID, SECRETS, Team, make_old, missing, team, wait_for

if TYPE_CHECKING:
    from sqlalchemy import Engine

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "PostgreSQL, rclone")]
WRITER, READER = ("will", "the writer's pass:word@"), ("rita", "the reader's pass/word%")


@pytest.fixture(scope="module")
def server() -> Iterator[Team]:
    with team() as made, pytest.MonkeyPatch.context() as patch:
        become(patch, made, ADMIN, ADMIN_PASSWORD)
        people.add(*READER, role="reader")
        people.add(*WRITER, role="writer")
        yield made


@pytest.fixture(scope="module")
def project(server: Team, tmp_path_factory: pytest.TempPathFactory, digits_folder: Callable[..., Path]) -> Project:
    """A pipeline that ran through against the server, as the writer."""
    root = tmp_path_factory.mktemp("digits")
    made = make_project(root, {"digits": ("image", DIGITS_PARAMS, suite(*DIGITS_SUITE))})
    digits_folder(root / "data" / "raw" / "digits", 40)
    done = made.run("dvc", "repro", "--verbose", **server.client(*WRITER))
    (root / "run.log").write_text(done.stdout, encoding="utf-8")
    made.commit()
    return made


def become(patch: pytest.MonkeyPatch, server: Team, name: str, password: str) -> None:
    for key, value in server.client(name, password).items():
        patch.setenv(key, value)


def ask(server: Team, path: str, account: tuple[str, str] | None, body: object = None, method: str = "") -> int:
    """Return the status that the server answers with, as curl would see it."""
    headers = {"Content-Type": "application/json"}
    if account:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(account).encode()).decode()
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.uri}{path}", data, headers, method=method or None)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def champion(project: Project) -> registry.Version:
    found = registry.champion(project.root, "digits")
    assert found
    return found


# Beyond this machine.


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of ``localhost`` that vouches for itself; return it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now - timedelta(1), now + timedelta(1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "server.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def test_beyond_this_machine_it_speaks_tls_to_those_who_know_its_name(server: Team, tmp_path: Path) -> None:
    crt, key = certificate(tmp_path)
    tls = ssl.create_default_context(cafile=str(crt))
    (port,) = free_ports(1)
    wide = replace(server, port=port, process=None)
    options = ("--host", "0.0.0.0", "--name", "localhost", "--tls-certificate", str(crt), "--tls-key", str(key))
    try:
        wide.start(*options, tls=tls)

        def status(host: str) -> int:
            headers = {"Host": host, "Authorization": "Basic " + base64.b64encode(":".join(READER).encode()).decode()}
            request = urllib.request.Request(f"https://localhost:{port}/api/2.0/mlflow/users/current", headers=headers)
            try:
                return urllib.request.urlopen(request, timeout=30, context=tls).status
            except urllib.error.HTTPError as error:
                return error.code

        assert status(f"localhost:{port}") == 200
        assert status("rebound.example.org") == 403
        with pytest.raises(OSError, match=r"."):
            urllib.request.urlopen(f"http://localhost:{port}/health", timeout=5)
    finally:
        wide.stop()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AWS_SECRET_ACCESS_KEY", "a guess", "the secret key is another"),
        ("AWS_ACCESS_KEY_ID", "a-guess", "it does not know the key"),
        ("MLFLOW_ARTIFACTS_DESTINATION", "s3://nowhere/mlflow", "it has no such bucket"),
    ],
)
def test_a_store_that_refuses_is_told_before_anything_is_started(
    server: Team, name: str, value: str, words: str
) -> None:
    said = server.run("start", "--port", str(free_ports(1)[0]), check=False, **{name: value})
    assert f"refused: {words} (at {server.store.endpoint})" in said
    assert said.count("\n") == 2


def test_the_look_at_the_store_leaves_nothing_there(server: Team) -> None:
    assert not [path for path in server.store.bucket.rglob("*") if path.name == files.PROBE]
    assert "--allowed-hosts" not in server.log.read_text(encoding="utf-8")


# Who may do what.


@pytest.mark.parametrize(
    "path", ["/", "/api/2.0/mlflow/experiments/search?max_results=1", "/api/2.0/mlflow/users/list"]
)
def test_nobody_is_let_in_without_an_account(server: Team, path: str) -> None:
    assert ask(server, path, None) == 401
    assert ask(server, path, (ADMIN, "password1234")) == 401
    assert ask(server, path, (WRITER[0], READER[1])) == 401
    assert ask(server, "/health", None) == 200


def requests(project: Project, server: Team) -> dict[str, tuple[str, object, str]]:
    """Return what changes something in the project: path, body and method."""
    found = champion(project)
    experiment = store.experiment(project.root, "digits")
    run, model = {"run_id": found.run_id}, {"name": "digits"}
    api = "/api/2.0/mlflow"
    return {
        "create an experiment": (f"{api}/experiments/create", {"name": "mine"}, "POST"),
        "delete the experiment": (f"{api}/experiments/delete", {"experiment_id": experiment}, "POST"),
        "create a run": (f"{api}/runs/create", {"experiment_id": experiment}, "POST"),
        "log a metric": (f"{api}/runs/log-metric", {**run, "key": "x", "value": 1, "timestamp": 1}, "POST"),
        "log a batch": (f"{api}/runs/log-batch", {**run, "tags": [{"key": "x", "value": "y"}]}, "POST"),
        "set a tag": (f"{api}/runs/set-tag", {**run, "key": "x", "value": "y"}, "POST"),
        "end the run": (f"{api}/runs/update", {**run, "status": "FAILED"}, "POST"),
        "delete the run": (f"{api}/runs/delete", run, "POST"),
        "upload a file": (f"{api}-artifacts/artifacts/{experiment}/{found.run_id}/artifacts/x", b"x", "PUT"),
        "create a model": (f"{api}/registered-models/create", {"name": "mine"}, "POST"),
        "register a version": (
            f"{api}/model-versions/create",
            {**model, "source": f"models:/{found.model_id}"},
            "POST",
        ),
        "promote": (f"{api}/registered-models/alias", {**model, "alias": "champion", "version": "1"}, "POST"),
        "demote": (f"{api}/registered-models/alias", {**model, "alias": "champion"}, "DELETE"),
        "tag the version": (
            f"{api}/model-versions/set-tag",
            {**model, "version": "1", "key": "x", "value": "y"},
            "POST",
        ),
        "delete the version": (f"{api}/model-versions/delete", {**model, "version": "1"}, "DELETE"),
        "delete the model": (f"{api}/registered-models/delete", model, "DELETE"),
        "make an account": (f"{api}/users/create", {"username": "friend", "password": "a long password"}, "POST"),
        "become admin": (f"{api}/users/update-admin", {"username": READER[0], "is_admin": True}, "PATCH"),
    }


def test_a_reader_reads_all_and_changes_nothing(server: Team, project: Project, monkeypatch, tmp_path: Path) -> None:
    become(monkeypatch, server, *READER)
    found = champion(project)
    folder = registry.fetch(project.root, found, tmp_path / "model")
    assert (folder / "manifest.json").is_file()
    before = runs_of(project_as(project, server, READER), "digits")
    answers = {
        what: ask(server, path, READER, body, method)
        for what, (path, body, method) in requests(project, server).items()
    }
    assert {what: status for what, status in answers.items() if status != 403} == {}
    assert runs_of(project_as(project, server, READER), "digits") == before
    assert champion(project) == found


_WATCHED = """
import sys
from pathlib import Path
seen = []
sys.addaudithook(lambda event, given: event == "socket.connect" and seen.append(given[1]))
from sluiceway.tracking import registry, store
root, folder = Path.cwd(), Path(sys.argv[1])
model = registry.fetch(root, registry.champion(root, "digits"), folder)
client = store.client(root)
run = client.create_run(store.experiment(root, "digits"))
client.log_artifact(run.info.run_id, str(model / "manifest.json"))
client.delete_run(run.info.run_id)
print(sorted({each[1] for each in seen if isinstance(each, tuple)}))
"""
"""Fetches a model and uploads a file, and prints the ports that were spoken to."""


def test_files_go_through_the_server(server: Team, project: Project, tmp_path: Path) -> None:
    """MLflow's server tells clients to fetch files from its store themselves, which they may not reach."""
    many = {"MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "1"}  # else only uploads of 500 MB and more

    def spoken_to(folder: str, **env: str) -> list[int]:
        done = project_as(project, server, WRITER).run("python", "-c", _WATCHED, str(tmp_path / folder), **many, **env)
        return json.loads(done.stdout.splitlines()[-1])

    assert spoken_to("ours") == [server.port]
    mlflows_own = {f"MLFLOW_ENABLE_PROXY_MULTIPART_{each}": "true" for each in ("DOWNLOAD", "UPLOAD")}
    assert spoken_to("theirs", **mlflows_own) == sorted([server.port, server.store.port])


def test_the_same_requests_are_meant_as_they_stand(server: Team, project: Project, monkeypatch) -> None:
    """A reader must be refused for who he is, not because a request is wrong: the writer's are taken."""
    become(monkeypatch, server, *WRITER)
    asked = requests(project, server)
    harmless = ("log a metric", "set a tag", "upload a file", "promote", "tag the version", "create a run")
    assert {what: ask(server, asked[what][0], WRITER, *asked[what][1:]) for what in harmless} == dict.fromkeys(
        harmless, 200
    )
    for what in ("make an account", "become admin"):
        assert ask(server, asked[what][0], WRITER, *asked[what][1:]) == 403


class _As(Project):
    """A project whose commands run under an account."""

    account: dict[str, str]

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(**{**self.account, **more})


def project_as(project: Project, server: Team, account: tuple[str, str]) -> Project:
    made = _As(project.root)
    object.__setattr__(made, "account", server.client(*account))
    return made


def test_a_reader_who_registers_is_told_that_he_may_not(server: Team, project: Project) -> None:
    done = project_as(project, server, READER).run("sluiceway", "register", "digits", check=False)
    assert_friendly(done, 1, "Permission denied", "user role")
    stranger = project_as(project, server, ("nobody", "a long password")).run(
        "sluiceway", "register", "digits", check=False
    )
    assert_friendly(stranger, 1, "MLFLOW_TRACKING_USERNAME")
    assert "a long password" not in stranger.stdout


def test_a_role_is_taken_away_and_given_again(server: Team, project: Project, monkeypatch) -> None:
    become(monkeypatch, server, ADMIN, ADMIN_PASSWORD)
    create = ("/api/2.0/mlflow/experiments/create", ("temp", "a long password"))
    people.add(*create[1], role="writer")
    assert ask(server, *create, {"name": "one"}) == 200
    people.set_role("temp", "reader")
    assert ask(server, *create, {"name": "two"}) == 403
    people.set_role("temp", "admin")
    assert [each.role for each in people.people() if each.name == "temp"] == ["admin"]
    with pytest.raises(UsageError, match="there is an account 'temp' already"):
        people.add("temp", "a password of the second time", "reader")
    with pytest.raises(UsageError, match="there is no account 'nobody'"):
        people.remove("nobody")
    with pytest.raises(UsageError, match="no admin removes himself"):
        people.remove(ADMIN)
    people.set_password("temp", "another password")
    assert ask(server, *create, {"name": "three"}) == 401
    people.remove("temp")
    assert {each.name: each.role for each in people.people()} == {ADMIN: "admin", "rita": "reader", "will": "writer"}


def test_the_list_of_accounts_is_the_admins(server: Team, monkeypatch) -> None:
    become(monkeypatch, server, *WRITER)
    assert ask(server, "/api/2.0/mlflow/users/list", WRITER) == 200  # docs/server.md: MLflow's page shows names
    assert ask(server, "/api/2.0/mlflow/users/list", READER) == 403
    with pytest.raises(TrackingError, match="'will' may not do this"):
        people.people()
    become(monkeypatch, server, WRITER[0], "a guess of a password")
    with pytest.raises(TrackingError, match="does not know 'will'"):
        people.people()


def test_an_admin_changes_his_own_password(server: Team, monkeypatch) -> None:
    create = ("/api/2.0/mlflow/users/current", ("boss", "another long password"))
    become(monkeypatch, server, ADMIN, ADMIN_PASSWORD)
    people.add("boss", "a long password", "admin")
    become(monkeypatch, server, "boss", "a long password")
    people.set_password(*create[1])
    assert ask(server, *create) == 200
    become(monkeypatch, server, ADMIN, ADMIN_PASSWORD)
    people.remove("boss")


# A pipeline.


def test_a_pipeline_trains_registers_and_promotes_there(server: Team, project: Project, monkeypatch) -> None:
    become(monkeypatch, server, *READER)
    assert champion(project).number == 1
    (run,) = [each for each in runs_of(project_as(project, server, READER), "digits") if "sluiceway.pipeline" in each]
    assert run["status"] == "FINISHED"
    assert not (project.root / "mlflow" / "store").exists()
    kept = [path for path in server.store.bucket.rglob("*") if path.is_file()]
    assert any(path.name.endswith(".safetensors") for path in kept)


def test_no_secret_is_written_down(server: Team, project: Project, monkeypatch) -> None:
    secrets = [each.encode() for each in (*SECRETS, WRITER[1], READER[1])]
    places = [path for path in project.root.rglob("*") if path.is_file()]
    places += [server.log, server.store.folder / "log", *server.store.bucket.rglob("*"), server.postgres.folder / "log"]
    assert {path.name for path in places} >= {"dvc.lock", "run.log", "server.log", "training.json", "MLmodel"}
    found = [path for path in places if path.is_file() and any(secret in path.read_bytes() for secret in secrets)]
    assert found == []
    become(monkeypatch, server, *READER)
    run = store.client(project.root).get_run(champion(project).run_id)
    said = repr((run.to_dictionary(), champion(project).tags))
    assert "sluiceway.pipeline" in said
    assert not [secret for secret in secrets if secret.decode() in said]


def test_no_secret_is_an_argument_of_a_process(server: Team) -> None:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes())
        except OSError:  # it has ended
            continue
    assert any(b"server\0start" in line for line in lines)
    assert any(b"mlflow.server.auth" in line for line in lines)
    assert [line for line in lines for secret in SECRETS if secret.encode() in line] == []


# Faults, in small; benchmarks/server.py has them at full length.


@pytest.mark.parametrize("fault", ["server", "postgres"])
def test_every_point_arrives_once_though_something_crashes(
    server: Team, project: Project, monkeypatch, tmp_path: Path, fault: str
) -> None:
    become(monkeypatch, server, *WRITER)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    pipeline = Pipeline.load("digits", project.root)
    spool, step = Spool(tmp_path / "metrics.jsonl", 0), 0

    def add(points: int) -> None:
        nonlocal step
        for _ in range(points):
            step += 1
            spool.add(step, {"train/loss": 1 / step, "train/error": 2 / step})

    with runs.open_run(pipeline, fault) as run:
        with Shipper(run, tmp_path / "metrics.jsonl", 0.05, parse=_metric_points) as shipper:
            add(50)
            wait_for(lambda: len(run.sent_steps("train/loss")) == 50, 60)
            server.kill() if fault == "server" else server.postgres.stop()
            add(50)
            wait_for(lambda: bool(shipper.problem), 60)
            server.start() if fault == "server" else server.postgres.start()
            add(50)
            wait_for(lambda: not shipper.problem, 60, lambda: shipper.problem)
            spool.close()
        assert shipper.left == []
        for name, value in (("train/loss", 1), ("train/error", 2)):
            found = store.client(project.root).get_metric_history(run.id, name)
            assert sorted((each.step, each.value) for each in found) == [(n, value / n) for n in range(1, 151)]


def test_a_file_waits_for_a_store_that_refuses(server: Team, project: Project, monkeypatch, tmp_path: Path) -> None:
    become(monkeypatch, server, *WRITER)
    file = tmp_path / "sent" / "weights"
    file.parent.mkdir()
    file.write_bytes(bytes(range(256)) * 4000)
    failed = server.log.read_text(encoding="utf-8").count(server.store.endpoint)
    with runs.open_run(Pipeline.load("digits", project.root), "patience") as run:
        server.store.stop()
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(run.log_artifact, file)
            wait_for(lambda: server.log.read_text(encoding="utf-8").count(server.store.endpoint) > failed, 120)
            assert not sent.done()
            server.store.start()
            sent.result(120)
        there = store.client(project.root).download_artifacts(run.id, "weights", str(tmp_path))
    assert Path(there).read_bytes() == file.read_bytes()


# DVC's remote.


def test_dvc_keeps_its_data_in_the_same_store(server: Team, tmp_path: Path) -> None:
    project = _As(tmp_path)
    keys = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": KEY, "MLFLOW_TRACKING_URI": ""}
    object.__setattr__(project, "account", keys)
    data = tmp_path / "raw.bin"
    data.write_bytes(b"raw data" * 1000)
    for command in (
        "git init -q",
        "dvc init -q",
        "dvc config core.analytics false",
        "dvc remote add --default team s3://data/dvc",
        f"dvc remote modify team endpointurl {server.store.endpoint}",
        "dvc remote modify team verify true",
        "dvc add -q raw.bin",
        "dvc push",
    ):
        project.run(*command.split())
    (kept,) = [path for path in (server.store.bucket.parent / "data").rglob("*") if path.is_file()]
    assert kept.read_bytes() == data.read_bytes()

    def lose() -> None:
        data.unlink()
        shutil.rmtree(tmp_path / ".dvc" / "cache")

    lose()
    project.run("dvc", "pull")
    assert data.read_bytes() == b"raw data" * 1000
    lose()
    object.__setattr__(project, "account", {**keys, "AWS_SECRET_ACCESS_KEY": "a guess"})
    assert project.run("dvc", "pull", check=False).returncode != 0
    object.__setattr__(project, "account", keys)
    with server.store.stopped():
        kept.write_bytes(b"Raw data" + kept.read_bytes()[8:])
    assert project.run("dvc", "pull", check=False).returncode != 0
    assert not data.exists()
    written = [path for path in (tmp_path / ".dvc").rglob("*") if path.is_file()]
    assert not [path for path in [*written, tmp_path / "raw.bin.dvc"] if KEY.encode() in path.read_bytes()]


# Backups and upgrades.


def everything(project: Project) -> dict[str, Any]:
    """Return what a loss would be noticed by: runs, curves, versions, aliases, files."""
    client = store.client(project.root)
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    found: dict[str, Any] = {}
    for run in runs:
        curves = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        found[run.info.run_id] = (
            run.to_dictionary(),
            {name: [vars(each) for each in curve] for name, curve in curves.items()},
        )
    for model in client.search_registered_models():
        found[model.name] = (
            dict(model.aliases),
            [dict(each) for each in client.search_model_versions(f"name='{model.name}'")],
        )
    return json.loads(json.dumps(found, default=str))


def test_a_backup_that_failed_can_be_made_again(server: Team) -> None:
    file = "/api/2.0/mlflow-artifacts/artifacts/a-folder/file"
    assert ask(server, file, (ADMIN, ADMIN_PASSWORD), b"bytes", "PUT") == 200
    folder = server.folder / "backups" / "today"
    with server.store.stopped():
        said = server.run("backup", str(folder), check=False, AWS_MAX_ATTEMPTS="1")
    assert f"could not be reached (at {server.store.endpoint})" in said
    wrong = server.run("backup", str(folder), check=False, PGPASSWORD="a guess")
    assert "password authentication failed" in wrong
    assert list(folder.parent.iterdir()) == []
    said = server.run("backup", str(folder))
    assert said.count("\n") == 1
    assert next(folder.rglob("file")).read_bytes() == b"bytes"


def test_what_was_lost_comes_back_from_a_backup(server: Team, project: Project, monkeypatch, tmp_path: Path) -> None:
    become(monkeypatch, server, *READER)
    before = everything(project)
    assert len(before) >= 2
    folder = server.folder / "backup"
    assert "the database and" in server.run("backup", str(folder))
    assert folder.stat().st_mode & 0o077 == 0
    assert "is not empty" in server.run("backup", str(folder), check=False)
    assert "is not empty" in server.run("restore", str(folder), check=False)

    server.stop()
    server.postgres.drop()
    server.postgres.create()
    stranger = server.store.bucket / "mlflow" / "another"
    with server.store.stopped():
        shutil.rmtree(server.store.bucket)
        stranger.parent.mkdir(parents=True)
        stranger.write_text("somebody else's")
    damaged = shutil.copytree(folder, server.folder / "damaged")
    victim = next(damaged.rglob("*.safetensors"))
    victim.write_bytes(b"\0" + victim.read_bytes()[1:])
    said = server.run("restore", str(damaged), check=False)
    assert "is damaged" in said
    assert victim.name in said
    assert "not of this backup, such as another" in server.run("restore", str(folder), check=False)
    with server.store.stopped():
        stranger.unlink()
    assert "restored what was there" in server.run("restore", str(folder))
    server.start()

    assert everything(project) == before
    assert (registry.fetch(project.root, champion(project), tmp_path / "model") / "manifest.json").is_file()
    alias = {"name": "digits", "alias": "champion", "version": "1"}
    assert ask(server, "/api/2.0/mlflow/registered-models/alias", READER, alias) == 403
    assert ask(server, "/api/2.0/mlflow/registered-models/alias", WRITER, alias) == 200


@pytest.fixture
def old(server: Team, monkeypatch: pytest.MonkeyPatch) -> Iterator["Engine"]:
    """A database with the tables of MLflow 3.1, beside the server's."""
    uri = f"{settings.without_password(server.postgres.uri).removesuffix('mlflow')}old"
    monkeypatch.setenv("PGPASSWORD", DATABASE_PASSWORD)
    place = ("-h", "127.0.0.1", "-p", str(server.postgres.port), "-U", "mlflow")
    server.postgres.run("createdb", *place, "old")
    make_old(uri)
    engine = sqlalchemy.create_engine(uri)
    yield engine
    engine.dispose()
    server.postgres.run("dropdb", *place, "--force", "old")


def state(engine: "Engine") -> tuple[list[str], list[str]]:
    with engine.connect() as connection:
        revision = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version")).scalars().all()
    return list(revision), sorted(sqlalchemy.inspect(engine).get_table_names())


@contextmanager
def held(engine: "Engine") -> Iterator[Callable[[str], list[Any]]]:
    """Keep a table that a later step of the upgrade wants; give what is asked of the upgrade's connection there."""
    others = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'old'"

    def ask(what: str) -> list[Any]:
        with engine.connect() as connection:
            return list(connection.execute(sqlalchemy.text(f"SELECT {what} {others}")).scalars())

    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("LOCK TABLE registered_models IN ACCESS EXCLUSIVE MODE"))
        yield ask


def test_an_upgrade_that_fails_halfway_changes_nothing(server: Team, old: "Engine", monkeypatch) -> None:
    """Some twenty steps are done when it comes to the table that is kept from it."""
    kept = settings.Stores(str(old.url), "unused", DATABASE_PASSWORD)
    before, command = state(old), [sys.executable, "-m", "sluiceway", "server", "upgrade"]

    environment = {**server.environment(), "MLFLOW_BACKEND_STORE_URI": str(old.url)}
    with held(old) as ask, subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: ask("query"), 120)
        process.kill()
    wait_for(lambda: not ask("query"), 30)
    assert state(old) == before
    with pytest.raises(TrackingError, match="steps older than MLflow"):
        upgrade.check_tables(kept)

    def attempt() -> Exception | None:
        try:
            upgrade.upgrade(kept, lambda text: None)
        except TrackingError as error:
            return error
        return None

    with held(old) as ask, ThreadPoolExecutor(1) as pool:
        lost = pool.submit(attempt)
        wait_for(lambda: ask("query"), 60)
        assert ask("pg_terminate_backend(pid)") == [True]
        assert "the tables are as they were" in str(lost.result())
    assert state(old) == before

    monkeypatch.setattr(upgrade, "_LOCKS", 1)
    with held(old):
        refused = attempt()
    assert "canceling statement due to lock timeout" in str(refused)
    assert "is every server on it stopped?" in str(getattr(refused, "hint", ""))
    assert state(old) == before

    assert attempt() is None
    upgrade.check_tables(kept)
    assert set(state(old)[1]) > set(before[1])


def test_tables_that_are_up_to_date_are_left_alone(server: Team) -> None:
    said = server.run("upgrade")
    assert "already" in said
    assert said.count("\n") == 1
    assert ask(server, "/api/2.0/mlflow/experiments/search?max_results=1", READER) == 200
