"""A world to drive in: gymnasium's CarRacing, seen from above, with a driver who knows where the road goes.

The one module that knows this simulator: `sample` records its driver, and `evaluate` lets models drive in it.

Physics go at 50 steps a second; a picture is drawn, and steering decided, at every fourth. Pedals are a rule, never
learned: the car slows down where it is steered hard. A drive begins after the second in which the camera moves in.
Instruments at the foot of the picture are cut off: they show how the wheel stands, and whoever reads that need not see
the road (de Haan et al., "Causal Confusion in Imitation Learning", 2019). Every track has colours of its own: where all
have the same, a straight line through pixels drives as well as any network.

Lengths are the simulator's own: a car is 5 long, half the road 6.7 wide, a lap about 1,000.

Shapes: P points of a road, T decisions of a drive, H x W = 84 x 96 pixels.
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sluiceway.data.laps import LOCK, Floats, Lap, pursue
from sluiceway.errors import MissingPackage

Frame = npt.NDArray[np.uint8]
"""A picture in colour: [H, W, 3]."""
Policy = Callable[[Frame], float]
"""Says how to steer by what is seen: -1 is full lock to the left, 1 to the right."""

PACKAGE = "gymnasium[box2d]"
STEPS = 4
"""Steps of the physics from one decision to the next: 12.5 decisions a second."""
_RATE = 50
_SEEN = 84
"""Rows of the picture above the instruments."""
_CRUISE = 60.0
"""Speed on a straight road, lengths a second."""
_CAUTION = 0.5
"""Share of the speed that is taken away at full lock."""
_LOST = 2.0
"""Seconds off the road after which a drive is over."""
_LONGEST = 40.0
"""Seconds after which a drive is over: twice a lap's time."""


def pedals(speed: float, steering: float) -> tuple[float, float]:
    """Return throttle and brake, 0 to 1: a rule that knows speed and steering, and nothing of the road."""
    excess = speed - _CRUISE * (1 - _CAUTION * abs(steering))
    return float(np.clip(-0.1 * excess, 0, 1)), float(np.clip(0.05 * excess - 0.1, 0, 0.5))


