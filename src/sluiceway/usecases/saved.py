"""A model folder: weights as safetensors, everything else as JSON. Nothing on the way in or out is unpickled.

weights.safetensors   the network's parameters and buffers
model.json            use case, target, architecture, version of this layout
encoding.json         what ``fit`` learned from the training split
manifest.json         SHA-256 of the three
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.config import ModelParams, parse, read_yaml
from sluiceway.errors import ModelError
from sluiceway.usecases import find
from sluiceway.usecases.base import Encoding, UseCase

if TYPE_CHECKING:
    from torch import nn

LAYOUT = 2
_WEIGHTS, _MODEL, _ENCODING, _MANIFEST = "weights.safetensors", "model.json", "encoding.json", "manifest.json"
_SEALED = (_WEIGHTS, _MODEL, _ENCODING)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A trained model, ready to answer."""

    usecase: UseCase
    model: "nn.Module"
    """In evaluation mode, on the CPU."""
    encoding: Encoding
    architecture: ModelParams
    """What builds the network, with random weights."""


def save(folder: Path, *, weights: Path, usecase: str, target: str, model: ModelParams, encoding: Encoding) -> None:
    """Write a model folder.

    Args:
        folder: where; it is made when it is missing.
        weights: a safetensors file, which is copied.
        usecase: its name, or its import path.
        target: what it learns.
        model: the architecture.
        encoding: what ``fit`` learned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(weights, folder / _WEIGHTS)
    about = {"layout": LAYOUT, "usecase": usecase, "target": target, "model": model.model_dump(mode="json")}
    for name, document in ((_MODEL, about), (_ENCODING, encoding)):
        (folder / name).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    manifest = {name: _sha256(folder / name) for name in _SEALED}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def load(folder: Path, root: Path | None = None) -> LoadedModel:
    """Read a model folder, after comparing it with its manifest.

    Args:
        folder: written by :func:`save`.
        root: folder from which a user's own use case is imported; default: the current one.

    Raises:
        ModelError: a file is missing or was altered, or the layout is of another version.
    """
    verify(folder)
    from safetensors.torch import load_file

    about = json.loads((folder / _MODEL).read_text(encoding="utf-8"))
    if about.get("layout") != LAYOUT:
        raise ModelError(
            f"{folder} has layout {about.get('layout')}, this version reads {LAYOUT}",
            hint="train the model again, or use the version of Sluiceway that wrote it",
        )
    usecase = find(about["usecase"], root or Path.cwd(), about["target"])
    encoding = json.loads((folder / _ENCODING).read_text(encoding="utf-8"))
    architecture = _architecture(usecase, about["model"], folder)
    network = usecase.build(architecture, encoding)
    network.load_state_dict(load_file(folder / _WEIGHTS))
    return LoadedModel(usecase, network.eval(), encoding, architecture)


def verify(folder: Path) -> None:
    """Compare a model folder with its manifest.

    Raises:
        ModelError: a file is missing or was altered.
    """
    hint = "`dvc checkout --force` or `dvc repro` makes it whole again"
    if not (folder / _MANIFEST).exists():
        raise ModelError(f"{folder} is no model: {_MANIFEST} is missing", hint=hint)
    manifest = read_yaml(folder / _MANIFEST)  # JSON is YAML, and the reader's errors are friendly
    for name in _SEALED:
        if not (folder / name).exists():
            raise ModelError(f"{folder / name} is missing", hint=hint)
        if _sha256(folder / name) != manifest.get(name):
            raise ModelError(f"{folder / name} was altered: its SHA-256 is not the one in {_MANIFEST}", hint=hint)


def _architecture(usecase: UseCase, section: dict[str, Any], folder: Path) -> ModelParams:
    params = parse(usecase.params, {"usecase": usecase.name, "model": section}, folder / _MODEL)
    return params.model


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
