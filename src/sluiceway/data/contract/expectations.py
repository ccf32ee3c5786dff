"""Great Expectations on the example table: the only place that imports it.

A suite is Great Expectations' own JSON, so its tools can read and edit it. Great Expectations says which figures an
expectation judges by; polars finds them in one pass over the file, and Great Expectations judges. What polars cannot
answer exactly as pandas would, is left to Great Expectations on pandas, with no more columns than it needs. The answer
is turned into a few plain figures for the data gate, and into Great Expectations' own pages (Data Docs) for people.

Three things are added, because Great Expectations is easily pleased: a suite without expectations, a table without rows
and a column without values all pass. The first is refused, the other two are expected of every table and suite.
"""

import logging
import math
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq

from sluiceway.data.contract import wording
from sluiceway.data.contract.docs_site import ASSET, SOURCE, project, write_pages
from sluiceway.data.contract.footer import Footer
from sluiceway.data.contract.imports import slim_import
from sluiceway.data.contract.passes import MOST, Pass, Plan
from sluiceway.data.contract.suites import always, column_faults, names_of, read_document
from sluiceway.data.contract.translation import Question, plan
from sluiceway.errors import ConfigError, DataError, nearest

Severity = Literal["close", "warn"]

_SEVERITIES: dict[str, Severity] = {"critical": "close", "warning": "warn", "info": "warn"}
_FORMAT = {"result_format": "SUMMARY", "partial_unexpected_count": MOST}


@dataclass(frozen=True, slots=True)
class ExpectationResult:
    """What became of one expectation."""

    name: str
    """As a check of the gate: type and column, and a number where it stands twice."""
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
    engine: Literal["polars", "pandas"] = "polars"
    """What found the figures."""


