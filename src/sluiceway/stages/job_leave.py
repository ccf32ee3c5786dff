"""``sluiceway job leave``: what a node does that is about to be taken away, such as a pod in its ``preStop`` hook."""

import time
from pathlib import Path

from sluiceway.data.places import STATE, home
from sluiceway.launch.description import read_job
from sluiceway.launch.leave import here
from sluiceway.stages.console import console
from sluiceway.training.checkpoints import newest_step
from sluiceway.training.job import Places

_LOOK = 0.2
"""Seconds between two looks: the folder may lie on a shared disk."""


def leave(root: Path, name: str) -> int:
    """Announce the end of this node, and wait until the job's training has saved its work, for its grace at most.

    Returns:
        0; 1 where nothing was saved within the grace, and the last checkpoint before is what is left.

    Raises:
        UnknownName: there is no such job.
        LaunchError: this is no node of a Ray cluster, or its head does not answer.
    """
    job = read_job(root, name)
    trainings = home(root.absolute()) / STATE / job.pipeline / "training"
    node, before = here(), _steps(trainings)
    node.announce(job.grace)
    if not before or not node.working:
        console.print(f"[bold]leave[/] {name}: announced; nothing is being trained here")
        return 0
    deadline = time.monotonic() + job.grace
    while time.monotonic() < deadline and node.alive:
        now = _steps(trainings)
        for folder, step in now.items():
            if step > before.get(folder, 0):
                console.print(f"[bold]leave[/] {name}: announced, and saved at step {step:,}")
                return 0
        if not now:
            console.print(f"[bold]leave[/] {name}: announced, and the training has ended")
            return 0
        time.sleep(_LOOK)
    console.print(f"[bold]leave[/] {name}: announced, and nothing was saved within {job.grace} s")
    return 1


def _steps(trainings: Path) -> dict[str, int]:
    """Return the newest checkpoint's step of each training under way; one that has ended has a result, or is gone."""
    places = (Places(path) for path in trainings.glob("*") if path.is_dir())
    return {place.folder.name: newest_step(place.checkpoints) for place in places if not place.result.exists()}
