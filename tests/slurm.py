"""A Slurm of one's own for a test: munge, a controller and nodes on this machine, without systemd, gone afterwards."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={controller.name}({controller.address})
SlurmctldPort={controller.port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
MailProg=/bin/true
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
ScronParameters=enable
{nodes}
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing() -> str:
    """Say why no Slurm can be had here; empty where one can."""
    absent = [name for name in PROGRAMS if not shutil.which(name, path=_path())]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "slurmd needs root"


def _path() -> str:
    return f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin{os.pathsep}/sbin"


@dataclass(frozen=True)
class Node:
    """A machine of one CPU."""

    name: str
    hostname: str
    address: str
    port: int
    prefix: tuple[str, ...] = ()
    """Command that runs another one there; ending it ends whatever runs there."""

    @property
    def line(self) -> str:
        """Return how slurm.conf describes it."""
        where = f"NodeHostname={self.hostname} NodeAddr={self.address} Port={self.port}"
        return f"NodeName={self.name} {where} CPUs=1 RealMemory=8000"


@dataclass(frozen=True)
class Slurm:
    """A running one."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def run(self, *command: str, cwd: Path | None = None, **env: str) -> str:
        """Run one of its clients; they would wait for a controller that is down."""
        done = subprocess.run(
            ["timeout", "60", *command],
            env={**os.environ, **self.env, **env},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}{self.logs()}"
        return done.stdout.strip()

    def logs(self) -> str:
        return "".join(f"\n--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))


@contextmanager
def slurm(*hosts: Node) -> Iterator[Slurm]:
    """Start one; its nodes are ready when this is entered.

    Args:
        *hosts: its machines, the controller's first; this one, where none are given.
    """
    ports = free_ports(2)
    here = [Node(socket.gethostname(), "", "127.0.0.1", ports[0]), Node("n1", "localhost", "127.0.0.1", ports[1])]
    controller, *nodes = hosts or here
    # Munge trusts no folder below one that others may write to.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/run"))
    made = Slurm(folder)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        lines = "\n".join(each.line for each in nodes)
        text = CONFIGURATION.format(folder=folder, controller=controller, nodes=lines)
        (folder / "slurm.conf").write_text(text, encoding="utf-8")
        (folder / "state").mkdir()
        _munge(stack, folder)
        _run(stack, made, controller, "slurmctld", "-D")
        for each in nodes:
            (folder / f"spool-{each.name}").mkdir()
            _run(stack, made, each, "slurmd", "-D", "-N", each.name)
        deadline = time.monotonic() + 60
        while _states(made) != ["idle"] * len(nodes):
            assert time.monotonic() < deadline, made.logs()
            time.sleep(0.2)
        yield made


def _run(stack: ExitStack, made: Slurm, host: Node, *command: str) -> None:
    log = made.folder / f"{command[0]}-{host.name}.log"
    process = _start(stack, [*host.prefix, *command], log, made.env)
    if host.prefix:
        stack.callback(process.kill)  # what stands between does not pass SIGTERM on


def _munge(stack: ExitStack, folder: Path) -> None:
    user = pwd.getpwnam("munge")
    home = folder / "munge"
    home.mkdir(mode=0o755)
    key = home / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    for path in (home, key):
        os.chown(path, user.pw_uid, user.pw_gid)
    options = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
    command = ["munged", "--foreground", *(f"--{name}={home / file}" for name, file in options.items())]
    _start(stack, command, folder / "munged.log", {}, user="munge")
    deadline = time.monotonic() + 30
    while not (home / "socket").exists():
        assert time.monotonic() < deadline, (folder / "munged.log").read_text()
        time.sleep(0.05)


def _start(
    stack: ExitStack, command: list[str], log: Path, env: dict[str, str], user: str | None = None
) -> "subprocess.Popen[bytes]":
    program = shutil.which(command[0], path=_path())
    assert program
    file = stack.enter_context(log.open("w"))
    process = subprocess.Popen(
        [program, *command[1:]],
        env={**os.environ, "PATH": _path(), **env},
        stdout=file,
        stderr=subprocess.STDOUT,
        user=user,
        group=user,
    )
    stack.callback(_end, process)
    return process


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _states(made: Slurm) -> list[str]:
    env = {**os.environ, **made.env}
    done = subprocess.run(
        ["timeout", "5", "sinfo", "-h", "-N", "-p", "low", "-o", "%T"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split()


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
