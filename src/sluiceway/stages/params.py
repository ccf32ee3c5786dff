"""Explains options: on the terminal with a pipeline's present values, and as ``docs/params.md``."""

import json
import sys
import types
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo
from rich.markup import escape
from rich.table import Table

from sluiceway.config import OWN_SECTIONS, Evaluate, ModelParams, PipelineParams, Sharding
from sluiceway.errors import unknown
from sluiceway.launch.jobs import Job
from sluiceway.stages.console import console
from sluiceway.usecases import BUILT_IN, targets_of
from sluiceway.usecases.base import UseCase
from sluiceway.usecases.pipeline import Pipeline


def explain(pipeline: Pipeline, wanted: str) -> None:
    """Print options with their present values.

    Args:
        pipeline: whose.
        wanted: an option, a section, or nothing for all.

    Raises:
        UnknownName: there is no such option.
    """
    options = list(_options(type(pipeline.params), pipeline.params))
    chosen = [each for each in options if f"{each[0]}.".startswith(f"{wanted}." if wanted else "")]
    if not chosen:
        parts = [name.split(".") for name, *_ in options]
        names = {".".join(each[:depth]) for each in parts for depth in range(1, len(each) + 1)}
        close = get_close_matches(wanted, names, n=1)
        raise unknown("option", wanted, close, f"`sluiceway params {pipeline.name}` lists every option")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("option", "value", "meaning"):
        table.add_column(title, style="cyan" if title == "option" else "", overflow="fold")
    for name, kind, value, text in chosen:
        table.add_row(name, escape(json.dumps(value)), f"{escape(text)} [dim]({escape(kind)})[/]")
    console.print(table)


def list_usecases(root: Path) -> None:
    """Print the built-in use cases and their architectures."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("usecase", "target", "models", "what"):
        table.add_column(title)
    for name in BUILT_IN:
        for target, usecase in targets_of(name, root).items():
            models = ", ".join(_default(model, "name") for model in usecase.models)
            table.add_row(name, target, models, usecase.summary)
    console.print(table)


def _options(kind: type[BaseModel], values: BaseModel, prefix: str = "") -> Iterator[tuple[str, str, Any, str]]:
    """Yield (dotted name, type, value, meaning) of each option, sections opened up."""
    for name, field in type(values).model_fields.items():
        value = getattr(values, name)
        dotted = prefix + (field.alias or name)
        if isinstance(value, BaseModel):
            yield from _options(type(value), value, f"{dotted}.")
        else:
            yield dotted, _kind(field), value, _text(field)


def _text(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _kind(field: FieldInfo) -> str:
    """Write a field's type and bounds as people do."""
    return ", ".join([_name(field.annotation), *_bounds(field.metadata)])


def _bounds(metadata: Iterable[Any]) -> Iterator[str]:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    for each in metadata:
        if isinstance(each, FieldInfo):
            yield from _bounds(each.metadata)
        yield from (f"{sign} {getattr(each, name):g}" for name, sign in signs.items() if hasattr(each, name))


