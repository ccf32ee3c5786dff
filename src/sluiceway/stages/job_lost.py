"""``sluiceway job check``: a run that ended without a word - kill -9, a power cut - is told, once."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rich.markup import escape

from sluiceway.launch.jobs import Job
from sluiceway.launch.notify import notify
from sluiceway.launch.outcome import Outcome
from sluiceway.launch.records import JobPlaces, Record
from sluiceway.launch.secrets import load_secrets
from sluiceway.stages.console import console
from sluiceway.stages.job_described import job_of


def check(root: Path, name: str) -> int:
    """Tell who wants to know if runs were lost of which nobody has been told, and return 1 then, else 0.

    Raises:
        UnknownName: there is no such job.
        ConfigError: ``infra/jobs.yaml`` has faults, or a secret is missing.
        Busy: the job runs again, and has told of it.
    """
    job, places = job_of(root, name), JobPlaces.of(root, name)
    if not untold(places):
        return 0
    load_secrets(root, job)
    with places.alone():
        return int(tell(root, name, job, places, lambda text: console.print(escape(text))))


def untold(places: JobPlaces) -> list[Record]:
    """Return the lost runs of which nobody has been told, oldest first."""
    return [each for each in places.records() if not each.event and each.gone]


def tell(root: Path, name: str, job: Job, places: JobPlaces, say: Callable[[str], None]) -> bool:
    """Tell of lost runs, and let the job know that its work is to be gone on with.

    Only whoever holds the job's lock may call this, and before it writes a record of its own: then none is alive.

    Args:
        root: the project.
        name: the job.
        job: who wants to know.
        places: the job's.
        say: told the same.

    Returns:
        Whether there were some.
    """
    lost = [each for each in places.records() if not each.event]
    if not lost:
        return False
    last = lost[-1]
    began = datetime.fromisoformat(last.started).astimezone().strftime("%Y-%m-%d %H:%M")
    sentence = f"{name}: the run of {began} was lost: {last.gone or 'it ended without a word'}"
    outcome = Outcome("lost", sentence, {"log": str(places.log(last))})
    say(sentence)
    places.remember(event=outcome.event, sentence=sentence, spent=0.0)
    if notify(job.notify, outcome, root, say):  # else the next one tries again
        for each in lost:
            places.write(replace(each, event="lost", sentence=sentence, exit_code=outcome.exit_code))
    return True
