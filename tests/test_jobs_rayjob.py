"""The creator of RayJobs, against a server that answers as Kubernetes' API does."""

import itertools
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sluiceway.errors import LaunchError
from sluiceway.launch.rayjob import Server, create_and_wait, main

MANIFEST = {"kind": "RayJob", "metadata": {"namespace": "ml", "generateName": "sluiceway-nightly-"}}
PATH = "/apis/ray.io/v1/namespaces/ml/rayjobs"


class Api:
    """Answers with prepared states, one after the other."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any] | int | str | None] = []
        self.refusal: tuple[int, str] | None = None
        self.asked: list[tuple[str, str, str, Any]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                api.asked.append(("POST", self.path, self.headers["Authorization"], body))
                if api.refusal:
                    self._answer(api.refusal[0], {"message": api.refusal[1]})
                else:
                    self._answer(201, {"metadata": {"name": "sluiceway-nightly-x7k"}})

            def do_GET(self) -> None:
                api.asked.append(("GET", self.path, self.headers["Authorization"], None))
                match api.states.pop(0):
                    case int() as refusal:
                        self._answer(refusal, {"message": "not now"})
                    case None:  # the connection breaks off
                        self.connection.shutdown(socket.SHUT_RDWR)
                    case str() as page:  # of a proxy
                        self.send_response(200)
                        self.end_headers()
                        self.wfile.write(page.encode())
                    case state:
                        self._answer(200, {"status": state})

            def _answer(self, code: int, document: Any) -> None:
                self.send_response(code)
                self.end_headers()
                self.wfile.write(json.dumps(document).encode())

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.tokens = itertools.chain(["pod-token"], itertools.repeat("fresh-token"))
        self.address = Server(f"http://127.0.0.1:{self.server.server_port}", lambda: next(self.tokens))


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    thread = threading.Thread(target=api.server.serve_forever, daemon=True)
    thread.start()
    yield api
    api.server.shutdown()
    thread.join()


def state(deployment: str, job: str = "") -> dict[str, Any]:
    return {"jobDeploymentStatus": deployment, "jobStatus": job}


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([{}, state("Running", "PENDING"), state("Running", "RUNNING"), state("Complete", "SUCCEEDED")], 0),
        ([state("Running", "RUNNING"), state("Complete", "FAILED")], 1),
        # The cluster was lost: the first failure is not the end.
        ([state("Retrying", "FAILED"), state("Running", "RUNNING"), state("Complete", "SUCCEEDED")], 0),
        ([state("Failed", "FAILED")], 1),
        ([state("ValidationFailed")], 1),
    ],
)
def test_it_ends_as_the_rayjob_does(api: Api, states: list[dict[str, Any]], code: int) -> None:
    api.states = list(states)
    said: list[str] = []
    assert create_and_wait(api.address, MANIFEST, said.append, poll=0.01) == code
    assert api.asked[0] == ("POST", PATH, "Bearer pod-token", MANIFEST)
    assert [path for _, path, _, _ in api.asked[1:]] == [f"{PATH}/sluiceway-nightly-x7k"] * len(states)
    assert said[0] == "created RayJob sluiceway-nightly-x7k"
    assert api.states == []
    assert not any("pod-token" in line for line in said)
    assert {token for _, _, token, _ in api.asked[1:]} == {"Bearer fresh-token"}


def test_a_server_that_is_away_for_a_while_is_asked_again(api: Api) -> None:
    api.states = [503, None, "<html>bad gateway</html>", 429, state("Complete", "SUCCEEDED")]
    assert create_and_wait(api.address, MANIFEST, lambda line: None, poll=0.01) == 0
    assert api.states == []


def test_a_rayjob_that_is_gone_is_an_error(api: Api) -> None:
    api.states = [404]
    with pytest.raises(LaunchError, match="cannot be read: not now"):
        create_and_wait(api.address, MANIFEST, lambda line: None, poll=0.01)


def test_a_refusal_says_why(api: Api) -> None:
    api.refusal = (403, "rayjobs.ray.io is forbidden")
    with pytest.raises(LaunchError, match=r"rayjobs\.ray\.io is forbidden"):
        create_and_wait(api.address, MANIFEST, lambda line: None)


def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(LaunchError, match="cannot be reached"):
        create_and_wait(Server("http://127.0.0.1:9", lambda: "x"), MANIFEST, lambda line: None)


def test_outside_a_pod_there_is_nothing_to_ask(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    path = tmp_path / "rayjob.json"
    path.write_text(json.dumps(MANIFEST), encoding="utf-8")
    assert main(str(path)) == 1
    assert "no pod with a service account" in capsys.readouterr().err
