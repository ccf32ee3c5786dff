"""What goes into ``reports/<pipeline>/data/index.html``: which examples are shown.

Contents are read for shown examples only, and the page keeps within bounds whatever is wrong with the data.
"""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from sluiceway.checks.base import Finding, Material, Offender, Reference, count_rows
from sluiceway.data.sources import load
from sluiceway.data.table import BadExample, TargetKind
from sluiceway.gates.verdict import Verdict
from sluiceway.stages.data_verdict import drawn, steps
from sluiceway.usecases.pipeline import Pipeline

if TYPE_CHECKING:
    import polars as pl

    from sluiceway.evaluation.data_page import Past, SetAside, Specimen

MOST_SHOWN = 12
"""Examples that are shown of a failed check."""
MOST_NOTED = 6
"""Examples that are shown of a check that passed."""
MOST_PER_REASON = 4
"""Examples that are shown of one reason of the quarantine."""
MOST_REASONS = 20
"""Reasons of the quarantine that are told apart; the rarer rest is counted together."""
MOST_LETTERS, MOST_LETTERS_IN_ALL = 200_000, 1_200_000
"""Of the HTML of shown contents: of one check or reason, and of the page. Beyond them, examples are only named."""
MOST_COMPARED = 1_000_000
"""Examples of a version that are drawn beside another version's; of more, evenly taken ones are."""
EXCERPT = 160
"""Bytes that are shown of a content that the use case cannot show."""
_HEX = 32
"""Bytes that are shown where they are no text, eight in a line."""
_ODD = 0.2
"""Share of letters that may be none in a text."""
_LONGEST_ID, _LONGEST_TARGET, _LONGEST_DETAIL = 90, 60, 240
"""Letters."""
_TARGETS: Mapping[TargetKind, str] = {
    "class": "labelled {}",
    "classes": "labelled {}",
    "number": "target {}",
    "text": "“{}”",
    "none": "",
}
_SET_ASIDE = "quarantined_share"
"""The check whose offenders are shown by reason."""


def write_data_report(
    pipeline: Pipeline, verdict: Verdict, findings: Sequence[Finding], material: Material, profile: Mapping[str, Any]
) -> None:
    """Write the page for people."""
    from sluiceway.evaluation.data_page import DataReport, data_page

    showcase = Showcase(pipeline, material)
    # In this order: what comes late may find no room.
    failed = _specimens(showcase, verdict, findings, passed=False)
    quarantine = _quarantine(showcase, material)
    noted = _specimens(showcase, verdict, findings, passed=True)
    report = DataReport(
        verdict=verdict,
        profile=profile,
        specimens=failed | noted,
        quarantine=quarantine,
        past=_past(material, material.reference, verdict) if material.reference else None,
        steps=steps(pipeline, verdict),
        offenders=(pipeline.validated / "offenders.parquet").relative_to(pipeline.root).as_posix(),
        docs_link="expectations/index.html",
    )
    drawn(pipeline).write_text(data_page(report), encoding="utf-8")


def _specimens(
    showcase: "Showcase", verdict: Verdict, findings: Sequence[Finding], *, passed: bool
) -> "dict[str, list[Specimen]]":
    """Show the worst offenders of the checks that failed, or of those that passed all the same, by check."""
    from sluiceway.evaluation.report import urgency

    offenders = {each.check.name: each.offenders[: MOST_NOTED if passed else MOST_SHOWN] for each in findings}
    checks = [check.name for check in sorted(verdict.checks, key=urgency) if check.passed is passed]
    shown = {name: offenders[name] for name in checks if name != _SET_ASIDE and offenders.get(name)}
    showcase.look_up(each for named in shown.values() for each in named)
    return {name: showcase.of_offenders(named) for name, named in shown.items()}


def _quarantine(showcase: "Showcase", material: Material) -> "list[SetAside]":
    """Count the examples that were set aside by reason, and show a few of each."""
    import polars as pl

    from sluiceway.evaluation.data_page import SetAside

    reason = pl.col("reason").fill_null("without a reason")
    kind, detail = reason.str.extract(r"^([^:]*)"), reason.str.extract(r"(?s):\s*(.*)")
    aside = pl.scan_parquet(material.quarantine).select("id", "source", "target", "split", kind=kind, detail=detail)
    counts = aside.group_by("kind").len().sort("len", "kind", descending=[True, False]).collect().rows()
    found = []
    for name, count in counts[:MOST_REASONS]:
        few = aside.filter(pl.col("kind") == name).head(MOST_PER_REASON).collect(engine="streaming")
        specimens = showcase.of_rows([(_Row(*row[:4]), row[5] or "") for row in few.iter_rows()])
        found.append(SetAside(name, count, specimens))
    rest = counts[MOST_REASONS:]
    return [*found, *([SetAside(f"{len(rest)} other reasons", sum(count for _, count in rest))] if rest else [])]


