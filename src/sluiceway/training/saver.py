"""Writes checkpoints and the best weights beside training: a step waits for a copy in memory, not for the disk."""

import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.errors import DiskFull, NotFinite, TrainingError, room_for
from sluiceway.training.checkpoints import Checkpoint, Cut, commit, fault_of, flush, states, write_tensors
from sluiceway.training.job import Places
from sluiceway.training.parts import Incomplete, commit_part, write_whole
from sluiceway.training.recorder import Best

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Mapping[str, "Tensor"]
BEST_DIGEST = "best_sha256"
"""In a checkpoint's state: the digest of the best weights it speaks of."""
POINTS = "points"
"""In a checkpoint's state: how many points the curves had."""


class Saver:
    """One thread that writes; at most one piece of work is under way, so one copy of the tensors is enough.

    What fails is raised at the next step, and a disk without room is not a failure while training can go on: it is
    noted, and the next checkpoint tries again.

    Args:
        places: the job's files.
        every: steps between checkpoints that are kept, beside the newest; None: none are.
        most: how many of those.
        best_digest: of the best weights that the checkpoint speaks of which training went on from.
        beside: False: write at once, and let training wait. For measurements.
    """

    def __init__(
        self, places: Places, *, every: int | None, most: int, best_digest: str = "", beside: bool = True
    ) -> None:
        self._places = places
        self._every = every
        self._most = most
        self._best_digest = best_digest
        self._best: tuple[int, Tensors, Cut | None] | None = None
        self._beside = beside
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saver")
        self._work: Future[None] | None = None
        self._ended = threading.Event()
        self._room: dict[str, Tensor] = {}
        self.committed: int | None = None
        """Step of the last checkpoint that this attempt committed."""
        self.seconds = 0.0
        """Spent in the thread."""
        self.saves = 0

    @property
    def busy(self) -> bool:
        """Whether something is being written."""
        return self._work is not None and not self._work.done()

    def check(self) -> None:
        """Raise what the last piece of work failed with, if it is over."""
        if self._work and self._work.done():
            self.wait()

    def wait(self) -> None:
        """Wait for the work that is under way, and raise what it failed with."""
        work, self._work = self._work, None
        if work:
            work.result()

    def close(self) -> None:
        """Wait for the work that is under way, whatever becomes of it."""
        self._ended.set()
        self._thread.shutdown(wait=True)

    def hold(self, tensors: Tensors) -> dict[str, "Tensor"]:
        """Copy tensors that training goes on changing, into memory that the last copy had; wait for that one first."""
        import torch

        self.wait()
        for name, tensor in tensors.items():
            room = self._room.get(name)
            if room is None or room.shape != tensor.shape or room.dtype != tensor.dtype:
                room = self._room[name] = torch.empty_like(tensor, device="cpu")
            room.copy_(tensor.detach())
        return {name: self._room[name] for name in tensors}

    def keep_best(self, step: int, weights: Tensors, cut: Cut | None = None) -> None:
        """Take weights that are the best so far, or this worker's part of them; the next :meth:`save` writes them."""
        held = self.hold({f"best.{name}": tensor for name, tensor in weights.items()})
        self._best = step, {name.removeprefix("best."): tensor for name, tensor in held.items()}, cut

    def save(self, checkpoint: Checkpoint | None) -> None:
        """Write the best weights, if there are new ones, and then a checkpoint of held tensors, if one is given."""
        self.wait()
        self._work = self._thread.submit(self._write, checkpoint)
        if not self._beside:
            self.wait()

    def take_best(self, step: int, target: Path, *, first: bool = True) -> None:
        """Copy the best weights to where the model is made from; they stay, for an attempt that has to do it again.

        Args:
            step: whose weights they are.
            target: the file.
            first: whether this is rank 0, which copies; another worker only writes its part, where it has not yet.

        Raises:
            DiskFull: there is no room, nor was there when they were found.
            TrainingError: they are no longer what was written, or another worker cannot write its part.
        """
        self.wait()
        with _asked_for():
            self._write_best()
        if not first:
            return
        source = self._places.best(step)
        with room_for(target.name, target.parent, source.stat().st_size if source.exists() else None):
            fault = fault_of(source, self._best_digest) or _copy(source, target, self._best_digest)
        if fault:
            raise TrainingError(
                f"the best weights, those of step {step}, cannot be used: {fault}",
                hint="`dvc repro` goes on from the newest checkpoint whose best weights are whole",
            )

    def take_last(self, weights: Tensors, target: Path, cut: Cut | None = None) -> None:
        """Write weights, or this worker's part of them, to where the model is made from.

        Raises:
            DiskFull: there is no room.
            TrainingError: another worker cannot write its part.
        """
        self.wait()
        with _asked_for():
            self._write_weights(target, weights, cut)

    def _write(self, checkpoint: Checkpoint | None) -> None:
        began = time.monotonic()
        try:
            self._write_best()
            if checkpoint:
                self._commit(checkpoint)
        except (DiskFull, Incomplete) as error:
            self._places.note(f"{error}. Training goes on, and the next checkpoint tries again")
        finally:
            self.seconds += time.monotonic() - began

    def _write_best(self) -> None:
        if self._best:
            step, weights, cut = self._best
            self._best_digest = self._write_weights(self._places.best(step), weights, cut)
            self._best = None

    def _write_weights(self, path: Path, weights: Tensors, cut: Cut | None) -> str:
        return write_whole(path, weights, cut, self._ended) if cut else write_tensors(path, weights)

    def _commit(self, checkpoint: Checkpoint) -> None:
        _refuse_if_not_finite(checkpoint)
        sealed = replace(checkpoint, state={**checkpoint.state, BEST_DIGEST: self._best_digest})
        folder, cut = self._places.checkpoints, checkpoint.cut
        with suppress(FileNotFoundError):
            flush(self._places.metrics)  # or a power cut would leave a checkpoint without the curves before it
        if cut is None:
            commit(folder, sealed, every=self._every, most=self._most)
        elif not commit_part(folder, sealed, cut, self._ended, every=self._every, most=self._most):
            return
        self.committed = checkpoint.step
        self.saves += 1
        self._drop_old_best()

    def _drop_old_best(self) -> None:
        """Drop best weights that no checkpoint speaks of any more."""
        steps = (state.get("best", {}).get("step", 0) for state in states(self._places.checkpoints))
        spoken_of = {self._places.best(step).name for step in steps}
        for path in self._places.folder.glob("best-*.safetensors"):
            if path.name not in spoken_of:
                path.unlink(missing_ok=True)


