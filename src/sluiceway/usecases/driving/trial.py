"""Closed loop: learners drive, on tracks that nothing was learned from, and see what their own steering leads to.

Steering errors on recorded frames flatter: most of a road is straight, and one frame's small error moves the next one.
Steering alone is the learner's; the pedals are the same rule for all (``data/simulator.py``).

Shapes: E laps.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluiceway.data.simulator import Drive, Frame, Policy, drive
from sluiceway.usecases.base import Contenders, Encoding, Metric, Outcomes, Panel, Trial, Tried, device_of
from sluiceway.usecases.driving.baselines import CONSTANT, RIDGE
from sluiceway.usecases.driving.frames import resized
from sluiceway.usecases.driving.params import DrivingEvaluation
from sluiceway.usecases.driving.pictures import film, track_map
from sluiceway.usecases.driving.senses import seen

if TYPE_CHECKING:
    from torch import nn

DONE = 0.9
"""Share of a lap from which a track counts as driven."""


def wanted(settings: DrivingEvaluation) -> bool:
    """Whether there is a world to drive in."""
    return settings.closed_loop.world != "none"


def run(contenders: Contenders) -> Tried:
    """Let the model and the baselines drive the same laps.

    Raises:
        MissingPackage: the simulator is not installed.
    """
    settings: Any = contenders.settings
    seeds = range(settings.closed_loop.first_seed, settings.closed_loop.first_seed + settings.closed_loop.tracks)
    model = [drive(network(contenders.model, contenders.encoding), seed, film=seed == seeds[0]) for seed in seeds]
    policies = {CONSTANT: constant(contenders.encoding["steering_mean"])}
    machine = contenders.regressor()
    if machine is not None:
        policies[RIDGE] = line(machine)
    others = {name: [drive(policy, seed) for seed in seeds] for name, policy in policies.items()}
    return Tried(
        model=outcomes_of(model),
        baselines={name: outcomes_of(each) for name, each in others.items()},
        panels=show(model),
    )


# Who steers.


def network(model: "nn.Module", encoding: Encoding) -> Policy:
    """Steer as a network says."""
    import torch
    from PIL import Image

    place = device_of(model)

    def policy(frame: Frame) -> float:
        with torch.inference_mode():
            return float(model(torch.from_numpy(resized(Image.fromarray(frame), encoding)[None]).to(place))[0])

    return policy


def line(machine: Any) -> Policy:
    """Steer as a regressor on ``features`` says."""
    from PIL import Image

    return lambda frame: float(machine.predict(seen(Image.fromarray(frame))[None])[0])


def constant(steering: float) -> Policy:
    """Steer always alike."""
    return lambda frame: steering


# How well.


def outcomes_of(drives: Sequence[Drive]) -> Outcomes:
    """Gather what became of each lap: [E]."""
    return {
        "row": np.arange(len(drives)),
        "seed": np.array([each.seed for each in drives], np.int64),
        "share": np.array([each.share for each in drives]),
        "deviation": np.array([each.deviation for each in drives]),
        "departures": np.array([each.departures for each in drives], np.float64),
        "seconds": np.array([each.seconds for each in drives]),
    }


def deviation(outcomes: Outcomes) -> float:
    """Mean distance to the middle of the road, in percent of half its width; what was not driven counts as 100.

    The share of the lap says nothing more once two learners come around; who keeps to the road better does.
    """
    return float(100 * outcomes["deviation"].mean())


def lap_share(outcomes: Outcomes) -> float:
    """Mean share of the lap that was driven, in order, before the car was lost."""
    return float(outcomes["share"].mean())


def tracks_driven(outcomes: Outcomes) -> float:
    """Share of the tracks that were driven to 90 % or more."""
    return float((outcomes["share"] >= DONE).mean())


def departures(outcomes: Outcomes) -> float:
    """How often the car left the road, per whole lap that was driven; the departure that ends a drive counts too."""
    return float(outcomes["departures"].sum() / max(outcomes["share"].sum(), 1e-3))


TRIAL = Trial(
    wanted=wanted,
    run=run,
    metrics=(
        Metric("deviation", "Off the middle of the road, %", higher_is_better=False, compute=deviation),
        Metric("lap_share", "Share of the lap driven", higher_is_better=True, compute=lap_share, percent=True),
        Metric("tracks_driven", "Tracks driven to 90 %", higher_is_better=True, compute=tracks_driven, percent=True),
        Metric("departures", "Times off the road per lap", higher_is_better=False, compute=departures),
    ),
)


# Panels.


def show(drives: Sequence[Drive]) -> list[Panel]:
    """Show a lap as a film, and every lap from above."""
    first = next((each for each in drives if each.frames), None)
    done = sum(each.share >= DONE for each in drives)
    maps = []
    for each in drives:
        said = f"track {each.seed}: {each.share:.0%} in {each.seconds:.0f} s"
        said += f", {each.departures} x off the road" if each.departures else ""
        drawn = track_map(each.road, np.array(each.path), each.on_road, said)
        maps.append(f'<figure style="width:160px">{drawn}<figcaption>{said}</figcaption></figure>')
    caption = (
        f"{done} of {len(drives)} tracks that were not learned from were driven to 90 % or more. The model steers, "
        "a fixed rule has the pedals. A simulator, seen from above: it says nothing of roads. Orange: off the road."
    )
    panels = [Panel("Laps driven", caption, f'<div class="gallery">{"".join(maps)}</div>')]
    if first:
        said = f"track {first.seed}, as the model saw it"
        panels.insert(0, Panel("A lap", f"The first of the laps: {said}.", film(first.frames, said)))
    return panels
