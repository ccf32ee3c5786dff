"""What a run of a job came to, in one word, one sentence and an exit code. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sluiceway.gates.verdict import Verdict
from sluiceway.launch.jobs import Event

EXIT: Mapping[Event, int] = {
    "promoted": 0,
    "unchanged": 0,
    "failed": 1,
    "lost": 1,
    "kept": 3,
    "closed": 3,
    "preempted": 75,
}
"""3: a gate is closed, which is no crash. 75: the work is saved, and the job is to be queued again."""
CANCELLED = 130
"""Exit code of a run that somebody ended: its work is saved as well, and no scheduler is to begin it again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    ``promoted``: a new champion. ``kept``: a version was registered, and the model gate kept the champion.
    ``closed``: the data gate, the cost gate or the job's budget ended it. ``preempted``: it was told to stop, and its
    work is saved. ``unchanged``: there was nothing worth a run. ``failed``: it crashed. ``lost``: it ended without a
    word, and what comes next says so.
    """

    event: Event
    sentence: str
    links: Mapping[str, str] = field(default_factory=dict)
    """Addresses and places by what they show."""
    again: bool = False
    """Whether just this was told before."""

    @property
    def exit_code(self) -> int:
        """For the scheduler."""
        return EXIT[self.event]


def registered(
    job: str, pipeline: str, name: str, version: int, champion: bool, verdict: Verdict, before: int | None = 0
) -> Outcome:
    """Return the outcome of a run that registered a version.

    Args:
        job: whose run.
        pipeline: what was run.
        name: of the registered model.
        version: that was registered.
        champion: whether it is the new champion.
        verdict: of the model gate.
        before: the version that was champion; None where there was none, 0 where the stage did not say.
    """
    if champion:
        return Outcome("promoted", f"{job}: {name} version {version} is the new champion of {pipeline}")
    reason = f"the model gate is closed: {verdict.reason}"
    stays = "there is no champion yet" if before is None else "the champion stays"
    return Outcome("kept", f"{job}: {name} version {version} is registered, {stays}; {reason}")


def closed(job: str, verdict: Verdict) -> Outcome:
    """Return the outcome of a run that a gate ended."""
    return Outcome("closed", f"{job}: the {verdict.gate} gate of {verdict.pipeline} is closed: {verdict.reason}")


def report(verdicts: Sequence[Verdict]) -> list[str]:
    """Write verdicts as lines."""
    width = max((len(verdict.gate) for verdict in verdicts), default=0)
    return [f"  {verdict.gate:<{width}} gate  {verdict.state}: {verdict.reason}" for verdict in verdicts]
