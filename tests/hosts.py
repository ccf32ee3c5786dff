"""Hosts that can be powered off: network, process, host and mount namespaces of this machine, on a bridge; as root."""

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from clusters import MEMORY, Ray, ray_start, start, until_closed

_NEEDED = {"ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux"}
_HEALTH = {
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "4000",
    "RAY_health_check_failure_threshold": "3",
}
"""How soon a node that answers no more counts as lost; docs/training.md."""


def missing() -> str:
    """Say why no hosts can be had here; empty where they can."""
    absent = [f"{name} (Debian: {package})" for name, package in _NEEDED.items() if not shutil.which(name)]
    if absent:
        return f"not installed: {', '.join(absent)}"
    tag = f"sw{secrets.token_hex(2)}"
    for command in (
        f"ip netns add {tag}",
        f"ip link add {tag} type bridge",
        f"ip link add {tag}a type veth peer name {tag}b",
        "unshare --pid --fork --kill-child --mount-proc --uts true",
    ):
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        if done.returncode:
            _clean(tag)
            return f"`{command}`: {done.stderr.strip()}"
    _clean(tag)
    return ""


def _clean(tag: str) -> None:
    for command in (f"ip link del {tag}a", f"ip link del {tag}", f"ip netns del {tag}"):
        subprocess.run(command.split(), capture_output=True, check=False)


@dataclass
class Host:
    """A host with one network card; the disk is that of this machine, all but Ray's folder and /etc/hosts."""

    name: str
    address: str
    space: str
    """Its network namespace, and the end of its cable at the bridge."""
    folder: Path
    ray: Path
    """Ray's folder, on a disk of its own."""
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def prefix(self) -> tuple[str, ...]:
        """Command that runs another one here, with whatever that starts; killing it ends all of them."""
        script = f"hostname {self.name} && mount --bind {self.folder}/hosts /etc/hosts"
        # Not by exec: somebody has to be there for processes whose parents have gone.
        script += f' && mount -t tmpfs tmpfs {self.ray} && {{ "$@" & wait "$!"; }}'
        unshare = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts", "--mount")
        return ("nsenter", f"--net=/run/netns/{self.space}", *unshare, "sh", "-c", script, "sh")

    def run(self, stack: ExitStack, options: list[str], env: dict[str, str]) -> None:
        """Start ``ray start`` as the only thing that runs here."""
        more = {"GLOO_SOCKET_IFNAME": "eth0", "OMP_NUM_THREADS": "1", **_HEALTH, **env}
        log = self.folder / f"{self.name}.log"
        own = [f"--node-ip-address={self.address}", MEMORY, "--disable-usage-stats", "--block"]
        self.process = start(stack, [*self.prefix, *ray_start(*options, fixed=own)], log, more)
        stack.callback(self.process.kill)  # what stands between does not pass SIGTERM on

    def power_off(self) -> None:
        """Pull the cable and end everything at once: nobody is told."""
        assert self.process
        subprocess.run(["ip", "link", "del", self.space], check=True)
        self.process.kill()
        self.process.wait()


@contextmanager
def cluster_of_hosts(folder: Path) -> Iterator[tuple[Ray, list[Host]]]:
    """Start a head without CPUs and two hosts with one each.

    Args:
        folder: for the token and logs.
    """
    token = folder / "token"
    token.write_text(secrets.token_hex(32), encoding="utf-8")
    token.chmod(0o600)
    known = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0"}
    known |= {"RAY_raylet_start_wait_time_s": "170", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
    with ExitStack() as stack:
        head, *others = wired(stack, folder, 3)
        options = ["--head", "--port=6379", "--dashboard-port=8265", f"--dashboard-host={head.address}"]
        head.run(stack, [*options, f"--temp-dir={head.ray}", "--num-cpus=0"], known)
        made = Ray(f"{head.address}:6379", f"http://{head.address}:8265", known, folder, stack)
        until_closed(made)
        for each in others:
            each.run(stack, [f"--address={made.gcs}", "--num-cpus=1"], known)
        yield made, others


def wired(stack: ExitStack, folder: Path, count: int) -> list[Host]:
    """Make hosts that reach each other by name, and this machine at ``.254`` of their net; nothing runs there yet.

    Args:
        stack: takes them away.
        folder: for the names and the logs.
        count: of the hosts.
    """
    tag, net = f"sw{secrets.token_hex(2)}", f"10.{100 + secrets.randbelow(150)}.{secrets.randbelow(250)}"
    ray = Path("/tmp") / tag  # Ray's sockets have names of at most 107 letters
    ray.mkdir()
    stack.callback(shutil.rmtree, ray, ignore_errors=True)
    hosts = [Host(f"h{each}", f"{net}.{each + 1}", f"{tag}h{each}", folder, ray) for each in range(count)]
    names = "".join(f"{each.address} {each.name}\n" for each in hosts)
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{names}", encoding="utf-8")
    _wire(stack, tag, net, hosts)
    return hosts


def _wire(stack: ExitStack, tag: str, net: str, hosts: list[Host]) -> None:
    def ip(words: str, undo: str = "") -> None:
        subprocess.run(["ip", *words.split()], check=True)
        if undo:
            stack.callback(subprocess.run, ["ip", *undo.split()], capture_output=True, check=False)

    ip(f"link add {tag} type bridge", f"link del {tag}")
    ip(f"addr add {net}.254/24 dev {tag}")
    ip(f"link set {tag} up")
    for each in hosts:
        ip(f"netns add {each.space}", f"netns del {each.space}")
        ip(f"link add {each.space} type veth peer name eth0 netns {each.space}", f"link del {each.space}")
        ip(f"link set {each.space} master {tag} up")
        ip(f"-n {each.space} addr add {each.address}/24 dev eth0")
        ip(f"-n {each.space} link set eth0 up")
        ip(f"-n {each.space} link set lo up")
