"""Tells what a run came to: a Slack-compatible webhook and a command. A failure to tell never fails the job.

And asks an URL that somebody else watches: who never comes back tells nobody.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from sluiceway.launch.jobs import Notify
from sluiceway.launch.outcome import Outcome

_TRIES, _TIMEOUT = 3, 15.0


def notify(settings: Notify, outcome: Outcome, folder: Path, say: Callable[[str], None], pause: float = 2.0) -> bool:
    """Tell who wants to know of this event.

    Args:
        settings: who, and of what.
        outcome: what the run came to.
        folder: where the command runs.
        say: told of what could not be told; a webhook's address is never said, since who has it can post.
        pause: seconds between two tries.

    Returns:
        Whether all heard of it who want to.
    """
    told = True
    asked = {outcome.event} | ({"failed"} if outcome.event == "lost" else set())
    if not asked & set(settings.on) or outcome.again:
        return told
    if settings.webhook:
        problem = _ask(settings.webhook, pause, payload(outcome))
        if problem:
            told = False
            say(f"warning: the webhook in {settings.webhook} was not told: {problem}")
    if settings.command:
        problem = _run(settings.command, outcome, folder)
        if problem:
            told = False
            say(f"warning: {settings.command[0]} was not told: {problem}")
    return told


def beat(settings: Notify, say: Callable[[str], None], pause: float = 2.0) -> None:
    """Ask the job's heartbeat, if there is one: a run has ended.

    Args:
        settings: where it is.
        say: told if that did not work; the address is never said.
        pause: seconds between two tries.
    """
    if settings.heartbeat and (problem := _ask(settings.heartbeat, pause)):
        say(f"warning: the heartbeat in {settings.heartbeat} was not asked: {problem}")


def payload(outcome: Outcome) -> dict[str, str]:
    """Return what Slack and its like take: text with links."""
    lines = [_escaped(outcome.sentence)]
    for name, where in outcome.links.items():
        address = urlsplit(where).scheme in ("http", "https")
        lines.append(f"<{_escaped(where)}|{_escaped(name)}>" if address else f"{_escaped(name)}: `{_escaped(where)}`")
    return {"text": "\n".join(lines)}


def plain(outcome: Outcome) -> str:
    """Return the same for a terminal, a mail or a file."""
    return "\n".join([outcome.sentence, *(f"{name}: {where}" for name, where in outcome.links.items())]) + "\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _ask(variable: str, pause: float, document: dict[str, str] | None = None) -> str:
    """Ask the URL in an environment variable, sending the document if there is one, and return what went wrong."""
    url = os.environ.get(variable, "").strip()
    if not url.lower().startswith(("http://", "https://")):
        return "it is no http(s) address"
    body = None if document is None else json.dumps(document).encode()
    head = {} if document is None else {"Content-Type": "application/json"}
    problem = ""
    for attempt in range(_TRIES):
        time.sleep(pause * attempt)
        try:
            with urlopen(Request(url, body, head), timeout=_TIMEOUT):  # noqa: S310 - the scheme was looked at
                return ""
        except HTTPError as error:
            problem = f"it answered {error.code}"
            if error.code < 500:
                break
        except OSError as error:
            problem = str(getattr(error, "reason", "") or type(error).__name__)
        except (HTTPException, ValueError) as error:  # no such address, or an answer that is none: it may quote the URL
            return type(error).__name__
    return problem


def _run(command: list[str], outcome: Outcome, folder: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            command,
            input=plain(outcome),
            env={**os.environ, "SLUICEWAY_EVENT": outcome.event},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else f"it ended with {done.returncode}: {' '.join(done.stderr.split())[:200]}"
