"""Ray clusters of one's own for tests: a head and nodes as processes of this machine, with a token, gone afterwards."""

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests

from projects import BIN, ROOT
from slurm import free_ports

MEMORY = "--object-store-memory=100000000"
_PATIENCE = 600


@dataclass
class Ray:
    """A running cluster."""

    gcs: str
    dashboard: str
    token: dict[str, str]
    """What whoever speaks to it must have in the environment."""
    folder: Path
    """Of logs."""
    stack: ExitStack = field(repr=False)

    def add(self, *prefix: str, cpus: int = 1, **env: str) -> "subprocess.Popen[bytes]":
        """Start a node, by a command that runs it, and wait until it has joined."""
        options = [f"--address={self.gcs}", f"--num-cpus={cpus}", "--node-ip-address=127.0.0.1"]
        log = self.folder / f"node-{secrets.token_hex(3)}.log"
        return start(self.stack, [*prefix, *ray_start(*options)], log, {**self.token, **env})


@contextmanager
def ray_cluster(folder: Path, cpus: int = 1, *, jobs: bool = True) -> Iterator[Ray]:
    """Start a head that listens on loopback; it lets nobody in who has no token.

    Args:
        folder: for its token and its log.
        cpus: of the head.
        jobs: whether it has a Jobs API, which takes ten processes more.
    """
    token = folder / "token"
    token.write_text(secrets.token_hex(32), encoding="utf-8")
    token.chmod(0o600)
    gcs, dashboard = free_ports(2)
    known = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0"}
    known["RAY_raylet_start_wait_time_s"] = "170"  # a busy machine
    known["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] = "0"
    # Ray's sockets have names of at most 107 letters.
    short = Path("/tmp") / f"sw-{secrets.token_hex(3)}"
    options = ["--head", f"--port={gcs}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1"]
    options += [f"--temp-dir={short}", f"--num-cpus={cpus}", "--node-ip-address=127.0.0.1"]
    options += [f"--include-dashboard={str(jobs).lower()}"]
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, short, ignore_errors=True)
        start(stack, ray_start(*options), folder / "head.log", known)
        made = Ray(f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dashboard}", known, folder, stack)
        if jobs:
            until_closed(made)
        yield made


def ray_start(*options: str, fixed: list[str] | None = None) -> list[str]:
    """Return the command of a node; ``fixed`` are its last options, where it is not one of several on this machine."""
    (agent,) = free_ports(1)  # where several agents want Ray's own port, all but one do without
    here = [MEMORY, f"--dashboard-agent-listen-port={agent}", "--disable-usage-stats", "--block"]
    return [str(BIN / "ray"), "start", *options, *(fixed or here)]


def start(stack: ExitStack, command: list[str], log: Path, env: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start ``ray start --block``, wait until it runs, and end it with the stack."""
    file = stack.enter_context(log.open("w"))
    process = subprocess.Popen(
        command,
        env={**os.environ, **env, "PYTHONPATH": str(ROOT / "src"), "PATH": f"{BIN}:{os.environ['PATH']}"},
        stdout=file,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    stack.callback(_end, process)
    deadline = time.monotonic() + _PATIENCE
    while "Ray runtime started" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    return process


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Power a node off: its own way out takes Ray some seconds for each of its processes."""
    if process.poll() is None:
        for each in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.kill()
    process.wait()


def until_closed(made: Ray) -> None:
    """Wait until the head answers, and see that it lets nobody in who has no token."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            answer = requests.get(f"{made.dashboard}/api/jobs/", timeout=5)
        except requests.RequestException:
            assert time.monotonic() < deadline
            time.sleep(0.5)
            continue
        assert answer.status_code == 401
        return
