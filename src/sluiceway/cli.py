"""The command line: one command per stage, and those that show what there is.

A command imports what it runs only when it runs, so that ``sluiceway --help`` answers at once.
"""

import errno
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sluiceway import __version__, cli_job, cli_server
from sluiceway.errors import Preempted, SluicewayError

if TYPE_CHECKING:
    from sluiceway.usecases.pipeline import Pipeline

app = typer.Typer(
    name="sluiceway",
    help="Raw data to versioned deep-learning models, through three gates: data, cost and model.",
    epilog="Examples:  sluiceway show digits  |  sluiceway params verses train  |  dvc repro register@digits",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

STAGES, DATA, JOBS, LOOK = "Stages (dvc repro runs them in order)", "Data", "Jobs", "Look"
SEARCH, TEAM = "Search", "Team"
PipelineName = Annotated[str, typer.Argument(metavar="PIPELINE", help="Name of a folder below pipelines/.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sluiceway {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole trace of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version and leave.")
    ] = False,
) -> None:
    """Set what holds for every command."""
    if debug:
        os.environ["SLUICEWAY_DEBUG"] = "1"


@app.command(rich_help_panel=STAGES, epilog="Example:  sluiceway sample digits")
def sample(pipeline: PipelineName) -> None:
    """Fetch the sample data of a built-in pipeline into data/raw/."""
    from sluiceway.stages.sample import sample as run

    run(_load(pipeline))


@app.command(rich_help_panel=STAGES, epilog="Example:  sluiceway validate digits")
def validate(pipeline: PipelineName) -> None:
    """Measure the raw data and let the data gate judge it."""
    from sluiceway.stages.validate import validate as run

    run(_load(pipeline))


@app.command(
    rich_help_panel=STAGES,
    epilog="Examples:  sluiceway gate digits  |  sluiceway gate digits --override 'the 3s are new, and right'",
)
def gate(
    pipeline: PipelineName,
    override: Annotated[
        str | None, typer.Option(help="Let this very data through a closed gate, on the record, for this reason.")
    ] = None,
) -> None:
    """Stop here, with exit code 1, if the data gate is closed."""
    from sluiceway.stages import gate as stage

    if override is None:
        stage.gate(_load(pipeline))
    else:
        stage.override(_load(pipeline), override)


@app.command(rich_help_panel=STAGES, epilog="Example:  sluiceway preprocess digits")
def preprocess(pipeline: PipelineName) -> None:
    """Turn accepted examples into shards, and fit the baselines."""
    from sluiceway.stages.preprocess import preprocess as run

    run(_load(pipeline))


@app.command(rich_help_panel=STAGES, epilog="Example:  sluiceway train digits")
def train(pipeline: PipelineName) -> None:
    """Train the network under the cost gate; an interrupted training goes on."""
    from sluiceway.stages.train import train as run

    run(_load(pipeline))


@app.command(rich_help_panel=STAGES, epilog="Example:  sluiceway evaluate digits")
def evaluate(pipeline: PipelineName) -> None:
    """Score the model beside the baselines."""
    from sluiceway.stages.evaluate import evaluate as run

    run(_load(pipeline))


@app.command(rich_help_panel=STAGES, epilog="Example:  sluiceway register digits")
def register(pipeline: PipelineName) -> None:
    """Register the model; the champion moves if the model gate is open."""
    from sluiceway.stages.register import register as run

    run(_load(pipeline))


expectations = typer.Typer(help="Write and run the contract on the example table.", no_args_is_help=True)
labels = typer.Typer(help="Review labels that may be wrong, and feed corrections back.", no_args_is_help=True)
app.add_typer(expectations, name="expectations", rich_help_panel=DATA)
app.add_typer(labels, name="labels", rich_help_panel=DATA)
app.add_typer(cli_job.app, name="job", rich_help_panel=JOBS)
app.add_typer(cli_server.app, name="server", rich_help_panel=TEAM)


@expectations.command("suggest", epilog="Example:  sluiceway expectations suggest digits --force")
def expectations_suggest(
    pipeline: PipelineName,
    force: Annotated[bool, typer.Option("--force", help="Replace the suite that is there.")] = False,
) -> None:
    """Infer a suite from the data at hand, for you to review."""
    from sluiceway.stages.expectations import suggest

    suggest(_load(pipeline), force=force)


@expectations.command("check", epilog="Example:  sluiceway expectations check digits")
def expectations_check(pipeline: PipelineName) -> None:
    """Run the suite alone on the data at hand."""
    from sluiceway.stages.expectations import check

    check(_load(pipeline))


@labels.command("review", epilog="Example:  sluiceway labels review digits")
def labels_review(pipeline: PipelineName) -> None:
    """Write the labels that may be wrong as a table, worst first, for you to decide on."""
    from sluiceway.stages.labels import review

    review(_load(pipeline))


@labels.command("apply", epilog="Example:  sluiceway labels apply digits")
def labels_apply(pipeline: PipelineName) -> None:
    """Feed your decisions back as corrections; raw data is never changed."""
    from sluiceway.stages.labels import apply

    apply(_load(pipeline))