def fault_of_best(places: Places, checkpoint: Checkpoint) -> str:
    """Say what is wrong with the best weights that a checkpoint speaks of; nothing: an empty text."""
    best, digest = checkpoint.state["best"], checkpoint.state[BEST_DIGEST]
    return fault_of(places.best(best["step"]), digest) if best["seen"] else ""


def without_best(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint that speaks of no best weights: the best of what is still to come is kept."""
    return replace(checkpoint, state={**checkpoint.state, "best": vars(Best()), BEST_DIGEST: ""})


@contextmanager
def _asked_for() -> Iterator[None]:
    """Let training end when a part does not come that it cannot end without."""
    try:
        yield
    except Incomplete as error:
        raise TrainingError(
            f"the weights could not be written: {error}", hint="`dvc repro` goes on from the newest checkpoint"
        ) from error


def _copy(source: Path, target: Path, digest: str) -> str:
    shutil.copyfile(source, target)
    return fault_of(target, digest)


def _refuse_if_not_finite(checkpoint: Checkpoint) -> None:
    """Let no checkpoint hold trained weights that are no numbers: nothing good would go on from it."""
    trained = {
        name.removeprefix("optimizer.").rpartition(".")[0] for name in checkpoint.tensors if "optimizer." in name
    }
    for name in trained:
        tensor = checkpoint.tensors.get(f"model.{name}")
        if tensor is not None and not tensor.isfinite().all():
            raise NotFinite(
                f"{name} has values that are no numbers after step {checkpoint.step}: it is not saved",
                hint="lower train.lr or train.clip_norm, or lengthen train.warmup; the last checkpoint still stands",
            )