def _name(annotation: Any) -> str:
    """Say a type as one says it to a person."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(str, parts))
    titles = [
        each.title for each in getattr(annotation, "__metadata__", ()) if isinstance(each, FieldInfo) and each.title
    ]
    if titles:
        return str(titles[0])
    if origin is Annotated:
        return ", ".join([_name(parts[0]), *_bounds(parts[1:])])
    if origin in (Union, types.UnionType):
        return " | ".join("null" if part is type(None) else _name(part) for part in parts)
    if origin is list:
        return f"list of {_name(parts[0])}"
    if origin is dict:
        return f"mapping of {_name(parts[0])} to {_name(parts[1])}"
    if origin is tuple:
        return f"pair of {_name(parts[0])}" if len(set(parts)) == 1 else f"[{', '.join(map(_name, parts))}]"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    words = {int: "integer", float: "number", str: "text", bool: "true | false", Any: "anything", JsonValue: "anything"}
    return words.get(annotation, str(annotation))


def _default(model: type[ModelParams], name: str) -> str:
    return str(model.model_fields[name].default)


def reference(root: Path) -> str:
    """Return ``docs/params.md``: every option of every built-in use case."""
    lines = [
        "# Options of `pipelines/<name>/params.yaml`",
        "",
        "Made by `make docs` from the code; `sluiceway params <pipeline>` shows the same with present values.",
        "",
        "## All use cases",
        "",
    ]
    for name, field in PipelineParams.model_fields.items():
        if name == "encode":
            lines += _section(name, Sharding, "Beside the use case's own options, which are below:")
        if name not in OWN_SECTIONS and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            lines += _section(field.alias or name, field.annotation, field.description or "")
    homes: dict[type[BaseModel], str] = {}
    said: set[tuple[str, type[BaseModel]]] = set()
    for name in BUILT_IN:
        lines += [f"## `usecase: {name}`", ""]
        for target, usecase in targets_of(name, root).items():
            lines += [f"`target: {target}`: {usecase.summary}.", ""]
            for title, section in _own_sections(usecase):
                home = homes.setdefault(section, name)
                if (name, section) in said:  # what targets have in common is told once
                    continue
                said.add((name, section))
                as_there = [f"### `{title}`", "", f"As for `usecase: {home}`.", ""]
                lines += _section(title, section, _first_line(section)) if home == name else as_there
    return "\n".join(lines).rstrip() + "\n"


def jobs_reference() -> str:
    """Return ``docs/job-options.md``: every option of a job."""
    lines = [
        "# Options of `infra/jobs.yaml`",
        "",
        "Made by `make docs` from the code. `jobs:` holds jobs by name, of 1 to 40 of `a-z`, `0-9` and `-`. Each has",
        "these options; `docs/jobs.md` says what they are for.",
        "",
    ]
    flat = [name for name, field in Job.model_fields.items() if not _parts(field.annotation)]
    whole = list(_rows(Job))
    rows = [row for row in whole if row.split("`")[1] in flat]
    lines += ["| option | type | default | meaning |", "|---|---|---|---|", *rows, ""]
    for name, field in Job.model_fields.items():
        for section in _parts(field.annotation):
            lines += _section(name, section, field.description or "")
    return "\n".join(lines).rstrip() + "\n"


def _parts(annotation: Any) -> list[type[BaseModel]]:
    """Return the section that an annotation names, or may be."""
    kinds = [annotation, *get_args(annotation)]
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _own_sections(usecase: UseCase) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield title and type of each section that the use case names itself."""
    yield "data", usecase.data
    yield "encode", usecase.encode_params
    for model in usecase.models:
        yield f"model: {{name: {_default(model, 'name')}}}", model
    yield "objective", usecase.objective
    if usecase.evaluation is not Evaluate:
        yield "evaluate", usecase.evaluation


def _section(title: str, kind: type[BaseModel], text: str) -> list[str]:
    rows = [row for row in _rows(kind) if row]
    table = ["| option | type | default | meaning |", "|---|---|---|---|", *rows] if rows else ["No options."]
    return [f"### `{title}`", "", text, "", *table, ""]


def _rows(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for attribute, field in kind.model_fields.items():
        name, annotation = field.alias or attribute, field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _rows(annotation, f"{prefix}{name}.")
            continue
        default = "" if field.is_required() else f"`{json.dumps(field.get_default(call_default_factory=True))}`"
        meaning = _text(field).replace("|", "\\|")
        kind_text = _kind(field).replace("|", "\\|")
        yield f"| `{prefix}{name}` | {kind_text} | {default} | {meaning} |"
        for part in get_args(annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):  # a section that may be left out
                yield from _rows(part, f"{prefix}{name}.")


def _first_line(kind: type[BaseModel]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


if __name__ == "__main__":
    text = jobs_reference() if sys.argv[1:] == ["jobs"] else reference(Path.cwd())
    print(text, end="")  # noqa: T201 - `make docs` writes it to the file