@app.command(
    rich_help_panel=DATA,
    epilog="Examples:  sluiceway new flowers --usecase image  |  sluiceway new prices --usecase text --target number",
)
def new(
    pipeline: PipelineName,
    usecase: Annotated[str, typer.Option(help="A built-in one (`sluiceway usecases`), or `package.module:NAME`.")],
    target: Annotated[
        str | None,
        typer.Option(help="What is learned, such as class, classes, number or text; default: the use case's first."),
    ] = None,
) -> None:
    """Begin a pipeline: its parameters with every section, an empty contract, a line in params.yaml."""
    from sluiceway.stages.new import new as run

    run(Path.cwd(), pipeline, usecase, target)


@app.command(rich_help_panel=DATA, epilog="Example:  sluiceway split digits")
def split(pipeline: PipelineName) -> None:
    """Put each class on every side; what is put elsewhere than the hash says is written down for good."""
    from sluiceway.stages.split import split as run

    run(_load(pipeline))


@app.command(
    rich_help_panel=SEARCH,
    epilog="Examples:  sluiceway tune digits  |  sluiceway tune digits --apply",
)
def tune(
    pipeline: PipelineName,
    apply: Annotated[bool, typer.Option("--apply", help="Write what won into params.yaml; comments stay.")] = False,
) -> None:
    """Search for better parameters under the cost budget; an interrupted search goes on."""
    from sluiceway.stages.tune import tune as run

    run(_load(pipeline), apply=apply)


@app.command(rich_help_panel=LOOK, epilog="Example:  sluiceway show digits")
def show(pipeline: PipelineName) -> None:
    """Summarise the last run: verdicts, scores, cost, where the time went, and what to type next."""
    from sluiceway.stages.show import show as run

    run(_load(pipeline))


@app.command(rich_help_panel=LOOK, epilog="Examples:  sluiceway params digits  |  sluiceway params digits train.lr")
def params(
    pipeline: PipelineName,
    option: Annotated[
        str, typer.Argument(metavar="OPTION", help="An option or a section, such as train or train.lr.")
    ] = "",
) -> None:
    """Explain a pipeline's options with their present values."""
    from sluiceway.stages.params import explain

    explain(_load(pipeline), option)


@app.command(rich_help_panel=LOOK, epilog="Example:  sluiceway usecases")
def usecases() -> None:
    """List the built-in use cases."""
    from sluiceway.stages.params import list_usecases

    list_usecases(Path.cwd())


@app.command(rich_help_panel=LOOK, epilog="Examples:  sluiceway doctor  |  sluiceway doctor --seconds 30")
def doctor(
    seconds: Annotated[float, typer.Option(help="Time limit of each check.", min=1.0)] = 10.0,
) -> None:
    """Check all that a pipeline needs around it: packages, git, DVC, MLflow, Ray, schedulers, disk, clocks, rights.

    Nothing stays changed, and no secret is printed. Exit code 0: nothing is wrong. 1: faults, each with a way out.
    """
    from sluiceway.stages.doctor import doctor as run

    raise typer.Exit(run(Path.cwd(), seconds))


@app.command(rich_help_panel=LOOK, epilog="Example:  sluiceway ui --port 5001")
def ui(
    port: Annotated[int, typer.Option(help="Port on this machine.", min=1024, max=65535)] = 5000,
) -> None:
    """Open the MLflow UI on this project's store, for this machine only."""
    from sluiceway.tracking.ui import serve
    from sluiceway.usecases.pipeline import project_params

    project_params(Path.cwd())
    serve(Path.cwd(), port, typer.echo)


def _load(name: str) -> "Pipeline":
    from sluiceway.usecases.pipeline import Pipeline

    return Pipeline.load(name, Path.cwd())


def main() -> None:
    """Run the command line; errors of ours are said in words, others keep their trace."""
    try:
        app()
    except SluicewayError as error:
        _fail(error)
    except KeyboardInterrupt:
        if _debugging():
            raise
        typer.secho("interrupted", fg="yellow", err=True)
        sys.exit(130)
    except OSError as error:
        _fail(_of_the_machine(error))


def _of_the_machine(error: OSError) -> SluicewayError:
    """Say what the machine refused; what it never refuses a right program keeps its trace."""
    ways = {
        errno.EACCES: "who runs this must be allowed to",
        errno.EPERM: "who runs this must be allowed to",
        errno.EISDIR: "a folder stands where a file should be: move it away",
        errno.ENOTDIR: "a file stands where a folder should be: move it away",
        errno.EROFS: "the disk is there for reading only",
        errno.ENOSPC: "make room on the disk",
        errno.EDQUOT: "make room in what you may use of the disk",
    }
    if error.errno not in ways or _debugging():
        raise error
    where = f": {error.filename}" if error.filename else ""
    return SluicewayError(f"{(error.strerror or str(error)).lower()}{where}", hint=ways[error.errno])


def _debugging() -> bool:
    return bool(os.environ.get("SLUICEWAY_DEBUG"))


def _fail(error: SluicewayError) -> None:
    if isinstance(error, Preempted):
        # Who is told again, while Python ends, still asks for a requeue by the exit code.
        for each in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
    if _debugging():
        raise error
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(error.message, err=True)
    if error.hint:
        typer.secho("  try: ", fg="cyan", nl=False, err=True)
        typer.echo(error.hint, err=True)
    sys.exit(error.exit_code)
