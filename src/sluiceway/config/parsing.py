"""YAML to typed parameters: all faults of a file are found in one reading, each with its key, value and way out."""

import io
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar, get_origin

from pydantic import (
    BaseModel,
    ValidationError,
)
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sluiceway.errors import ConfigError, meant, nearest
from sluiceway.redaction import origins_in

Model = TypeVar("Model", bound=BaseModel)
_KEY = "[key]"
"""What pydantic adds to the place of a key that is wrong itself."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping, as DVC reads it.

    Raises:
        ConfigError: the file is missing or unreadable, not YAML, repeats a key, has a value that cannot be, or is not a
            mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", hint="a pipeline is a folder with params.yaml in it") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})", hint="save the file as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint="is it a file that you may read?") from None
    try:
        document = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {_one_line(error)}", hint="mend the line named above") from None
    except ValueError as error:  # what looks like a date or a number, and is none
        raise ConfigError(
            f"{path} has a value that cannot be: {error}",
            hint="put a text that looks like a date or a number into quotes",
        ) from None
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds a {type(document).__name__}, not keys with values", hint="write `key: value`")
    return document


def parse(
    kind: type[Model],
    document: Mapping[str, Any],
    where: Path,
    sections: Sequence[str] = (),
    hint: str = "docs/params.md lists every option with its meaning",
) -> Model:
    """Check a document against its type.

    Args:
        kind: the type.
        document: what was read.
        where: the file, for the message.
        sections: dotted names of sections that must stand in the document.
        hint: where options are explained.

    Raises:
        ConfigError: with every fault of the document, each on its own line.
    """
    value, faults = checked(kind, document, sections)
    if value is None or faults:
        raise faulty(where, faults, hint)
    return value


def checked(
    kind: type[Model], document: Mapping[str, Any], sections: Sequence[str] = ()
) -> tuple[Model | None, list[str]]:
    """Return a document as its type, None where it is not, and its faults, one a line; see :func:`parse`."""
    absent = _absent(document, sections)
    faults = [f"{name}: is missing; DVC watches it, so write at least {_least(kind, name)}" for name in absent]
    try:
        return kind.model_validate(document), faults
    except ValidationError as error:
        return None, faults + [origins_in(_fault(kind, detail)) for detail in error.errors()]


def faulty(where: Path, faults: Sequence[str], hint: str) -> ConfigError:
    """Build the error of a file with faults."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    lines = "\n".join(f"  {fault}" for fault in faults)
    return ConfigError(f"{where} has {count}:\n{lines}", hint=hint)


def _least(kind: type[BaseModel], name: str) -> str:
    """What stands for an option that is left at its default."""
    field = kind.model_fields.get(name)
    return f"{name}: {field.default}" if field and isinstance(field.default, str) else f"{name}: {{}}"


def _absent(document: Mapping[str, Any], sections: Sequence[str]) -> list[str]:
    absent = []
    for name in sections:
        place: Any = document
        for part in name.split("."):
            place = place.get(part) if isinstance(place, Mapping) else None
        if place is None:
            absent.append(name)
    return absent


def _one_line(error: YAMLError) -> str:
    return origins_in(" ".join(str(error).split()))


def _fault(kind: type[BaseModel], detail: ErrorDetails) -> str:
    """Say one fault: key, value, what is allowed and the nearest valid name."""
    path = [part for part in detail["loc"] if isinstance(part, str | int) and part != _KEY]
    value, context = detail["input"], detail.get("ctx", {})
    key = ".".join(str(part) for part in _without_tags(kind, path))
    match detail["type"]:
        case "extra_forbidden":
            return f"{key}: no such option; {nearest(str(path[-1]), options_of(kind, path[:-1]))}"
        case "missing":
            return f"{key}: is missing"
        case "literal_error" | "union_tag_invalid":
            allowed = context.get("expected") or context.get("expected_tags", "")
            found = context.get("tag", value)
            names = [name.strip(" '") for name in str(allowed).replace(" or ", ", ").split(",")]
            return "; ".join(filter(None, (f"{key}: {found!r} is not one of {', '.join(names)}", meant(found, names))))
        case "value_error":
            message = detail["msg"].removeprefix("Value error, ")
            return f"{key}: {message}" if key else message
        case "model_type" | "dict_type":
            return f"{key}: {value!r} should be keys with values"
        case "invalid_key":
            return f"{key}: a name is wanted here; put a number or a date that is one into quotes"
        case "string_type" if isinstance(value, date):
            return f"{key}: YAML takes {value} for a date; put it into quotes"
        case _:
            _, should, message = detail["msg"].partition(" should ")
            return f"{key}: {value!r} should {message}" if should else f"{key}: {value!r}: {detail['msg']}"


def _without_tags(kind: type[BaseModel], path: Sequence[str | int]) -> list[str | int]:
    """Drop the union tags that pydantic puts into locations (``model.residual.width`` -> ``model.width``)."""
    models = _sections(kind, "model")
    tags = {each.model_fields["name"].default for each in models} if len(models) > 1 else set()
    kept: list[str | int] = []
    for position, part in enumerate(path):
        if not (position == 1 and path[0] == "model" and part in tags):
            kept.append(part)
    return kept


def options_of(kind: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Names of the options under ``path`` (``['train']``) of a parameter type."""
    kinds: list[type[BaseModel]] = [kind]
    keyed = False
    for part in path:
        if keyed or isinstance(part, int):  # a name that the user chose, or a place in a list
            keyed = False
            continue
        keyed = any(_is_mapping(each, str(part)) for each in kinds)
        inner = [found for each in kinds for found in _sections(each, str(part))]
        # A union tag selects one of the models just found.
        tagged = [each for each in kinds if str(part) == str(each.model_fields.get("name", _NO_FIELD).default)]
        kinds = inner or tagged or []
    return sorted({field.alias or name for each in kinds for name, field in each.model_fields.items()})


class _NoField:
    default = None


_NO_FIELD = _NoField()


def _is_mapping(kind: type[BaseModel], name: str) -> bool:
    field = kind.model_fields.get(name)
    return field is not None and get_origin(field.annotation) is dict


def _sections(kind: type[BaseModel], name: str) -> list[type[BaseModel]]:
    for field_name, field in kind.model_fields.items():
        if name in (field_name, field.alias):
            annotation = field.annotation
            candidates = [annotation, *getattr(annotation, "__args__", ())]
            return [each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)]
    return []
