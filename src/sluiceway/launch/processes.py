"""Which process runs something, known again later: by its number, its start, and the machine and start of that."""

import os
import platform
from pathlib import Path

import psutil

_CRONS = {"cron", "crond", "fcron", "dcron"}
_GENERATOR = Path("/lib/systemd/system-generators/systemd-crontab-generator")
"""Of systemd-cron, which needs no process of its own."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def machine() -> str:
    """Return the name of this machine."""
    return platform.node()


def boot() -> str:
    """Return what this machine's present start is called, and no other one; empty where the kernel does not say."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def born(pid: int | None = None) -> float | None:
    """Return when a process began, in seconds after the machine did, which no later change of the clock moves.

    Args:
        pid: its number; None: this one.

    Returns:
        None where there is none of this number, or what is left of one.
    """
    try:
        process = psutil.Process(os.getpid() if pid is None else pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time() - psutil.boot_time()
    except psutil.NoSuchProcess:
        return None


def cron_runs() -> bool:
    """Whether something here starts what stands in crontabs; also true where others' processes cannot be seen."""
    names = {process.pid: process.info["name"] for process in psutil.process_iter(["name"])}
    return 1 not in names or bool(_CRONS & set(names.values())) or _GENERATOR.exists()
