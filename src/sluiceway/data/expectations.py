"""Great Expectations on the example table: the only place that imports it.

A suite is Great Expectations' own JSON, so its tools can read and edit it. It is run by Great Expectations on pandas;
the answer is turned into a few plain figures for the data gate, and into its own pages (Data Docs) for people.

Three things are added, because Great Expectations is easily pleased: a suite without expectations, a table without rows
and a column without values all pass. The first is refused, the other two are expected of every table and suite.
"""

import gc
import json
import logging
import math
import re
import shutil
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from sluiceway.data import datadocs, wording
from sluiceway.errors import ConfigError, DataError, nearest

Severity = Literal["close", "warn"]

MOST_IDS = 20
"""Great Expectations names the positions of at most so many offenders without being slowed down."""

_SEVERITIES: dict[str, Severity] = {"critical": "close", "warning": "warn", "info": "warn"}
_ASSET = "examples"
_FORM = 'a suite looks like {"name": "digits", "expectations": [{"type": "...", "kwargs": {}, "severity": "critical"}]}'


@dataclass(frozen=True, slots=True)
class ExpectationResult:
    """What became of one expectation."""

    type: str
    """Its name in Great Expectations."""
    column: str | None
    """The column it looks at; several are joined by commas; none for the table itself."""
    severity: Severity
    """Whether a failure closes the gate: ``critical`` does, ``warning`` and ``info`` only warn."""
    passed: bool
    message: str
    """One sentence for a person."""
    observed: float | str | None
    """What was found."""
    limit: str | None
    """What was allowed."""
    offenders: int
    """Number of examples that are not as expected; some may be allowed by ``mostly``."""
    ids: tuple[str, ...]
    """Ids of the first offenders."""


