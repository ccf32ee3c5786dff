"""What the doctor sees of servers: MLflow's and Ray's, dead, of another age, with other clocks and other rights."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_server

import pytest
import requests

from clusters import Ray, ray_cluster
from projects import ROOT
from sluiceway.launch.health import cluster
from sluiceway.launch.health.base import Seen
from sluiceway.tracking.health import tracking
from slurm import free_ports

NAMES = {"digits": "digits", "verses": "poet"}
SETTINGS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_REGISTRY_URI")


@dataclass
class Pretender:
    """Says what an MLflow server would say."""

    version: str = "3.17.2"
    ahead: float = 0.0
    password: str = ""
    forbidden: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str, authorization: str) -> tuple[int, object]:
        self.asked.append(path)
        if path == "/version":
            return 200, self.version
        if self.password and authorization != self.password:
            return 401, "You are not authenticated."
        if any(each in path for each in self.forbidden):
            return 403, "Permission denied"
        if path.endswith("/experiments/search"):
            return 200, {"experiments": [{"name": "digits", "experiment_id": "7"}]}
        if "/registered-models/search" in path:
            return 200, {"registered_models": [{"name": "poet"}]}
        return 400, {"error_code": "INVALID_PARAMETER_VALUE"}


@contextmanager
def served(pretender: Pretender) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = pretender.answer(self.path, self.headers.get("Authorization", ""))
            text = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_GET

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(time.time() + pretender.ahead, usegmt=True)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without credentials of whoever runs the tests."""
    for name in (*SETTINGS, "MLFLOW_TRACKING_URI", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def seen_of(uri: str, root: Path, seconds: float = 20) -> dict[str, Seen]:
    os.environ["MLFLOW_TRACKING_URI"] = uri
    try:
        return {each.what: each for each in tracking(root, NAMES, seconds)}
    finally:
        del os.environ["MLFLOW_TRACKING_URI"]


def test_a_server_that_is_well(tmp_path: Path) -> None:
    pretender = Pretender()
    with served(pretender) as uri:
        seen = seen_of(uri, tmp_path)
    assert {each.state for each in seen.values()} == {"ok"}
    assert seen["tracking rights"].found == "may read, log, promote"
    asked = [path.rpartition("/mlflow/")[2] for path in pretender.asked[1:]]
    assert asked == [
        "experiments/search",
        "registered-models/search?max_results=200",
        "experiments/set-experiment-tag",  # of digits, whose experiment is there
        "registered-models/create",  # whose model is not
        "experiments/create",
        "registered-models/alias",
    ]


def test_a_dead_and_a_silent_server(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    seen = seen_of(f"http://127.0.0.1:{port}", tmp_path)
    assert seen["tracking server"].state == "fault"
    assert "Connection refused" in seen["tracking server"].found
    with closing(create_server(("127.0.0.1", 0))) as silent:
        seen = seen_of(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path, seconds=0.5)
    assert seen["tracking server"].state == "fault"
    assert "timed out" in seen["tracking server"].found


def test_what_is_no_mlflow(tmp_path: Path) -> None:
    pretender = Pretender()
    pretender.answer = lambda *_: (404, "nginx")  # type: ignore[method-assign]
    with served(pretender) as uri:
        seen = seen_of(uri, tmp_path)
    assert seen["tracking server"].found == f"{uri} is no MLflow: HTTP 404"


def test_a_wrong_password_and_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(Pretender(password="Basic YW5uOnJpZ2h0LW9uZQ==")) as uri:  # ann:right-one
        assert seen_of(uri, tmp_path)["tracking server"].found == f"{uri} wants one"
        inside = uri.replace("//", "//ann:wrong-one@")
        for place in (inside, uri):
            seen = seen_of(place, tmp_path)
            assert seen["tracking server"].state == "fault"
            assert "tracking rights" not in seen
            assert "wrong" not in str(seen)
            monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
            monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong-one")
        monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
        monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
        assert seen_of(uri.replace("//", "//ann:right-one@"), tmp_path)["tracking server"].state == "ok"
        path = tmp_path / "home" / ".mlflow" / "credentials"
        path.parent.mkdir(parents=True)
        path.write_text("[mlflow]\nmlflow_tracking_username = ann\nmlflow_tracking_password = right-one\n")
        seen = seen_of(uri, tmp_path)
        assert seen["tracking server"].found == f"{uri} answers and knows the account"
        assert "right-one" not in str(seen)


@pytest.mark.parametrize(
    ("version", "state"),
    [("2.22.0", "fault"), ("3.4.9", "fault"), ("3.6.0", "warning"), ("99.0", "ok"), ("<html>", "warning")],
)
def test_a_server_of_another_age(version: str, state: str, tmp_path: Path) -> None:
    with served(Pretender(version=version)) as uri:
        seen = seen_of(uri, tmp_path)["tracking version"]
    assert seen.state == state
    assert version in seen.found


@pytest.mark.parametrize(("ahead", "state", "words"), [(-3600, "fault", "behind"), (20, "warning", "ahead")])
def test_a_server_whose_clock_is_off(ahead: float, state: str, words: str, tmp_path: Path) -> None:
    with served(Pretender(ahead=ahead)) as uri:
        seen = seen_of(uri, tmp_path)["tracking clock"]
    assert seen.state == state
    assert words in seen.found


@pytest.mark.parametrize(
    ("forbidden", "state", "found"),
    [
        (("set-experiment-tag",), "fault", "may read, promote; may not log: digits"),
        (("experiments/create",), "fault", "may read, promote; may not log: verses"),
        (("alias",), "warning", "may read, log; may not promote: verses"),
        (("registered-models/create",), "warning", "may read, log; may not promote: digits"),
        (("set-exp", "alias"), "fault", "may read; may not log: digits; may not promote: verses"),
    ],
)
def test_missing_rights(forbidden: tuple[str, ...], state: str, found: str, tmp_path: Path) -> None:
    with served(Pretender(forbidden=forbidden)) as uri:
        seen = seen_of(uri, tmp_path)["tracking rights"]
    assert (seen.state, seen.found) == (state, found)


def test_an_embedded_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [each.state for each in tracking(tmp_path, NAMES, 5)] == ["ok"]
    monkeypatch.setattr("sluiceway.tracking.health.os.access", lambda *_: False)
    assert [each.state for each in tracking(tmp_path, NAMES, 5)] == ["fault"]


@pytest.mark.slow
def test_the_rights_of_real_accounts_on_a_real_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with real_server(tmp_path) as (uri, ask):
        ask("admin", "POST", "mlflow/users/create", username="reader", password="reader-password")
        ask("admin", "POST", "mlflow/users/create", username="writer", password="writer-password")
        ask("writer", "POST", "mlflow/experiments/create", name="digits")
        ask("writer", "POST", "mlflow/registered-models/create", name="digits")
        names = {"digits": "digits"}
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        for name, state in (("writer", "ok"), ("reader", "fault"), ("admin", "ok")):
            monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
            monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", f"{name}-password")
            seen = {each.what: each for each in tracking(tmp_path, names, 30)}
            assert seen["tracking server"].state == "ok", seen
            assert seen["tracking version"].state == "ok", seen
            assert seen["tracking rights"].state == state, seen
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong-password")
        (seen,) = (each for each in tracking(tmp_path, names, 30) if each.what == "tracking server")
        assert "does not know the account" in seen.found
        assert "tags" not in ask("admin", "GET", "mlflow/experiments/get-by-name?experiment_name=digits")["experiment"]


@contextmanager
def real_server(folder: Path):
    """Run MLflow with accounts; whoever is not granted more may read."""
    (port,) = free_ports(1)
    uri = f"http://127.0.0.1:{port}"
    settings = folder / "basic_auth.ini"
    lines = ["[mlflow]", "default_permission = READ", f"database_uri = sqlite:///{folder}/accounts.db"]
    lines += ["admin_username = admin", "admin_password = admin-password", "auth_cache_ttl_seconds = 60"]
    lines += ["authorization_function = mlflow.server.auth:authenticate_request_basic_auth"]
    settings.write_text("\n".join(lines), encoding="utf-8")
    known = {"MLFLOW_AUTH_CONFIG_PATH": str(settings), "MLFLOW_FLASK_SERVER_SECRET_KEY": "k" * 32}
    known |= {"MLFLOW_AUTH_ADMIN_PASSWORD": "admin-password", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]

    def ask(who: str, method: str, path: str, **body: str) -> dict[str, object]:
        answer = requests.request(
            method, f"{uri}/api/2.0/{path}", json=body or None, auth=(who, f"{who}-password"), timeout=60
        )
        assert answer.ok, answer.text
        return answer.json()

    with ExitStack() as stack:
        log = stack.enter_context((folder / "server.log").open("w"))
        process = subprocess.Popen(command, env={**os.environ, **known}, stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        deadline = time.monotonic() + 120
        while True:
            try:
                if requests.get(f"{uri}/health", timeout=5).ok:
                    break
            except requests.RequestException:
                assert process.poll() is None, (folder / "server.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.3)
        yield uri, ask


# Ray.


def test_a_jobs_api_that_is_dead_or_of_another_kind() -> None:
    (port,) = free_ports(1)
    (seen,) = cluster.jobs_api(f"http://127.0.0.1:{port}", 5)
    assert seen.state == "fault"
    assert "Connection refused" in seen.found
    with served(Pretender()) as uri:
        (seen,) = cluster.jobs_api(uri, 5)
    assert seen.found == f"{uri} is no Jobs API: HTTP 400"


def test_a_cluster_of_another_ray_that_lets_anybody_in() -> None:
    pretender = Pretender(ahead=120)
    pretender.answer = lambda *_: (200, {"ray_version": "2.9.0"})  # type: ignore[method-assign]
    with served(pretender) as uri:
        other, open_, clock = cluster.jobs_api(uri, 5)
    assert other.state == "warning"
    assert "has Ray 2.9.0, here is" in other.found
    assert "lets anybody in" in open_.found
    assert clock.state == "fault"


def test_a_cluster_that_is_not_there_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    (seen,) = cluster.nodes(tmp_path, 3)
    assert seen.state == "fault"
    assert "did not let us join" in seen.found


@pytest.mark.slow
def test_a_real_cluster_and_its_nodes(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    with ray_cluster(folder, cpus=0) as made:
        made.add()
        asked = f"cluster.jobs_api({made.dashboard!r}, 30)"
        assert looked(asked)["Ray jobs"].found == f"{made.dashboard} wants a token"
        wrong = tmp_path / "wrong"
        wrong.write_text("0" * 64)
        refused = looked(asked, RAY_AUTH_TOKEN_PATH=str(wrong))
        assert refused["Ray jobs"].found == f"{made.dashboard} refused the token"
        assert {each.state for each in looked(asked, **made.token).values()} == {"ok"}
        assert_alike(made, tmp_path)


def looked(call: str, **environment: str) -> dict[str, Seen]:
    """Look in a process of its own: in this one a Ray of an earlier test may still listen to the environment."""
    code = "import dataclasses, json, pathlib; from sluiceway.launch.health import cluster; "
    code += f"print(json.dumps([dataclasses.asdict(each) for each in {call}]))"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {each["what"]: Seen(**each) for each in json.loads(done.stdout)}


def assert_alike(made: Ray, folder: Path) -> None:
    state = str(folder / "state")
    seen = looked(f"cluster.nodes(pathlib.Path({state!r}), 120)", **made.token, RAY_ADDRESS=made.gcs)
    assert {name: each.state for name, each in seen.items()} == {
        "Ray cluster": "ok",
        "Ray packages": "ok",
        "Ray clocks": "ok",
        "Ray storage": "ok",
    }, seen
    assert seen["Ray cluster"].found == "2 nodes answer"
    assert seen["Ray storage"].found == f"2 nodes write and read {folder / 'state'}"
