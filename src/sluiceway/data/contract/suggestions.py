"""A suite inferred from an example table: what was seen, with room for later honest data, for a person to review.

The range of a long tail must be so wide that it says little: then a warning has the range of all but a few. Where a
single far value would upset mean and deviation, the median is held instead.

The table may be larger than memory: one column of numbers is held at a time, 8 bytes a row, and no column of texts.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sluiceway.data.contract.footer import Footer
from sluiceway.data.contract.tails import ENOUGH, PLENTY, End, Number, Numbers, between, outward, reach
from sluiceway.data.contract.wording import figure
from sluiceway.data.labels import SEPARATOR, each_label
from sluiceway.data.table import SPLITS, MeasureKind, TargetKind
from sluiceway.errors import DataError

if TYPE_CHECKING:
    import polars as pl

MOST_CLASSES, MOST_WORDS = 100, 20
"""Different values of a target and of a measured text that are few enough to become a set."""
OFTEN = 5
"""Examples by which a value is well known: a random fifth of the table holds them all in 1 of 3,000 cases."""
UNSEEN = 0.95
"""Share that must be of the values seen, where some were seen so rarely that there may be others."""
_ROOMY = 1.25
"""How far beyond all but 1 in 500 values the range of a warning goes, counted from the median."""
_LOOSE = 2
"""How many times that far the range of all may go before there is such a warning."""

Entry = dict[str, Any]


def suggest(table: Path, measures: Mapping[str, MeasureKind], target: TargetKind, name: str) -> dict[str, Any]:
    """Infer a suite. The table that it is made from passes it; the same table gives the same suite.

    Args:
        table: ``examples.parquet``.
        measures: the measured columns and their kinds.
        target: what the column ``target`` holds.
        name: of the pipeline.

    Returns:
        Great Expectations' own form: ``{"name", "expectations": [{"type", "kwargs", "severity", "notes"}], "notes"}``.

    Raises:
        DataError: the table cannot be read, has no rows, or lacks a column.
    """
    import polars as pl

    footer = Footer.read(table)
    lacking = [column for column in ("id", "split", "checksum", *measures) if column not in footer.schema.names]
    if lacking:
        raise DataError(f"{table} has no column {lacking[0]!r}", hint=f"`dvc repro validate@{name}` makes it again")
    if not footer.rows:
        raise DataError(f"{table} has no rows, so nothing can be inferred", hint="see why all are in quarantine")
    rows = pl.scan_parquet(table)
    found = [*_contract(rows, footer), *_target(rows, footer.rows, target)]
    with np.errstate(over="ignore", invalid="ignore"):  # a figure that is not finite is left out
        for column, kind in measures.items():
            found += [*_presence(rows, footer.rows, column), *_measure(rows, column, kind)]
    notes = f"Suggested from {footer.rows:,} examples: what was seen there, and some room. Review it; it is yours."
    return {"name": re.sub(r"[^\w-]", "_", name), "expectations": found, "notes": notes}


def _expect(kind: str, notes: str, kwargs: Entry, severity: Literal["critical", "warning"] = "critical") -> Entry:
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": severity, "notes": notes}


# What holds for every table.


def _contract(rows: "pl.LazyFrame", footer: Footer) -> Iterator[Entry]:
    half = outward(footer.rows / 2, footer.rows / 20, down=True, whole=True) or 0
    seen = f"{footer.rows:,} seen; less than half of them is a part of the data, or other data."
    yield _expect("table_row_count_to_be_between", seen, {"min_value": max(1, half)})
    yield _expect("column_values_to_not_be_null", "Every example has one.", {"column": "id"})
    yield _expect("column_values_to_be_unique", "An id names one example.", {"column": "id"})
    yield _expect("column_values_to_not_be_null", "Every example is on a side.", {"column": "split"})
    about = {"column": "split", "value_set": list(SPLITS)}
    yield _expect("column_values_to_be_in_set", "There are no other sides.", about)
    sizes = _counts(rows, "split")
    if sides := [split for split in SPLITS if sizes.get(split, 0) >= OFTEN]:
        seen = f"{', '.join(f'{sizes[split]:,} {split}' for split in sides)} seen."
        yield _expect("column_distinct_values_to_contain_set", seen, {"column": "split", "value_set": sides})
    yield _expect("column_values_to_not_be_null", "Every content has one.", {"column": "checksum"})
    for column in ("group", "time"):
        if column in footer.schema.names and not _missing(rows, column):
            yield _expect("column_values_to_not_be_null", f"All {footer.rows:,} have one.", {"column": column})


def _presence(rows: "pl.LazyFrame", total: int, column: str) -> Iterator[Entry]:
    """Expect a value in every row; where some are missing, expect little more of them to be."""
    missing = _missing(rows, column)
    share = missing / total
    allowed = min(2 * share + 0.01, share + (1 - share) / 5) if missing else 0.0
    mostly = _hundredths(1 - allowed)
    if not missing:
        yield _expect("column_values_to_not_be_null", f"None of {total:,} was missing.", {"column": column})
    elif mostly > 0:
        seen = f"{missing:,} of {total:,} were missing, {100 * share:.2g} %; up to {100 * (1 - mostly):.0f} % may be."
        yield _expect("column_values_to_not_be_null", seen, {"column": column, "mostly": mostly})


# Targets and texts.


def _target(rows: "pl.LazyFrame", total: int, kind: TargetKind) -> Iterator[Entry]:
    if kind == "none":
        return
    yield from _presence(rows, total, "target")
    if kind == "text":
        yield from _lengths(rows, "target")
    elif kind == "number":
        yield from _number_texts(rows.select("target").drop_nulls())
    elif kind == "classes":
        yield from _label_texts(rows)
    elif counts := _few(rows, "target", MOST_CLASSES):
        yield from _set("target", counts)
        often = sorted(value for value, count in counts.items() if count >= OFTEN)
        if often:
            least, most = min(counts[value] for value in often), max(counts.values())
            seen = f"{len(often)} classes of {least:,} to {most:,} examples seen."
            yield _expect("column_distinct_values_to_contain_set", seen, {"column": "target", "value_set": often})
        if len(often) < len(counts):
            seen = "A class that was not seen yet; there may well be some, as others were hardly seen."
            about = {"column": "target", "value_set": sorted(counts)}
            yield _expect("column_values_to_be_in_set", seen, about, "warning")


def _label_texts(rows: "pl.LazyFrame") -> Iterator[Entry]:
    """Expect the labels that were seen, in any number and combination."""
    if counts := _few(each_label(rows), "target", MOST_CLASSES):
        one = f"(?:{'|'.join(re.escape(label) for label in sorted(counts))})"
        pattern = rf"^(?:{one}(?:{re.escape(SEPARATOR)}{one})*)?$"
        said = f"{len(counts)} labels on {min(counts.values()):,} to {max(counts.values()):,} examples seen."
        yield _expect("column_values_to_match_regex", said, {"column": "target", "regex": pattern})


def _number_texts(texts: "pl.LazyFrame") -> Iterator[Entry]:
    """Expect numbers of a magnitude. They stand in the table as texts, so their digits must tell it."""
    import polars as pl

    text, value = pl.col("target"), pl.col("target").str.strip_chars().cast(pl.Float64, strict=False)
    known = pl.when(value.is_finite()).then(value)
    figures = {"least": known.min(), "most": known.max(), "minus": text.str.contains("^ *-").any()}
    figures["large"] = text.str.contains(r"[eE]\+?\d").any()
    seen = texts.select(**figures).collect(engine="streaming").row(0, named=True)
    if seen["least"] is None:
        return
    pattern = _digits(max(-seen["least"], seen["most"]), minus=seen["minus"], large=seen["large"])
    matching = texts.select(text.str.contains(pattern).mean()).collect(engine="streaming").item()
    about: Entry = {"column": "target", "regex": pattern}
    if matching < 1:
        about["mostly"] = max(0.0, _hundredths(matching - 0.01))
    said = f"{figure(seen['least'])} to {figure(seen['most'])} seen; numbers up to a power of ten above twice that."
    yield _expect("column_values_to_match_regex", said, about)


def _digits(largest: float, *, minus: bool, large: bool) -> str:
    """Return the pattern of numbers below the first power of ten above twice the largest.

    Args:
        largest: magnitude.
        minus: whether there are negative numbers.
        large: whether exponents make numbers larger than their digits: then no magnitude is told.
    """
    sign = "-?" if minus else ""
    if large or not 1e-99 < largest < 1e99:
        return rf"^ *{sign}(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)? *$"
    power = math.ceil(math.log10(2 * largest))
    whole, zeros = (rf"\d{{1,{power}}}", "") if power > 0 else ("0+", "0" * -power)
    return rf"^ *{sign}(?:{whole}(?:\.{zeros}\d*)?|\.{zeros}\d+|\d(?:\.\d*)?[eE]-\d+) *$"


def _set(column: str, counts: Mapping[str, int]) -> Iterator[Entry]:
    rare = sorted(value for value, count in counts.items() if count < OFTEN)
    said = f"{len(counts)} different values seen" if len(counts) > 1 else f"Always {figure(next(iter(counts)))}"
    doubt = f"; {figure(rare)} fewer than {OFTEN} times, so there may be others" if rare else ""
    about = {"column": column, "value_set": sorted(counts)} | ({"mostly": UNSEEN} if rare else {})
    yield _expect("column_values_to_be_in_set", f"{said}{doubt}.", about)


def _lengths(rows: "pl.LazyFrame", column: str) -> Iterator[Entry]:
    import polars as pl

    if seen := Numbers.of(rows.select(pl.col(column).str.len_chars().cast(pl.Int64))):
        low, high = reach(seen, down=True), reach(seen, down=False)
        yield from _range(seen, low, high, "column_value_lengths", column, " characters")


def _few(rows: "pl.LazyFrame", column: str, most: int) -> dict[str, int]:
    """Count values if they are few. That is estimated first, as counting many takes memory."""
    import polars as pl

    about = rows.select(pl.col(column).approx_n_unique()).collect(engine="streaming").item()
    counts = _counts(rows, column) if about <= 2 * most else {}
    return counts if len(counts) <= most else {}


def _counts(rows: "pl.LazyFrame", column: str) -> dict[str, int]:
    counted = rows.select(column).drop_nulls().group_by(column).len().collect(engine="streaming")
    return dict(counted.sort(column).iter_rows())


def _missing(rows: "pl.LazyFrame", column: str) -> int:
    # To Great Expectations, as to pandas, NaN is a missing value.
    return int(rows.select(column).fill_nan(None).null_count().collect(engine="streaming").item())


def _hundredths(share: float) -> float:
    return math.floor(round(100 * share, 6)) / 100


# Numbers.


def _measure(rows: "pl.LazyFrame", column: str, kind: MeasureKind) -> Iterator[Entry]:
    if kind == "text":
        counts = _few(rows, column, MOST_WORDS)
        words = len(counts) * OFTEN <= sum(counts.values())
        yield from _set(column, counts) if counts and words else _lengths(rows, column)
    elif seen := Numbers.of(rows.select(column)):
        low, high = reach(seen, down=True), reach(seen, down=False)
        yield from _range(seen, low, high, "column_values", column)
        if len(seen.values) >= PLENTY:
            yield from _nearly_all(seen, low[0], high[0], column)
        if len(seen.values) >= ENOUGH and seen.least < seen.most:
            steady = _is_steady(seen, low[0], high[0])
            yield from _level_and_width(seen, column) if steady else _level(seen, column)


def _range(seen: Numbers, low: End, high: End, kind: str, column: str, unit: str = "") -> Iterator[Entry]:
    """Expect all values between ends that later honest data stays inside."""
    (least, below), (most, above) = low, high
    span = f"{seen.say(seen.least)} to {seen.say(seen.most)}{unit} seen"
    said = f"{span}. On both sides, {below}." if below == above else f"{span}. Below, {below}; above, {above}."
    if seen.least == seen.most and not seen.endless:
        said = f"Always {seen.say(seen.least)}{unit}."
    if bounds := between(least, most):
        yield _expect(f"{kind}_to_be_between", said, {"column": column, **bounds})


def _nearly_all(seen: Numbers, low: Number | None, high: Number | None, column: str) -> Iterator[Entry]:
    """Warn when more than a few are far out, where a long tail makes the range of all say little."""
    first, middle, last = seen.quantiles(0.002, 0.5, 0.998)
    least, most = _tighter(seen, low, middle, first), _tighter(seen, high, middle, last)
    if (least, most) != (low, high):
        said = f"996 of 1,000 are {seen.say(first)} to {seen.say(last)}; a quarter farther from the median."
        about = {"column": column, **between(least, most), "mostly": 0.99}
        yield _expect("column_values_to_be_between", said, about, "warning")


def _tighter(seen: Numbers, limit: Number | None, middle: float, far: float) -> Number | None:
    reach = _ROOMY * abs(far - middle)
    if limit is not None and abs(limit - middle) <= _LOOSE * reach:
        return limit
    return outward(middle, reach / 10, room=reach, down=far < middle, whole=seen.whole)


def _is_steady(seen: Numbers, low: Number | None, high: Number | None) -> bool:
    """Whether mean and deviation hang on no single value.

    One more value, at the end of the range, must leave the deviation as it is to a factor of three; and one in ten
    values must not be all that differs.
    """
    tenth, ninth = seen.quantiles(0.1, 0.9)
    if low is None or high is None or tenth == ninth:
        return False
    mean, deviation = float(seen.values.mean()), float(seen.values.std())
    far = max(mean - low, high - mean)
    return math.isfinite(deviation) and far / math.sqrt(len(seen.values)) < math.sqrt(8) * deviation


def _level_and_width(seen: Numbers, column: str) -> Iterator[Entry]:
    """Expect mean and deviation, where these are steady figures."""
    mean, deviation = float(seen.values.mean()), float(seen.values.std(ddof=1))
    half, third = deviation / 2, deviation / 3
    bounds = between(outward(mean - half, half / 4, down=True), outward(mean + half, half / 4, down=False))
    if seen.least >= 0:
        bounds["min_value"] = max(0, bounds["min_value"])
    said = f"{seen.say(mean)} seen; half a deviation on each side. Another source of data shows here first."
    yield _expect("column_mean_to_be_between", said, {"column": column, **bounds}, "warning")
    bounds = between(outward(third, third / 10, down=True), outward(9 * third, third, down=False))
    said = f"{seen.say(deviation)} seen; a third to three times as much. Another unit shows here."
    yield _expect("column_stdev_to_be_between", said, {"column": column, **bounds})


def _level(seen: Numbers, column: str) -> Iterator[Entry]:
    """Expect a median, where far values make mean and deviation unsteady."""
    tenth, quarter, middle, three, ninth = seen.quantiles(0.1, 0.25, 0.5, 0.75, 0.9)
    step = (ninth - tenth) / 10
    low = outward(tenth, min(step, abs(tenth) / 10), down=True)
    high = outward(ninth, min(step, abs(ninth) / 10), down=False)
    said = f"{seen.say(middle)} seen; from the 10th to the 90th percentile. Another unit shows here."
    if bounds := between(low, high):
        yield _expect("column_median_to_be_between", said, {"column": column, **bounds})
    if tenth <= 0 <= ninth and quarter < three and not seen.endless and math.isfinite(seen.values.std()):
        # About zero, a smaller unit does not show in the median.
        width = (three - quarter) / 4
        said = f"The middle half spans {seen.say(three - quarter)}; a quarter of that. A smaller unit shows here."
        about = {"column": column, **between(outward(width, width / 10, down=True), None)}
        yield _expect("column_stdev_to_be_between", said, about)
