"""The model registry: what is registered is verified first, answers without unpickling, and says what it came from."""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sluiceway.errors import ModelError
from sluiceway.tracking.export import export_model, folder_digest
from sluiceway.tracking.run import Run
from sluiceway.tracking.store import as_default, client, experiment, is_missing, one_line, patient, refusals
from sluiceway.usecases.pipeline import Pipeline
from sluiceway.usecases.saved import verify

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

CHAMPION = "champion"
"""Alias of the version that is in use."""
DIGEST = "sluiceway.sha256"
"""Tag of a version: digest of all its files. Whoever loads a model runs its code, so compare first."""


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version of a model."""

    name: str
    number: int
    run_id: str
    model_id: str
    """Of MLflow's logged model, whose files these are."""
    tags: Mapping[str, str]
    made: float = 0.0
    """When it was registered, in seconds since 1970."""

    @property
    def uri(self) -> str:
        """What MLflow loads it by."""
        return f"models:/{self.name}/{self.number}"


def registry_name(pipeline: Pipeline) -> str:
    """Return the name that the pipeline's models are registered under."""
    return pipeline.params.register_.name or pipeline.name


def register_model(
    pipeline: Pipeline,
    run: Run,
    model_folder: Path,
    example_rows: Sequence[Mapping[str, Any]],
    tags: Mapping[str, str],
    figures: Mapping[str, float] | None = None,
    description: str = "",
) -> Version:
    """Log a trained model to its run and register it as a new version.

    The model folder is compared with its manifest, and what arrived with what was sent, before the version is made:
    MLflow itself would register a broken upload.

    Args:
        pipeline: whose model it is.
        run: the run that trained it.
        model_folder: as written by ``train``.
        example_rows: a few request rows, kept as the model's input example.
        tags: of the version; the digest of its files is added.
        figures: metrics of the run that describe the model. A run that stands in for one of another store gets them.
        description: one sentence for people who look at the version.

    Raises:
        ModelError: the model folder was altered, or what arrived in the store is not what was sent.
        TrackingError: the store cannot be reached or refuses.
    """
    name, root = registry_name(pipeline), pipeline.root
    verify(model_folder)
    with patient(), refusals(root, f"register {name}"), TemporaryDirectory() as scratch:
        logged = client(root).create_logged_model(
            experiment(root, pipeline.name), name=name, source_run_id=run.id, tags=dict(tags)
        )
        try:
            export = Path(scratch) / "model"
            export_model(pipeline, logged, model_folder, example_rows, export)
            sha256 = folder_digest(export)
            client(root).log_model_artifacts(logged.model_id, str(export))
            _read_back(root, logged.artifact_location, sha256, f"the upload of {name}", Path(scratch) / "back")
        except BaseException as error:
            _mark_failed(root, logged, error)
            raise
        client(root).finalize_logged_model(logged.model_id, "READY")
        _link(run, logged, figures or {})
        return _add_version(root, name, logged, {**tags, DIGEST: sha256}, description)


def registered_before(pipeline: Pipeline, run_id: str, facts: Mapping[str, str]) -> Version | None:
    """Return the version that a run's model is already; None where there is none, or its files were damaged.

    A stage that is run again, as after a result that could not be pushed, makes no second version of one model.

    Args:
        pipeline: whose model it is.
        run_id: of the run that trained it.
        facts: tags that must be the same, such as its scores.

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    name, root = registry_name(pipeline), pipeline.root
    with refusals(root, f"look for versions of {name}"):
        listed = client(root).search_model_versions(f"name='{name}' and run_id='{run_id}'")
    known = sorted(map(_version, listed), key=lambda version: version.number, reverse=True)
    for found in known:
        if facts.items() <= dict(found.tags).items():
            with suppress(ModelError), TemporaryDirectory() as scratch:
                fetch(root, found, Path(scratch))
                return found
    return None


def tag(root: Path, found: Version, tags: Mapping[str, str]) -> None:
    """Give a version other tags of these names.

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    with refusals(root, f"tag {found.uri}"):
        for name, value in tags.items():
            if found.tags.get(name) != value:
                client(root).set_model_version_tag(found.name, str(found.number), name, value)


def set_alias(root: Path, name: str, alias: str, number: int) -> None:
    """Let an alias name this version, and no other any more.

    Raises:
        TrackingError: there is no such version, or the store refuses.
    """
    with refusals(root, f"let {alias} name version {number} of {name}"):
        client(root).set_registered_model_alias(name, alias, str(number))


