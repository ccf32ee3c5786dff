"""What is registered: MLflow's model directory with the data, the code that reads it and the signature. No pickle."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import sluiceway
from sluiceway.errors import ConfigError
from sluiceway.usecases.base import Serving
from sluiceway.usecases.pipeline import Pipeline

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

REQUIREMENTS = ("mlflow", "numpy", "pandas", "pyarrow", "pydantic", "ruamel.yaml", "safetensors", "torch")
"""What every model needs to answer; ``Serving.packages`` and ``ModelParams.packages`` add to it."""


def export_model(
    pipeline: Pipeline, logged: "LoggedModel", model_folder: Path, rows: Sequence[Mapping[str, Any]], folder: Path
) -> None:
    """Write MLflow's model directory.

    Args:
        pipeline: whose model it is.
        logged: MLflow's record, whose files these will be.
        model_folder: as written by ``train``.
        rows: request rows for the input example.
        folder: where to; it must not exist yet.

    Raises:
        ConfigError: the code of a user's use case is not where ``params.yaml`` says.
    """
    from mlflow import pyfunc
    from mlflow.models import Model
    from pandas import DataFrame

    serving = pipeline.usecase.serving
    model = Model(
        artifact_path=logged.artifact_location,
        run_id=logged.source_run_id,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
    )
    with TemporaryDirectory() as scratch:
        pyfunc.save_model(
            path=str(folder),
            mlflow_model=model,
            loader_module="sluiceway.tracking.serving",
            data_path=str(model_folder),
            code_paths=[str(path) for path in _code(pipeline, Path(scratch))],
            signature=signature(serving),
            input_example=DataFrame(list(rows), columns=list(serving.inputs)),
            pip_requirements=requirements(*serving.packages, *pipeline.params.model.packages),
        )


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 over names and contents of all files below a folder."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{content}  {path.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()


def signature(serving: Serving) -> "ModelSignature":
    """Return how a model is asked, in MLflow's form."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    kinds = {bool: DataType.boolean, int: DataType.long, float: DataType.double, str: DataType.string}
    return ModelSignature(
        inputs=Schema([ColSpec(DataType[kind], name) for name, kind in serving.inputs.items()]),
        outputs=Schema([ColSpec(DataType[kind], name) for name, kind in serving.outputs.items()]),
        params=ParamSchema([ParamSpec(name, kinds[type(value)], value) for name, value in serving.params.items()]),
    )


def requirements(*packages: str) -> list[str]:
    """Return what must be installed where the model answers, pinned to what is installed here.

    Args:
        packages: what the use case and the network take, beside what every model does.
    """
    names = sorted({*REQUIREMENTS, *packages})
    # A local build ("2.6.0+cpu") is on no package index.
    return [f"{name}=={version(name).partition('+')[0]}" for name in names]


def _code(pipeline: Pipeline, scratch: Path) -> list[Path]:
    """Return the folders of code that a model needs to answer where neither Sluiceway nor the project is there."""
    package = Path(sluiceway.__file__).parent
    source = pipeline.root / pipeline.code
    if ":" not in pipeline.params.usecase or source.resolve().is_relative_to(package.resolve()):
        return [package]
    if not source.exists():
        raise ConfigError(f"params.yaml: pipelines.{pipeline.name}.code: {pipeline.code} does not exist")
    # MLflow copies by last name alone, but the import path begins at the project's root.
    target = scratch / pipeline.code
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)
    for parent in Path(pipeline.code).parents:
        if parent != Path() and (pipeline.root / parent / "__init__.py").exists():
            shutil.copy(pipeline.root / parent / "__init__.py", scratch / parent)
    return [package, *sorted(scratch.iterdir())]
