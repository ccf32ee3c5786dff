"""What a check of the data gate looks at, and how it answers.

A check is a function from :class:`Material` to findings. It knows no use case: it asks the example table, the sketches
of the contents, the classical learner's answers and the last registered version of the data.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.config import DataGateParams
from sluiceway.data.answers import Answers
from sluiceway.data.sketches import Sketches
from sluiceway.data.table import MeasureKind, TargetKind
from sluiceway.gates.verdict import MOST_EXAMPLES, Check, Severity

if TYPE_CHECKING:
    import polars as pl

MOST_OFFENDERS = 10_000
"""At most so many offenders of one check are kept by id; the count is always whole."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The last version of the data whose model was registered."""

    name: str
    """For people: ``digits version 3``."""
    examples: Path
    sketches: Sketches


@dataclass(frozen=True)
class Material:
    """What is known of a data set."""

    examples: Path
    """``examples.parquet``: read it lazily, it may be larger than memory."""
    quarantine: Path
    """``quarantine.parquet``."""
    target: TargetKind
    measures: Mapping[str, MeasureKind]
    limits: DataGateParams
    sketches: Sketches
    """Of all accepted examples, or of a sample of them when there are very many."""
    answers: Answers | None = None
    """None where the use case has no classical learner."""
    reference: Reference | None = None
    """None before the first registration."""
    corrected: frozenset[str] = frozenset()
    """Ids of the examples whose label a person has corrected."""

    def scan(self) -> "pl.LazyFrame":
        """The accepted examples, to be asked lazily."""
        import polars as pl

        return pl.scan_parquet(self.examples)

    @cached_property
    def sampled(self) -> "pl.DataFrame":
        """Rows of the example table that were sketched, in the order of ``sketches``, with their row as ``row``."""
        import polars as pl

        wanted = pl.LazyFrame({"row": self.sketches.rows})
        return wanted.join(self.scan().with_row_index("row").cast({"row": pl.Int64}), on="row").sort("row").collect()


@dataclass(frozen=True, slots=True)
class Offender:
    """An example that a check names."""

    id: str
    detail: str = ""
    """What is wrong with it, shortly: ``0.97 alike``, ``looks like 7``."""
    other: str | None = None
    """Id of another example to be shown beside it, such as the one that it copies."""
    score: float = 0.0
    """Worst is highest."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's answer, with the examples behind it."""

    check: Check
    offenders: tuple[Offender, ...] = ()
    """Worst first; at most ``MOST_OFFENDERS``."""


def count_rows(rows: "pl.LazyFrame") -> int:
    """Count rows; none of them is held."""
    import polars as pl

    return int(rows.select(pl.len()).collect(engine="streaming").item())


CheckFunction = Callable[[Material], Iterable[Finding]]


def finding(
    name: str,
    message: str,
    *,
    passed: bool,
    figure: float | str | None,
    limit: float | str | None,
    severity: Severity = Severity.close,
    offenders: Sequence[Offender] = (),
    count: int | None = None,
) -> Finding:
    """Make a finding; offenders are put in order, worst first.

    Args:
        name: of the check, in snake case.
        message: one sentence for a person: what was found, and what was allowed.
        passed: whether the figure is within the limit.
        figure: what was found.
        limit: what was allowed.
        severity: what a failure does, unless ``gates.data.severity`` says otherwise.
        offenders: the examples behind the figure.
        count: number of offenders, where not all are given.
    """
    worst = tuple(sorted(offenders, key=lambda each: -each.score)[:MOST_OFFENDERS])
    check = Check(
        name=name,
        passed=passed,
        severity=severity,
        figure=figure,
        limit=limit,
        message=message,
        offenders=len(offenders) if count is None else count,
        examples=tuple(each.id for each in worst[:MOST_EXAMPLES]),
    )
    return Finding(check, worst)
