"""The commands of ``sluiceway server``: MLflow for a team, with accounts, its people and its backups."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Run MLflow for a team: accounts, PostgreSQL, an object store.", no_args_is_help=True)
user = typer.Typer(help="Accounts of the server at MLFLOW_TRACKING_URI, as its admin.", no_args_is_help=True)
app.add_typer(user, name="user")
Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the account.")]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Of the backup.", file_okay=False)]


class Role(StrEnum):
    """What an account may do."""

    reader = "reader"
    writer = "writer"
    admin = "admin"


@app.command(
    epilog="Examples:  sluiceway server start  |  "
    "sluiceway server start --host 0.0.0.0 --behind-proxy --name tracking.example.org"
)
def start(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 5000,
    workers: Annotated[int, typer.Option(help="Processes that answer; 0.5 GB each.", min=1)] = 2,
    name: Annotated[list[str] | None, typer.Option(help="A name that clients call it by; may be repeated.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="Certificate, as PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key, as PEM.")] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Something in front of it speaks TLS, so this need not.")
    ] = False,
) -> None:
    """Run the server in the foreground, until Ctrl-C or SIGTERM; settings come from the environment."""
    from sluiceway.server.settings import Door
    from sluiceway.server.start import start as run

    door = Door(host, port, tuple(name or ()), tls_certificate, tls_key, behind_proxy)
    raise typer.Exit(run(door, workers, os.environ, typer.echo))


@app.command(epilog="Example:  sluiceway server backup backups/2026-11-29")
def backup(
    folder: Folder,
    without_files: Annotated[
        bool, typer.Option("--without-files", help="The database alone, where the bucket has copies of its own.")
    ] = False,
) -> None:
    """Copy the database, accounts included, and all files into a new folder. The server may go on meanwhile."""
    from sluiceway.server.backup import backup as run
    from sluiceway.server.settings import stores

    made = run(stores(os.environ), folder, files=not without_files)
    typer.echo(f"{folder}: the database and {len(made['sha256']) - 1} files, of MLflow {made['mlflow']}")


@app.command(epilog="Example:  sluiceway server restore backups/2026-11-29")
def restore(folder: Folder) -> None:
    """Fill an empty database and an empty bucket from a backup. The server must not run."""
    from sluiceway.server.backup import restore as run
    from sluiceway.server.settings import stores

    made = run(stores(os.environ), folder)
    typer.echo(f"restored what was there at {made['made']}: the database and {len(made['sha256']) - 1} files")


@app.command(epilog="Example:  sluiceway server upgrade")
def upgrade() -> None:
    """Bring the database's tables up to the installed MLflow, or leave all as it was. The server must not run."""
    from sluiceway.server.settings import stores
    from sluiceway.server.upgrade import upgrade as run

    run(stores(os.environ), typer.echo)


@user.command("add", epilog="Example:  sluiceway server user add ada --role writer")
def add(name: Name, role: Annotated[Role, typer.Option(help="What it may do.")] = Role.reader) -> None:
    """Make an account; its password is asked for, or read as a line from the standard input."""
    from sluiceway.server import people

    people.add(name, _password(name), role.value)
    typer.echo(f"{name} is a {role.value} now")


@user.command("role", epilog="Example:  sluiceway server user role ada reader")
def set_role(
    name: Name, role: Annotated[Role, typer.Argument(metavar="ROLE", help="What it may do: reader, writer or admin.")]
) -> None:
    """Let an account do more or less."""
    from sluiceway.server import people

    people.set_role(name, role.value)
    typer.echo(f"{name} is a {role.value} now")


@user.command("password", epilog="Example:  sluiceway server user password ada")
def set_password(name: Name) -> None:
    """Give an account another password."""
    from sluiceway.server import people

    people.set_password(name, _password(name))
    typer.echo(f"{name} has another password")


@user.command("remove", epilog="Example:  sluiceway server user remove ada")
def remove(name: Name) -> None:
    """Remove an account. What it logged stays."""
    from sluiceway.server import people

    people.remove(name)
    typer.echo(f"{name} has no account any more")


@user.command("list", epilog="Example:  sluiceway server user list")
def show() -> None:
    """List accounts and what they may do."""
    from sluiceway.server import people

    for person in people.people():
        typer.echo(f"{person.name:<30} {person.role}")


def _password(name: str) -> str:
    if sys.stdin.isatty():
        return str(typer.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")
