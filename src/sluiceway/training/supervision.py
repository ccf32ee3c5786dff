"""How Ray Train's controller is told when to start workers anew, and how many.

The controller, Ray's own, watches the workers and asks two policies. Ray's stock policies repeat whatever failed, NaN
included, wait a minute for a node that is gone, and resize in the middle of an interval. Ours decide by what a worker
left behind and by the checkpoints in the job's folder.
"""

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.train.backend import BackendConfig
from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.exceptions import (
    WorkerGroupStartupFailedError,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)
from ray.train.v2._internal.execution.failure_handling import FailureDecision, FailurePolicy
from ray.train.v2._internal.execution.scaling_policy import (
    NoopDecision,
    ResizeDecision,
    ScalingDecision,
    ScalingPolicy,
)
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer

from sluiceway.errors import LoaderLost, Preempted, SluicewayError, TrainingError
from sluiceway.training.checkpoints import newest_step
from sluiceway.training.failures import End, Failure, Patience, note, say
from sluiceway.training.job import Job, Places
from sluiceway.training.notice import PREEMPTED_HINT, is_told
from sluiceway.training.room import available, no_room, room, totals
from sluiceway.training.worker import train_worker

_BROKEN_RING = ("gloo", "nccl", "connection closed", "connection reset", "socket")
"""In the words of a worker whose collective broke off: PyTorch raises them as plain ``RuntimeError``."""


class Trainer(TorchTrainer):
    """Ray Train's trainer with our policies.

    Args:
        job: what is trained.
        fixed: whether the cluster is this machine, which will not grow.
    """

    def __init__(self, job: Job, *, fixed: bool) -> None:
        use_gpu = job.hardware.accelerator == "gpu"
        fewest, most = job.worlds[0], job.worlds[-1]
        scaling = ScalingConfig(
            num_workers=most if fewest == most else (fewest, most),
            use_gpu=use_gpu,
            resources_per_worker={"CPU": job.threads, "GPU": int(use_gpu)},
        )
        self._policies = {
            "scaling_policy": Room(scaling, job.worlds, job.folder, fixed=fixed),
            "failure_policy": Retries(job.retries, job.folder),
        }
        super().__init__(
            train_worker,
            train_loop_config=job.packed(),
            torch_config=Torch(backend=job.hardware.backend),
            scaling_config=scaling,
            run_config=RunConfig(
                name=job.subject, storage_path=job.folder, failure_config=FailureConfig(max_failures=-1)
            ),
        )

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        return super()._initialize_and_run_controller(**(arguments | self._policies))

    def _create_default_callbacks(self) -> list[Any]:
        """Return Ray's callbacks without those that start an actor, hence a process, of no use here.

        Workers read shards and no data sets of Ray's; a placement group goes with the controller that made it.
        """
        idle = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [each for each in super()._create_default_callbacks() if not isinstance(each, idle)]

    def _register_sigint_handler(self, controller: Any) -> None:
        """Leave Ctrl-C to Python: the driver's end is that of the controller and of the workers.

        Ray's handler waits for the controller, which on a busy machine takes a minute, takes no second Ctrl-C, and
        ends the process with 0, as if it had trained to the end.
        """


