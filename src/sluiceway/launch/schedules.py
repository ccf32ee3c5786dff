"""Schedules: a line of cron, checked, and as other schedulers write it. Pure functions."""

import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from sluiceway.errors import meant

_FIELDS = 5
_PORTABLE = re.compile(r"[\dA-Za-z*,/ -]+")
"""What every scheduler reads alike; ``L``, ``W`` and ``#`` are extensions of some."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_NAMES = {*_MONTHS, *_WEEKDAYS}
_ALL_MINUTES, _ALL_HOURS, _ALL_DAYS, _ALL_MONTHS = range(60), range(24), range(1, 32), range(1, 13)
QUARTER = timedelta(minutes=15)
"""Offsets of all time zones are whole quarters of an hour."""


def check_cron(line: str) -> str:
    """Return the line with single spaces.

    Raises:
        ValueError: it is not five fields that every scheduler reads alike.
    """
    fields = line.split()
    if len(fields) != _FIELDS:
        raise ValueError(
            f"{line!r} has {len(fields)} fields and not 5: minute, hour, day of the month, month, day of the week"
        )
    words = {word.title() for word in re.findall(r"[A-Za-z]+", line)}
    if not _PORTABLE.fullmatch(line) or words - _NAMES:
        raise ValueError(f"{line!r} has what not every scheduler reads: use digits, names, *, - , and /")
    try:
        CronSim(" ".join(fields), datetime.now(UTC))
    except CronSimError as error:
        raise ValueError(f"{line!r}: {str(error).lower()}") from None
    return " ".join(fields)


def check_zone(name: str) -> str:
    """Return the name of a time zone.

    Raises:
        ValueError: there is none of this name.
    """
    known = available_timezones()
    if name not in known:
        raise ValueError(f"{name!r} is no time zone; {meant(name, known) or 'write for example Europe/Berlin'}")
    return name


def explain(line: str, zone: str | None) -> str:
    """Say a schedule in words."""
    words = CronSim(line, datetime.now(UTC)).explain()
    return f"{words[0].lower()}{words[1:]}, {zone or 'time of the machine'}"


def last_due(line: str, zone: str | None, now: datetime) -> datetime:
    """Return the last moment at or before ``now`` at which the schedule fires, in UTC."""
    here = now.astimezone(_zone(zone)).replace(second=0, microsecond=0) + timedelta(minutes=1)
    return next(CronSim(line, here, reverse=True)).astimezone(UTC)


def next_due(line: str, zone: str | None, now: datetime) -> datetime:
    """Return the first moment after ``now`` at which the schedule fires, in UTC."""
    return next(CronSim(line, now.astimezone(_zone(zone)))).astimezone(UTC)


def is_due(line: str, zone: str | None, now: datetime, since: datetime | None) -> bool:
    """Whether the schedule fired since then and nothing has run since.

    Args:
        line: the schedule.
        zone: its time zone.
        now: the present.
        since: start of the last run, or the moment of the installation; None: neither is known, and the schedule must
            have fired within the last quarter of an hour.
    """
    return last_due(line, zone, now) > (since if since is not None else now - QUARTER)


def on_calendar(line: str, zone: str | None) -> list[str]:
    """Write a line of cron as systemd's calendar expressions; any of them fires.

    Cron takes a day that fits the month *or* the week when both are given, systemd one that fits both: so such a line
    becomes two.
    """
    parsed = CronSim(line, datetime.now(UTC))
    time = f"{_list(parsed.hours, _ALL_HOURS)}:{_list(parsed.minutes, _ALL_MINUTES)}:00"
    months, days = _list(parsed.months, _ALL_MONTHS), _list(_numbers(parsed.days), _ALL_DAYS)
    weekdays = {day % 7 for day in _numbers(parsed.weekdays)}
    week = "" if len(weekdays) == len(_WEEKDAYS) else ",".join(_WEEKDAYS[day] for day in sorted(weekdays))
    suffix = f" {zone}" if zone else ""
    if week and days != "*" and not parsed.day_and:
        return [f"*-{months}-{days} {time}{suffix}", f"{week} *-{months}-* {time}{suffix}"]
    return [f"{week} *-{months}-{days} {time}{suffix}".strip()]


def _numbers(values: Iterable[object]) -> set[int]:
    return {value for value in values if isinstance(value, int)}


def _list(values: Iterable[int], everything: range) -> str:
    chosen = sorted(values)
    return "*" if chosen == list(everything) else ",".join(f"{value:02d}" for value in chosen)


def _zone(name: str | None) -> ZoneInfo:
    """Return a time zone with its rules, which a plain offset does not have; of None, the machine's own."""
    link = Path("/etc/localtime")
    found = name or os.environ.get("TZ", "").removeprefix(":") or str(link.resolve()).partition("zoneinfo/")[2]
    return ZoneInfo(found or "UTC")
