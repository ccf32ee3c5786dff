"""The data gate's verdict as people see it: what a person can do now, and ``reports/<pipeline>/data/index.html``.

``validate`` draws the page once, into ``data/validated/<pipeline>/page.html``. What a person decides afterwards is put
into its copy in the reports, by ``gate`` and by an override at once.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.checks.catalogue import ACROSS, LIMITS, OF_LABELS
from sluiceway.data.documents import write_whole
from sluiceway.errors import ConfigError
from sluiceway.gates.overrides import overridden
from sluiceway.gates.verdict import Verdict
from sluiceway.usecases.pipeline import Pipeline

if TYPE_CHECKING:
    from sluiceway.evaluation.data_page import Step


def drawn(pipeline: Pipeline) -> Path:
    """Where the page is that ``validate`` drew."""
    return pipeline.validated / "page.html"


def as_it_stands(pipeline: Pipeline, verdict: Verdict) -> Verdict:
    """Return a verdict with what a person has decided on this very data; a ledger that cannot be read, `gate` tells."""
    with suppress(ConfigError):
        return overridden(verdict, pipeline.overrides)
    return verdict


def publish(pipeline: Pipeline, verdict: Verdict) -> None:
    """Write the page for people, with the verdict as it stands now."""
    from sluiceway.evaluation.data_page import with_verdict

    page = with_verdict(drawn(pipeline).read_text(encoding="utf-8"), verdict, steps(pipeline, verdict))
    path = pipeline.reports / "data" / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Put in place whole: the file that is there may be a link into DVC's cache.
    write_whole(path, page)


def steps(pipeline: Pipeline, verdict: Verdict) -> "list[Step]":
    """Say what a person can do about a closed or overridden gate, or about doubtful labels."""
    from sluiceway.evaluation.data_page import Step

    name, closing, found = pipeline.name, [check.name for check in verdict.closed_by], []
    closed = bool(closing) and not verdict.open
    if closed:
        found.append(Step(f"Mend the data in data/raw/{name}, then:", f"dvc repro register@{name}"))
    if any(check.name in OF_LABELS and not check.passed for check in verdict.checks):
        found.append(Step("Let a person decide on the labels in doubt:", f"sluiceway labels review {name}"))
    if closed:
        if ACROSS & set(closing):
            found.append(
                Step("Put what belongs together on one side: `group` or `group_column` below data say what does")
            )
        found.append(Step(f"Where a limit is wrong for this data, change it: {limits(pipeline, closing)}"))
        found.append(
            Step("Or let this very data through, on the record:", f"sluiceway gate {name} --override 'reason'")
        )
    elif closing:
        ledger = pipeline.overrides.relative_to(pipeline.root)
        found.append(Step("Keep the record, and go on:", f"git add {ledger} && dvc repro register@{name}"))
    return found


def limits(pipeline: Pipeline, closing: Sequence[str]) -> str:
    """Say where the limits of some checks stand: options of ``params.yaml`` by name, or the contract."""
    own = [each for each in closing if not each.startswith("expect")]
    options = dict.fromkeys(
        f"gates.data.{LIMITS[each]}" if each in LIMITS else f"gates.data.severity.{each}" for each in own
    )
    places = [f"pipelines/{pipeline.name}/expectations.json"] * (len(own) < len(closing))
    places += [f"{', '.join(options)} in pipelines/{pipeline.name}/params.yaml"] * bool(own)
    return " or ".join(places)
