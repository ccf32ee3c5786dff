"""Runs of a job on a Ray cluster, through its Jobs API: begun, followed, listed and ended from anywhere.

The token is Ray's own: ``RAY_AUTH_MODE=token`` with ``RAY_AUTH_TOKEN`` or ``RAY_AUTH_TOKEN_PATH``. Secrets do not
travel with the job, since everybody who may look at the cluster could read them: its ``env_file`` lies on the head.
"""

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.errors import LaunchError
from sluiceway.launch.cluster import settle
from sluiceway.launch.jobs import Job

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_POLL = 1.0
_MARK = "sluiceway_job"
"""Under this name, Ray keeps whose run it is."""
_WELL = "SUCCEEDED"
_OVER = {_WELL, "FAILED", "STOPPED"}


@dataclass(frozen=True, slots=True)
class RayRun:
    """One run on a cluster."""

    id: str
    status: str
    """In Ray's words."""
    started: str
    message: str


@dataclass(frozen=True, slots=True)
class RayJobs:
    """The runs of one job on its cluster."""

    name: str
    job: Job
    root: Path

    def submit(self) -> str:
        """Begin a run and return its id.

        Raises:
            LaunchError: the cluster cannot be reached, or refuses the token.
        """
        # Should somebody stop it by Ray's own means: those kill a driver after 3 s.
        wait = {"RAY_JOB_STOP_WAIT_TIME_S": str(self.job.grace)}
        with self._client() as client:
            made: str = client.submit_job(
                entrypoint=self._command("run"),
                submission_id=f"sluiceway-{self.name}-{_moment()}",
                runtime_env={"env_vars": wait},
                metadata={_MARK: self.name, "pipeline": self.job.pipeline},
            )
        return made

    def runs(self) -> list[RayRun]:
        """Return the runs that the cluster knows, oldest first.

        Raises:
            LaunchError: the cluster cannot be reached, or refuses the token.
        """
        with self._client() as client:
            found = [each for each in client.list_jobs() if (each.metadata or {}).get(_MARK) == self.name]
        return [
            RayRun(
                id=each.submission_id or "",
                status=str(each.status.value),
                started=_time(each.start_time),
                message=each.message or "",
            )
            for each in sorted(found, key=lambda each: each.start_time or 0)
        ]

    def follow(self, run: str, write: Callable[[str], None]) -> int:
        """Write what a run says until it ends, and return its exit code; 1 where Ray knows none.

        Raises:
            LaunchError: the cluster cannot be reached, or refuses the token.
        """
        told = 0
        with self._client() as client:
            while True:
                status = str(client.get_job_status(run).value)
                text = client.get_job_logs(run)
                if len(text) > told:
                    write(text[told:])
                    told = len(text)
                if status in _OVER:
                    code = client.get_job_info(run).driver_exit_code
                    return int(status != _WELL) if code is None else int(code)
                time.sleep(_POLL)

    def cancel(self, run: str) -> str:
        """Tell a run to end with its work saved, wait for that, and return what it said of its end.

        Ray would tell every process of the run at once; the job tells its stage alone, so it is told on the head.

        Raises:
            LaunchError: the cluster cannot be reached, or refuses the token.
        """
        with self._client() as client:
            if str(client.get_job_status(run).value) not in _OVER:
                helper = client.submit_job(
                    entrypoint=self._command("cancel", "--here"),
                    submission_id=f"sluiceway-cancel-{self.name}-{_moment()}",
                )
                if self.follow(helper, lambda text: None):
                    client.stop_job(run)
        said: list[str] = []
        code = self.follow(run, said.append)
        lines = [line for line in "".join(said).splitlines() if line.startswith(f"{self.name}: ")]
        return lines[-1] if lines else f"it ended with {code}"

    def _command(self, verb: str, *options: str) -> str:
        folder = self.job.ray.project or str(self.root.absolute())
        return shlex.join(["env", f"--chdir={folder}", "sluiceway", "job", verb, self.name, *options])

    @contextmanager
    def _client(self) -> "Iterator[JobSubmissionClient]":
        settle()
        from ray.exceptions import RayError
        from ray.job_submission import JobSubmissionClient

        address = self.job.ray.address
        try:
            yield JobSubmissionClient(address)
        except ConnectionError as error:
            raise LaunchError(
                f"no Ray cluster answers at {address}", hint="is its head up, and the port open?"
            ) from error
        except (RuntimeError, RayError) as error:
            said = " ".join(str(error).split())
            hint = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH as on the cluster" * ("auth" in said.lower())
            raise LaunchError(f"the Ray cluster at {address} refused: {said[:300]}", hint=hint) from error


def _moment() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S")


def _time(milliseconds: int | None) -> str:
    return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC).isoformat(timespec="seconds")
