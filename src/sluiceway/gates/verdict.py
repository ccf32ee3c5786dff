"""The verdict: the one form in which every gate answers.

A gate is a pure function from figures to a :class:`Verdict`; a stage acts on it. A verdict is a small JSON file,
a page for people, and tags on the MLflow run.
"""

import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

GateName = Literal["data", "cost", "model"]

MOST_EXAMPLES = 20
"""At most so many offending examples are kept on one check; the count is always whole."""
_NAMED = 3
"""Checks that a reason names beside the first; its message stands for itself."""


class Severity(StrEnum):
    """What a failed check does to its gate."""

    close = "close"
    warn = "warn"


class Check(BaseModel):
    """One question a gate asked, with the figure it found and the limit it held it against."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """What was checked, in snake case; unique within the verdict."""
    passed: bool
    severity: Severity = Severity.close
    figure: float | str | None = None
    """What was found."""
    limit: float | str | None = None
    """What was allowed."""
    message: str
    """One sentence for a person: what was found, and what was allowed."""
    offenders: int = 0
    """Number of examples that failed the check."""
    examples: tuple[str, ...] = ()
    """Ids of the first offending examples."""

    @property
    def closes(self) -> bool:
        """Whether this check alone would close the gate."""
        return not self.passed and self.severity is Severity.close


class Override(BaseModel):
    """A person's decision to pass a closed gate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    who: str
    when: str
    """UTC time, ISO 8601."""
    why: str
    checks: tuple[str, ...]
    """Names of the checks that were overridden."""
    subject: str
    """Digest of the thing that was let through: the override holds for it alone."""

    @property
    def moment(self) -> str:
        """When, for people: ``2026-11-29 21:30 UTC``."""
        try:
            when = datetime.fromisoformat(self.when)
        except ValueError:
            return self.when
        return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if when.tzinfo else self.when


class Verdict(BaseModel):
    """The answer of a gate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gate: GateName
    pipeline: str
    subject: str
    """Digest of what was judged: the example table, the training job, the model."""
    checks: tuple[Check, ...]
    override: Override | None = None
    figures: dict[str, float] = Field(default_factory=dict)
    """Facts the gate found that no limit was held against, with their units in the name."""

    @property
    def closed_by(self) -> tuple[Check, ...]:
        """The checks that close the gate, before any override."""
        return tuple(check for check in self.checks if check.closes)

    @property
    def warnings(self) -> tuple[Check, ...]:
        """The failed checks that only warn."""
        return tuple(check for check in self.checks if not check.passed and not check.closes)

    @property
    def open(self) -> bool:
        """Whether the pipeline may go on. A verdict without checks is closed: nothing was asked."""
        if not self.checks:
            return False
        override = self.override
        overridden = set(override.checks) if override and override.subject == self.subject else set()
        return all(check.name in overridden for check in self.closed_by)

    @property
    def state(self) -> str:
        """``open``, ``closed`` or ``overridden``."""
        if self.open and self.closed_by:
            return "overridden"
        return "open" if self.open else "closed"

    @property
    def reason(self) -> str:
        """The verdict in one sentence; of an overridden one, who let it through, when, why and past which checks."""
        made = self.override
        if self.state != "overridden" or made is None:
            return self.cause
        past = ", ".join(check.name for check in self.closed_by)
        return f"overridden by {made.who}, {made.moment}, past {past}: “{made.why}”; found: {self.cause}"

    @property
    def cause(self) -> str:
        """What was found, in one sentence, whether or not somebody overrode it."""
        if not self.checks:
            return "no check was made, and a gate that asks nothing stays closed"
        if self.closed_by:
            first, *others = self.closed_by
            named = [check.name for check in others[:_NAMED]]
            if len(others) > _NAMED:
                named.append(f"{len(others) - _NAMED} more")
            return f"{first.message} (and {', '.join(named)})" if named else first.message
        if self.warnings:
            return f"{len(self.checks)} checks made, {len(self.warnings)} with a warning: {self.warnings[0].message}"
        return f"all {len(self.checks)} checks passed"

    def write(self, path: Path) -> None:
        """Write the verdict as JSON; the derived fields are written too, for readers that do not use this class."""
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {"state": self.state, "open": self.open, "reason": self.reason, **self.model_dump(mode="json")}
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a verdict back; the derived fields are computed anew, so an edited ``open`` opens nothing."""
        document = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{name: value for name, value in document.items() if name in cls.model_fields})
