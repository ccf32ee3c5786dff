"""``sluiceway job render``: what a scheduler gets, on the terminal or as files."""

from pathlib import Path

from sluiceway.launch.jobs import read_job
from sluiceway.launch.render import RENDERERS
from sluiceway.launch.render.place import Place


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
    files = RENDERERS[target](name, read_job(root, name), Place.here(root))
    for file, text in files.items():
        if into is None:
            print(f"# {file}\n{text}")  # noqa: T201 - nothing may be wrapped or coloured
            continue
        into.mkdir(parents=True, exist_ok=True)
        (into / file).write_text(text, encoding="utf-8")
        if file.endswith(".sbatch"):
            (into / file).chmod(0o755)
        print(into / file)  # noqa: T201