def _past(material: Material, reference: Reference, verdict: Verdict) -> "Past":
    """Describe the last registered version and this one by the columns that both have."""
    import polars as pl

    from sluiceway.data.profile import profile
    from sluiceway.evaluation.data_page import BEFORE, NOW, Past

    tables = {BEFORE: pl.scan_parquet(reference.examples), NOW: material.scan()}
    types = [table.collect_schema() for table in tables.values()]
    measures = {
        name: kind
        for name, kind in material.measures.items()
        if all(name in each and (each[name] == pl.String) == (kind == "text") for each in types)
    }
    sizes = {part: count_rows(table) for part, table in tables.items()}
    every = max(1, -(-max(sizes.values()) // MOST_COMPARED))
    parts = [
        table.select("target", *measures, split=pl.lit(part)).with_row_index("row").filter(pl.col("row") % every == 0)
        for part, table in tables.items()
    ]
    both = pl.concat(parts, how="vertical_relaxed")
    said = " ".join(check.message for check in verdict.checks if check.name.startswith("drift_") and not check.passed)
    return Past(
        reference.name,
        profile(both, measures, material.target, (BEFORE, NOW)),
        sizes,
        every,
        drifted=[name for name in ("target", *measures) if re.search(rf"(?<!\w){re.escape(name)} by \d", said)],
    )


# The examples that are shown.


@dataclass(frozen=True, slots=True)
class _Row:
    """Of a table of examples."""

    id: str | None
    source: str | None
    """None where the content is known to be gone."""
    target: str | None
    """Empty where it is not known."""
    split: str | None


class Showcase:
    """Makes examples to be seen by a person, as long as there is room on the page.

    Args:
        pipeline: whose data it is.
        material: where its examples are.
    """

    def __init__(self, pipeline: Pipeline, material: Material) -> None:
        self._pipeline = pipeline
        self._material = material
        self._known: dict[str, _Row] = {}
        self._left_in_all = MOST_LETTERS_IN_ALL
        self._left = 0

    def look_up(self, offenders: Iterable[Offender]) -> None:
        """Find the rows of examples: accepted, in quarantine, or gone since the last registered version."""
        import polars as pl

        material = self._material
        wanted = {name for each in offenders for name in (each.id, each.other) if name is not None} - set(self._known)
        self._learn(material.scan(), wanted)
        self._learn(pl.scan_parquet(material.quarantine), wanted - set(self._known))
        if material.reference:
            gone = pl.scan_parquet(material.reference.examples).with_columns(source=pl.lit(None, pl.String))
            self._learn(gone, wanted - set(self._known))

    def of_offenders(self, offenders: Sequence[Offender]) -> "list[Specimen]":
        """Show offenders that were looked up, each with the example beside which it is to be seen."""
        self._left = MOST_LETTERS
        return [
            self._specimen(self._row(each.id), each.detail, self._row(each.other) if each.other is not None else None)
            for each in offenders
        ]

    def of_rows(self, rows: Sequence[tuple[_Row, str]]) -> "list[Specimen]":
        """Show rows of a table, each with what is wrong with it."""
        self._left = MOST_LETTERS
        return [self._specimen(row, detail) for row, detail in rows]

    def _learn(self, table: "pl.LazyFrame", ids: set[str]) -> None:
        import polars as pl

        if not ids:
            return
        wanted = pl.LazyFrame({"id": sorted(ids)}, schema={"id": pl.String})
        rows = table.with_row_index("row").select("row", "id", "source", "target", "split")
        found = rows.join(wanted, on="id", how="semi").sort("row").drop("row").collect(engine="streaming")
        for row in map(_Row, *found.get_columns()):
            self._known.setdefault(str(row.id), row)

    def _row(self, name: str) -> _Row:
        return self._known.get(name) or _Row(name, None, "", None)

    def _specimen(self, row: _Row, detail: str, other: _Row | None = None) -> "Specimen":
        from sluiceway.evaluation.canvas import shorten
        from sluiceway.evaluation.data_page import Specimen

        return Specimen(
            id=_short_id(row.id or "without id"),
            target=self._target(row.target),
            split=row.split or "",
            detail=shorten(detail, _LONGEST_DETAIL),
            html=self._content(row),
            other=self._specimen(other, "") if other else None,
        )

    def _target(self, target: str | None) -> str:
        from sluiceway.evaluation.canvas import shorten

        words = _TARGETS[self._material.target]
        if target is None:
            return words and "no target"
        return words.format(shorten(target, _LONGEST_TARGET)) if target else ""

    def _content(self, row: _Row) -> str:
        """Show a content, where there is room for it."""
        html = self._thumbnail(row)
        if len(html) > min(self._left, self._left_in_all):
            return ""
        self._left -= len(html)
        self._left_in_all -= len(html)
        return html

    def _thumbnail(self, row: _Row) -> str:
        usecase = self._pipeline.usecase
        draw = usecase.thumbnail
        if draw is None or row.source is None:
            return ""
        try:
            payload = load(self._pipeline.raw, row.source)
            payload = usecase.amend(payload, row.target) if usecase.amend and row.target else payload
        except BadExample:
            return ""  # its detail says so
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return draw(payload, self._pipeline.params.data)
        except Exception:  # noqa: BLE001  whatever is wrong with it: this is where it shall be seen
            return f"<pre>{escape(excerpt(payload))}</pre>"


def excerpt(payload: bytes) -> str:
    """Return the beginning of a content as text, with what is none in it escaped, or else in hexadecimal."""
    start = payload[:EXCERPT]
    text = start.decode("utf-8", "replace")
    odd = sum(letter == "\ufffd" or not (letter.isprintable() or letter.isspace()) for letter in text)
    more = " ..." if len(payload) > EXCERPT else ""
    if odd <= _ODD * len(text):
        letters = start.decode("utf-8", "backslashreplace")
        return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in letters) + more
    lines = [start[at : at + 8].hex(" ") for at in range(0, min(_HEX, len(start)), 8)]
    return "\n".join([*lines, f"... {len(payload):,} bytes"] if len(payload) > _HEX else lines)


def _short_id(name: str) -> str:
    """Leave out the middle of a long id: what tells it from others stands at its end."""
    if len(name) <= _LONGEST_ID:
        return name
    half = _LONGEST_ID // 2
    return f"{name[: half - 1]}…{name[-half:]}"
