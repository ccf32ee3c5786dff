"""Ray Tune over a search: it starts trials and stops those that are behind (ASHA), our checkpoints make them go on.

Tune's own way to go on unpickles what it finds, and knows nothing of other code or data. So an interrupted search is
replayed: trials report what they reached before, at once, and what was decided then stands.
"""

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune

from sluiceway.config import CostGateParams, Tune
from sluiceway.data.places import locked
from sluiceway.errors import Busy, DiskFull, FetchError, GateClosed, LaunchError, NoRoom, Preempted, SluicewayError
from sluiceway.launch.cluster import connected
from sluiceway.launch.storage import check_shared
from sluiceway.training import memory
from sluiceway.training.checkpoints import newest_step
from sluiceway.training.halving import SCORE, TIME, Halving, Told
from sluiceway.training.job import Job, Places
from sluiceway.training.room import no_room, room, totals
from sluiceway.training.search import Candidate, Search, budget, rung, score
from sluiceway.training.tidying import tidy
from sluiceway.training.trials import Record, Trial, spent, trial_of

_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is an order: trials have their checkpoints
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # a trial that is lost is told in words
    "RAY_AIR_NEW_OUTPUT": "0",
}
_OUTSIDE = (Busy, DiskFull, FetchError, LaunchError, NoRoom, Preempted)
"""What keeps a trial from going on and says nothing about its parameters: it goes on another day."""


def run(
    search: Search,
    folder: Path,
    on_change: Callable[[Candidate, Record], None],
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Train until every trial has ended or the budget is spent.

    Args:
        search: what is tried.
        folder: of the search, which outlives this call.
        on_change: called with a trial that has come to a decision or has ended.
        tell: called with a sentence for a person when a trial is begun anew.

    Raises:
        NoRoom: this machine is too small for a trial, and will not grow.
        LaunchError: Ray's processes on this machine are gone.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in _SETTINGS.items()})
    known = {each.number: trial_of(folder, each).begin(each) for each in search.candidates}
    if all(record.end for record in known.values()):
        return
    candidates = {
        each.number: each for each in search.candidates if known[each.number].rungs or not known[each.number].end
    }
    job, settings = search.candidates[0].job, search.tune
    gpus = int(job.hardware.accelerator == "gpu")
    # Workers of a training of several take their own place; the trial itself only waits for them. It takes one byte of
    # memory: Tune refuses a trial that takes nothing, and a share of a CPU would be missing to a worker.
    resources: dict[str, float] = {"cpu": _threads(job, settings), "gpu": gpus} if job.alone else {"memory": 1}
    tasks = {number: _task(search, folder, candidate) for number, candidate in candidates.items()}

    def told(number: int) -> None:
        on_change(candidates[number], trial_of(folder, candidates[number]).now())

    with connected() as private, _scratch(folder) as scratch:
        if private:
            _refuse_without_room(job, _threads(job, settings))
        else:
            check_shared(folder, [Path(job.shards)])
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # its errors are those of trials, which we tell
        tune.Tuner(
            tune.with_resources(_Trainable, resources),
            param_space={"task": tune.grid_search([json.dumps(task) for task in tasks.values()])},
            tune_config=tune.TuneConfig(
                scheduler=Halving(settings, len(search.shares)),
                max_concurrent_trials=settings.parallel,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=str(scratch),  # on a disk that all nodes share; nothing of it is needed again
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=job.retries),
                callbacks=[Told(told, tell, (lambda: bool(totals())) if private else (lambda: True))],
            ),
        ).fit()


