"""``sluiceway job render``: what a scheduler gets, on the terminal or as files."""

from pathlib import Path

from rich.markup import escape

from sluiceway.launch.render import RENDERERS
from sluiceway.launch.render.handing import commands, prepare
from sluiceway.launch.render.place import Place
from sluiceway.stages.console import console
from sluiceway.stages.job_described import job_of


def render(root: Path, name: str, target: str, into: Path | None = None) -> None:
    """Print or write what a scheduler gets.

    Args:
        root: the project.
        name: the job.
        target: the scheduler.
        into: folder for the files; None: they are printed.

    Raises:
        UnknownName: there is no such job.
        ConfigError: the job cannot be written for this scheduler.
    """
    job, place = job_of(root, name), Place.here(root, into)
    files = RENDERERS[target](name, job, place)
    for file, text in files.items():
        if into is None:
            print(f"# {file}\n{text}")  # noqa: T201 - nothing may be wrapped or coloured
            continue
        into.mkdir(parents=True, exist_ok=True)
        (into / file).write_text(text, encoding="utf-8")
        if file.endswith(".sbatch"):
            (into / file).chmod(0o755)
        print(into / file)  # noqa: T201
    if into is not None:
        prepare(target, name, place)
        for command, why in commands(target, name, job, str(into)):
            console.print(f"  [cyan]{escape(command)}[/]  [dim]{escape(why)}[/]")
