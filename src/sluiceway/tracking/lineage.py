"""What a run and a model came from, as MLflow tags: code, data, environment. No secrets, no environment dumped."""

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from getpass import getuser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sluiceway import __version__
from sluiceway.config import read_yaml
from sluiceway.data.shards import digest
from sluiceway.errors import ConfigError, DataError
from sluiceway.redaction import address
from sluiceway.usecases.pipeline import Pipeline

PACKAGES = {
    "torch": ("torch",),
    "ray": ("ray",),
    "lightning": ("pytorch-lightning", "lightning"),
    "mlflow": ("mlflow",),
    "dvc": ("dvc",),
}
"""Libraries whose versions may change a result, with the names they are installed under."""


def lineage(pipeline: Pipeline) -> dict[str, str]:
    """Return the tags that say what a run of this pipeline is made from.

    What cannot be found out - no git, no ``dvc.lock`` yet - is left out.
    """
    return {
        "sluiceway.pipeline": pipeline.name,
        "sluiceway.usecase": pipeline.params.usecase,
        "sluiceway.seed": str(pipeline.params.train.seed),
        "sluiceway.host": platform.node(),
        "sluiceway.platform": platform.platform(),
        **_person(),
        **_code(pipeline.root),
        **_data(pipeline),
        **_versions(),
    }


def without_credentials(remote: str) -> str:
    """Return a git remote's address without user, password, token and query."""
    return address(remote).partition("?")[0] if "://" in remote else remote.rpartition("@")[2]


def person(root: Path) -> str:
    """Say who is working here: git's name and address, or else the user's name."""
    name, address = (_git(root, "config", "--get", f"user.{part}").strip() for part in ("name", "email"))
    if name or address:
        return f"{name} <{address}>" if name and address else name or address
    return _person().get("mlflow.user", "unknown")


def _person() -> dict[str, str]:
    try:
        return {"mlflow.user": getuser()}
    except (KeyError, OSError):  # a container's user may have no name
        return {}


def _code(root: Path) -> dict[str, str]:
    # DVC rewrites dvc.lock while the pipeline runs, so it says nothing of the code.
    status = _git(root, "status", "--porcelain=v2", "--branch", "--", ".", ":(exclude)dvc.lock")
    lines = status.splitlines()
    heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    commit = heads.get("branch.oid", "")
    if not commit or commit == "(initial)":
        return {}
    tags = {
        "mlflow.source.git.commit": commit,
        "sluiceway.git.commit": commit,
        "sluiceway.git.dirty": str(any(not line.startswith("#") for line in lines)).lower(),
    }
    if heads.get("branch.head", "(detached)") != "(detached)":
        tags["mlflow.source.git.branch"] = tags["sluiceway.git.branch"] = heads["branch.head"]
    if remote := _git(root, "config", "--get", "remote.origin.url").strip():
        tags["mlflow.source.git.repoURL"] = without_credentials(remote)
    # Set by `dvc exp run`: the experiment's name, under which `dvc exp apply` brings its files back.
    if experiment := os.environ.get("DVC_EXP_NAME"):
        tags["sluiceway.dvc.experiment"] = experiment
    return tags


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(root), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _data(pipeline: Pipeline) -> dict[str, str]:
    tags = {}
    hashes = _dvc_hashes(pipeline)
    for what, place in (("raw", pipeline.raw), ("shards", pipeline.shards)):
        if known := hashes.get(place.relative_to(pipeline.root).as_posix()):
            tags[f"sluiceway.dvc.{what}"] = known
    # While a stage runs, dvc.lock may still speak of the run before: our own digest is of what is there now.
    with suppress(DataError):
        tags["sluiceway.data.shards"] = digest(pipeline.shards)
    return tags


def _dvc_hashes(pipeline: Pipeline) -> dict[str, str]:
    """MD5 of each path that DVC knows this pipeline to have read or written; later stages overrule earlier ones."""
    raw = pipeline.raw.relative_to(pipeline.root).as_posix()
    tracked = _document(pipeline.raw.with_name(f"{pipeline.name}.dvc"))
    hashes: dict[str, str] = {}
    for out in _entries(tracked, "outs"):
        if out.get("md5"):
            hashes[raw] = str(out["md5"])
    stages = _document(pipeline.root / "dvc.lock").get("stages") or {}
    for name in ("sample", "validate", "preprocess"):
        stage = stages.get(f"{name}@{pipeline.name}") or {}
        for entry in [*_entries(stage, "deps"), *_entries(stage, "outs")]:
            if entry.get("path") and entry.get("md5"):
                hashes[str(entry["path"])] = str(entry["md5"])
    return hashes


def shards_are_older(pipeline: Pipeline) -> bool:
    """Whether DVC made the shards from another example table than the one that is there; not where it does not know."""
    table = pipeline.validated / "examples.parquet"
    stage = (_document(pipeline.root / "dvc.lock").get("stages") or {}).get(f"preprocess@{pipeline.name}") or {}
    path = table.relative_to(pipeline.root).as_posix()
    known = next((entry.get("md5") for entry in _entries(stage, "deps") if entry.get("path") == path), None)
    if known is None or not table.exists():
        return False
    with table.open("rb") as file:
        now = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return bool(now != known)


def _document(path: Path) -> Mapping[str, Any]:
    try:
        return read_yaml(path)
    except ConfigError:
        return {}


def _entries(stage: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    return [entry for entry in stage.get(kind) or [] if isinstance(entry, Mapping)]


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "sluiceway": __version__}
    for name, distributions in PACKAGES.items():
        for distribution in distributions:
            try:
                found[name] = version(distribution)
            except PackageNotFoundError:
                continue
            break
    return {f"sluiceway.version.{name}": value for name, value in found.items()}
