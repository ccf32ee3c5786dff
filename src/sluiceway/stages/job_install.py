"""``sluiceway job install`` and ``uninstall``: a schedule is shown, then written; taken away, nothing of it is left."""

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path

from sluiceway.launch.install import INSTALLERS, START_CRON
from sluiceway.launch.processes import cron_runs
from sluiceway.stages.console import console
from sluiceway.stages.job_described import job_of


def install(root: Path, name: str, target: str, *, agree: Callable[[], bool] | None) -> None:
    """Show what a schedule changes, and write it if that is agreed to.

    Args:
        root: the project.
        name: the job.
        target: ``cron``, ``systemd`` or ``slurm``.
        agree: asks the person; None: it is only shown.

    Raises:
        UnknownName: there is no such job.
        ConfigError: it has no schedule.
        LaunchError: the scheduler is not there, or refused.
    """
    installer = INSTALLERS[target](name, job_of(root, name), root)
    now, wanted = installer.present(), installer.wanted()
    if now == wanted:
        console.print(f"[bold]install[/] {name}: {target} has it already")
        return
    _show(now, wanted)
    if agree is None:
        return
    if not agree():
        console.print("nothing was written")
        return
    installer.install()
    console.print(f"[bold]install[/] {name}: {target} has it now; `sluiceway job list` says when it is due")
    if target == "cron" and not cron_runs():
        console.print(f"[yellow]warning[/]: no cron runs on this machine, so nothing is started: {START_CRON}")
    if target == "systemd":
        console.print("  [cyan]loginctl enable-linger[/]  [dim]lets it run while nobody is logged in[/]")


def uninstall(root: Path, name: str, target: str) -> None:
    """Take a schedule away, also that of a job which is no longer described, and say what was taken.

    Raises:
        UnknownName: there is neither such a schedule nor such a job.
        LaunchError: the scheduler is not there, or refused.
    """
    installer = INSTALLERS[target](name, None, root)
    now = installer.present()
    if not now:
        job_of(root, name)
        console.print(f"[bold]uninstall[/] {name}: {target} does not have it")
        return
    _show(now, {})
    installer.uninstall()
    console.print(f"[bold]uninstall[/] {name}: {target} no longer has it; its runs and results stay")


def _show(now: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    for name in dict.fromkeys([*now, *wanted]):
        before, after = (files.get(name, "").splitlines() for files in (now, wanted))
        for line in difflib.unified_diff(before, after, f"{name} as it is", f"{name} as it will be", lineterm=""):
            print(line)  # noqa: T201 - nothing may be wrapped or coloured
