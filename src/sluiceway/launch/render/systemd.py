"""A job as a service and a timer of systemd."""

import re

from sluiceway.launch.jobs import Job
from sluiceway.launch.render.place import SLACK, Place, schedule_of
from sluiceway.launch.schedules import on_calendar


def unit(name: str) -> str:
    """Return the name of a job's units, without their ending."""
    return f"sluiceway-{name}"


def render(name: str, job: Job, place: Place) -> dict[str, str]:
    """Return a service, and a timer where the job has a schedule.

    Raises:
        ConfigError: the job has no schedule.
    """
    schedule = schedule_of(name, job)
    times = "\n".join(f"OnCalendar={each}" for each in on_calendar(schedule.cron, schedule.zone))
    timer = f"""\
[Unit]
Description=Schedule of the Sluiceway job {name}

[Timer]
{times}
# What was missed while the machine was off is caught up, once.
Persistent=true

[Install]
WantedBy=timers.target
"""
    return {f"{unit(name)}.service": _service(name, job, place), f"{unit(name)}.timer": timer}


def _service(name: str, job: Job, place: Place) -> str:
    return f"""\
[Unit]
Description=Sluiceway job {name}: pipeline {job.pipeline} at {_escaped(job.ref)}

[Service]
Type=exec
WorkingDirectory={_escaped(place.root)}
ExecStart={_quoted(place.program)} job run {name}
# A run that was killed cannot tell of it.
ExecStopPost=-{_quoted(place.program)} job check {name}
# A closed gate is no crash, and `job cancel` neither.
SuccessExitStatus=3 130
# Preempted: what is left is done at once, from the checkpoint.
RestartForceExitStatus=75
RestartSec=30
# Only the job is told to stop; it tells the stage, kills it after the grace, and says how it ended.
KillMode=mixed
TimeoutStopSec={job.grace + SLACK}
Nice=10
"""


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(path: str) -> str:
    """Write a program's path as the beginning of a command line; systemd takes no quote in the name of a program."""
    escaped = _escaped(path).replace("\\", "\\\\").replace('"', '\\"')
    if re.fullmatch(r"[\w%+,./:@-]+", path):
        return escaped
    return f'/usr/bin/env "{escaped.replace("$", "$$")}"' if re.search(r"['\"\\]", path) else f'"{escaped}"'
