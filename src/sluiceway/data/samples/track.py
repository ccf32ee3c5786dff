"""Drives around simulated tracks: made here, not fetched; laid out as Udacity's simulator leaves its own."""

import csv
from pathlib import Path

from sluiceway.data.simulator import record

_COLUMNS = ("center", "left", "right", "steering", "throttle", "brake", "speed")
SEEDS = range(1, 41)
"""Of the tracks that are driven. `evaluate` drives on others."""
MOMENTS = 150
"""Frames of each: half a lap or more. More tracks teach more than longer drives."""


def lay_out(raw: Path) -> None:
    """Write ``drive_<seed>/driving_log.csv`` and ``drive_<seed>/IMG/center_<step>.png``; there are no side cameras.

    Raises:
        MissingPackage: the simulator is not installed.
    """
    for seed in SEEDS:
        lay_out_drive(raw / f"drive_{seed:03d}", seed)


def lay_out_drive(folder: Path, seed: int, moments: int = MOMENTS) -> None:
    """Write one drive."""
    from PIL import Image

    (folder / "IMG").mkdir(parents=True)
    with (folder / "driving_log.csv").open("w", newline="", encoding="utf-8") as file:
        log = csv.writer(file, lineterminator="\n")
        log.writerow(_COLUMNS)
        for moment in record(seed, moments):
            name = f"IMG/center_{moment.step:05d}.png"
            Image.fromarray(moment.frame).save(folder / name)
            figures = (moment.steering, moment.throttle, moment.brake, moment.speed)
            log.writerow([name, "", "", *(f"{figure:.6f}" for figure in figures)])
