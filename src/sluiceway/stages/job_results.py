"""What a job's run left behind: verdicts, the registered version and where to look at them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluiceway.config import CostGateParams, read_yaml
from sluiceway.data.documents import read_json
from sluiceway.errors import LaunchError
from sluiceway.gates.verdict import GateName, Verdict
from sluiceway.launch.jobs import Job
from sluiceway.usecases.pipeline import Pipeline, params_file

_GATES: tuple[GateName, ...] = ("data", "cost", "model")
_DAY = 86400


@dataclass(frozen=True, slots=True)
class Results:
    """Results of a pipeline in a working tree."""

    tree: Path
    pipeline: str

    @property
    def reports(self) -> Path:
        """Folder of reports."""
        return self.tree / "reports" / self.pipeline

    def verdicts(self, last: GateName = "model") -> list[Verdict]:
        """Return the verdicts up to a gate, in the order of the gates; later ones are of earlier runs."""
        asked = _GATES[: _GATES.index(last) + 1]
        return [verdict for gate in asked if (verdict := self.verdict(gate))]

    def page(self) -> dict[str, str]:
        """Return where the page is that says why the data gate is closed."""
        path = self.reports / "data" / "index.html"
        return {"report": str(path)} if path.exists() else {}

    def verdict(self, gate: str) -> Verdict | None:
        """Return the verdict of a gate, if it was asked."""
        path = self.reports / "verdicts" / f"{gate}.json"
        return Verdict.read(path) if path.exists() else None

    def drift(self) -> float:
        """Return the largest distance of the validated data from the last registered version, 0 to 1."""
        verdict = Verdict.read(self.tree / "data" / "validated" / self.pipeline / "verdict.json")
        found = [check.figure for check in verdict.checks if check.name.startswith("drift_")]
        return max((figure for figure in found if isinstance(figure, float)), default=0.0)

    def registration(self) -> dict[str, Any]:
        """Return name, version, run and whether it became the champion.

        Raises:
            LaunchError: nothing was registered.
        """
        path = self.reports / "registration.json"
        if not path.exists():
            raise LaunchError(f"{path} is missing after register", hint="the job's log says what register did")
        return read_json(path)

    def links(self, run_id: str) -> dict[str, str]:
        """Return where to look: the report, and the run in MLflow."""
        from sluiceway.tracking.store import experiment, page, tracking_uri

        links = {"report": str(self.reports / "report.html"), "run": run_id}
        uri = tracking_uri(self.tree)
        if uri.startswith("http"):
            links["run"] = page(uri, f"experiments/{experiment(self.tree, self.pipeline)}/runs/{run_id}")
        return links

    def champion_days(self) -> float | None:
        """Return how old the champion is, in days; None when there is none.

        Raises:
            TrackingError: the registry cannot be reached.
        """
        from sluiceway.tracking import registry

        pipeline = Pipeline.load(self.pipeline, self.tree)
        champion = registry.champion(pipeline.root, registry.registry_name(pipeline))
        return (time.time() - champion.made) / _DAY if champion else None


def budget_seconds(root: Path, job: Job) -> float | None:
    """Return the seconds that a run may take, by time and by money; None where there is no limit."""
    budget = job.budget
    limits = [budget.hours * 3600] if budget.hours else []
    if budget.cost:
        path = root / params_file(job.pipeline)
        cost: Mapping[str, Any] = (read_yaml(path).get("gates") or {}).get("cost") or {}
        price = cost.get("price_per_device_hour", CostGateParams().price_per_device_hour)
        if price:
            limits.append(budget.cost / (price * job.resources.workers) * 3600)
    return min(limits, default=None)
