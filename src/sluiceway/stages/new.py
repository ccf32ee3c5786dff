"""``sluiceway new``: a pipeline that is there, with every section that DVC watches and every option at its default."""

import re
from itertools import takewhile
from pathlib import Path

from rich.markup import escape

from sluiceway.config import ProjectParams, parse, read_yaml
from sluiceway.data.documents import write_whole
from sluiceway.errors import ConfigError, UsageError
from sluiceway.stages.console import console
from sluiceway.usecases import BUILT_IN, find
from sluiceway.usecases.base import UseCase
from sluiceway.usecases.pipeline import Pipeline, params_file, project_params

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_PARAMS = """\
# {summary}.
# `sluiceway params {name}` explains every option; those that are not here have their defaults.
usecase: {usecase}
target: {target}

data: {{}}

encode: {{}}

model: {{name: {model}}}{others}

objective: {{}}

gates:
  data: {{}}
  cost: {{}}
  model: {{}}

train: {{}}

evaluate: {{}}

register: {{}}
"""
_SUITE = '{{\n  "name": "{name}",\n  "expectations": []\n}}\n'


def new(root: Path, name: str, usecase: str, target: str | None) -> None:
    """Write ``pipelines/<name>/`` and list it in ``params.yaml``; what is there stays as it is.

    Args:
        root: the project.
        name: of the pipeline, of its folders and of its registered model.
        usecase: a built-in one, or an import path.
        target: what is learned; None: the use case's default.

    Raises:
        UsageError: the name cannot be one, or is taken.
        ConfigError: there is no such use case, or it learns no such target.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a pipeline's name", hint="letters, digits, - and _, as in `flowers-2`")
    folder = (root / params_file(name)).parent
    if name in project_params(root).pipelines or folder.exists():
        raise UsageError(f"there is a pipeline {name!r} already", hint=f"sluiceway params {name} shows it")
    chosen = find(usecase, root, target)
    listed = _listed(root / "params.yaml", name, _code(root, usecase))
    folder.mkdir(parents=True)
    write_whole(root / params_file(name), _params(name, usecase, chosen))
    write_whole(folder / "expectations.json", _SUITE.format(name=name))
    write_whole(root / "params.yaml", listed)
    pipeline = Pipeline.load(name, root)
    console.print(f"[bold]new[/] {name}: {escape(chosen.summary)} [dim]-> {folder.relative_to(root)}/[/]")
    for what, why in (
        (f"{pipeline.raw.relative_to(root)}/", "put the data there; docs/layouts.md shows how it may lie"),
        (f"sluiceway params {name}", "every option, its value and its meaning"),
        (f"sluiceway expectations suggest {name}", "a contract from the data at hand, for you to review"),
        (f"dvc repro register@{name}", "raw data to a registered model"),
    ):
        console.print(f"  [cyan]{what}[/]  [dim]{why}[/]")


def _params(name: str, usecase: str, chosen: UseCase) -> str:
    first, *others = (str(model.model_fields["name"].default) for model in chosen.models)
    summary = chosen.summary[:1].upper() + chosen.summary[1:]
    more = f"  # or {', '.join(others)}" if others else ""
    return _PARAMS.format(summary=summary, name=name, usecase=usecase, target=chosen.target, model=first, others=more)


def _code(root: Path, usecase: str) -> str:
    """Return the file or folder that holds a use case, from the project's root."""
    if usecase in BUILT_IN:
        return f"src/sluiceway/usecases/{usecase}"
    top = usecase.partition(":")[0].partition(".")[0]
    for path in (root / f"{top}.py", root / top):
        if path.exists():
            return path.name
    raise ConfigError(f"usecase: {usecase!r} is not below {root}", hint="DVC watches its code, so it must lie there")


def _listed(path: Path, name: str, code: str) -> str:
    """Return ``params.yaml`` with one line more at the end of its pipelines; comments and layout stay.

    Raises:
        ConfigError: the file is laid out so that no line can be added.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    entry = f"{name}: {{code: {code}}}"
    for head, line in enumerate(lines):
        if not re.fullmatch(r"pipelines:\s*(\{\s*\})?\s*(#.*)?", line):
            continue
        lines[head] = re.sub(r"\s*\{\s*\}", "", line)  # there was none yet
        those = list(takewhile(lambda each: re.match(r"\s+\S", each), lines[head + 1 :]))
        indent = those[0][: -len(those[0].lstrip())] if those else "  "
        lines.insert(head + 1 + len(those), f"{indent}{entry}")
        text = "\n".join(lines) + "\n"
        if _reads(text, path, name, code):
            return text
    raise ConfigError(
        f"{path.name} is laid out so that no line can be added to it", hint=f"write below pipelines: {entry}"
    )


def _reads(text: str, path: Path, name: str, code: str) -> bool:
    """Whether the text says what it said, and of one pipeline more."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        now = parse(ProjectParams, YAML(typ="safe").load(text), Path(path.name))
    except (YAMLError, ConfigError):
        return False
    before = parse(ProjectParams, read_yaml(path), Path(path.name))
    wanted = {**{each: entry.code for each, entry in before.pipelines.items()}, name: code}
    return {each: entry.code for each, entry in now.pipelines.items()} == wanted and now.samples == before.samples
