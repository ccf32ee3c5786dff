"""The file of a suite: Great Expectations' own JSON, read with all its faults told, and what is always expected."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from sluiceway.data.contract import wording
from sluiceway.errors import ConfigError, nearest

_FORM = 'a suite looks like {"name": "digits", "expectations": [{"type": "...", "kwargs": {}, "severity": "critical"}]}'


def read_document(path: Path) -> dict[str, Any]:
    """Read a suite whose expectations have not been looked at.

    Raises:
        ConfigError: the file is missing, not JSON, without expectations, or named as no suite can be.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist", hint=f"`sluiceway expectations suggest {path.parent.name}` writes one"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text", hint="save it as UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(f"{path} is not valid JSON: {error.msg} at {where}", hint="mend that line") from None
    if not isinstance(document, dict) or not isinstance(document.get("expectations"), list):
        raise ConfigError(f"{path} has no list of expectations", hint=_FORM)
    if not isinstance(document.get("meta", {}), dict):
        raise ConfigError(f"{path}: meta is not names with values", hint=_FORM)
    if not re.fullmatch(r"[\w-]+", str(document.get("name", "expectations"))):
        raise ConfigError(f"{path}: name {document['name']!r} is not letters, digits, - and _", hint=_FORM)
    if not document["expectations"]:
        suggest = f"`sluiceway expectations suggest {path.parent.name}` writes one from the data at hand"
        raise ConfigError(f"{path} expects nothing: an empty suite would pass any data", hint=f"{suggest}; {_FORM}")
    return document


def names_of(expectations: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name expectations as checks: ``type:column``, such as ``expect_column_values_to_be_between:width``.

    One that stands twice gets a number.
    """
    seen: Counter[str] = Counter()
    names = []
    for each in expectations:
        column = ", ".join(wording.columns_of(each.get("kwargs", {})))
        name = f"{each['type']}:{column}" if column else str(each["type"])
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}:{seen[name]}")
    return names


def column_faults(written: Mapping[str, Any], columns: Collection[str] | None) -> list[str]:
    """Say which columns an expectation looks at that the table lacks; ``columns`` None: any may be there."""
    if columns is None or written["type"] == "expect_column_to_exist":
        return []
    named = [name for name in wording.columns_of(written.get("kwargs", {})) if isinstance(name, str)]
    lacking = [name for name in named if name not in columns]
    return [f"the example table has no column {name!r}; {nearest(name, columns)}" for name in lacking]


def always(written: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is expected of every table: at least one row, and a value in every column that the suite looks at."""
    about = [(each["type"], name) for each in written for name in wording.columns_of(each.get("kwargs", {}))]
    absent = {name for kind, name in about if kind == "expect_column_values_to_be_null"}
    columns = dict.fromkeys(name for kind, name in about if kind != "expect_column_to_exist" and name not in absent)
    rows = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}
    kind = "expect_column_proportion_of_non_null_values_to_be_between"
    some = [{"type": kind, "kwargs": {"column": name, "min_value": 0, "strict_min": True}} for name in columns]
    return [each for each in [rows, *some] if each not in written]
