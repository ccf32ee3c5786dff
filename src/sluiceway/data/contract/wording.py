"""Great Expectations' expectations and results in words: what a person reads of a check."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

MOST_SHOWN = 3
"""Offending values that are given as examples."""

MOST_LISTED = 10
"""Members of a set that are spelled out; of the rest only the number."""

_DEMANDS = {
    "be_in_set": "be one of",
    "be_in_type_list": "be of type",
    "be_null": "be missing",
    "contain_set": "contain",
    "equal_set": "be",
    "match_regex": "match",
    "match_regex_list": "match",
    "not_be_in_set": "be none of",
    "not_be_null": "not be missing",
    "not_match_regex": "not match",
    "not_match_regex_list": "not match",
}
"""Demands that read badly when merely spelled out."""

_FAILURES = {"be_null": "are there", "not_be_in_set": "are", "not_be_null": "are missing"}
"""What is said of the offenders, where it is not "are not"."""

_QUANTITIES = {"proportion_of_non_null_values": "share of values present in", "row_count": "number of examples"}
"""Quantities that read badly when merely spelled out."""

_RULES = {
    "be": "of one type",
    "be_between": "within limits",
    "be_greater_than_b": "greater than the other",
    "be_in_set": "one of a set",
    "be_in_type_list": "of a known type",
    "be_less_than": "below a limit",
    "be_null": "always missing",
    "be_of_type": "of one type",
    "contain_set": "contain a set",
    "equal_set": "equal to a set",
    "exist": "there",
    "match_regex": "match a pattern",
    "match_regex_list": "match patterns",
    "not_be_in_set": "none of a set",
    "not_be_null": "never missing",
    "not_match_regex": "free of a pattern",
    "not_match_regex_list": "free of patterns",
}
"""Demands without their figures, where they read badly when merely spelled out."""

_COLUMN_KEYS = ("column", "column_A", "column_B", "column_list")
_BOUND_KEYS = ("min_value", "max_value", "strict_min", "strict_max")
_ASIDE = (*_BOUND_KEYS, "mostly", "row_condition", "condition_parser", "ignore_row_if")


def figure(value: object) -> str:
    """Write one value shortly: four significant digits, large numbers without a fraction, long texts cut."""
    if isinstance(value, float):
        whole = value.is_integer() or abs(value) >= 1e4
        return f"{value:.0f}" if whole and abs(value) < 1e15 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {figure(each)}" for name, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        shown = ", ".join(figure(each) for each in value[:MOST_LISTED]) or "nothing"
        return f"{shown} and {len(value) - MOST_LISTED} more" if len(value) > MOST_LISTED else shown
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def title(name: str) -> str:
    """Name a check for people: ``near copies across splits``, or of an expectation ``contrast: within limits``.

    Args:
        name: the check's; an expectation's is ``type:column``, with ``:2`` behind it where it stands a second time.
    """
    kind, _, rest = name.partition(":")
    if not kind.startswith("expect_"):
        return _words(name)
    column, _, number = rest.rpartition(":")
    if "_table_" not in kind and not (column and number.isdigit()):
        column, number = rest, ""
    columns = column.split(", ") if column else []
    keys = ("column_A", "column_B") if "_pair_" in kind and len(columns) == 2 else ("column_list",)
    kwargs = dict(zip(keys, columns if len(keys) == 2 else [columns], strict=True))
    verb = _verb(kind) if "_to_" in kind else ""
    rule = _RULES.get(verb, _words(verb or kind.removeprefix("expect_")).removeprefix("be "))
    said = f"{subject(kind, kwargs) if verb else column or 'the table'}: {rule}"
    return f"{said} ({number})" if number else said


def columns_of(kwargs: Mapping[str, Any]) -> list[str]:
    """Names of the columns whose values an expectation looks at."""
    found = [kwargs[key] for key in _COLUMN_KEYS if key in kwargs]
    return [name for each in found for name in ([each] if isinstance(each, str) else each)]


def subject(kind: str, kwargs: Mapping[str, Any]) -> str:
    """Name what is looked at: ``width``, ``mean of brightness``, ``number of examples``."""
    what, _, verb = kind.removeprefix("expect_").partition("_to_")
    quantity = what.removeprefix("table_").removeprefix("column_")
    if quantity == "pair_values_a":
        return str(kwargs.get("column_A"))
    names = " and ".join(columns_of(kwargs))
    if not names:
        return _QUANTITIES.get(quantity, f"{_words(quantity)} of the table") if verb else "the table"
    if quantity in ("column", "values", "pair_values"):
        return names
    return f"{_QUANTITIES[quantity]} {names}" if quantity in _QUANTITIES else f"{_words(quantity)} of {names}"


def demand(kind: str, kwargs: Mapping[str, Any]) -> str:
    """Say what is demanded of the subject: ``be between 0 and 1``, ``be one of 0, 1``."""
    verb = _verb(kind)
    said = _DEMANDS.get(verb, _words(verb).removesuffix(" between"))
    if verb == "be_greater_than_b":
        said = f"be {'at least' if kwargs.get('or_equal') else 'more than'} {kwargs.get('column_B')}"
    share, where = kwargs.get("mostly", 1), kwargs.get("row_condition")
    often = f"for at least {figure(100.0 * share)} %" if isinstance(share, int | float) and share < 1 else ""
    parts = [said, limit(kwargs), often, f"where {figure(where)}" if where else ""]
    return " ".join(part for part in parts if part)


def limit(kwargs: Mapping[str, Any]) -> str:
    """Write what was allowed: ``between 0 and 1``, ``0, 1, 2``; empty when the demand says it all."""
    rest = {key: each for key, each in kwargs.items() if key not in (*_COLUMN_KEYS, *_ASIDE)}
    values = [each for each in rest.values() if each is not None and not isinstance(each, bool)]
    # A whole distribution is a limit only where there is no shorter one.
    short = [figure(each) for each in values if not isinstance(each, Mapping)] or [figure(each) for each in values]
    return ", ".join([each for each in (_bounds(kwargs),) if each] or short)


def failure(kind: str, offenders: int) -> str:
    """Say what offenders do: ``are not``, ``do not``, ``is missing``."""
    verb = _verb(kind)
    usual = "do" if verb.startswith("not_match") else "do not" if verb.startswith("match") else "are not"
    said = _FAILURES.get(verb, usual)
    return said if offenders != 1 else said.replace("are", "is").replace("do", "does")


def sentence(kind: str, kwargs: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """Say in one sentence what was expected and what was found.

    Args:
        kind: the expectation's type.
        kwargs: its arguments.
        answer: its result in Great Expectations' JSON form, SUMMARY format.
    """
    should = f"{subject(kind, kwargs)} should {demand(kind, kwargs)}"
    trouble = _trouble(answer.get("exception_info") or {})
    if trouble:
        return f"{should}: this could not be checked: {trouble}"
    found = answer["result"]
    if "element_count" not in found:
        return f"{should}: {_finding(found, answer['success'])}"
    offenders = int(found["unexpected_count"] or 0)
    # Values that are missing are no offenders, except where absence itself is the question.
    checked = int(found["element_count"]) - int(found.get("missing_count") or 0)
    if not offenders:
        return f"{should}: true of all {checked}" if checked else f"{should}: none has a value"
    sample = dict.fromkeys(figure(each) for each in found["partial_unexpected_list"] if each is not None)
    shown = f" (for example {', '.join([*sample][:MOST_SHOWN])})" if sample else ""
    allowed = ", which is allowed" if answer["success"] else ""
    return f"{should}: {offenders} of {checked} {failure(kind, offenders)}{shown}{allowed}"


def observed(found: Mapping[str, Any]) -> float | str | None:
    """Return the figure that was found, or how many examples offend."""
    if "element_count" in found:
        return f"{found['unexpected_count'] or 0} of {found['element_count']} offend"
    value = found.get("observed_value")
    return value if value is None or isinstance(value, int | float) else figure(value)


def _finding(found: Mapping[str, Any], success: bool) -> str:
    for part, said in (("partial_missing_list", "lacking"), ("partial_unexpected_list", "not expected")):
        if found.get(part):
            return f"{said}: {figure(found[part])}"
    if "observed_value" not in found or (success and found["observed_value"] is None):
        return "true" if success else "not so"
    value = found["observed_value"]
    return "it is not defined" if value is None else f"it is {figure(value)}"


def _trouble(info: Mapping[str, Any]) -> str:
    """Return what an expectation died of; Great Expectations tells it in two shapes, plain and by metric."""
    plain = info if "raised_exception" in info else next(iter(info.values()), {})
    message = str(plain.get("exception_message") or "") if plain.get("raised_exception") else ""
    return " ".join(re.sub(r"^[\s:]+", "", message).split())


def _verb(kind: str) -> str:
    return kind.removeprefix("expect_").partition("_to_")[2] or f"meet_{kind}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _bounds(kwargs: Mapping[str, Any]) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    open_low, open_high = bool(kwargs.get("strict_min")), bool(kwargs.get("strict_max"))
    least = "" if low is None else f"{'more than' if open_low else 'at least'} {figure(low)}"
    most = "" if high is None else f"{'less than' if open_high else 'at most'} {figure(high)}"
    if not (least and most) or open_low or open_high:
        return " and ".join(part for part in (least, most) if part)
    return figure(low) if low == high else f"between {figure(low)} and {figure(high)}"
