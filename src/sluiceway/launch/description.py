"""Reads ``infra/jobs.yaml``: with all faults of all jobs at once, or one job, which others' faults do not stop."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sluiceway.config import checked, faulty, read_yaml
from sluiceway.errors import ConfigError, nearest, unknown
from sluiceway.launch.jobs import Job, Jobs
from sluiceway.usecases.pipeline import params_file, project_params

JOBS = Path("infra") / "jobs.yaml"
HINT = "docs/job-options.md lists every option with its meaning"


def read_jobs(root: Path) -> dict[str, Job]:
    """Read the jobs of a project.

    Raises:
        NotAProject: the folder has no ``params.yaml``.
        ConfigError: the file is missing or has faults, all of which are named.
    """
    jobs, faults = _checked(root, _document(root))
    if faults:
        raise faulty(JOBS, faults, HINT)
    return jobs


def read_job(root: Path, name: str) -> Job:
    """Read one job, whatever faults the others have.

    Raises:
        NotAProject: the folder has no ``params.yaml``.
        UnknownName: there is none of this name.
        ConfigError: the file is missing, or faults of it concern this job.
    """
    document = _document(root)
    jobs, faults = _checked(root, _only(document, name))
    if faults:
        raise faulty(JOBS, faults, HINT)
    if name not in jobs:
        raise unknown("job", name, map(str, document["jobs"]))
    return jobs[name]


def sound_jobs(root: Path) -> tuple[dict[str, Job], list[str]]:
    """Return the jobs without a fault, and the faults of the others.

    Raises:
        NotAProject: the folder has no ``params.yaml``.
        ConfigError: the file is missing, or cannot be read at all.
    """
    document = _document(root)
    if not document["jobs"] or not isinstance(document["jobs"], Mapping):
        return _checked(root, document)
    sound: dict[str, Job] = {}
    faults: list[str] = []
    for name in document["jobs"]:
        jobs, wrong = _checked(root, _only(document, name))
        faults += wrong
        sound |= {} if wrong else jobs
    return sound, list(dict.fromkeys(faults))


def _document(root: Path) -> dict[str, Any]:
    project_params(root)
    path = root / JOBS
    if not path.exists():
        raise ConfigError(f"{JOBS} does not exist", hint="docs/jobs.md has one to begin with")
    document = read_yaml(path)
    return {**document, "jobs": {} if document.get("jobs") is None else document["jobs"]}


def _only(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the document with one of its jobs alone."""
    jobs = document["jobs"]
    alone = {key: jobs[key] for key in jobs if key == name} if isinstance(jobs, Mapping) else jobs
    return {**document, "jobs": alone}


def _checked(root: Path, document: Mapping[str, Any]) -> tuple[dict[str, Job], list[str]]:
    """Return a document's jobs, and its faults; where there is one, there may be no jobs."""
    jobs, faults = checked(Jobs, document)
    pipelines = project_params(root).pipelines
    raw = document["jobs"] if isinstance(document["jobs"], Mapping) else {}
    for name, job in raw.items():
        if isinstance(job, Mapping):
            faults += _strangers(root, name, job, pipelines)
    return (jobs.jobs if jobs else {}), faults


def _strangers(root: Path, name: str, job: Mapping[str, Any], pipelines: Mapping[str, object]) -> Iterator[str]:
    """Yield what only the rest of the project can tell of a job as it is written."""
    pipeline, resources = job.get("pipeline"), job.get("resources")
    if not isinstance(pipeline, str):
        return
    if pipeline not in pipelines:
        yield f"jobs.{name}.pipeline: {pipeline!r} is no pipeline; {nearest(pipeline, pipelines)}"
        return
    workers = resources.get("workers", 1) if isinstance(resources, Mapping) else 1
    needed, _ = workers_of(root, pipeline)
    if isinstance(workers, int) and 0 < workers < needed:
        yield (
            f"jobs.{name}.resources.workers: {workers} is less than the {needed} that "
            f"pipelines/{pipeline}/params.yaml trains on; write workers: {needed}"
        )


def workers_of(root: Path, pipeline: str) -> tuple[int, int]:
    """Return how many workers a pipeline trains on, at least and at most; its file is checked elsewhere, not here."""
    train = None
    with suppress(ConfigError):
        train = read_yaml(root / params_file(pipeline)).get("train")
    workers = train.get("workers", 1) if isinstance(train, dict) else 1
    numbers = [each for each in (workers if isinstance(workers, list) else [workers]) if isinstance(each, int)]
    return min(numbers, default=1), max(numbers, default=1)
