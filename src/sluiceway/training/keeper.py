"""Lightning's callback that closes intervals, asks the cost gate, saves checkpoints and keeps the best weights."""

import os
import secrets
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from sluiceway.config import PipelineParams
from sluiceway.errors import DiskFull, GateClosed, Preempted, room_for
from sluiceway.gates import cost as cost_gate
from sluiceway.gates.verdict import Verdict
from sluiceway.models.settling import Settles
from sluiceway.training.checkpoints import Checkpoint, Cut, flush, sha256, write_tensors
from sluiceway.training.collectives import Vote, count, from_first, is_first, rank, together
from sluiceway.training.job import WEIGHTS_DIGEST, Job, Places, seal
from sluiceway.training.module import Learner
from sluiceway.training.notice import PREEMPTED_HINT, Ear, Wish
from sluiceway.training.recorder import Recorder
from sluiceway.training.saver import BEST_DIGEST, POINTS, Saver, Tensors
from sluiceway.training.stored import Rows, Stored


class Keeper(pl.Callback):
    """Everything that happens between steps.

    Args:
        job: what is trained.
        params: the pipeline's parameters.
        recorder: figures of the steps.
        checkpoint: what training goes on from.
        started: when this worker began, on the monotonic clock.
        earlier: seconds and device-seconds of the attempts before, as rank 0 knows them.
    """

    def __init__(
        self,
        job: Job,
        params: PipelineParams,
        recorder: Recorder,
        checkpoint: Checkpoint | None,
        started: float,
        earlier: tuple[float, float],
    ) -> None:
        self._job = job
        self._params = params
        self._places = Places(Path(job.folder))
        self._recorder = recorder
        self._checkpoint = checkpoint
        self._started = started
        self._saved = self._started_at = checkpoint.step if checkpoint else 0
        self._saver = Saver(
            self._places,
            every=params.train.keep_every,
            most=params.train.keep_most,
            best_digest=checkpoint.state[BEST_DIGEST] if checkpoint else "",
        )
        self._earlier, self._earlier_of_devices = map(from_first, earlier)
        self._token = int(from_first(secrets.randbits(40)))
        self._probe: tuple[int, float] | None = None
        self._judged = False
        self._ear = Ear(self._places.notice)
        self._vote: Vote | None = None
        self._wish = Wish.NOTHING
        self._paused = 0.0
        self._pause_began = 0.0
        self.seconds = {"setup": 0.0, "training": 0.0, "validation": 0.0, "checkpoints": 0.0}

    # Lightning's hooks, in the order in which they come.

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take up the checkpoint."""
        if self._checkpoint:
            learner, tensors = _learner(pl_module), self._checkpoint.tensors
            learner.restore(tensors)
            held = {name.removeprefix(_HELD): tensors[name] for name in tensors if name.startswith(_HELD)}
            if learner.scaler and "scaler" in self._checkpoint.state:
                learner.scaler.load_state_dict(self._checkpoint.state["scaler"])
            self._recorder.take_up(held, trainer.world_size, learner.device)
            if isinstance(tensors, Stored):
                tensors.close()
            self._checkpoint = None
        self._vote = Vote()
        self.seconds["setup"] = time.monotonic() - self._started

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After each optimizer step: close the interval, ask the gate, save."""
        if (batch_idx + 1) % self._params.train.accumulate:
            return
        self._saver.check()
        learner = _learner(pl_module)
        step = learner.step
        at_boundary = step in self._job.plan.boundaries
        if step % self._job.plan.log_every == 0 or at_boundary or self._job.plan.begins_anew(step):
            self._close_interval(learner, step)
        self._wish = Wish(self._vote(self._ear.wish())) if self._vote else Wish.NOTHING
        if self._wish is Wish.SAVE:
            self._ear.settle()
        if not at_boundary:  # else after the validation, so that its result is saved with the weights
            self._save_if_due(learner, step)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the training clock."""
        self._pause_began = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the training clock again."""
        elapsed = time.monotonic() - self._pause_began
        self._paused += elapsed
        self.seconds["validation"] += elapsed

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After each validation: save, the best weights too, and stop when nothing gets better."""
        learner = _learner(pl_module)
        if self._recorder.best.stale == 0:
            self._keep_best(learner)
        self._save_if_due(learner, learner.step)
        patience = self._params.train.early_stopping
        if patience and self._recorder.best.stale >= patience:
            trainer.should_stop = True

    # What they do.

    def finish(self, learner: Learner) -> None:
        """Leave the weights and the result."""
        best = self._recorder.best
        if self._params.train.keep == "last" or not best.seen:
            weights, cut = self._weights(learner)
            if cut or is_first():
                self._saver.take_last(weights, self._places.weights, cut)
        else:
            self._saver.take_best(best.step, self._places.weights, first=is_first())
        if is_first():
            self._settle(learner)
        spent = self._spent()
        self.seconds["training"] = max(0.0, spent - self._earlier - sum(self.seconds.values()))
        result = {
            "steps": learner.step,
            "best_step": best.step,
            "best_validation_loss": best.loss,
            "seconds": spent,
            "device_seconds": self._of_devices(spent),
            "attempts": len(self._places.attempts()),
            "seconds_of": self.seconds,
            "checkpoints": self._saver.saves,
            "seconds_of_writing": self._saver.seconds,
            **self._network(learner),
        }
        if is_first():
            self._judge(learner.step, 0.0, spent)
            flush(self._places.weights)
            with room_for("the training's result", self._places.folder):
                seal(self._places.result, result | {WEIGHTS_DIGEST: sha256(self._places.weights)})
                flush(self._places.result)

    def close(self) -> None:
        """Let what is being written become whole, however training ended."""
        self._saver.close()

    def _settle(self, learner: Learner) -> None:
        """Turn the weights that were kept into those of the network that is kept."""
        if isinstance(learner.model, Settles):
            kept = Stored([self._places.weights])
            settled = learner.model.settled(kept)
            if settled is not kept:
                write_tensors(self._places.weights, settled)
            kept.close()

    def _network(self, learner: Learner) -> dict[str, Any]:
        """Say which network is kept, and how much of it was learned."""
        sizes = [(each.numel(), each.requires_grad) for each in learner.model.parameters()]
        settles = learner.model if isinstance(learner.model, Settles) else None
        return {
            "parameters": sum(size for size, _ in sizes),
            "trained_parameters": sum(size for size, learned in sizes if learned),
            "architecture": settles.architecture if settles else self._params.model.model_dump(mode="json"),
            "notes": settles.notes if settles else [],
        }

    def _close_interval(self, learner: Learner, step: int) -> None:
        rate = self._job.plan.rate(step - 1, self._params.train)
        figures = self._recorder.flush(step, {"lr": rate})
        learner.refuse_if_not_finite(figures)
        self._ask_gate(learner, step, self._spent())

    def _ask_gate(self, learner: Learner, step: int, spent: float) -> None:
        """Time some steps, predict the rest, and stop with the work saved when it is not worth its price."""
        limits = self._params.gates.cost
        done = step - learner.start
        working = spent - from_first(self._paused)  # by rank 0's clock, as what was spent: all must judge alike
        if self._probe is None:
            if done >= limits.probe_steps:
                self._probe = (step, working)
            return
        since, at = self._probe
        if step - since < limits.probe_steps:
            return
        verdict = self._judge(step, (working - at) / (step - since), spent)
        if not verdict.open:
            if step not in self._job.plan.boundaries:  # there, the validation that belongs to the step is still to come
                self._save(learner, step)
            raise GateClosed(f"the cost gate is closed: {verdict.reason}", hint=_cost_hint(self._job.pipeline))

    def _judge(self, step: int, seconds_per_step: float, spent: float) -> Verdict:
        """Hold what was spent, and what is to come, against the limits; the first, a closed and the last one stay."""
        last = not seconds_per_step
        spending = cost_gate.Spending(
            devices=count(),
            spent_seconds=spent,
            spent_device_seconds=self._of_devices(spent),
            steps_left=0 if last else (self._job.plan.pause or self._job.plan.steps) - step,
            seconds_per_step=seconds_per_step,
        )
        limits, job = self._params.gates.cost, self._job
        verdict = cost_gate.judge(spending, limits, pipeline=job.pipeline, subject=job.subject)
        if is_first() and (last or not self._judged or not verdict.open):
            try:
                with room_for("the cost gate's verdict", self._places.folder):
                    verdict.write(self._places.verdict)
            except DiskFull:
                if last or not verdict.open:
                    raise
                return verdict  # the next interval tries again
        self._judged = True
        return verdict

    def _save_if_due(self, learner: Learner, step: int) -> None:
        if self._is_due(step):
            self._save(learner, step)
            if self._wish is Wish.LEAVE:
                self._leave(step)

    def _is_due(self, step: int) -> bool:
        plan = self._job.plan
        due = step - self._saved >= plan.checkpoint_every or step == plan.pretraining  # what was dear is kept at once
        return (due or step == plan.pause or self._wish != Wish.NOTHING) and step < plan.steps

    def _leave(self, step: int) -> None:
        if is_first():
            self._saver.wait()
        last = from_first(self._saver.committed or self._started_at)
        if last == step:
            said = f"saved after step {step} of {self._job.plan.steps}"
        else:
            said = f"step {step} could not be saved, the last checkpoint is that of step {last:.0f}"
        raise Preempted(f"told to leave: {said}", hint=PREEMPTED_HINT)

    def _save(self, learner: Learner, step: int) -> None:
        began = time.monotonic()
        held = self._recorder.held()
        learner.refuse_if_not_finite({name: float(values.sum()) for name, values in held.items()})
        named = {f"{_HELD}{name}": value for name, value in held.items()}
        state = {"best": self._recorder.state(), POINTS: self._recorder.points}
        if learner.scaler:
            state["scaler"] = learner.scaler.state_dict()
        if self._in_parts(learner):
            tensors, rows = learner.share(first=is_first())
            mine = tensors | (named if is_first() else {})
            self._saver.save(Checkpoint(step, self._saver.hold(mine), state, self._cut(rows)))
        else:
            tensors = learner.snapshot() | named
            if is_first():
                self._saver.save(Checkpoint(step, self._saver.hold(tensors), state))
        self._saved = step
        self.seconds["checkpoints"] += time.monotonic() - began

    def _keep_best(self, learner: Learner) -> None:
        began = time.monotonic()
        weights, cut = self._weights(learner)
        if cut or is_first():
            self._saver.keep_best(self._recorder.best.step, weights, cut)
            if not self._is_due(learner.step):  # else they are written with the checkpoint
                self._saver.save(None)
        self.seconds["checkpoints"] += time.monotonic() - began

    def _weights(self, learner: Learner) -> tuple[Tensors, Cut | None]:
        """Return the weights on rank 0, or where they are shared out, what this worker has of them."""
        if not self._in_parts(learner):
            return learner.weights(), None
        weights, rows = learner.share_of_weights(first=is_first())
        return weights, self._cut(rows)

    def _in_parts(self, learner: Learner) -> bool:
        return learner.sharded and together()

    def _cut(self, rows: Rows) -> Cut:
        return Cut(rank(), count(), rows, self._token)

    def _spent(self) -> float:
        """Seconds of all attempts, by rank 0's clock, so that all workers decide alike."""
        return from_first(self._earlier + time.monotonic() - self._started)

    def _of_devices(self, spent: float) -> float:
        """Device-seconds of all attempts, each with the workers that it had."""
        return self._earlier_of_devices + (spent - self._earlier) * count()


def _cost_hint(pipeline: str) -> str:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    busy = (
        f"this machine is busy (load {load:.0f} on {cores} cores): wait until it is not; or "
        if load > 2 * cores
        else ""
    )
    return (
        f"{busy}raise gates.cost.max_hours or gates.cost.max_cost, or make the training smaller (train.epochs, model); "
        f"reports/{pipeline}/verdicts/cost.html has the figures, "
        f"and `dvc repro register@{pipeline}` goes on from the last checkpoint"
    )


_HELD = "held."


def _learner(module: pl.LightningModule) -> Learner:
    assert isinstance(module, Learner)  # noqa: S101 - we made it
    return module
