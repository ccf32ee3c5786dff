"""The project: git and its remote, DVC and its remote, raw data."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from sluiceway.launch.health.base import Seen, run
from sluiceway.launch.remote import TRY, answer_of

_BRANCH = "refs/heads/sluiceway/doctor"
"""Pretended to be pushed; jobs push to branches beside it."""


def git(root: Path, remote: str, needed: bool, seconds: float) -> Iterator[Seen]:
    """Tell whether the project is a git repository whose remote can be read from and pushed to.

    Args:
        root: the project.
        remote: its name.
        needed: whether jobs need it.
        seconds: that a command may take.
    """
    try:
        inside = run("git", "rev-parse", "HEAD", folder=root, seconds=seconds)
    except FileNotFoundError:
        yield Seen("git", "fault", "not installed", "DVC, lineage and jobs need it: install git")
        return
    if inside.code:
        found = " ".join(inside.output.splitlines()[-1:])
        yield Seen("git", "fault", f"no commit here: {found}", "`git init && git add . && git commit`")
        return
    names = run("git", "remote", folder=root, seconds=seconds).output.split()
    if remote not in names:
        state, way_out = (
            ("warning", f"`git remote add {remote} URL`: jobs push results there") if needed else ("ok", "")
        )
        yield Seen("git", state, f"commit {inside.output[:12]}, no remote {remote!r}", way_out)  # type: ignore[arg-type]
        return
    yield Seen("git", "ok", f"commit {inside.output[:12]}")
    yield _git_remote(root, remote, inside.output, seconds)


def _git_remote(root: Path, remote: str, commit: str, seconds: float) -> Seen:
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")}
    url = run("git", "remote", "get-url", "--push", remote, folder=root, seconds=seconds).output
    reads = run("git", "ls-remote", "--heads", remote, folder=root, seconds=seconds, **quiet)
    what = "git remote"
    if reads.code:
        return Seen(what, "fault", f"{remote} ({url}) cannot be read: {_last(reads.output)}", "address, network, key?")
    folder = Path(url.removeprefix("file://"))
    folder = folder if folder.is_absolute() else root / folder
    writes = run(
        "git", "push", "--dry-run", "--force", remote, f"{commit}:{_BRANCH}", folder=root, seconds=seconds, **quiet
    )
    if writes.code:
        found = f"{remote} ({url}) can be read and not be pushed to: {_last(writes.output)}"
        return Seen(what, "fault", found, f"jobs push to sluiceway/<job>: ask {remote}'s owner for the right")
    if folder.is_dir() and not _writable(folder / "refs"):  # git pretends without asking the disk
        return Seen(what, "fault", f"{remote} ({url}) cannot be written to", f"whose is it? `ls -ld {folder}/refs`")
    return Seen(what, "ok", f"{remote} ({url}) can be read and pushed to")


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK) or not folder.exists()


def _last(output: str) -> str:
    """Return the line of git that says why: the first that complains, else the last one."""
    lines = [line for line in output.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in lines if line.startswith(("fatal:", "error:", "remote:"))), lines[-1])


def dvc(root: Path, needed: bool, seconds: float) -> Iterator[Seen]:
    """Tell whether DVC has a remote, and whether a file can be written there, read and removed.

    Args:
        root: the project.
        needed: whether jobs need it.
        seconds: that it may take.
    """
    what = "DVC remote"
    if not (root / ".dvc").is_dir():
        yield Seen("DVC", "fault", f"{root} is no DVC repository", "`dvc init`")
        return
    said = run(*TRY, folder=root, seconds=seconds, DVC_NO_ANALYTICS="true")
    if said.code:
        yield Seen(what, "fault", f"DVC cannot read its configuration: {_last(said.output[-500:])}", "`dvc doctor`")
        return
    answer = answer_of(said.output)
    if answer.name is None:
        way_out = "`dvc remote add -d store s3://bucket/path`: jobs push data and models there"
        yield Seen(what, "warning" if needed else "ok", "none: data and models stay on this machine", way_out * needed)
    elif answer.error:
        yield Seen(what, "fault", f"{answer.place} does not take what is pushed: {answer.error}", answer.way_out)
    elif answer.left:
        found = f"{answer.place} can be written to, and not be removed from: {answer.left} stays"
        yield Seen(what, "ok", found)
    else:
        yield Seen(what, "ok", f"{answer.place} can be written to and read")


def raw_data(root: Path, pipelines: Collection[str], samples: Collection[str]) -> Iterator[Seen]:
    """Tell whether each pipeline has its raw data, or knows where to get it."""
    raw = root / "data" / "raw"
    there, pulled, fetched, missing = [], [], [], []
    for name in pipelines:
        folder = raw / name
        if folder.is_dir() and any(path.suffix != ".dvc" and path.name != ".gitignore" for path in folder.iterdir()):
            there.append(name)
        elif (raw / f"{name}.dvc").exists() or any(folder.glob("*.dvc")):
            pulled.append(name)
        elif name in samples:
            fetched.append(name)
        else:
            missing.append(name)
    kinds = {"there": there, "in DVC, not here": pulled, "fetched when first run": fetched, "missing": missing}
    found = "; ".join(f"{how}: {', '.join(names)}" for how, names in kinds.items() if names)
    if missing:
        way_out = f"put files into data/raw/{missing[0]}/, or `dvc import-url` them there"
        yield Seen("raw data", "fault", found, way_out)
    elif pulled:
        yield Seen("raw data", "warning", found, "`dvc pull`")
    else:
        yield Seen("raw data", "ok", found or "no pipelines")