class World:
    """A track with a car on it.

    Args:
        seed: of the track. The same seed is the same track.

    Raises:
        MissingPackage: the simulator is not installed.
    """

    def __init__(self, seed: int) -> None:
        self._simulator, half = _simulator()
        self._simulator.reset(seed=seed)
        road = np.array([(x, y) for _, _, x, y in self._simulator.track])
        self.lap = Lap(road, half)
        self.steps = 0
        """Of the physics, since the drive began."""
        self.throttle = self.brake = 0.0
        self.frame: Frame = np.empty((0, 0, 3), np.uint8)
        """What is seen now."""
        for _ in range(_RATE // STEPS + 1):
            self._advance(0.0, 0.0, 0.0)
        self.steps = 0

    @property
    def position(self) -> Floats:
        """Where the car is: [2]."""
        return np.array(self._simulator.car.hull.position)

    @property
    def heading(self) -> float:
        """Where it points to, in radians."""
        return float(self._simulator.car.hull.angle) + math.pi / 2

    @property
    def speed(self) -> float:
        """How fast it is."""
        return float(np.hypot(*self._simulator.car.hull.linearVelocity))

    @property
    def seconds(self) -> float:
        """Since the drive began."""
        return self.steps / _RATE

    def advance(self, steering: float) -> None:
        """Steer, let the rule have the pedals, and go on to the next decision."""
        self.throttle, self.brake = pedals(self.speed, steering)
        self._advance(steering, self.throttle, self.brake)

    def _advance(self, steering: float, throttle: float, brake: float) -> None:
        action = np.array([steering * LOCK, throttle, brake])
        for left in reversed(range(STEPS)):
            self._simulator.looked_at = not left
            seen = self._simulator.step(action)[0]
            self.steps += 1
            self.lap.move(self.position)
        self.frame = np.array(seen[:_SEEN], np.uint8)


@dataclass
class Drive:
    """What became of a drive: each list has an entry for each decision, [T]."""

    seed: int
    road: Floats
    """[P, 2]."""
    share: float = 0.0
    """Of the lap."""
    deviation: float = 1.0
    """Mean distance to the middle of the road, as a share of half its width; what was not driven counts as 1."""
    departures: int = 0
    """How often the car left the road."""
    seconds: float = 0.0
    path: list[Floats] = field(default_factory=list)
    on_road: list[bool] = field(default_factory=list)
    steering: list[float] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    """Only where they were asked for."""


def drive(policy: Policy, seed: int, *, film: bool = False) -> Drive:
    """Let a policy steer for one lap, until the car is off the road for two seconds, or for 40 seconds at most.

    Args:
        policy: which steers.
        seed: of the track.
        film: whether frames are kept.

    Raises:
        MissingPackage: the simulator is not installed.
    """
    world = World(seed)
    found = Drive(seed, world.lap.road)
    off = 0
    while world.lap.share < 1 and off <= _LOST * _RATE / STEPS and world.seconds < _LONGEST:
        steering = float(np.clip(policy(world.frame), -1, 1))
        found.path.append(world.position)
        found.on_road.append(world.lap.on_road)
        found.steering.append(steering)
        if film:
            found.frames.append(world.frame)
        world.advance(steering)
        left = found.on_road[-1] and not world.lap.on_road
        found.departures += left
        off = 0 if world.lap.on_road else off + 1
    found.share, found.deviation, found.seconds = world.lap.share, world.lap.deviation, world.seconds
    return found


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of a recorded drive."""

    step: int
    """Of the physics, since the drive began."""
    frame: Frame
    steering: float
    """What the driver would do, -1 to 1: not what was done."""
    throttle: float
    brake: float
    speed: float


_SPELL = (6, 24)
"""Decisions for which a disturbance stays the same: half a second to two seconds."""
_BESIDE = 4.5
"""How far from the middle of the road the car is led at most."""
_JERK = 0.6
"""How far the wheel is turned away at most."""


def record(seed: int, moments: int) -> Iterator[Moment]:
    """Drive with an unsteady hand, at most a lap, and say at each decision what the driver would do.

    The car is led aside, and the wheel is jerked, for spells at a time; recorded is how the driver would come back to
    the middle (noise injection: Laskey et al., "DART", 2017). A model that has only seen the middle of the road does
    not know how to come back to it (Ross et al., 2011).

    Args:
        seed: of the track, and of the hand.
        moments: how many are recorded.

    Raises:
        MissingPackage: the simulator is not installed.
    """
    world = World(seed)
    rng = np.random.default_rng([seed, 1])
    beside = jerk = 0.0
    left = 0
    for _ in range(moments):
        if world.lap.share >= 1:
            return
        if not left:
            left = int(rng.integers(*_SPELL))
            kind = rng.random()
            beside = float(rng.uniform(-_BESIDE, _BESIDE)) if kind < 0.6 else 0.0
            jerk = float(rng.uniform(-_JERK, _JERK)) if kind > 0.8 else 0.0
            left = left // 3 if jerk else left  # a jerk is short, or the car is lost
        left -= 1
        place = (world.lap, world.position, world.heading, world.speed)
        wanted = pursue(*place)
        done = float(np.clip(pursue(*place, beside) + jerk, -1, 1))
        frame, step, speed = world.frame, world.steps, world.speed
        world.advance(done)
        yield Moment(step, frame, wanted, world.throttle, world.brake, speed)


def _simulator() -> tuple[Any, float]:
    """Make a simulator that draws only when it is looked at, and half the width of its roads."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        from gymnasium.envs.box2d.car_racing import TRACK_WIDTH, CarRacing
    except ImportError as error:
        raise MissingPackage(
            f"the driving simulator needs {PACKAGE}: {error}",
            hint="pip install 'sluiceway[driving]'; or set evaluate.closed_loop.world: none, and drive nowhere",
        ) from None

    class Watched(CarRacing):
        looked_at = False

        def _render(self, mode: str) -> Any:
            # Drawing takes 6 ms, the physics 0.1.
            return super()._render(mode) if self.looked_at else None

    return Watched(verbose=False, domain_randomize=True), float(TRACK_WIDTH)
