"""Laps on a closed road: how far a car has come, how near to the middle, and how a driver who knows the road steers.

Plain geometry. The car's measures are those of the simulator's.

Shapes: P points of a road.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LOCK = 0.4
"""Radians that the front wheels can be turned."""
_WHEELBASE = 3.24
"""Distance of the axles."""
_AHEAD, _AHEAD_BY_SPEED = 8.0, 0.25
"""How far the driver looks ahead at least, and per unit of speed."""
_SKIPPED = 10
"""Points of the road, of about 300, that a car may pass beside it; more, and it must go on where it left the road."""


@dataclass
class Lap:
    """How far a car has come around a closed road. Points count in their order: whoever cuts a bend has not driven it.

    Args:
        road: the middle of the road, [P, 2].
        half: half its width.
    """

    road: Floats
    half: float
    place: int = 0
    """The last point that was passed."""
    aside: float = 0.0
    """Distance to the middle of the road."""

    def __post_init__(self) -> None:
        self._beside = np.full(len(self.road) - 1, self.half)
        """Distance to the middle of the road when each point was passed; half the width where it was not: [P - 1]."""

    @property
    def share(self) -> float:
        """Share of the lap that was driven."""
        return self.place / (len(self.road) - 1)

    @property
    def deviation(self) -> float:
        """Mean distance to the middle of the road, as a share of half its width; what was not driven counts as 1."""
        return float(self._beside.mean() / self.half)

    @property
    def on_road(self) -> bool:
        """Whether the middle of the car is on the road."""
        return self.aside <= self.half

    def move(self, position: Floats) -> None:
        """Take note of where the car is now: [2]."""
        near = np.arange(max(0, self.place - 2), min(len(self.road), self.place + _SKIPPED + 1))
        distances = np.hypot(*(self.road[near] - position).T)
        nearest = int(distances.argmin())
        self.aside = float(distances[nearest])
        reached = int(near[nearest])
        if self.on_road and reached > self.place:
            self._beside[self.place : reached] = self.aside
            self.place = reached


def pursue(lap: Lap, position: Floats, heading: float, speed: float, beside: float = 0.0) -> float:
    """Steer towards a point of the road ahead (pure pursuit: Coulter, 1992): -1 is full lock to the left.

    Args:
        lap: where on which road.
        position: of the car, [2].
        heading: its direction, in radians.
        speed: its speed.
        beside: distance from the middle of the road that is aimed at, positive to the right.
    """
    points = lap.road[(lap.place + np.arange(40)) % len(lap.road)]
    steps = np.diff(points, axis=0)
    lengths = np.hypot(*steps.T)
    ahead = int(np.searchsorted(np.cumsum(lengths), max(_AHEAD, _AHEAD_BY_SPEED * speed)))
    along = steps[ahead] / lengths[ahead]
    target = points[ahead + 1] + beside * np.array([along[1], -along[0]]) - position
    angle = math.atan2(target[1], target[0]) - heading
    wheels = math.atan2(2 * _WHEELBASE * math.sin(angle), float(np.hypot(*target)))
    return float(np.clip(-wheels / LOCK, -1, 1))
