"""The cost gate: is this training worth its price?

Asked twice: after a probe of some steps, of what the whole will cost, and from then on of what was spent.
"""

from dataclasses import dataclass

from sluiceway.config import CostGateParams
from sluiceway.gates.verdict import Check, Verdict

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Spending:
    """Time spent on a training."""

    devices: int
    """That train now."""
    spent_seconds: float
    """So far, earlier attempts included."""
    spent_device_seconds: float
    """Likewise, each attempt by the devices that it had."""
    steps_left: int
    seconds_per_step: float
    """As measured by the probe, validations left out."""

    @property
    def predicted_seconds(self) -> float:
        """Of the whole training."""
        return self.spent_seconds + self.steps_left * self.seconds_per_step

    @property
    def predicted_device_seconds(self) -> float:
        """Of the whole training, on all devices together."""
        return self.spent_device_seconds + self.steps_left * self.seconds_per_step * self.devices


def cost(device_seconds: float, limits: CostGateParams) -> float:
    """Return the price of some device time, in ``limits.currency``."""
    return device_seconds / _HOUR * limits.price_per_device_hour


def judge(spending: Spending, limits: CostGateParams, *, pipeline: str, subject: str) -> Verdict:
    """Hold the predicted time and money of a training against their limits."""
    hours = spending.predicted_seconds / _HOUR
    money = cost(spending.predicted_device_seconds, limits)
    currency = limits.currency
    devices = "1 device" if spending.devices == 1 else f"{spending.devices} devices"
    checks = (
        Check(
            name="predicted_hours",
            passed=hours <= limits.max_hours,
            figure=hours,
            limit=limits.max_hours,
            message=f"training is predicted to take {_duration(spending.predicted_seconds)} on {devices}; "
            f"{_duration(limits.max_hours * _HOUR)} are allowed",
        ),
        Check(
            name="predicted_cost",
            passed=money <= limits.max_cost,
            figure=money,
            limit=limits.max_cost,
            message=f"training is predicted to cost {money:.4g} {currency}; {limits.max_cost:g} {currency} are allowed",
        ),
    )
    figures = {
        "seconds_per_step": spending.seconds_per_step,
        "predicted_hours": hours,
        "predicted_cost": money,
        "spent_hours": spending.spent_seconds / _HOUR,
    }
    return Verdict(gate="cost", pipeline=pipeline, subject=subject, checks=checks, figures=figures)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} hours"