def read_suite(path: Path, columns: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Read and check the expectations of a suite.

    Args:
        path: ``expectations.json``.
        columns: columns of the example table; default: any column is allowed.

    Raises:
        ConfigError: the file is missing, not JSON or empty, or some expectations cannot mean what they say; all faults
            are named at once.
    """
    expectations: list[dict[str, Any]] = _read(path)["expectations"]
    _build(path, expectations, columns)
    return expectations


def run_suite(table: pa.Table, suite: Path, docs: Path | None) -> list[ExpectationResult]:
    """Hold a table against a suite.

    Args:
        table: an example table; its column ``id`` names the offenders.
        suite: ``expectations.json``.
        docs: folder for Great Expectations' pages, which is replaced as a whole; ``index.html`` is the way in.

    Returns:
        One result per expectation in the order of the file, then those that are always expected.

    Raises:
        ConfigError: the suite has faults.
        DataError: the table has no column ``id``.
    """
    if "id" not in table.column_names:
        raise DataError("the example table has no column 'id'", hint="`dvc repro` makes the table again")
    document = _read(suite)
    written: list[dict[str, Any]] = document["expectations"]
    built = _build(suite, written, table.column_names)
    always = _always(written)
    built += _build(suite, always, None)
    about = {"name": "expectations"} | {key: document[key] for key in ("name", "notes", "meta") if key in document}
    with _quiet(), TemporaryDirectory(prefix="sluiceway-docs-") as site:
        whole = _great_expectations().ExpectationSuite(expectations=built, **about)
        answers = _validate(table, whole, Path(site) if docs else None)
        if docs:
            datadocs.stand_alone(Path(site))
            shutil.rmtree(docs, ignore_errors=True)
            shutil.copytree(site, docs)
    ids = table.column("id")
    return [_result(asked, answer, ids) for asked, answer in zip([*written, *always], answers, strict=True)]


# The suite.


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", hint=_FORM) from None
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
        raise ConfigError(f"{path} expects nothing: an empty suite would pass any data", hint=_FORM)
    return document


def _build(path: Path, expectations: list[dict[str, Any]], columns: Collection[str] | None) -> list[Any]:
    """Make Great Expectations' own objects, which check their arguments; given dicts, its suite drops the bad ones."""
    built, faults = [], []
    for number, written in enumerate(expectations, start=1):
        wrong = _form_faults(written) or _column_faults(written, columns)
        if not wrong:
            expectation, wrong = _construct(written)
            built.append(expectation)
        name = written.get("type") if isinstance(written, dict) else None
        faults += [f"  expectation {number}{f' ({name})' if name else ''}: {fault}" for fault in wrong]
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError(f"{path} has {count}:\n" + "\n".join(faults), hint="mend them and validate again")
    return built


def _form_faults(written: Any) -> list[str]:
    if not isinstance(written, dict) or not isinstance(written.get("type"), str):
        return ["needs a type, such as expect_column_values_to_not_be_null"]
    if not isinstance(written.get("kwargs", {}), dict):
        return [f"kwargs is {written['kwargs']!r}, and should be names with values"]
    known = sorted(_great_expectations().expectations.registry.list_registered_expectation_implementations())
    if written["type"] not in known:
        close = get_close_matches(written["type"], known, n=1)
        return [f"no such type; {nearest(written['type'], close or known)}"]
    severity = written.get("severity", "critical")
    if severity not in _SEVERITIES:
        return [f"severity {severity!r} is not one of {', '.join(_SEVERITIES)}; {nearest(str(severity), _SEVERITIES)}"]
    return []


def _column_faults(written: Mapping[str, Any], columns: Collection[str] | None) -> list[str]:
    if columns is None or written["type"] == "expect_column_to_exist":
        return []
    named = [name for name in wording.columns_of(written.get("kwargs", {})) if isinstance(name, str)]
    lacking = [name for name in named if name not in columns]
    return [f"the example table has no column {name!r}; {nearest(name, columns)}" for name in lacking]


def _construct(written: Mapping[str, Any]) -> tuple[Any, list[str]]:
    gx = _great_expectations()
    configuration = gx.expectations.expectation_configuration.ExpectationConfiguration
    kind = gx.expectations.registry.get_expectation_impl(written["type"])
    options = {name: value for name, value in written.items() if name not in ("id", "success_on_last_run")}
    try:
        with _quiet():
            return configuration(**{"kwargs": {}, **options}).to_domain_obj(), []
    except gx.compatibility.pydantic.ValidationError as error:
        return None, _argument_faults(error.errors(), written.get("kwargs", {}), kind.__fields__)
    except (TypeError, ValueError, gx.exceptions.GreatExpectationsError) as error:
        return None, [" ".join(str(error).split())]


def _argument_faults(errors: list[dict[str, Any]], kwargs: Mapping[str, Any], allowed: Collection[str]) -> list[str]:
    """Say what is wrong with arguments; pydantic gives a line for each type that an argument might have had."""
    faults: dict[str, str] = {}
    for error in errors:
        name = str(error["loc"][0])
        if error["type"] == "value_error.extra":
            fault = f"no argument {name!r}; {nearest(name, allowed)}"
        elif error["type"] == "value_error.missing":
            fault = f"argument {name!r} is missing"
        elif name == "__root__":
            # What is said of the whole often only follows from a fault in a part.
            fault = "" if faults else str(error["msg"])
        else:
            fault = f"{name} = {kwargs.get(name)!r}: {error['msg']}"
        faults.setdefault(name, fault)
    return [fault for fault in faults.values() if fault]


def _always(written: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is expected of every table: at least one row, and a value in every column that the suite looks at."""
    about = [(each["type"], name) for each in written for name in wording.columns_of(each.get("kwargs", {}))]
    absent = {name for kind, name in about if kind == "expect_column_values_to_be_null"}
    columns = dict.fromkeys(name for kind, name in about if kind != "expect_column_to_exist" and name not in absent)
    rows = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}
    kind = "expect_column_proportion_of_non_null_values_to_be_between"
    some = [{"type": kind, "kwargs": {"column": name, "min_value": 0, "strict_min": True}} for name in columns]
    return [each for each in [rows, *some] if each not in written]


# Great Expectations.


def _validate(table: pa.Table, suite: Any, site: Path | None) -> list[dict[str, Any]]:
    """Run the expectations and return their results as plain values, in order; write the pages when asked to."""
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral", project_config=_project(gx, suite.name, site))
    asset = context.data_sources.add_pandas("table").add_dataframe_asset(_ASSET)
    whole = asset.add_batch_definition_whole_dataframe("all")
    batch = whole.get_batch(batch_parameters={"dataframe": table.to_pandas()})
    outcome = batch.validate(context.suites.add(suite), result_format="SUMMARY")
    for each in outcome.results:
        # NumPy's own booleans and numbers are left inside some results, and then cannot be stored.
        each.success, each.result = bool(each.success), _plain(each.result)
        each.exception_info = _without_traceback(each.exception_info)
    if site:
        _store(gx, context, outcome, suite.name)
        context.build_data_docs()
    # Results come sorted by column; the ids that the store gave lead back to the order of the suite.
    by_id = {each.expectation_config.id: each for each in outcome.results}
    return [by_id[each.id].to_json_dict() for each in suite.expectations]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def _without_traceback(info: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the traceback: it fills the page, and names folders of the machine that it was made on."""
    inner = {name: _without_traceback(each) if isinstance(each, Mapping) else each for name, each in info.items()}
    return {**inner, "exception_traceback": ""} if inner.get("raised_exception") else inner


def _store(gx: ModuleType, context: Any, outcome: Any, name: str) -> None:
    """Put an outcome where the pages are made from, without what differs from one run to the next."""
    run = gx.RunIdentifier(run_name="validate", run_time=datetime.fromisoformat(datadocs.RUN_TIME))
    outcome.meta.update(run_id=run, validation_time=run.run_time)
    outcome.meta.update(batch_markers={}, batch_spec={"data_asset_name": _ASSET})
    identifiers = gx.data_context.types.resource_identifiers
    suite = identifiers.ExpectationSuiteIdentifier(name=name)
    key = identifiers.ValidationResultIdentifier(
        batch_identifier=_ASSET, expectation_suite_identifier=suite, run_id=run
    )
    context.validation_results_store.store_validation_results(outcome, key, suite)


def _project(gx: ModuleType, name: str, site: Path | None) -> Any:
    """Describe a project that lives in memory, reports to nobody and shows no progress."""
    types = gx.data_context.types.base
    pages = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "site_section_builders": {"profiling": "none"},
    }
    return types.DataContextConfig(
        store_backend_defaults=types.InMemoryStoreBackendDefaults(),
        data_docs_sites={name: pages} if site else {},
        analytics_enabled=False,
        progress_bars={"globally": False, "metric_calculations": False},
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings and log lines of the library off the screen: what went wrong comes back in the results."""
    logger = logging.getLogger("great_expectations")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


class _Deferred(ModuleType):
    """Stands for a module until something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(import_module(self.__name__), name)


@contextmanager
def _slim_import() -> Iterator[None]:
    """Halve the time of the import by leaving out what a pandas table needs rarely or never.

    SQLAlchemy is an extra that Great Expectations does without. SciPy's statistics and Altair serve three of its 59
    expectations, and come when one of these is used. Modules that are loaded already are left alone.
    """
    stand_ins: dict[str, Any] = {"sqlalchemy": None}
    stand_ins |= {name: _Deferred(name) for name in ("scipy.stats", "altair")}
    placed = {name: each for name, each in stand_ins.items() if name not in sys.modules}
    collecting = gc.isenabled()
    gc.disable()
    sys.modules.update(placed)
    try:
        yield
    finally:
        for name in placed:
            sys.modules.pop(name, None)
        if collecting:
            gc.enable()


def _great_expectations() -> ModuleType:
    if "great_expectations" not in sys.modules:
        with _quiet(), _slim_import():
            import_module("great_expectations")
    import great_expectations

    return great_expectations


# The answer.


def _result(asked: Mapping[str, Any], answer: Mapping[str, Any], ids: pa.ChunkedArray) -> ExpectationResult:
    kind, kwargs, found = asked["type"], asked.get("kwargs", {}), answer["result"]
    offenders = int(found["unexpected_count"] or 0) if "element_count" in found else 0
    positions = [each for each in found.get("partial_unexpected_index_list") or [] if isinstance(each, int)]
    return ExpectationResult(
        type=kind,
        column=", ".join(wording.columns_of(kwargs)) or None,
        severity=_SEVERITIES[asked.get("severity", "critical")],
        passed=bool(answer["success"]),
        message=wording.sentence(kind, kwargs, answer),
        observed=wording.observed(found),
        limit=wording.limit(kwargs) or None,
        offenders=offenders,
        ids=tuple(ids[each].as_py() or f"row {each + 1}" for each in positions[:MOST_IDS]),
    )
