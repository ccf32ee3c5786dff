"""The last version of the data whose model was registered: kept by ``register``, compared with by ``validate``."""

import json
import shutil
from typing import Any

from sluiceway.checks.base import Reference
from sluiceway.data.sketches import Sketches
from sluiceway.errors import DataError
from sluiceway.usecases.pipeline import Pipeline

_TABLES = ("examples.parquet", "sketches.parquet")
_VERSION = "version.json"


def keep_as_reference(pipeline: Pipeline, name: str, version: str) -> None:
    """Keep what the data of a registered model looks like.

    Args:
        pipeline: whose data it is, as ``validate`` left it.
        name: of the registered model.
        version: its number.
    """
    pipeline.reference.mkdir(parents=True, exist_ok=True)
    for each in _TABLES:
        shutil.copyfile(pipeline.validated / each, pipeline.reference / each)
    about = {"name": name, "version": version}
    (pipeline.reference / _VERSION).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def reference_of(pipeline: Pipeline) -> Reference | None:
    """Return the version to compare with; None before the first registration.

    Raises:
        DataError: a part of it is missing or cannot be read.
    """
    folder = pipeline.reference
    if not (folder / _VERSION).exists():
        return None
    try:
        about: dict[str, Any] = json.loads((folder / _VERSION).read_text(encoding="utf-8"))
        sketches = Sketches.read(folder / "sketches.parquet")
        name = f"{about['name']} version {about['version']}"
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{folder} cannot be read: {error}",
            hint=f"`dvc checkout --force {folder.relative_to(pipeline.root)}` brings it back, "
            "or remove the folder to begin anew",
        ) from None
    return Reference(name, folder / "examples.parquet", sketches)