def read_suite(path: Path, columns: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Read and check the expectations of a suite.

    Args:
        path: ``expectations.json``.
        columns: columns of the example table; default: any column is allowed.

    Raises:
        ConfigError: the file is missing, not JSON or empty, or some expectations cannot mean what they say; all faults
            are named at once.
    """
    expectations: list[dict[str, Any]] = read_document(path)["expectations"]
    _build(path, expectations, columns)
    return expectations


def run_suite(table: Path, suite: Path, docs: Path | None) -> list[ExpectationResult]:
    """Hold a table against a suite.

    Args:
        table: ``examples.parquet``; its column ``id`` names the offenders. It may be larger than memory.
        suite: ``expectations.json``.
        docs: folder for Great Expectations' pages, which is replaced as a whole; ``index.html`` is the way in.

    Returns:
        One result per expectation in the order of the file, then those that are always expected.

    Raises:
        ConfigError: the suite has faults.
        DataError: the table cannot be read, or has no column ``id``.
    """
    footer = Footer.read(table)
    if "id" not in footer.schema.names:
        raise DataError("the example table has no column 'id'", hint="`dvc repro` makes the table again")
    document = read_document(suite)
    asked: list[dict[str, Any]] = document["expectations"]
    built = _build(suite, asked, footer.schema.names)
    added = always(asked)
    asked, built = [*asked, *added], [*built, *_build(suite, added, None)]
    about = {"name": "expectations"} | {key: document[key] for key in ("name", "notes", "meta") if key in document}
    gx = _great_expectations()
    with _quiet():
        whole = gx.ExpectationSuite(expectations=built, **about)
        answers = _answers(gx, built, footer)
        left = [place for place, answer in enumerate(answers) if answer is None]
        for place, answer in zip(left, _by_pandas(gx, footer, asked, left), strict=True):
            answers[place] = answer
        for each in answers:
            _tidy(each)
        if docs:
            write_pages(gx, whole, answers, docs)
    plain = [each.to_json_dict() for each in answers]
    ids = _ids(footer, plain)
    engines: list[Literal["polars", "pandas"]] = ["pandas" if at in left else "polars" for at in range(len(asked))]
    return [_result(*each, ids) for each in zip(names_of(asked), asked, plain, engines, strict=True)]


# The suite.


def _build(path: Path, expectations: list[dict[str, Any]], columns: Collection[str] | None) -> list[Any]:
    """Make Great Expectations' own objects, which check their arguments; given dicts, its suite drops the bad ones."""
    built, faults = [], []
    for number, written in enumerate(expectations, start=1):
        wrong = _form_faults(written) or column_faults(written, columns)
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


# The figures.


def _answers(gx: ModuleType, built: Sequence[Any], footer: Footer) -> list[Any]:
    """Judge all expectations whose figures polars can find; None stands for the others."""
    # Some expectations ask the engine for the types of the columns before they say what they need.
    engine = gx.execution_engine.PandasExecutionEngine(batch_data_dict={ASSET: footer.frame()})
    plans = [_plans(expectation, engine, footer) for expectation in built]
    made = Pass.make(footer, [each for found in plans if found for each in found.values()])
    return [
        None
        if found is None
        else _judged(gx, expectation, {key: each.finish(made) for key, each in found.items()}, engine)
        for expectation, found in zip(built, plans, strict=True)
    ]


def _plans(expectation: Any, engine: Any, footer: Footer) -> dict[Any, Plan] | None:
    """Return how to find each figure that an expectation needs; None where one cannot be found."""
    needed = expectation.get_validation_dependencies(engine, {"result_format": dict(_FORMAT)})
    plans: dict[Any, Plan] = {}
    for metric in needed.get_metric_configurations():
        found = plan(Question(metric.metric_name, metric.metric_domain_kwargs, metric.metric_value_kwargs), footer)
        if found is None:
            return None
        plans[metric.id] = found
    return plans


def _judged(gx: ModuleType, expectation: Any, metrics: Mapping[Any, Any], engine: Any) -> Any:
    try:
        return expectation.metrics_validate(metrics, {"result_format": dict(_FORMAT)}, engine)
    except (TypeError, ValueError, gx.exceptions.GreatExpectationsError):
        # Great Expectations on pandas runs into the same, and says so in its result.
        return None


def _by_pandas(gx: ModuleType, footer: Footer, asked: Sequence[Mapping[str, Any]], left: Sequence[int]) -> list[Any]:
    """Judge some of the expectations by Great Expectations on pandas."""
    if not left:
        return []
    suite = gx.ExpectationSuite(name="left", expectations=[_construct(asked[place])[0] for place in left])
    context = gx.get_context(mode="ephemeral", project_config=project(gx, suite.name))
    asset = context.data_sources.add_pandas(SOURCE).add_dataframe_asset(ASSET)
    frame = pq.read_table(footer.path, columns=_needed(footer, [asked[place] for place in left])).to_pandas()
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": frame})
    outcome = batch.validate(context.suites.add(suite), result_format=dict(_FORMAT))
    # Results come sorted by column; the ids that the store gave lead back to the order of the suite.
    by_id = {each.expectation_config.id: each for each in outcome.results}
    return [by_id[each.id] for each in suite.expectations]


def _needed(footer: Footer, asked: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """Return the columns that expectations look at; None: perhaps at all."""
    kwargs = [each.get("kwargs", {}) for each in asked]
    if any("row_condition" in each or not wording.columns_of(each) for each in kwargs):
        return None
    named = {name for each in kwargs for name in wording.columns_of(each)}
    return [name for name in footer.schema.names if name in named] or None


def _tidy(answer: Any) -> None:
    """Leave plain values in a result: NumPy's own booleans and numbers could not be stored."""
    answer.success, answer.result = bool(answer.success), _plain(answer.result)
    answer.exception_info = _without_traceback(answer.exception_info)


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


# The library.


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


def _great_expectations() -> ModuleType:
    """Import the library in half its time.

    SQLAlchemy is an extra that Great Expectations does without. SciPy's statistics and Altair serve three of its 59
    expectations, and come when one of these is used.
    """
    if "great_expectations" not in sys.modules:
        with _quiet(), slim_import(absent=("sqlalchemy",), deferred=("scipy.stats", "altair")):
            import_module("great_expectations")
    import great_expectations

    return great_expectations


# The answer.


def _ids(footer: Footer, answers: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Return the ids of the rows that are named."""
    places = sorted({place for answer in answers for place in _places(answer)})
    rows = Pass(footer, {}).at(places, ["id"])
    return {place: value or f"row {place + 1}" for place, (value,) in zip(*rows, strict=True)}


def _places(answer: Mapping[str, Any]) -> list[int]:
    found = answer["result"].get("partial_unexpected_index_list") or []
    return [each for each in found if isinstance(each, int)][:MOST]


def _result(
    name: str,
    asked: Mapping[str, Any],
    answer: Mapping[str, Any],
    engine: Literal["polars", "pandas"],
    ids: Mapping[int, str],
) -> ExpectationResult:
    kind, kwargs, found = asked["type"], asked.get("kwargs", {}), answer["result"]
    return ExpectationResult(
        name=name,
        type=kind,
        column=", ".join(wording.columns_of(kwargs)) or None,
        severity=_SEVERITIES[asked.get("severity", "critical")],
        passed=bool(answer["success"]),
        message=wording.sentence(kind, kwargs, answer),
        observed=wording.observed(found),
        limit=wording.limit(kwargs) or None,
        offenders=int(found["unexpected_count"] or 0) if "element_count" in found else 0,
        ids=tuple(ids[place] for place in _places(answer)),
        engine=engine,
    )
