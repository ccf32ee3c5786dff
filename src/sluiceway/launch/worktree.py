"""What a job runs, and where its results go, in git.

A job works in a worktree of its own, at the commit that its ref names now. What it changes there - ``dvc.lock``, and
the ``.dvc`` files of imported data - goes to the branch ``sluiceway/<job>``: each commit is the ref's files with those
few replaced, and its parents are the job's last commit and the ref's. Nothing is merged by hand, and lineage is whole.
"""

import io
import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sluiceway.errors import LaunchError

LOCK = "dvc.lock"
_NOBODY = {"GIT_AUTHOR_NAME": "Sluiceway", "GIT_AUTHOR_EMAIL": "sluiceway@localhost"}
_NOBODY |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in _NOBODY.items()}

_AWAY = re.compile(
    "could not resolve|name resolution|network is unreachable|no route to host|(could not|couldn't|failed to) connect|"
    "connection (refused|timed out|reset)",
    re.IGNORECASE,
)
"""What git says, or ssh, where a network or a server is not there yet."""
_PAUSE = 5.0
"""Seconds between two tries to reach it."""


def git(folder: Path, *arguments: str, **environment: str) -> str:
    """Run git and return what it said.

    Raises:
        LaunchError: it refused.
    """
    done = _git(folder, *arguments, **environment)
    if done.returncode:
        raise LaunchError(f"`git {arguments[0]}` refused: {' '.join(done.stderr.split()) or done.returncode}")
    return done.stdout.strip()


