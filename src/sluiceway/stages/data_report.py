"""What goes into ``reports/<pipeline>/data/index.html``."""

import json
from collections.abc import Sequence

from sluiceway.checks.base import Finding, Material
from sluiceway.gates.verdict import Verdict
from sluiceway.usecases.pipeline import Pipeline


def write_data_report(pipeline: Pipeline, verdict: Verdict, findings: Sequence[Finding], material: Material) -> None:
    """Write the profile, and the page for people."""
    import polars as pl

    from sluiceway.data.profile import profile
    from sluiceway.evaluation.report import data_page

    facts = profile(material.scan(), material.measures, material.target)
    text = json.dumps(facts, indent=1, sort_keys=True)
    (pipeline.validated / "profile.json").write_text(text + "\n", encoding="utf-8")
    kind = pl.col("reason").str.extract(r"^([^:]*)")
    reasons = pl.scan_parquet(material.quarantine).group_by(kind).len().collect(engine="streaming")
    page = data_page(verdict, facts, dict(reasons.rows()), "expectations/index.html")
    (pipeline.reports / "data" / "index.html").write_text(page, encoding="utf-8")
