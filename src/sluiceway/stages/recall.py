"""Which memo belongs to a pipeline: its name holds everything but the contents that decides what is seen of them."""

import hashlib
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from sluiceway.data.measuring import contents, memo, minhash
from sluiceway.data.measuring.memo import Memo
from sluiceway.usecases.pipeline import Pipeline


def memo_of(pipeline: Pipeline) -> Memo:
    """Return what earlier runs saw, as long as they looked with the same code, parameters and packages."""
    return Memo(pipeline.state / "memo" / _key(pipeline), pipeline.usecase.measures)


def _key(pipeline: Pipeline) -> str:
    digest = hashlib.sha256()
    for part in (_parameters(pipeline), *_packages(), *_sources(pipeline)):
        digest.update(hashlib.sha256(part.encode("utf-8", "surrogateescape")).digest())
    return digest.hexdigest()[:16]


def _parameters(pipeline: Pipeline) -> str:
    """How the data section is set, without what only decides sides, groups and times."""
    data = pipeline.params.data
    section = data.model_dump(mode="json", exclude=set(type(data).listing))
    measures = dict(pipeline.usecase.measures)
    return json.dumps([pipeline.usecase.name, section, measures], sort_keys=True)


def _packages() -> list[str]:
    """Name and version of every installed package: a new Pillow may decode a file otherwise."""
    folders = [Path(entry) for entry in dict.fromkeys(sys.path) if entry and Path(entry).is_dir()]
    return [sys.version, *sorted(path.name for folder in folders for path in folder.glob("*.dist-info"))]


def _sources(pipeline: Pipeline) -> Iterator[str]:
    """The code that looks at contents."""
    usecase = pipeline.usecase
    files = {Path(each.__file__) for each in (contents, memo, minhash) if each.__file__}
    for function in (usecase.measure, usecase.features, usecase.fingerprint, usecase.parts):
        source = inspect.getsourcefile(inspect.unwrap(function)) if inspect.isfunction(function) else None
        files |= {Path(source)} if source else set()
    code = pipeline.root / pipeline.code
    files |= set(code.rglob("*.py")) if code.is_dir() else {code} if code.is_file() else set()
    for path in sorted(files, key=lambda each: (each.name, str(each))):
        yield path.read_text(encoding="utf-8", errors="surrogateescape")
