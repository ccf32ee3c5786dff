"""A job as lines of a user's crontab.

Debian's cron knows no time zone but the machine's (``CRON_TZ`` is cronie's), and none makes up for hours that the
machine was off. So the line may fire more often than the job is due, and ``--if-due`` decides by the schedule itself.
No ``flock`` stands in front: the job takes its lock itself, wherever it is started from.
"""

import shlex

from sluiceway.launch.jobs import Job
from sluiceway.launch.render.place import Place, schedule_of


def render(name: str, job: Job, place: Place) -> dict[str, str]:
    """Return the crontab's lines, between marks that say whose they are.

    Raises:
        ConfigError: the job has no schedule.
    """
    schedule = schedule_of(name, job)
    # Every zone's offset is a whole number of quarters of an hour, so a due moment is never missed by more than that.
    times = "*/15 * * * *" if schedule.zone else schedule.cron
    folder = place.folder(name)
    log = shlex.quote(f"{folder}/cron.log")
    there = f"cd {shlex.quote(place.root)} && mkdir -p {shlex.quote(folder)}"
    # This shell outlives a run that is killed, and can tell of it.
    run = f"{{ {place.command(name, '--if-due')} || {place.check(name)}; }}"
    line = _escaped(f"{there} && {run} >> {log} 2>&1")
    begin, end = place.marks(name)
    told = f"# {schedule.cron}, {schedule.zone or 'time of the machine'}; what was missed while it was off is caught up"
    return {"crontab": "\n".join([begin, told, f"{times} {line}", f"@reboot {line}", end]) + "\n"}


def _escaped(command: str) -> str:
    """A percent sign would end the command in a crontab."""
    return command.replace("%", "\\%")