def _git(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    # Never wait for a password at a terminal that nobody sees.
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", **environment}
    return subprocess.run(  # noqa: S603
        ["git", "-C", str(folder), *arguments],  # noqa: S607
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass(frozen=True, slots=True)
class Source:
    """What is run, and what the job's branch has of earlier runs."""

    root: Path
    job: str
    ref: str
    remote: str | None
    """Where the ref comes from and results go; None where there is none."""
    commit: str
    tip: str | None
    """Of the job's branch; None before its first result."""

    @property
    def branch(self) -> str:
        """The branch of results."""
        return f"sluiceway/{self.job}"


def source(
    root: Path, job: str, ref: str, remote: str, *, wait: Callable[[float], None] = time.sleep, patience: float = 120
) -> Source:
    """Fetch, and find out what the ref names now.

    Args:
        root: the project.
        job: whose branch has earlier results.
        ref: branch, tag or commit.
        remote: where the ref comes from.
        wait: waits so many seconds.
        patience: seconds that a network may take to be there: what is caught up begins while the machine does.

    Raises:
        LaunchError: this is no git repository, the remote cannot be reached, or there is no such ref.
    """
    there = remote if remote in git(root, "remote").split() else None
    if there:
        _fetch(root, there, wait, patience)
    places = [f"refs/remotes/{there}"] * bool(there)
    commit = _commit(root, *(f"{place}/{ref}" for place in places), ref)
    if commit is None:
        raise LaunchError(
            f"ref {ref!r} is neither a branch, a tag nor a commit{f' of {there}' if there else ''}",
            hint=f"jobs.{job}.ref in infra/jobs.yaml names it; `git branch --all` lists branches",
        )
    branch = f"sluiceway/{job}"
    tip = _commit(root, *(f"{place}/{branch}" for place in places), f"refs/heads/{branch}")
    return Source(root, job, ref, there, commit, tip)


def _fetch(root: Path, remote: str, wait: Callable[[float], None], patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            git(root, "fetch", "--quiet", "--tags", remote, LC_ALL="C")
        except LaunchError as error:
            if not _AWAY.search(error.message) or time.monotonic() > deadline:
                raise
            wait(_PAUSE)
        else:
            return


def _commit(root: Path, *names: str) -> str | None:
    for name in names:
        done = _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if done.returncode == 0:
            return done.stdout.strip()
    return None


def check_out(source: Source, tree: Path, stages: str) -> None:
    """Make the worktree, or clean the one that is there, and put the job's own results on top of the ref.

    What git ignores stays: outputs that DVC knows, and compares by content.

    Args:
        source: what to run.
        tree: the folder.
        stages: the pipeline, whose entries in ``dvc.lock`` are taken from the job's last result.
    """
    git(source.root, "worktree", "prune")
    if not (tree / ".git").exists():
        tree.parent.mkdir(parents=True, exist_ok=True)
        git(source.root, "worktree", "add", "--quiet", "--force", "--detach", str(tree), source.commit)
    # Of a job that was killed; nobody else works in this tree, since the job's lock is held.
    Path(git(tree, "rev-parse", "--path-format=absolute", "--git-path", "index.lock")).unlink(missing_ok=True)
    git(tree, "checkout", "--quiet", "--force", "--detach", source.commit)
    git(tree, "clean", "--quiet", "--force", "-d")
    if source.tip is None:
        return
    locked = merged_lock(_show(tree, source.commit, LOCK), _show(tree, source.tip, LOCK), stages)
    if locked:
        (tree / LOCK).write_text(locked, encoding="utf-8")
    for path in imports_of(tree, stages):
        name = path.relative_to(tree).as_posix()
        earlier = _show(tree, source.tip, name)
        if earlier and _sources(earlier) == _sources(path.read_text(encoding="utf-8")):
            path.write_text(earlier, encoding="utf-8")


def _show(tree: Path, commit: str, path: str) -> str:
    done = _git(tree, "show", f"{commit}:{path}")
    return done.stdout if done.returncode == 0 else ""


def _yaml(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text) or {}


def merged_lock(theirs: str, ours: str, pipeline: str) -> str:
    """Return the ref's ``dvc.lock`` with the pipeline's entries of the job's last result."""
    if not ours:
        return theirs
    suffix = f"@{pipeline}"
    whole = _yaml(theirs) if theirs else {"schema": _yaml(ours)["schema"], "stages": {}}
    stages = {name: entry for name, entry in whole["stages"].items() if not name.endswith(suffix)}
    stages |= {name: entry for name, entry in _yaml(ours)["stages"].items() if name.endswith(suffix)}
    stream = io.StringIO()
    writer = YAML()
    writer.default_flow_style = False
    writer.width = 100_000
    writer.dump({**whole, "stages": stages}, stream)
    return stream.getvalue()


def data_of(tree: Path, pipeline: str) -> list[Path]:
    """Return the ``.dvc`` files of a pipeline's raw data."""
    raw = tree / "data" / "raw"
    return sorted([*raw.glob(f"{pipeline}.dvc"), *(raw / pipeline).rglob("*.dvc")])


def imports_of(tree: Path, pipeline: str) -> list[Path]:
    """Return those whose data comes from elsewhere."""
    return [path for path in data_of(tree, pipeline) if _sources(path.read_text(encoding="utf-8"))]


def _sources(text: str) -> list[tuple[str, str]]:
    """Return where the data of a ``.dvc`` file comes from, without what it was when it came."""
    repo = ("url", "rev")
    return [
        (str(each.get("path", "")), str([each.get("repo", {}).get(key) for key in repo]))
        for each in _yaml(text).get("deps", [])
    ]


def publish(source: Source, tree: Path, pipeline: str, message: str) -> str:
    """Commit what the job changed to its branch, push that, and return the commit.

    Raises:
        LaunchError: the remote refused; another machine may run the same job.
    """
    names = [LOCK] * (tree / LOCK).exists()
    names += [path.relative_to(tree).as_posix() for path in imports_of(tree, pipeline)]
    if names:
        git(tree, "add", "--force", "--", *names)
    files = git(tree, "write-tree")
    made = source.tip or ""
    if not made or files != git(tree, "rev-parse", f"{made}^{{tree}}"):
        made = git(tree, "commit-tree", files, *_parents(source), "-m", message, **_author(tree))
        git(source.root, "update-ref", f"refs/heads/{source.branch}", made)
    if source.remote:
        git(source.root, "push", "--quiet", source.remote, f"{made}:refs/heads/{source.branch}")
    return made


def _parents(source: Source) -> list[str]:
    """The last result first, then the ref, unless it is in that already."""
    if source.tip is None:
        return ["-p", source.commit]
    done = _git(source.root, "merge-base", "--is-ancestor", source.commit, source.tip)
    return ["-p", source.tip, *(["-p", source.commit] if done.returncode else [])]


def _author(tree: Path) -> dict[str, str]:
    known = _git(tree, "config", "user.email").stdout.strip() and _git(tree, "config", "user.name").stdout.strip()
    return {} if known else {name: os.environ.get(name, value) for name, value in _NOBODY.items()}
