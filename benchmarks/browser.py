"""A real browser without a window: Debian's Chromium, told what to do by its chromedriver over HTTP."""

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm import free_ports

NEEDED = ("chromium", "chromedriver")
_QUIET = ("no-sandbox", "headless=new", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
_QUIET += ("disable-background-networking", "disable-component-update", "disable-dev-shm-usage")


def missing() -> str:
    """Say why none can be had here; empty where one can."""
    absent = [name for name in NEEDED if not shutil.which(name)]
    return f"not installed: {', '.join(absent)} (Debian: chromium, chromium-driver)" if absent else ""


@dataclass(frozen=True)
class Browser:
    """One with a window of a given size, which nobody sees."""

    session: str
    """URL of its session at chromedriver."""

    def log_in(self, user: str, password: str) -> None:
        """Send this account with whatever is asked for: a URL with a password in it is one that scripts cannot use."""
        word = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._tool("Network.enable")
        self._tool("Network.setExtraHTTPHeaders", headers={"Authorization": f"Basic {word}"})

    def _tool(self, command: str, **what: Any) -> None:
        _ask("POST", f"{self.session}/goog/cdp/execute", cmd=command, params=what)

    def open(self, url: str) -> None:
        """Go to a page; its scripts may go on working."""
        _ask("POST", f"{self.session}/url", url=url)

    def run(self, script: str) -> Any:
        """Run a function's body in the page, and return what it returns."""
        return _ask("POST", f"{self.session}/execute/sync", script=script, args=[])

    def until(self, script: str, seconds: float) -> float:
        """Wait until a function's body returns something true in the page, and return the seconds it took."""
        began = time.perf_counter()
        while not self.run(script):
            if time.perf_counter() - began > seconds:
                raise TimeoutError(f"{script} after {seconds:g} s: {self.run('return document.body.innerText')[:2000]}")
            time.sleep(0.02)
        return time.perf_counter() - began

    def picture(self, path: Path) -> None:
        """Write what the window shows, as PNG."""
        path.write_bytes(base64.b64decode(_ask("GET", f"{self.session}/screenshot")))


@contextmanager
def browser(width: int = 1500, height: int = 1000) -> Iterator[Browser]:
    """Start one; it is gone afterwards, with all that it remembers."""
    (port,) = free_ports(1)
    process = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        base = f"http://127.0.0.1:{port}"
        _until_ready(base)
        options = {"binary": shutil.which("chromium"), "args": [*_QUIET, f"window-size={width},{height}"]}
        wanted = {"alwaysMatch": {"goog:chromeOptions": options}}
        made = _ask("POST", f"{base}/session", capabilities=wanted)
        session = f"{base}/session/{made['sessionId']}"
        try:
            yield Browser(session)
        finally:
            _ask("DELETE", session)
    finally:
        process.terminate()
        process.wait()


def _until_ready(base: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError):
            if _ask("GET", f"{base}/status")["ready"]:
                return
        time.sleep(0.05)
    raise TimeoutError(f"chromedriver does not answer after {seconds:g} s")


def _ask(how: str, url: str, /, **what: Any) -> Any:
    body = json.dumps(what).encode() if how == "POST" else None
    with urllib.request.urlopen(urllib.request.Request(url, body, method=how), timeout=300) as answer:
        return json.load(answer)["value"]