def champion(root: Path, name: str) -> Version | None:
    """Return the version that is in use; None when there is none yet.

    Raises:
        TrackingError: the store cannot be reached or refuses.
    """
    with refusals(root, f"find the {CHAMPION} of {name}"):
        try:
            aliases = client(root).get_registered_model(name).aliases
        except Exception as error:
            if is_missing(error):
                return None
            raise
        if CHAMPION not in aliases:
            return None
        return _version(client(root).get_model_version(name, str(aliases[CHAMPION])))


def fetch(root: Path, found: Version, folder: Path) -> Path:
    """Copy a version's files, compare them with its digest, and return the model folder among them.

    The copy is safe to load, as far as the registry is trusted: it holds what was registered and nothing else.

    Args:
        root: the project.
        found: which version.
        folder: where to.

    Raises:
        ModelError: the files are not those that were registered.
        TrackingError: the store cannot be reached or refuses.
    """
    with refusals(root, f"give the files of {found.uri}"):
        source = client(root).get_model_version_download_uri(found.name, str(found.number))
        there = _read_back(root, source, found.tags.get(DIGEST, ""), found.uri, folder)
    return next(there.glob("data/*/manifest.json")).parent


def _read_back(root: Path, source: str, sha256: str, what: str, folder: Path) -> Path:
    """Copy files from the artifact store, compare them with their digest, and return where they are."""
    from mlflow.artifacts import download_artifacts

    folder.mkdir(parents=True, exist_ok=True)
    there = Path(download_artifacts(artifact_uri=source, dst_path=str(folder), tracking_uri=client(root).tracking_uri))
    # Loading a model in place, from a local artifact store, leaves these beside its files. They are taken out of the
    # copy, not overlooked: compiled code that nobody vouched for must not be run.
    (there / "registered_model_meta").unlink(missing_ok=True)
    for compiled in list(there.rglob("__pycache__")):
        shutil.rmtree(compiled)
    if folder_digest(there) != sha256:
        raise ModelError(
            f"{what} is damaged: its files do not have the SHA-256 that was registered",
            hint="register it again from the model folder: `dvc repro --force register@...`",
        )
    return there


def _mark_failed(root: Path, logged: "LoggedModel", error: BaseException) -> None:
    """Mark a logged model as failed. A refusal of the store never hides the error that came before."""
    try:
        client(root).finalize_logged_model(logged.model_id, "FAILED")
    except Exception as refusal:  # noqa: BLE001 - the store's library has errors of many kinds
        error.add_note(f"Besides, the logged model could not be marked as failed: {one_line(refusal)}")


def _link(run: Run, logged: "LoggedModel", figures: Mapping[str, float]) -> None:
    """Make the run name the model as its output, and copy the run's figures to the model."""
    from mlflow.entities import LoggedModelOutput, Metric

    store = client(run.pipeline.root)
    store.log_outputs(run.id, [LoggedModelOutput(logged.model_id, step=0)])
    run.log_figures({name: value for name, value in figures.items() if not store.get_metric_history(run.id, name)})
    latest = [store.get_metric_history(run.id, name)[-1] for name in figures]
    # Equal in name, value, time and step, so the run itself gets no second point.
    store.log_batch(
        run.id, metrics=[Metric(m.key, m.value, m.timestamp, m.step, model_id=logged.model_id) for m in latest]
    )


def _add_version(root: Path, name: str, logged: "LoggedModel", tags: Mapping[str, str], description: str) -> Version:
    from mlflow.exceptions import MlflowException

    store = client(root)
    try:
        store.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    with as_default(root):  # the registry asks MLflow's default store what this source is, not the store it belongs to
        made = store.create_model_version(
            name,
            f"models:/{logged.model_id}",
            logged.source_run_id,
            tags=dict(tags),
            model_id=logged.model_id,
            description=description,
        )
    # The web page of the logged model finds its versions by this tag of MLflow's own.
    versions = json.dumps([{"name": name, "version": int(made.version)}])
    store.set_logged_model_tags(logged.model_id, {"mlflow.modelVersions": versions})
    return _version(made)


def _version(found: "MlflowVersion") -> Version:
    return Version(
        name=found.name,
        number=int(found.version),
        run_id=found.run_id or "",
        model_id=(found.source or "").removeprefix("models:/"),
        tags=dict(found.tags),
        made=(found.creation_timestamp or 0) / 1000,
    )