def _refuse_without_room(job: Job, threads: int) -> None:
    """Say at once what a trial would wait for in vain."""
    needed = {"CPU": threads, "GPU": int(job.hardware.accelerator == "gpu")}
    if (there := room(totals(), needed)) < job.worlds[0]:
        raise no_room(there, job.worlds[0], needed)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Give Tune a place of its own, without what a killed search left there."""
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _task(search: Search, folder: Path, candidate: Candidate) -> dict[str, Any]:
    trial, plan = trial_of(folder, candidate), candidate.job.plan
    job = replace(trial.placed(candidate.job), threads=_threads(candidate.job, search.tune))
    return {
        "number": candidate.number,
        "folder": str(trial.folder),
        "search": str(folder),
        "job": job.packed(),
        "rungs": [rung(plan, share) for share in search.shares],
        "tune": search.tune.model_dump(mode="json"),
    }


def _threads(job: Job, settings: Tune) -> int:
    return job.threads if job.params["train"]["cpus_per_worker"] else max(1, job.threads // settings.parallel)


class _Trainable(tune.Trainable):
    """A trial: each step of Tune's is the training up to the next decision."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take up a trial."""
        task = json.loads(config["task"])
        self._trial = Trial(Path(task["folder"]))
        self._number = int(task["number"])
        self._search = Path(task["search"])
        self._job = Job.unpacked(task["job"])
        self._rungs: list[int] = task["rungs"]
        self._tune = Tune.model_validate(task["tune"])
        self._next = 0
        if self._job.alone:
            os.environ.pop("RAY_ADDRESS", None)  # this process is the worker

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another trial: the process stays, with all it has imported."""
        self.setup(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Leave nothing to Tune: the trial's folder has it all."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Take nothing from Tune: what was reached before is reported again."""

    def step(self) -> dict[str, Any]:
        """Train up to the next decision, or say what was reached before."""
        number, self._next = self._next, self._next + 1
        record = self._trial.now()
        if number < len(record.rungs):
            last = number + 1 == len(record.rungs)
            ended = last and bool(record.end)
            # Whoever died between a score and what was decided of it leaves that to be decided.
            decided = ended or not last or newest_step(Places(self._trial.job).checkpoints) > self._rungs[number]
            return self._said(number, record.rungs[number], done=ended, recalled=decided)
        with _waited_for(self._trial.lock):
            try:
                return self._train(number)
            except GateClosed:  # the budget is spent: it may go on another day
                return self._said(number, math.nan, done=True)
            except _OUTSIDE as error:
                with suppress(OSError):  # of a full disk: then it is only not said
                    self._trial.write(replace(self._trial.now(), why=error.message))
                return self._said(number, math.nan, done=True)
            except SluicewayError as error:
                return self._failed(number, error.message)
            except Exception as error:  # noqa: BLE001 - parameters that the code cannot take are no reason to stop all
                return self._failed(number, f"{type(error).__name__}: {error}")

    def _train(self, number: int) -> dict[str, Any]:
        places, stop = Places(self._trial.job), self._rungs[number]
        limits = self._limits()
        if limits is None:
            return self._said(number, math.nan, done=True)
        for said in tidy(places, self._job.subject):
            places.note(said)
        reached = newest_step(places.checkpoints)
        if reached < stop:
            plan = self._job.plan.until(stop)
            job = replace(self._job, plan=plan, params={**self._job.params, "gates": limits})
            reached = int(memory.run(job, lambda _: None, places.note).result["steps"])
        record = self._trial.now()
        name = f"validation/{self._tune.metric}"
        seen = [point.metrics[name] for point in record.points if name in point.metrics and point.step <= stop]
        if not seen:
            known = sorted(name.partition("/")[2] for point in record.points[:1] for name in point.metrics)
            return self._failed(number, f"its validation has no {self._tune.metric!r}, only {', '.join(known)}")
        value = score(self._tune, seen, keep=self._job.params["train"]["keep"])
        rungs = [*record.rungs, value]
        # Less than what was asked for: early stopping.
        ended = number + 1 == len(self._rungs) or reached < stop
        if ended:
            self._trial.end("finished", rungs=rungs)
        else:
            self._trial.write(replace(record, rungs=rungs, why=""))
        return self._said(number, value, done=ended)

    def _limits(self) -> dict[str, Any] | None:
        """Return limits of the cost gate within which this trial may go on; None: nothing is left to spend."""
        gates = self._job.params["gates"]
        limits = CostGateParams.model_validate(gates["cost"])
        most_hours, most_cost = budget(self._tune, limits)
        seconds, device_seconds = spent(self._search)
        price = limits.price_per_device_hour
        hours, money = seconds / 3600, device_seconds / 3600 * price
        if hours >= most_hours or money >= most_cost:
            return None
        mine, parallel = self._trial.now(), self._tune.parallel
        update = {
            "max_hours": mine.seconds / 3600 + (most_hours - hours) / parallel,
            "max_cost": mine.device_seconds / 3600 * price + (most_cost - money) / parallel,
        }
        return {**gates, "cost": {**gates["cost"], **update}}

    def _failed(self, number: int, why: str) -> dict[str, Any]:
        self._trial.end("failed", why)
        return self._said(number, math.nan, done=True)

    def _said(self, number: int, value: float, *, done: bool, recalled: bool = False) -> dict[str, Any]:
        share = self._tune.reduction**number
        return {TIME: share, SCORE: value, "number": self._number, "done": done, "recalled": recalled}


_PATIENCE = 120.0
"""Seconds after which a trial's former process is not waited for any longer: Ray ends it with its driver."""


def _waited_for(path: Path) -> ExitStack:
    """Hold a lock, waiting for a process that is being ended."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        stack = ExitStack()
        try:
            stack.enter_context(locked(path, f"trial {path.parent.name}"))
        except Busy:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return stack
