"""What the CronJob on Kubernetes runs: create a RayJob, wait for its end, and end as it did.

So ``concurrencyPolicy: Forbid`` holds for the whole run, and the CronJob's history is that of the runs: the RayJob is
called after the CronJob's Job, and goes with it. It speaks to the API server that every pod finds in its environment,
with the pod's account: ``python -m sluiceway.launch.rayjob F``.
"""

import json
import os
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from sluiceway.errors import LaunchError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_POLL = 10.0
_PATIENCE = 600.0
"""Seconds for which the API server may be away."""
_AWAY = (OSError, HTTPException, ValueError)
"""No connection, or one that broke off; an answer that is none, as of a proxy. ``HTTPError`` is an ``OSError``."""
_FOR_NOW = frozenset({429, 500, 502, 503, 504})
"""What a server answers that is overloaded or starts anew."""
_THERE = 409
"""What it answers where there is an object of that name."""
LONGEST = 47
"""Letters of a RayJob's name, beyond which KubeRay refuses it."""
_ENDS: Mapping[str, int] = {"SUCCEEDED": 0, "FAILED": 1, "STOPPED": 1}
_LOST = ("Failed", "ValidationFailed")
"""States of the deployment in which no end of the job will come."""


@dataclass(frozen=True, slots=True)
class Server:
    """An API server."""

    url: str
    token: Callable[[], str]
    """Reads it: that of a pod is exchanged within the hour."""
    context: ssl.SSLContext | None = None

    @classmethod
    def inside(cls) -> "Server":
        """Return the server of the cluster that this pod is in.

        Raises:
            LaunchError: this is no pod, or one without an account.
        """
        host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
        token = ACCOUNT / "token"
        if not host or not token.exists():
            raise LaunchError("this is no pod with a service account", hint="`sluiceway job render` makes one")
        context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        address = f"[{host}]" if ":" in host else host
        return cls(f"https://{address}:{port}", lambda: token.read_text(encoding="utf-8").strip(), context)

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            HTTPError: the server refused.
            OSError, HTTPException, ValueError: it cannot be reached, or what came is no answer of its.
        """
        data = None if body is None else json.dumps(body).encode()
        head = {"Authorization": f"Bearer {self.token()}", "Content-Type": "application/json"}
        request = Request(f"{self.url}{path}", data, head, method=method)  # noqa: S310 - the address is the cluster's own
        with urlopen(request, timeout=30, context=self.context) as answer:  # noqa: S310
            document: dict[str, Any] = json.load(answer)
        return document


def create_and_wait(
    server: Server, manifest: Mapping[str, Any], say: Callable[[str], None], poll: float = _POLL
) -> int:
    """Create a RayJob and return 0 when it succeeded, 1 when it failed.

    Args:
        server: the API server.
        manifest: of the RayJob.
        say: told what happens.
        poll: seconds between two looks.

    Raises:
        LaunchError: the server refused, or was away for ten minutes.
    """
    path = f"/apis/ray.io/v1/namespaces/{manifest['metadata']['namespace']}/rayjobs"
    name = _create(server, path, manifest, say)
    said, seen = "", time.monotonic()
    while True:
        try:
            status = server.ask("GET", f"{path}/{name}").get("status", {})
            seen = time.monotonic()
        except _AWAY as error:
            if isinstance(error, HTTPError) and error.code not in _FOR_NOW:
                raise LaunchError(f"RayJob {name} cannot be read: {_reason(error)}") from None
            if time.monotonic() - seen > _PATIENCE:
                raise LaunchError(f"the API server is away: {_why(error)}") from None
            status = {}
        job, deployment = status.get("jobStatus", ""), status.get("jobDeploymentStatus", "")
        state = f"{deployment} {job} {status.get('message', '')}".strip()
        if state and state != said:
            say(f"{name}: {state}")
            said = state
        # A failed job whose cluster is begun again is `Retrying`; it has not ended.
        if deployment == "Complete" and job in _ENDS:
            return _ENDS[job]
        if deployment in _LOST:
            return 1
        time.sleep(poll)


def _create(server: Server, path: str, manifest: Mapping[str, Any], say: Callable[[str], None]) -> str:
    """Create the RayJob, unless an earlier pod of the same Job has done so, and return its name.

    Raises:
        LaunchError: the server refused, or is away.
    """
    try:
        name = str(server.ask("POST", path, manifest)["metadata"]["name"])
    except HTTPError as error:
        if error.code == _THERE and "name" in manifest["metadata"]:
            say(f"RayJob {manifest['metadata']['name']} is there: waiting on")
            return str(manifest["metadata"]["name"])
        raise LaunchError(
            f"the API server refused the RayJob: {_reason(error)}", hint="is KubeRay installed?"
        ) from None
    except _AWAY as error:
        raise LaunchError(f"the API server cannot be reached: {_why(error)}") from None
    say(f"created RayJob {name}")
    return name


def owned(manifest: Mapping[str, Any], job: str, uid: str) -> dict[str, Any]:
    """Return the manifest of a RayJob that belongs to a Job: it is called after it, and removed with it.

    It must not have the same name: KubeRay gives that to a Job of its own, which hands the command over.

    Args:
        manifest: of the RayJob.
        job: the Job's name; empty: it belongs to none.
        uid: the Job's.
    """
    if not job or not uid:
        return dict(manifest)
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "generateName"}
    start, _, moment = job.rpartition("-")
    end = f"-run-{moment}"
    metadata["name"] = start[: LONGEST - len(end)].rstrip("-") + end
    metadata["ownerReferences"] = [{"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": uid}]
    return {**manifest, "metadata": metadata}


def _why(error: Exception) -> str:
    return str(getattr(error, "reason", "") or error or type(error).__name__)


def _reason(error: HTTPError) -> str:
    try:
        return str(json.load(error).get("message", error.reason))
    except ValueError:
        return str(error.reason)


def main(path: str) -> int:
    """Create what the file says."""
    try:
        manifest = json.loads(Path(path).read_text(encoding="utf-8"))
        manifest = owned(manifest, os.environ.get("JOB_NAME", ""), os.environ.get("JOB_UID", ""))
        return create_and_wait(Server.inside(), manifest, lambda line: print(line, flush=True))  # noqa: T201
    except LaunchError as error:
        print(f"error: {error.message}\n  try: {error.hint}", file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
