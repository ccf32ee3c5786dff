"""The creator of RayJobs, against a server that answers as Kubernetes' API does."""

import itertools
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sluiceway.errors import LaunchError
from sluiceway.launch.outcome import CANCELLED
from sluiceway.launch.rayjob import LONGEST, Server, create_and_wait, main, owned
from sluiceway.launch.records import RAY_CLUSTER, JobPlaces
from sluiceway.stages.job_run import run

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


def test_a_pod_that_was_moved_waits_for_the_rayjob_of_the_one_before(api: Api) -> None:
    """Each pod of a Job computes the same name, so the second finds what the first has made."""
    manifest = owned(MANIFEST, "sluiceway-nightly-29123456", "4f-1")
    assert manifest == owned(MANIFEST, "sluiceway-nightly-29123456", "4f-1")
    metadata = manifest["metadata"]
    assert metadata["name"] == "sluiceway-nightly-run-29123456"
    assert "generateName" not in metadata
    (owner,) = metadata["ownerReferences"]
    assert owner == {"apiVersion": "batch/v1", "kind": "Job", "name": "sluiceway-nightly-29123456", "uid": "4f-1"}
    api.refusal, api.states = (409, "already exists"), [state("Complete", "SUCCEEDED")]
    said: list[str] = []
    assert create_and_wait(api.address, manifest, said.append, poll=0.01) == 0
    assert said[0] == "RayJob sluiceway-nightly-run-29123456 is there: waiting on"
    assert api.asked[-1][1] == f"{PATH}/sluiceway-nightly-run-29123456"
    with pytest.raises(LaunchError, match="already exists"):  # a name that the server made is nobody else's
        create_and_wait(api.address, MANIFEST, said.append, poll=0.01)


def test_the_longest_name_of_a_job_gives_one_that_kuberay_takes() -> None:
    longest = "sluiceway-" + "a" * 40 + "-29123456"
    name = owned(MANIFEST, longest, "4f-1")["metadata"]["name"]
    assert len(name) == LONGEST
    assert name.endswith("a-run-29123456")
    assert name != owned(MANIFEST, longest[:-1] + "7", "4f-1")["metadata"]["name"]
    assert owned(MANIFEST, "", "") == MANIFEST  # outside a Job


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


# Within the RayJob.


@pytest.mark.parametrize(("event", "code"), [("failed", 1), ("preempted", CANCELLED)])
def test_kuberay_trains_nothing_again_that_failed_by_itself_or_was_cancelled(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    event: str,
    code: int,
) -> None:
    """It begins a RayJob that ended with another code than 0 anew, whatever the reason."""
    places = ended(tmp_path, monkeypatch, event, code)
    monkeypatch.setenv(RAY_CLUSTER, "sluiceway-nightly-run-29123456-b4kk2")
    assert run(tmp_path, "nightly") == code
    assert (
        capsys.readouterr().out == "nightly: not begun again for RayJob sluiceway-nightly-run-29123456: it said why\n"
    )
    assert len(places.records()) == 1


@pytest.mark.parametrize(
    ("event", "code", "cluster"),
    [
        ("preempted", 75, "sluiceway-nightly-run-29123456-b4kk2"),  # the cluster was taken away
        ("lost", 1, "sluiceway-nightly-run-29123456-b4kk2"),
        ("failed", 1, "sluiceway-nightly-run-29124896-c7zx9"),  # the next night
        ("failed", 1, ""),  # no RayJob
    ],
)
def test_what_was_lost_is_begun_again_and_so_is_the_next_rayjob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: str, code: int, cluster: str
) -> None:
    places = ended(tmp_path, monkeypatch, event, code)
    monkeypatch.setenv(RAY_CLUSTER, cluster)
    run(tmp_path, "nightly")
    assert len(places.records()) == 2


def ended(root: Path, monkeypatch: pytest.MonkeyPatch, event: str, code: int) -> JobPlaces:
    """Write down a job, and a run of it that came to this in a RayJob."""
    (root / "infra").mkdir()
    (root / "params.yaml").write_text("pipelines: {digits: {code: src}}\n", encoding="utf-8")
    jobs = {"nightly": {"pipeline": "digits", "notify": {"on": []}}}
    (root / "infra" / "jobs.yaml").write_text(json.dumps({"jobs": jobs}), encoding="utf-8")
    places = JobPlaces.of(root, "nightly")
    monkeypatch.setenv(RAY_CLUSTER, "sluiceway-nightly-run-29123456-a1x9f")
    places.end(places.begin(), event, "it said why", code)
    return places
