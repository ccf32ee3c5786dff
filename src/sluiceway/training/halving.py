"""What Ray Tune hears and asks between stretches of trials: who goes on (ASHA), and what becomes of lost ones."""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler

from sluiceway.config import Tune
from sluiceway.errors import LaunchError
from sluiceway.training.checkpoints import newest_step
from sluiceway.training.job import Places
from sluiceway.training.trials import Trial

TIME, SCORE = "share", "score"
"""In what a trial says: the stretches that it has gone, and what it is worth."""


class Halving(ASHAScheduler):
    """ASHA (Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020) that stands by what it decided.

    Args:
        settings: of the search.
        rungs: number of decisions, the end included.
    """

    def __init__(self, settings: Tune, rungs: int) -> None:
        super().__init__(
            time_attr=TIME,
            metric=SCORE,
            mode="min" if settings.best == "lowest" else "max",
            max_t=settings.reduction ** (rungs - 1),
            grace_period=1,
            reduction_factor=settings.reduction,
        )

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether a trial goes on."""
        if math.isnan(result[SCORE]):
            return str(self.CONTINUE)
        decision = str(super().on_trial_result(tune_controller, trial, result))
        if result["recalled"]:
            return str(self.CONTINUE)
        if decision == self.STOP:
            Trial(Path(json.loads(trial.config["task"])["folder"])).end("pruned")
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Take note of the last result."""
        if not math.isnan(result.get(SCORE, math.nan)):
            super().on_trial_complete(tune_controller, trial, result)


class Told(tune.Callback):
    """Passes on which trial has changed, and which one was lost.

    Args:
        changed: called with the number of a trial.
        tell: called with a sentence for a person.
        there: whether the cluster is; Tune waits for ever for one that is not.
    """

    LOOK = 2.0
    """Seconds between two looks for the cluster."""

    def __init__(
        self, changed: Callable[[int], None], tell: Callable[[str], None], there: Callable[[], bool] = lambda: True
    ) -> None:
        self._changed = changed
        self._tell = tell
        self._there = there
        self._looked = time.monotonic()
        self._reached: dict[int, int] = {}
        """Newest checkpoint of trials whose process was lost, when it was."""

    def on_step_begin(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        """Before each look at the trials.

        Raises:
            LaunchError: there is no node any more on which they could go on.
        """
        if time.monotonic() - self._looked < self.LOOK:
            return
        self._looked = time.monotonic()
        if not self._there():
            raise LaunchError(
                "the processes with which Ray runs trials on this machine are gone",
                hint="the system's log says what ended them; the same command goes on with the search",
            )

    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """After a decision."""
        if not result["recalled"]:
            self._changed(result["number"])

    def on_trial_complete(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """After the end."""
        self._changed(json.loads(trial.config["task"])["number"])

    def on_trial_recover(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """After its process was lost, and before it is begun anew."""
        task = json.loads(trial.config["task"])
        number, trained = task["number"], Trial(Path(task["folder"]))
        self._reached[number] = newest_step(Places(trained.job).checkpoints)
        self._tell(f"the process of trial {number} was killed or lost with its node; the trial goes on")

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """After its process was lost too often. One that came further meanwhile has not failed."""
        task = json.loads(trial.config["task"])
        number, trained = task["number"], Trial(Path(task["folder"]))
        why = "its process was lost again and again"
        if newest_step(Places(trained.job).checkpoints) > self._reached.get(number, 0):
            trained.write(replace(trained.now(), why=why))
        else:
            trained.end("failed", why)
        self._changed(number)
