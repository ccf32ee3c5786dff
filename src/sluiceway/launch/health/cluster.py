"""Ray clusters: whether they answer and let us in, and whether their nodes are alike and see one folder."""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sluiceway.errors import SluicewayError
from sluiceway.launch.health.base import Seen, run, skew, some
from sluiceway.launch.health.web import ask, clock

_TOKEN_FILE = Path("~/.ray/auth_token")
_TOKEN_HINT = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH as on the cluster"  # noqa: S105 - a hint
NODES_SECONDS = 60.0
"""That joining a cluster and asking its nodes may take."""
_COMPARED = ("ray", "torch", "pytorch-lightning", "numpy", "pyarrow", "safetensors", "sluiceway")
"""Packages that must be the same everywhere for the same weights."""


def jobs_api(address: str, seconds: float) -> Iterator[Seen]:
    """Tell whether a cluster takes jobs from us, and whose Ray it has."""
    what = "Ray jobs"
    token = _token()
    answer = ask(f"{address}/api/version", {"Authorization": f"Bearer {token}"} if token else {}, seconds)
    if answer.status == 0:
        hint = "is its head up, and the port open or forwarded? `ssh -L 8265:127.0.0.1:8265 HEAD`"
        yield Seen(what, "fault", f"no answer at {address}: {answer.body}", hint)
    elif answer.status in (401, 403):
        yield Seen(what, "fault", f"{address} refused the token" if token else f"{address} wants a token", _TOKEN_HINT)
    elif answer.status != 200 or "ray_version" not in answer.json:
        yield Seen(what, "fault", f"{address} is no Jobs API: HTTP {answer.status}", "the head's dashboard is meant")
    else:
        theirs, ours = str(answer.json["ray_version"]), version("ray")
        same = theirs == ours
        found = f"{address} has Ray {theirs}" + f", here is {ours}" * (not same)
        yield Seen(what, "ok" if same else "warning", found, "install the same on both" * (not same))
        if not token:
            open_to_all = f"{address} lets anybody in: who reaches it can run code there"
            yield Seen(what, "warning", open_to_all, "start it with RAY_AUTH_MODE=token and a token; infra/README.md")
        if answer.skew is not None:
            yield clock("Ray clock", {address: answer.skew})


def _token() -> str:
    if given := os.environ.get("RAY_AUTH_TOKEN"):
        return given.strip()
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or _TOKEN_FILE).expanduser()
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def nodes(folder: Path, seconds: float = NODES_SECONDS) -> Iterator[Seen]:
    """Tell of the nodes of the cluster that ``RAY_ADDRESS`` names.

    Another process asks them: to reach a cluster may hang, and Ray connects a process once.
    """
    try:
        said = run(sys.executable, "-m", __name__, str(folder), seconds=seconds)
    except TimeoutError:
        found = f"{os.environ['RAY_ADDRESS']} did not let us join within {seconds:g} s"
        yield Seen("Ray cluster", "fault", found, f"is the head up, and this machine one of its nodes? {_TOKEN_HINT}")
        return
    lines = [line for line in said.output.splitlines() if line.startswith(_MARK)]
    if said.code or not lines:
        last = " ".join(said.output.splitlines()[-1:])
        found = f"{os.environ['RAY_ADDRESS']} did not let us join: {last or said.code}"
        yield Seen("Ray cluster", "fault", found, f"is the head up, and this machine one of its nodes? {_TOKEN_HINT}")
        return
    yield from (Seen(**each) for each in json.loads(lines[-1].removeprefix(_MARK)))


_MARK = "seen: "


def judge(
    answers: Mapping[str, Mapping[str, Any] | str], ahead: Mapping[str, float], ours: Mapping[str, str | None]
) -> list[Seen]:
    """Judge what nodes told of themselves.

    Args:
        answers: of :func:`~sluiceway.launch.probe.describe`, or why there is none, by node.
        ahead: seconds that each clock is ahead.
        ours: versions of the compared packages here, and of ``python``.
    """
    silent = [f"{node}: {answer}" for node, answer in answers.items() if isinstance(answer, str)]
    seen = [Seen("Ray cluster", "ok", f"{len(answers)} nodes answer")]
    if silent:
        seen = [Seen("Ray cluster", "fault", some(silent), "`ray status` on the head says what became of a node")]
    unlike = [
        f"{node}: {name} {found or 'is missing'} (here: {ours[name] or 'none'})"
        for node, answer in answers.items()
        if not isinstance(answer, str)
        for name, found in {"python": answer["python"], **answer["packages"]}.items()
        if found != ours[name]
    ]
    if unlike:
        way_out = "`pip install -c constraints.txt` the same on all nodes, or one image for all"
        seen.append(Seen("Ray packages", "fault", some(unlike), way_out))
    else:
        seen.append(Seen("Ray packages", "ok", f"the same on all: {', '.join(ours)}"))
    return [*seen, clock("Ray clocks", ahead)]


def _ask_nodes(folder: Path, seconds: float) -> Iterator[Seen]:
    """Join the cluster and ask: what :func:`nodes` runs in a process of its own."""
    from sluiceway.launch import probe
    from sluiceway.launch.cluster import connected
    from sluiceway.launch.nodes import Silence, ask, living
    from sluiceway.launch.storage import check_shared

    with connected():
        here = living()
        answers: dict[str, Mapping[str, Any] | str] = {}
        ahead = {}
        before = time.time()
        for node, answer in ask(probe.describe, dict.fromkeys(here, (_COMPARED,)), seconds).items():
            name = f"{node} {node.id[:6]}"
            answers[name] = answer.why if isinstance(answer, Silence) else answer
            if not isinstance(answer, Silence):
                ahead[name] = skew(answer["time"], before, time.time())
        yield from judge(answers, ahead, probe.describe(_COMPARED)["packages"] | {"python": _python()})
        try:
            count = check_shared(folder, patience=seconds)
        except SluicewayError as error:
            yield Seen("Ray storage", "fault", error.message, error.hint)
        else:
            alone = "one node, nothing to share" if count == 1 else f"{count} nodes write and read {folder}"
            yield Seen("Ray storage", "ok", alone)


def _python() -> str:
    return sys.version.split()[0]


if __name__ == "__main__":
    found = [
        {"what": each.what, "state": each.state, "found": each.found, "way_out": each.way_out}
        for each in _ask_nodes(Path(sys.argv[1]), NODES_SECONDS / 4)
    ]
    sys.stdout.write(f"{_MARK}{json.dumps(found)}\n")
