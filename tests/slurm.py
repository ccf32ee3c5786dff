"""A Slurm of one's own for a test: munge, a controller and a node on this machine, without systemd, gone afterwards."""

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
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
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
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={node} CPUs=1 RealMemory=8000
PartitionName=low Nodes=n1 Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60
PartitionName=high Nodes=n1 MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
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
def slurm() -> Iterator[Slurm]:
    """Start one; the node is ready when this is entered."""
    # Munge trusts no folder below one that others may write to.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/run"))
    made = Slurm(folder)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        ports = dict(zip(("controller", "node"), free_ports(2), strict=True))
        text = CONFIGURATION.format(folder=folder, host=socket.gethostname(), **ports)
        (folder / "slurm.conf").write_text(text, encoding="utf-8")
        for name in ("state", "spool"):
            (folder / name).mkdir()
        _munge(stack, folder)
        for command in (["slurmctld", "-D"], ["slurmd", "-D", "-N", "n1"]):
            _start(stack, command, folder / f"{command[0]}.log", made.env)
        deadline = time.monotonic() + 60
        while "idle" not in _state(made):
            assert time.monotonic() < deadline, made.logs()
            time.sleep(0.2)
        yield made


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


def _start(stack: ExitStack, command: list[str], log: Path, env: dict[str, str], user: str | None = None) -> None:
    program = shutil.which(command[0], path=_path())
    assert program
    file = stack.enter_context(log.open("w"))
    process = subprocess.Popen(
        [program, *command[1:]], env={**os.environ, **env}, stdout=file, stderr=subprocess.STDOUT, user=user, group=user
    )
    stack.callback(_end, process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _state(made: Slurm) -> str:
    env = {**os.environ, **made.env}
    done = subprocess.run(
        ["timeout", "5", "sinfo", "-h", "-o", "%T"], env=env, capture_output=True, text=True, check=False
    )
    return done.stdout


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
