"""A pipeline: a folder below ``pipelines/``, read, checked and joined with its use case."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from sluiceway.config import TRACKED, PipelineParams, ProjectParams, parse, read_yaml
from sluiceway.data.places import STATE, home
from sluiceway.errors import ConfigError, NotAProject, nearest, unknown
from sluiceway.usecases import find
from sluiceway.usecases.base import Metric, Trial, UseCase


def project_params(root: Path) -> ProjectParams:
    """Read the project's list of pipelines.

    Raises:
        NotAProject: the folder has no ``params.yaml``.
        ConfigError: it has faults.
    """
    path = root / "params.yaml"
    if not path.exists():
        above = next((each for each in root.absolute().parents if (each / "params.yaml").exists()), None)
        where = f"{above}, the project above it" if above else "the root folder of a project"
        raise NotAProject(f"{root} has no params.yaml", hint=f"run sluiceway in {where}")
    return parse(ProjectParams, read_yaml(path), path.relative_to(root))


def params_file(name: str) -> Path:
    """Return where a pipeline's parameters stand, below the project's root."""
    return Path("pipelines") / name / "params.yaml"


@dataclass(frozen=True)
class Pipeline:
    """A pipeline's name, parameters, use case and places."""

    root: Path
    name: str
    code: str
    """File or folder that holds the use case."""
    params: PipelineParams
    usecase: UseCase

    @classmethod
    def load(cls, name: str, root: Path) -> Self:
        """Read ``pipelines/<name>/params.yaml``.

        Raises:
            UnknownName: the project does not list the pipeline.
            ConfigError: its parameters have faults, all of which are named.
        """
        project = project_params(root)
        if name not in project.pipelines:
            raise unknown("pipeline", name, project.pipelines, "`sluiceway new` begins another one")
        where = params_file(name)
        document = read_yaml(root / where)
        chosen = document.get("usecase")
        if not isinstance(chosen, str):
            raise ConfigError(f"{where}: usecase is missing", hint="`sluiceway usecases` lists the built-in ones")
        target = document.get("target")
        usecase = find(chosen, root, target if isinstance(target, str) else None)
        params = parse(usecase.params, document, where, TRACKED)
        pipeline = cls(root=root, name=name, code=project.pipelines[name].code, params=params, usecase=usecase)
        if faults := list(pipeline._misplaced()):
            names = ", ".join(metric.name for metric in pipeline.metrics)
            raise ConfigError(f"{where}: {'; '.join(faults)}", hint=f"its metrics are {names}")
        return pipeline

    def _misplaced(self) -> Iterator[str]:
        """Yield what is wrong with the thresholds of the model gate, which would be told after the training only."""
        known = {metric.name: metric for metric in self.metrics}
        limits = self.params.gates.model
        for section, names, higher in (("minimum", limits.minimum, True), ("maximum", limits.maximum, False)):
            for name in names:
                where = f"gates.model.{section}.{name}"
                if name not in known:
                    yield f"{where}: no such metric; {nearest(name, known)}"
                elif known[name].higher_is_better is not higher:
                    other = "minimum" if known[name].higher_is_better else "maximum"
                    yield f"{where}: {name} is better when {'lower' if higher else 'higher'}; write it under {other}"

    @property
    def trial(self) -> Trial | None:
        """How learners are tried at work, if they are."""
        trial = self.usecase.trial
        return trial if trial and trial.wanted(self.params.evaluate) else None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What learners are scored by, those of a trial first. The first one decides."""
        return (*(self.trial.metrics if self.trial else ()), *self.usecase.metrics)

    @property
    def params_file(self) -> Path:
        """The parameters, as a person wrote them."""
        return self.root / params_file(self.name)

    @property
    def expectations(self) -> Path:
        """The Great Expectations suite."""
        return self.root / "pipelines" / self.name / "expectations.json"

    @property
    def raw(self) -> Path:
        """The raw data, as its owner left it."""
        return self.root / "data" / "raw" / self.name

    @property
    def validated(self) -> Path:
        """The example table, the quarantine and the data gate's verdict."""
        return self.root / "data" / "validated" / self.name

    @property
    def reference(self) -> Path:
        """The last version of the data whose model was registered: what the next one is compared with."""
        return self.root / "data" / "reference" / self.name

    @property
    def corrections(self) -> Path:
        """Labels that a person has corrected."""
        return self.root / "data" / "corrections" / f"{self.name}.csv"

    @property
    def sides(self) -> Path:
        """Sides that were written down, in the place of the hash."""
        return self.root / "data" / "sides" / f"{self.name}.csv"

    @property
    def overrides(self) -> Path:
        """The ledger of overrides, of all pipelines."""
        return self.root / "data" / "overrides.jsonl"

    @property
    def shards(self) -> Path:
        """What training reads."""
        return self.root / "data" / "shards" / self.name

    @property
    def model(self) -> Path:
        """The trained model."""
        return self.root / "models" / self.name

    @property
    def reports(self) -> Path:
        """Reports of all stages."""
        return self.root / "reports" / self.name

    @cached_property
    def state(self) -> Path:
        """What is neither data nor result: checkpoints, locks, timings. Not DVC's and not git's."""
        return home(self.root) / STATE / self.name

    @property
    def finished(self) -> Path:
        """Where the outcome of a training stays until the stage after it begins."""
        return self.state / "finished"
