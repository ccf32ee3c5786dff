"""A question to a server over HTTP, with what the answer tells besides: how it refused, and its clock."""

import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from sluiceway.launch.health.base import Seen, skew

_SLIGHT, _GRAVE = 5.0, 60.0
"""Seconds by which clocks may differ before it is told, and before it is a fault."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    """Of HTTP; 0 where nobody answered."""
    body: str
    """Where nobody answered: why."""
    skew: float | None = None
    """Seconds that the server's clock is surely ahead; None where it does not tell its time."""

    @property
    def json(self) -> dict[str, Any]:
        """The body, if it is a JSON object, else nothing."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class _Stay(HTTPRedirectHandler):
    """Does not follow: a password must not be carried elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def ask(
    url: str,
    headers: Mapping[str, str],
    seconds: float,
    body: Mapping[str, Any] | None = None,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """Send one request and return the answer, also where it is a refusal or none."""
    data = None if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", "User-Agent": "sluiceway-doctor", **headers}
    opener = build_opener(_Stay, *([HTTPSHandler(context=context)] if context else []))
    before = time.time()
    try:
        with opener.open(Request(url, data, sent), timeout=seconds) as response:  # noqa: S310 - the user's own address
            text, status, head = response.read().decode(errors="replace"), response.status, response.headers
    except HTTPError as error:
        text, status, head = error.read().decode(errors="replace"), error.code, error.headers
    except (URLError, OSError, ValueError) as error:
        return Answer(0, str(getattr(error, "reason", "") or error or type(error).__name__))
    after = time.time()
    try:
        told = parsedate_to_datetime(head["Date"]).timestamp()
    except (TypeError, ValueError):
        return Answer(status, text)
    return Answer(status, text, skew(told, before, after, resolution=1.0))


def clock(what: str, ahead: Mapping[str, float]) -> Seen:
    """Judge clocks.

    Args:
        what: was looked at.
        ahead: seconds that a clock is ahead of ours, by whose it is.
    """
    far = {name: seconds for name, seconds in ahead.items() if abs(seconds) > _SLIGHT}
    if not far:
        return Seen(what, "ok", f"within {_SLIGHT:g} s of this machine's")
    told = ", ".join(
        f"{name} is {abs(seconds):,.0f} s {'ahead' if seconds > 0 else 'behind'}" for name, seconds in far.items()
    )
    grave = max(map(abs, far.values())) > _GRAVE
    way_out = "set the clocks by NTP, such as `timedatectl set-ntp true`: one of both is wrong"
    return Seen(what, "fault" if grave else "warning", told, way_out)