class Torch(TorchConfig):
    """Ray's way to bring PyTorch's workers together, and a shorter one to part them."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """What acts by this configuration."""
        return _Backend


class _Backend(_TorchBackend):
    def on_shutdown(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """End the workers: taking leave of each other would wait 35 s for one that is stopped or out of reach."""
        for worker in worker_group.get_workers():
            ray.kill(worker.actor)


class Retries(FailurePolicy):
    """Decides whether to start the workers anew, and notes what happened.

    Args:
        retries: crashes in a row that are put up with while no new checkpoint comes.
        folder: the job's.
    """

    def __init__(self, retries: int, folder: str) -> None:
        super().__init__(FailureConfig(max_failures=-1))
        self._places = Places(Path(folder))
        self._patience = Patience(retries, step=newest_step(self._places.checkpoints))

    def make_decision(self, training_failed_error: Exception) -> FailureDecision:
        """Judge a failure of workers, or of the controller itself."""
        failures: Mapping[int, Exception] = getattr(training_failed_error, "worker_failures", {})
        if failures:
            return self._judge(failures)
        cause = getattr(training_failed_error, "controller_failure", training_failed_error)
        if isinstance(cause, WorkerGroupStartupTimeoutError):
            return FailureDecision.RETRY  # how long there may be no room, the other policy says
        if isinstance(cause, WorkerGroupStartupFailedError):
            return self._judge({0: cause})
        return FailureDecision.RAISE

    def _judge(self, failures: Mapping[int, Exception]) -> FailureDecision:
        stacks = self._stacks()
        ends = {rank: _end(error, hung=rank in stacks) for rank, error in failures.items()}
        step = newest_step(self._places.checkpoints)
        retried = self._patience.lasts(ends, step)
        note(self._places.failures, Failure(time.time(), ends, say(ends), step, retried, stacks))
        return FailureDecision.RETRY if retried else FailureDecision.RAISE

    def _stacks(self) -> dict[int, str]:
        """Return what hung workers left; a file is emptied by the worker that comes next."""
        found = {}
        for path in sorted(self._places.stack(0).parent.glob("*.stack")):
            if text := path.read_text(encoding="utf-8", errors="replace"):
                found[int(path.stem.removeprefix("rank-"))] = text
        return found


def _end(error: Exception, *, hung: bool) -> End:
    if hung or isinstance(error, WorkerHealthCheckTimeoutError):
        return "hung"
    if isinstance(error, WorkerGroupStartupFailedError | LoaderLost):
        return "lost"
    if isinstance(error, WorkerHealthCheckFailedError):
        cause = error.health_check_failure
        return "lost" if isinstance(cause, RayActorError) and not isinstance(cause, OutOfMemoryError) else "fault"
    if isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _BROKEN_RING):
        return "cut off"
    return "fault"


class Room(ScalingPolicy):
    """Decides how many workers there are: as many as the cluster has room for, of the numbers that are allowed.

    Args:
        scaling_config: Ray's, for the resources of a worker.
        worlds: numbers of workers that may train, rising.
        folder: the job's.
        fixed: whether the cluster will not grow.
    """

    SETTLING = 3.0
    """Seconds in which the resources of workers that ended come free."""
    PATIENCE = 900.0
    """Seconds without room for the least number of workers, after which training is given up."""
    LOOK = 2.0
    """Seconds between two looks for more room."""

    def __init__(self, scaling_config: ScalingConfig, worlds: tuple[int, ...], folder: str, *, fixed: bool) -> None:
        super().__init__(scaling_config)
        self._worlds = worlds
        self._needed: Mapping[str, float] = scaling_config._resources_per_worker_not_none
        self._checkpoints, self._notice = Places(Path(folder)).checkpoints, Places(Path(folder)).notice
        self._fixed = fixed
        self._waiting: float | None = None
        self._looked = 0.0
        self._wanted: tuple[int, int] | None = None
        """Workers that there is room for, and the newest checkpoint when that was seen."""
        self._held: Counter[str] = Counter()
        """Workers by node: what they hold comes free only after it was decided how many there are to be."""

    def _get_num_workers_for_resource_request(self) -> int:
        return self._worlds[-1]

    def after_controller_start(self, train_run_context: Any) -> None:
        """Ask the autoscaler for nodes, where there may be one."""
        if not self._fixed:
            super().after_controller_start(train_run_context)

    def _ask(self) -> None:
        if not self._fixed:
            self._maybe_send_resource_request()  # type: ignore[no-untyped-call]

    def make_decision_for_non_running_worker_group(self) -> ScalingDecision:
        """Start with what there is room for, or wait for the least.

        Raises:
            NoRoom: there was none for too long.
            Preempted: somebody wants this training to leave meanwhile.
        """
        if is_told(self._notice):
            raise Preempted("told to leave while no worker was there", hint=PREEMPTED_HINT)
        self._ask()
        now = time.monotonic()
        self._waiting = self._waiting or now
        free, whole = room(available(), self._needed, self._held), room(totals(), self._needed)
        hoped = max((world for world in self._worlds if world <= whole), default=0)
        world = max((world for world in self._worlds if world <= free), default=0)
        if world and (world == hoped or now - self._waiting > self.SETTLING):
            return self._resize(world)
        if not world and (now - self._waiting > self.PATIENCE or (self._fixed and not hoped)):
            raise no_room(free, self._worlds[0], self._needed)
        time.sleep(0.2)  # the controller would ask again at once
        return NoopDecision()

    def make_decision_for_running_worker_group(
        self, worker_group_state: Any, worker_group_status: Any
    ) -> ScalingDecision:
        """Grow when there is room, once a checkpoint was committed after that: so little is done twice."""
        self._ask()
        self._waiting = None
        self._held = Counter(worker.metadata.node_id for worker in worker_group_state.workers)
        world, now = worker_group_state.num_workers, time.monotonic()
        if world == self._worlds[-1] or now - self._looked < (0.0 if self._wanted else self.LOOK):
            return NoopDecision()
        self._looked = now
        most = max(room(available(), self._needed, self._held), world)
        wanted = max(each for each in self._worlds if each <= most)
        if wanted == world:
            self._wanted = None
            return NoopDecision()
        step = newest_step(self._checkpoints)
        if self._wanted is None or self._wanted[0] != wanted:
            self._wanted = (wanted, step)
        if step <= self._wanted[1]:
            return NoopDecision()
        self._wanted = None
        return self._resize(wanted)

    def _resize(self, world: int) -> ResizeDecision:
        self._held.clear()
        return ResizeDecision(num_workers=world, resources_per_worker=dict(self._needed))


def last_words(error: Exception) -> Exception:
    """Find what a worker wanted to say below Ray's wrapping."""
    if isinstance(error, RayActorError):
        return TrainingError(
            "the process that watches over the workers was killed",
            hint="the system's log says by whom; `dvc repro` goes on from the last checkpoint",
        )
    cause = getattr(error, "controller_failure", None)
    if isinstance(cause, SluicewayError):
        return cause
    failures = getattr(error, "worker_failures", None) or {}
    for failure in failures.values():
        if isinstance(failure, SluicewayError):
            return failure
    for rank, failure in failures.items():
        if _end(failure, hung=False) == "fault":
            said = (str(failure).strip().splitlines() or ["it gave no reason"])[-1]
            return TrainingError(
                f"worker {rank} failed: {type(failure).__name__}: {said}",
                hint="--debug shows the whole trace; `dvc repro` goes on from the last checkpoint",
            )
    return error
