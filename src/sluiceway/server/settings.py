"""What the team's server is told: secrets by the environment alone, under MLflow's own names; the rest by options."""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sluiceway.errors import MissingPackage, UsageError

DATABASE, ARTIFACTS = "MLFLOW_BACKEND_STORE_URI", "MLFLOW_ARTIFACTS_DESTINATION"
ADMIN, ADMIN_PASSWORD = "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD"
SECRET_KEY = "MLFLOW_FLASK_SERVER_SECRET_KEY"  # noqa: S105 - a name
PASSWORD = "PGPASSWORD"  # noqa: S105 - a name
"""Where PostgreSQL's own library and programs look for the password."""

KNOWN_PASSWORDS = ("password1234", "password", "admin")
"""The first is what MLflow shipped as the admin's until 3.10."""
SHORTEST = 12
"""Characters of a password; MLflow refuses shorter ones."""
SHORTEST_KEY = 32
"""Characters of the key that sessions are signed with."""

_PACKAGES = {"postgresql": ("psycopg2", "psycopg2-binary"), "s3": ("boto3", "boto3")}
"""By scheme: what is imported, and how it is installed."""


@dataclass(frozen=True)
class Stores:
    """Where the server keeps what it is told, and what it is given."""

    database: str
    """SQLAlchemy's URI, without a password."""
    artifacts: str
    """A URI, such as ``s3://bucket/folder``."""
    password: str = field(default="", repr=False)
    """The database's; empty where none is needed, or where libpq finds it by itself."""

    @property
    def kind(self) -> str:
        """The database: ``postgresql`` or ``sqlite``."""
        return _kind(self.database)

    def environment(self) -> dict[str, str]:
        """Return what MLflow, libpq and PostgreSQL's programs read."""
        found = {DATABASE: self.database, ARTIFACTS: self.artifacts}
        return found | ({PASSWORD: self.password} if self.password else {})


@dataclass(frozen=True)
class Door:
    """Where the server listens, and for whom."""

    host: str = "127.0.0.1"
    port: int = 5000
    names: tuple[str, ...] = ()
    """Names and addresses by which clients call it."""
    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False
    """Whether something in front of it speaks TLS."""

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def stores(environ: Mapping[str, str]) -> Stores:
    """Read where things are kept.

    Raises:
        UsageError: what is missing or cannot be, all at once.
        MissingPackage: what the database or the artifact store is spoken to with.
    """
    _raise(_store_faults(environ))
    uri = environ[DATABASE]
    password = unquote(urlsplit(uri).password or "") or environ.get(PASSWORD, "")
    found = Stores(without_password(uri), environ[ARTIFACTS], password)
    need(found)
    return found


def check(environ: Mapping[str, str], door: Door) -> None:
    """Compare all that the server is told with what it must be told.

    Raises:
        UsageError: everything that is missing, impossible or unsafe, at once.
    """
    _raise([*_store_faults(environ), *_secret_faults(environ), *_door_faults(door)])


def without_password(uri: str) -> str:
    """Write a database's URI without its password, and with the driver that is installed.

    What PostgreSQL needs no password for in the URI: its library reads ``PGPASSWORD``. So none stands in files, in
    arguments of processes and in MLflow's messages.
    """
    parts = urlsplit(uri)
    scheme = "postgresql+psycopg2" if _kind(uri) == "postgresql" else parts.scheme
    if parts.password is None:
        return uri.replace(parts.scheme, scheme, 1)
    user, _, place = parts.netloc.rpartition("@")
    return parts._replace(scheme=scheme, netloc=f"{user.partition(':')[0]}@{place}").geturl()


def need(stores: Stores) -> None:
    """Raise :class:`MissingPackage` for what the stores are spoken to with, and is not installed."""
    for scheme in (stores.kind, urlsplit(stores.artifacts).scheme):
        module, package = _PACKAGES.get(scheme, ("", ""))
        if module and find_spec(module) is None:
            raise MissingPackage(f"{scheme} needs {package}", hint="pip install 'sluiceway[server]'")


def _store_faults(environ: Mapping[str, str]) -> Iterator[str]:
    if not (uri := environ.get(DATABASE)):
        yield f"{DATABASE} is not set: such as postgresql://mlflow@db.example.org/mlflow, its password in {PASSWORD}"
    elif _kind(uri) not in ("postgresql", "sqlite"):
        yield f"{DATABASE} names {_kind(uri) or 'no database'}; known: postgresql, sqlite"
    elif "password=" in urlsplit(uri).query:
        yield f"{DATABASE} has a password among its options, where it would be written down: put it into {PASSWORD}"
    if not environ.get(ARTIFACTS):
        yield f"{ARTIFACTS} is not set: such as s3://bucket/mlflow, or a folder"


def _secret_faults(environ: Mapping[str, str]) -> Iterator[str]:
    password, key = environ.get(ADMIN_PASSWORD, ""), environ.get(SECRET_KEY, "")
    if not password:
        yield f"{ADMIN_PASSWORD} is not set: nobody is let in without a password, and an admin must be the first"
    elif password in KNOWN_PASSWORDS:
        yield f"{ADMIN_PASSWORD} is one that everybody knows"
    elif len(password) < SHORTEST:
        yield f"{ADMIN_PASSWORD} has {len(password)} characters, at least {SHORTEST} are needed"
    if len(key) < SHORTEST_KEY:
        have = f"has {len(key)} characters, at least {SHORTEST_KEY} are needed" if key else "is not set"
        yield f"{SECRET_KEY} {have}: `openssl rand -hex 32` makes one; keep it, sessions are signed with it"


def _door_faults(door: Door) -> Iterator[str]:
    if "*" in door.names:
        yield "--name '*' would let every web page speak to the server through its visitors' browsers: give its names"
    if bool(door.certificate) != bool(door.key):
        yield "--tls-certificate and --tls-key belong together"
    for option, path in (("--tls-certificate", door.certificate), ("--tls-key", door.key)):
        if path and not path.is_file():
            yield f"{option}: {path} is not there"
    if door.is_loopback:
        return
    if not door.certificate and not door.behind_proxy:
        yield (
            f"--host {door.host} is beyond this machine, and passwords would travel in the clear: give "
            "--tls-certificate and --tls-key, or --behind-proxy where a proxy in front of it speaks TLS"
        )
    if not door.names:
        yield f"--host {door.host} is beyond this machine: give each --name that clients call it by"


def _kind(uri: str) -> str:
    return urlsplit(uri).scheme.partition("+")[0]


def _raise(faults: Iterator[str] | list[str]) -> None:
    if found := list(faults):
        raise UsageError(
            "\n  - ".join(["the server cannot be started or reached as it is described:", *found]),
            hint="docs/server.md has the whole environment; `sluiceway ui` needs none, for this machine alone",
        )
