"""``sluiceway job render``: what a scheduler gets, on the terminal or as files."""

from pathlib import Path

from rich.markup import escape

from sluiceway.errors import ConfigError
from sluiceway.launch.description import workers_of
from sluiceway.launch.jobs import Job
from sluiceway.launch.render import RENDERERS
from sluiceway.launch.render.handing import FOLDERS, commands, prepare
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
    job = job_of(root, name)
    if target in FOLDERS:
        _all_work(root, name, job)
    place = Place.here(root, into)
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


def _all_work(root: Path, name: str, job: Job) -> None:
    """Make sure that no more places are taken than the pipeline trains on.

    Raises:
        ConfigError: some would idle; and where one worker trains, it does so beside them, without their GPUs.
    """
    asked, (_, most) = job.resources.workers, workers_of(root, job.pipeline)
    if asked > most:
        params = f"pipelines/{job.pipeline}/params.yaml"
        raise ConfigError(
            f"jobs.{name}.resources.workers: {asked} is more than the {most} that {params} trains on",
            hint=f"the others would idle: write workers: {most} there, or train: {{workers: {asked}}} in {params}",
        )
