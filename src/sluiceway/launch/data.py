"""DVC as a job uses it: the project's own cache and remote, from the job's working tree."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sluiceway.errors import LaunchError
from sluiceway.launch.commands import Commands, Done
from sluiceway.launch.remote import TRY, answer_of
from sluiceway.launch.worktree import LOCK, data_of, imports_of
from sluiceway.redaction import scrub


class Data:
    """The versions of a pipeline's data, in a working tree.

    Args:
        root: the project, whose cache is used.
        commands: run in the tree.
        pipeline: which.
    """

    def __init__(self, root: Path, commands: Commands, pipeline: str) -> None:
        self._root = root
        self._commands = commands
        self._pipeline = pipeline
        self._target = f"register@{pipeline}"
        self._remote = False

    def connect(self) -> None:
        """Use the project's cache, remotes and credentials.

        Raises:
            LaunchError: its configuration cannot be read, or the ref does not know its remote: what was trained could
                not be pushed, and nobody could pull it.
        """
        from dvc.config import Config
        from dvc.exceptions import DvcException

        own, theirs = self._root / ".dvc", self._commands.folder / ".dvc"
        local = theirs / "config.local"
        try:
            # What the project says with relative paths is meant from where it lies.
            project = Config(str(own))
            urls = {name: remote["url"] for name, remote in project["remote"].items()}
            local.unlink(missing_ok=True)
            if (own / local.name).exists():
                shutil.copy(own / local.name, local)
            with Config(str(theirs)).edit("local") as ours:
                ours["cache"]["dir"] = project["cache"].get("dir") or str(own / "cache")
                for name in filter(lambda name: urls[name].startswith("/"), urls):
                    ours["remote"].setdefault(name, {})["url"] = urls[name]
            refs = Config(str(theirs))
        except DvcException as error:
            raise LaunchError(f"DVC's configuration cannot be read: {error}", hint="dvc config --list") from error
        name = project["core"].get("remote")
        if name and (refs["core"].get("remote") is None or name not in refs["remote"]):
            raise LaunchError(
                f"DVC's remote {name!r} is in the .dvc/config here, and not in that of the ref",
                hint="commit .dvc/config and push it: results are pushed there, and pulled by whoever checks them out",
            )
        self._remote = bool(name)

    def pull(self) -> None:
        """Bring what is known of the pipeline into the tree; what nobody pushed is made anew.

        Raises:
            LaunchError: the remote cannot be reached, or holds something else than it should.
        """
        verb = ["pull"] if self._remote else ["checkout"]
        if files := self._files():
            self._brought(*verb, "--allow-missing", "--force", *files)
        if f"@{self._pipeline}:" in self._lock():
            verb += ["--run-cache"] * self._remote
            self._brought(*verb, "--allow-missing", "--force", "--with-deps", self._target)

    def _brought(self, *words: str) -> None:
        try:
            self._commands.run("dvc", *words).checked()
        except LaunchError:
            self.ask_remote()  # which says it better, where the remote is to blame
            raise

    def update(self) -> None:
        """Ask the sources of imported data for what they have now.

        Raises:
            LaunchError: a source cannot be reached.
        """
        for path in imports_of(self._commands.folder, self._pipeline):
            self._commands.run("dvc", "update", path.relative_to(self._commands.folder).as_posix()).checked()

    def status(self) -> Mapping[str, Any]:
        """Return what differs from ``dvc.lock``, by stage.

        Raises:
            LaunchError: DVC refused.
        """
        done = self._commands.run("dvc", "status", "--json", "--with-deps", self._target, quiet=True).checked()
        document: dict[str, Any] = json.loads(done.output)
        return document

    def reproduce(self, stage: str = "register") -> Done:
        """Run what is not up to date, up to a stage."""
        return self._commands.run("dvc", "repro", f"{stage}@{self._pipeline}")

    def ask_remote(self) -> None:
        """Make sure that the remote, if there is one, will take what is going to be made: that is paid for first.

        Raises:
            LaunchError: it takes no file, or gives back another one; the message has no secrets.
        """
        if not self._remote:
            return
        answer = answer_of(self._commands.run(*TRY, quiet=True).checked().output)
        if answer.error:
            why = scrub(answer.error)
            raise LaunchError(f"DVC's remote {answer.place} takes nothing: {why}", hint=answer.way_out)

    def push(self) -> None:
        """Send what was made to the remote, if there is one.

        Raises:
            LaunchError: it cannot be reached.
        """
        if self._remote:
            if files := self._files():
                self._commands.run("dvc", "push", *files).checked()
            self._commands.run("dvc", "push", "--run-cache", "--with-deps", self._target).checked()

    def fetching(self, branch: str) -> str:
        """Return the command that brings the results, and where, if that is not on any machine."""
        if self._remote:
            return f"git checkout {branch} && dvc pull --with-deps {self._target}"
        here = "here alone: `dvc remote add` names a store for data and models, and there is none"
        return f"git checkout {branch} && dvc checkout --with-deps {self._target}  # {here}"

    def _files(self) -> list[str]:
        # DVC takes these and a stage's dependencies in two calls, but not in one.
        tree = self._commands.folder
        return [path.relative_to(tree).as_posix() for path in data_of(tree, self._pipeline)]

    def _lock(self) -> str:
        path = self._commands.folder / LOCK
        return path.read_text(encoding="utf-8") if path.exists() else ""
