"""The data gate's expectations: real Great Expectations on small tables."""

import json
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sluiceway.data.contract import expectations, wording
from sluiceway.data.contract.expectations import ExpectationResult, read_suite, run_suite
from sluiceway.data.contract.footer import Footer
from sluiceway.data.contract.passes import MOST, Pass
from sluiceway.data.contract.patterns import as_rust
from sluiceway.errors import ConfigError, DataError

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "pipelines" / "digits" / "expectations.json"
VERSES = ROOT / "pipelines" / "verses" / "expectations.json"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def suite(*asked: dict[str, Any], **more: Any) -> Path:
        path = tmp_path / "suite" / "expectations.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"name": "small", "expectations": list(asked), **more}), encoding="utf-8")
        return path

    return suite


def expect(kind: str, severity: str = "critical", **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": severity}


def run(table: pa.Table, suite: Path, docs: Path | None) -> list[ExpectationResult]:
    """Hold a table against a suite, as the stage does: from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "examples.parquet"
        pq.write_table(table, path, row_group_size=7)
        return run_suite(path, suite, docs)


def small(**columns: list[Any]) -> pa.Table:
    rows = len(next(iter(columns.values())))
    return pa.table({"id": [f"e{row}" for row in range(rows)], **columns})


def digits() -> pa.Table:
    """Make an example table of the 1,797 digits of scikit-learn, enlarged to 28 x 28."""
    from sklearn.datasets import load_digits

    scanned = load_digits()
    images = np.pad(np.kron(scanned.images / 16, np.ones((1, 3, 3))), ((0, 0), (2, 2), (2, 2)))
    rows = len(images)
    return pa.table(
        {
            "id": [f"{row:04}.png" for row in range(rows)],
            "split": [("train", "train", "train", "validation", "test")[row % 5] for row in range(rows)],
            "group": pa.nulls(rows, pa.string()),
            "source": [f"{row:04}.png" for row in range(rows)],
            "target": [str(target) for target in scanned.target],
            "checksum": [f"{row:064x}" for row in range(rows)],
            "width": [28] * rows,
            "height": [28] * rows,
            "channels": [1] * rows,
            "brightness": images.mean((1, 2)),
            "contrast": images.std((1, 2)),
        }
    )


def verses(rows: int = 1189) -> pa.Table:
    words = np.random.default_rng(0).integers(100, 1400, rows)
    return small(
        split=[("train", "train", "train", "validation", "test")[row % 5] for row in range(rows)],
        target=pa.nulls(rows, pa.string()),
        checksum=[f"{row:064x}" for row in range(rows)],
        characters=words * 5,
        bytes=words * 5,
        words=words,
        letters=[0.78] * rows,
        longest_word=[13] * rows,
    )


def replaced(table: pa.Table, column: str, **changes: Any) -> pa.Table:
    """Change single values: ``replaced(table, "width", row7=14)``."""
    values = table.column(column).to_pylist()
    for row, value in changes.items():
        values[int(row.removeprefix("row"))] = value
    kind = table.schema.field(column).type
    return table.set_column(table.column_names.index(column), column, pa.array(values, kind))


def failed(results: list[ExpectationResult]) -> list[ExpectationResult]:
    return [result for result in results if not result.passed]


class TestShippedSuites:
    def test_digits_of_another_pen_pass_with_a_warning(self) -> None:
        results = run(digits(), DIGITS, None)
        assert [(result.type, result.severity) for result in failed(results)] == [
            ("expect_column_mean_to_be_between", "warn")
        ]

    def test_faults_close_and_name_the_examples(self) -> None:
        table = replaced(digits(), "width", row5=14, row7=56)
        table = replaced(table, "target", row3=None, row9="x")
        table = replaced(table, "id", row11="0010.png")
        table = replaced(table, "brightness", row4=0.9)
        found = {(each.type, each.column): each for each in failed(run(table, DIGITS, None))}
        width = found["expect_column_values_to_be_between", "width"]
        assert width.message == "width should be 28: 2 of 1797 are not (for example 14, 56)"
        assert (width.offenders, width.ids, width.severity) == (2, ("0005.png", "0007.png"), "close")
        assert (width.observed, width.limit) == ("2 of 1797 offend", "28")
        assert found["expect_column_values_to_not_be_null", "target"].ids == ("0003.png",)
        assert found["expect_column_values_to_be_in_set", "target"].ids == ("0009.png",)
        assert found["expect_column_values_to_be_unique", "id"].ids == ("0010.png", "0010.png")
        assert found["expect_column_values_to_be_between", "brightness"].ids == ("0004.png",)

    def test_a_missing_class_closes(self) -> None:
        table = digits()
        table = table.filter(pa.compute.not_equal(table.column("target"), "7"))
        (found,) = [each for each in failed(run(table, DIGITS, None)) if each.severity == "close"]
        assert found.message.endswith("lacking: 7")

    def test_a_bible_passes(self) -> None:
        assert failed(run(verses(), VERSES, None)) == []

    def test_half_a_bible_closes(self) -> None:
        messages = [each.message for each in failed(run(verses(600), VERSES, None))]
        assert "number of examples should be between 1000 and 1300: it is 600" in messages

    @pytest.mark.parametrize("path", [DIGITS, VERSES], ids=["digits", "verses"])
    def test_great_expectations_itself_reads_them(self, path: Path) -> None:
        import great_expectations as gx

        document = json.loads(path.read_text(encoding="utf-8"))
        assert (
            len(gx.ExpectationSuite(**document).expectations) == len(read_suite(path)) == len(document["expectations"])
        )


class TestResults:
    def test_come_in_the_order_of_the_file(self, write: Write) -> None:
        asked = [expect("column_values_to_not_be_null", column=name) for name in ("b", "a", "id", "b")]
        results = run(small(a=[1, 2], b=[1, None]), write(*asked), None)
        assert [result.column for result in results[:4]] == ["b", "a", "id", "b"]
        assert [result.passed for result in results[:4]] == [False, True, True, False]

    @pytest.mark.parametrize(("written", "means"), [("critical", "close"), ("warning", "warn"), ("info", "warn")])
    def test_severity(self, write: Write, written: str, means: str) -> None:
        suite = write(expect("column_values_to_be_unique", written, column="a"))
        result = run(small(a=[1, 1]), suite, None)[0]
        assert (result.passed, result.severity) == (False, means)

    def test_severity_is_critical_by_default(self, write: Write) -> None:
        suite = write({"type": "expect_column_values_to_be_unique", "kwargs": {"column": "a"}})
        assert run(small(a=[1, 1]), suite, None)[0].severity == "close"

    def test_allowed_offenders_are_still_named(self, write: Write) -> None:
        suite = write(expect("column_values_to_be_between", column="a", max_value=5, mostly=0.5))
        result = run(small(a=[1, 2, 3, 9]), suite, None)[0]
        assert result.passed
        assert (result.offenders, result.ids) == (1, ("e3",))
        assert (
            result.message == "a should be at most 5 for at least 50 %: 1 of 4 is not (for example 9), which is allowed"
        )

    def test_only_some_ids_are_kept_but_all_are_counted(self, write: Write) -> None:
        suite = write(expect("column_values_to_be_between", column="a", max_value=0))
        result = run(small(a=list(range(1, 1001))), suite, None)[0]
        assert result.offenders == 1000
        assert result.ids == tuple(f"e{row}" for row in range(MOST))

    def test_a_condition_keeps_the_ids_right(self, write: Write) -> None:
        condition = {"row_condition": 's == "x"', "condition_parser": "pandas"}
        suite = write(expect("column_values_to_be_between", column="a", max_value=0, **condition))
        result = run(small(a=[1, 1, 1], s=["y", "x", "x"]), suite, None)[0]
        assert result.ids == ("e1", "e2")

    def test_several_columns(self, write: Write) -> None:
        suite = write(
            expect("column_pair_values_a_to_be_greater_than_b", column_A="a", column_B="b"),
            expect("compound_columns_to_be_unique", column_list=["a", "b"]),
        )
        pair, compound = run(small(a=[1, 5, 1], b=[2, 1, 2]), suite, None)[:2]
        assert (pair.column, pair.ids) == ("a, b", ("e0", "e2"))
        assert pair.message.startswith("a should be more than b: 2 of 3 are not")
        assert compound.ids == ("e0", "e2")

    def test_an_example_without_id_is_named_by_its_row(self, write: Write) -> None:
        table = pa.table({"id": pa.array(["a", None], pa.string())})
        assert run(table, write(expect("column_values_to_not_be_null", column="id")), None)[0].ids == ("row 2",)

    def test_a_figure_of_the_whole_column(self, write: Write) -> None:
        result = run(small(a=[1, 2]), write(expect("column_mean_to_be_between", column="a", min_value=2)), None)[0]
        assert (result.passed, result.observed, result.limit, result.ids) == (False, 1.5, "at least 2", ())
        assert result.message == "mean of a should be at least 2: it is 1.5"

    def test_bounds_in_the_wrong_order_fail(self, write: Write) -> None:
        suite = write(expect("column_values_to_be_between", column="a", min_value=5, max_value=1))
        result = run(small(a=[3]), suite, None)[0]
        assert not result.passed
        assert "min_value cannot be greater than max_value" in result.message

    def test_what_cannot_be_checked_fails_with_its_reason(self, write: Write) -> None:
        suite = write(expect("column_values_to_match_regex", column="s", regex="("))
        result = run(small(s=["x"]), suite, None)[0]
        assert not result.passed
        assert "could not be checked: Invalid regular expression" in result.message

    def test_numpy_values_that_break_great_expectations_do_not_break_this(self, write: Write, tmp_path: Path) -> None:
        ranges = {"quantiles": [0.5], "value_ranges": [[5, 9]]}
        suite = write(expect("column_quantile_values_to_be_between", column="a", quantile_ranges=ranges))
        assert not run(small(a=[1, 2, 3]), suite, tmp_path / "docs")[0].passed

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        values=st.lists(st.none() | st.integers(-9, 9), min_size=1, max_size=40),
        bounds=st.tuples(st.integers(-9, 9), st.integers(-9, 9)).map(sorted),
    )
    def test_offenders_are_those_outside_the_bounds(
        self, write: Write, values: list[int | None], bounds: list[int]
    ) -> None:
        low, high = bounds
        suite = write(expect("column_values_to_be_between", column="a", min_value=low, max_value=high))
        table = small(a=pa.array(values, pa.int64()))
        outside = [f"e{row}" for row, value in enumerate(values) if value is not None and not low <= value <= high]
        results = {result.type: result for result in run(table, suite, None)}
        between = results["expect_column_values_to_be_between"]
        assert (between.passed, between.offenders) == (not outside, len(outside))
        assert between.ids == tuple(outside[:MOST])
        present = results["expect_column_proportion_of_non_null_values_to_be_between"]
        assert present.passed == any(value is not None for value in values)


class TestVacuousSuccess:
    """Great Expectations passes all of these by itself."""

    def test_an_empty_table_closes(self, write: Write) -> None:
        suite = write(expect("column_values_to_be_between", column="a", min_value=0))
        results = run(small(a=[1]).slice(0, 0), suite, None)
        assert results[0].passed
        messages = [result.message for result in failed(results) if result.severity == "close"]
        assert "number of examples should be at least 1: it is 0" in messages

    def test_a_column_without_values_closes(self, write: Write) -> None:
        suite = write(expect("column_values_to_be_between", "warning", column="a", min_value=0))
        results = run(small(a=pa.nulls(3, pa.float64())), suite, None)
        assert results[0].passed
        (found,) = failed(results)
        assert (found.column, found.severity) == ("a", "close")
        assert found.message == "share of values present in a should be more than 0: it is 0"

    def test_a_column_of_nan_closes(self, write: Write) -> None:
        suite = write(expect("column_values_to_be_between", column="a", min_value=0))
        assert [result.column for result in failed(run(small(a=[float("nan")] * 2), suite, None))] == ["a"]

    def test_a_column_that_should_be_empty_may_be(self, write: Write) -> None:
        suite = write(expect("column_values_to_be_null", column="a"), expect("column_to_exist", column="b"))
        assert failed(run(small(a=pa.nulls(2, pa.string()), b=pa.nulls(2, pa.string())), suite, None)) == []

    def test_an_empty_suite_is_refused(self, write: Write) -> None:
        with pytest.raises(ConfigError, match="an empty suite would pass any data") as told:
            run(small(a=[1]), write(), None)
        assert told.value.hint.startswith("`sluiceway expectations suggest ")


class TestReading:
    def test_gives_what_is_written(self, write: Write) -> None:
        asked = expect("column_values_to_not_be_null", column="a")
        assert read_suite(write(asked)) == [asked]

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="does not exist") as caught:
            read_suite(tmp_path / "expectations.json")
        assert "expectations" in caught.value.hint

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ('{"expectations": [}', "not valid JSON: .* at line 1, column 19"),
            ("[]", "no list of expectations"),
            ('{"name": "x"}', "no list of expectations"),
            ('{"name": "../x", "expectations": [{}]}', "name '../x'"),
            ('{"expectations": [3]}', "expectation 1: needs a type"),
            ('{"expectations": [{"type": "expect_column_to_exist", "kwargs": 3}]}', "kwargs is 3"),
            ('{"expectations": [{"type": "expect_column_to_exist", "kwargs": {}, "sevrity": "info"}]}', "sevrity"),
        ],
    )
    def test_a_file_that_is_no_suite(self, tmp_path: Path, text: str, complaint: str) -> None:
        path = tmp_path / "expectations.json"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=complaint):
            read_suite(path)

    @pytest.mark.parametrize(
        ("asked", "complaint"),
        [
            (expect("column_values_to_be_betwen", column="a"), "did you mean 'expect_column_values_to_be_between'?"),
            (expect("column_values_to_be_between", column="a", min_valu=1), "did you mean 'min_value'?"),
            (expect("column_values_to_be_between", column="a"), "min_value and max_value cannot both be None"),
            (expect("column_values_to_be_between", min_value=1), "argument 'column' is missing"),
            (expect("column_values_to_not_be_null", column="a", mostly=2), "mostly = 2: ensure this value is less"),
            (expect("column_values_to_not_be_null", column="widht"), "no column 'widht'; did you mean 'width'?"),
            (expect("column_values_to_not_be_null", "criticl", column="a"), "did you mean 'critical'?"),
        ],
    )
    def test_an_expectation_that_cannot_be_meant(self, write: Write, asked: dict[str, Any], complaint: str) -> None:
        with pytest.raises(ConfigError) as caught:
            read_suite(write(asked), ["a", "width"])
        assert complaint in caught.value.message
        assert "has 1 fault:" in caught.value.message

    def test_all_faults_are_told_at_once(self, write: Write) -> None:
        good = expect("column_values_to_not_be_null", column="a")
        suite = write(expect("nothing_of_the_kind"), good, expect("column_values_to_not_be_null", column="b"))
        with pytest.raises(ConfigError) as caught:
            run(small(a=[1]), suite, None)
        assert "has 2 faults" in caught.value.message
        assert "expectation 1 (expect_nothing_of_the_kind)" in caught.value.message
        assert "expectation 3" in caught.value.message

    def test_a_table_without_ids(self, write: Write) -> None:
        with pytest.raises(DataError, match="no column 'id'"):
            run(pa.table({"a": [1]}), write(expect("column_to_exist", column="a")), None)


class TestPages:
    @pytest.fixture
    def suite(self, write: Write) -> Path:
        distribution = {"values": ["x", "y"], "weights": [0.5, 0.5]}
        return write(
            expect("column_values_to_be_between", column="a", max_value=2),
            expect("column_kl_divergence_to_be_less_than", column="s", threshold=0.1, partition_object=distribution),
            expect("column_values_to_match_regex", column="s", regex="("),
            notes="Why these.",
        )

    def test_are_quiet_leave_nothing_else_and_need_no_network(
        self, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        scratch, work = tmp_path / "scratch", tmp_path / "work"
        scratch.mkdir()
        work.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(scratch))
        monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("something called the network"))
        monkeypatch.chdir(work)
        run(small(a=[1, 2, 3], s=["x", "y", "x"]), suite, tmp_path / "docs")
        assert (tmp_path / "docs").stat().st_mode == work.stat().st_mode  # as open as the page that links to it
        assert list(scratch.iterdir()) == list(work.iterdir()) == []
        assert capfd.readouterr() == ("", "")

        pages = {path.relative_to(tmp_path / "docs").parts[0]: path for path in (tmp_path / "docs").rglob("*.html")}
        assert set(pages) == {"index.html", "expectations", "validations"}
        texts = {name: path.read_text(encoding="utf-8") for name, path in pages.items()}
        assert "Why these." in texts["expectations"]
        assert "1 unexpected values found" in texts["validations"]
        assert pages["validations"].relative_to(tmp_path / "docs").as_posix() in texts["index.html"]
        for text in texts.values():
            assert 'src="http' not in text
            assert "<link" not in text
            assert str(ROOT) not in text
            assert sys.prefix not in text

    def test_equal_input_gives_equal_bytes_and_old_pages_go(self, suite: Path, tmp_path: Path) -> None:
        table = small(a=[1, 2, 3], s=["x", "y", "x"])
        one, other = tmp_path / "one", tmp_path / "other"
        other.mkdir()
        (other / "old.html").write_text("from last time", encoding="utf-8")
        run(table, suite, one)
        run(table, suite, other)
        assert contents(one) == contents(other)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestImport:
    def test_costs_nothing_until_a_suite_is_run(self) -> None:
        loads = "import sys, sluiceway.data.contract.expectations\n"
        loads += "print({'great_expectations', 'pandas'} & set(sys.modules))"
        assert python(loads) == "set()"

    def test_leaves_out_what_is_not_needed_and_leaves_no_trace(self) -> None:
        script = """
import gc, sys
from sluiceway.data.contract.expectations import _great_expectations
gx = _great_expectations()
print([name for name in ("sqlalchemy", "scipy.stats", "altair") if name in sys.modules], gc.isenabled())
import scipy.stats, sqlalchemy
print(scipy.stats.norm.mean(), sqlalchemy.__name__)
kl = sys.modules["great_expectations.expectations.core.expect_column_kl_divergence_to_be_less_than"]
print(kl.stats.entropy is scipy.stats.entropy, "altair" in sys.modules, kl.alt.Chart.__name__, "altair" in sys.modules)
"""
        assert python(script).splitlines() == ["[] True", "0.0 sqlalchemy", "True False Chart True"]


def python(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == ""
    return done.stdout.strip()


class TestWording:
    @pytest.mark.parametrize(
        ("kind", "kwargs", "words"),
        [
            (
                "column_values_to_be_between",
                {"column": "a", "min_value": 0, "max_value": 1},
                "a should be between 0 and 1",
            ),
            ("column_values_to_be_between", {"column": "a", "min_value": 28, "max_value": 28}, "a should be 28"),
            (
                "column_values_to_be_between",
                {"column": "a", "min_value": 0, "strict_min": True, "max_value": 1},
                "a should be more than 0 and at most 1",
            ),
            ("column_values_to_be_in_set", {"column": "a", "value_set": [1, "x"]}, "a should be one of 1, x"),
            ("column_values_to_be_in_set", {"column": "a", "value_set": []}, "a should be one of nothing"),
            ("column_value_lengths_to_equal", {"column": "a", "value": 2}, "value lengths of a should equal 2"),
            ("table_columns_to_match_set", {"column_set": ["a"]}, "columns of the table should match set a"),
            ("column_to_exist", {"column": "a"}, "a should exist"),
        ],
    )
    def test_demands(self, kind: str, kwargs: dict[str, Any], words: str) -> None:
        name = f"expect_{kind}"
        assert f"{wording.subject(name, kwargs)} should {wording.demand(name, kwargs)}" == words

    def test_long_sets_are_cut(self) -> None:
        assert wording.limit({"value_set": list(range(50))}) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 40 more"

    def test_every_kind_can_be_said(self) -> None:
        import great_expectations as gx

        kinds = gx.expectations.registry.list_registered_expectation_implementations()
        assert len(kinds) > 50
        for kind in kinds:
            said = f"{wording.subject(kind, {'column': 'a'})} should {wording.demand(kind, {'column': 'a'})}"
            assert "_" not in said
            assert "  " not in said

    def test_large_figures_are_written_out(self) -> None:
        assert [wording.figure(each) for each in (32719.4, 3.27194, -20000.0)] == ["32719", "3.272", "-20000"]

    @given(st.floats(-1e300, 1e300))
    def test_figures_are_short_and_near(self, value: float) -> None:
        said = wording.figure(value)
        assert len(said) <= 16
        assert float(said) == pytest.approx(value, rel=1e-3)


INTEGERS = st.integers(-5, 5) | st.integers(-(2**40), 2**40)
NUMBERS = st.sampled_from([0.0, -0.0, 1.0, 0.5, -3.0, float("nan"), float("inf"), float("-inf")]) | st.floats(-9, 9)
WORDS = st.sampled_from(["", "a", "b", "ab", "A", "é", "a\n", "10", "٣", "x-1", "None"]) | st.text(
    "ab0\n .é", max_size=5
)
BOUND = st.none() | st.integers(-6, 6) | st.floats(-6, 6)
PATTERNS = ["a", "^a", "b$", "^[a-c]*$", r"^\d+$", "a.", "(a|b)0", "^x-[0-9]{1,3}$", "[^a]", r"\.", "a{2}", "^$", "b?$"]
PATTERNS += [r"\w+", "(?i)a", r"^\s", "(?=a)", r"(a)\1", "a++"]


@st.composite
def some_tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(0, 15))

    def column(values: st.SearchStrategy[Any], kind: pa.DataType) -> pa.Array:
        full = draw(st.booleans())
        return pa.array(draw(st.lists(values if full else st.none() | values, min_size=rows, max_size=rows)), kind)

    return small(
        i=column(INTEGERS, pa.int64()),
        j=column(st.integers(-5, 5), pa.int64()),
        x=column(NUMBERS, pa.float64()),
        s=column(WORDS, pa.string()),
        t=column(WORDS, pa.string()),
    )


@st.composite
def some_expectations(draw: st.DrawFn) -> dict[str, Any]:
    """Draw one expectation of a kind that polars can answer, with arguments that it can, or now and then cannot."""
    numeric, anything = draw(st.sampled_from("ijx")), draw(st.sampled_from("ijxst"))
    bounds = {
        "min_value": draw(BOUND),
        "max_value": draw(BOUND),
        "strict_min": draw(st.booleans()),
        "strict_max": draw(st.booleans()),
    }
    bounds = {key: value for key, value in bounds.items() if value is not None}
    often = {"mostly": draw(st.sampled_from([1, 0.5, 0.9]))}
    members = draw(st.lists(WORDS if anything in "st" else st.integers(-5, 5) | NUMBERS, min_size=1, max_size=4))
    pair = {"column_A": numeric, "column_B": draw(st.sampled_from([name for name in "ijx" if name != numeric]))}
    pair["ignore_row_if"] = draw(st.sampled_from(["both_values_are_missing", "either_value_is_missing", "neither"]))
    several = {"column_list": draw(st.lists(st.sampled_from("ijxst"), min_size=2, max_size=3, unique=True))}
    several["ignore_row_if"] = draw(st.sampled_from(["all_values_are_missing", "any_value_is_missing", "never"]))
    sizes = {"min_value": draw(st.integers(0, 3)), "max_value": draw(st.integers(3, 9))}
    return draw(
        st.sampled_from(
            [
                expect("column_values_to_be_between", column=numeric, **bounds, **often),
                expect("column_values_to_be_in_set", column=anything, value_set=members, **often),
                expect("column_values_to_not_be_in_set", column=anything, value_set=members, **often),
                expect("column_values_to_not_be_null", column=anything, **often),
                expect("column_values_to_be_null", column=anything, **often),
                expect("column_values_to_be_unique", column=anything, **often),
                expect("column_values_to_be_increasing", column=numeric, strictly=draw(st.booleans()), **often),
                expect("column_values_to_be_decreasing", column=numeric, strictly=draw(st.booleans()), **often),
                expect("column_value_lengths_to_be_between", column="s", **sizes, **often),
                expect("column_value_lengths_to_equal", column="s", value=draw(st.integers(0, 3)), **often),
                expect("column_values_to_match_regex", column="s", regex=draw(st.sampled_from(PATTERNS)), **often),
                expect("column_values_to_not_match_regex", column="s", regex=draw(st.sampled_from(PATTERNS)), **often),
                expect("column_pair_values_a_to_be_greater_than_b", **pair, or_equal=draw(st.booleans()), **often),
                expect("column_pair_values_to_be_equal", **pair, **often),
                expect("compound_columns_to_be_unique", **several, **often),
                expect("column_min_to_be_between", column=numeric, **bounds),
                expect("column_max_to_be_between", column=numeric, **bounds),
                expect("column_mean_to_be_between", column=numeric, **bounds),
                expect("column_median_to_be_between", column=numeric, **bounds),
                expect("column_stdev_to_be_between", column=numeric, **bounds),
                expect("column_sum_to_be_between", column=numeric, **bounds),
                expect("column_unique_value_count_to_be_between", column=anything, **sizes),
                expect("column_proportion_of_unique_values_to_be_between", column=anything, min_value=0.5),
                expect("column_proportion_of_non_null_values_to_be_between", column=anything, min_value=0.5),
                expect("column_distinct_values_to_contain_set", column=anything, value_set=members),
                expect("column_distinct_values_to_equal_set", column=anything, value_set=members),
                expect("column_distinct_values_to_be_in_set", column=anything, value_set=members),
                expect("table_row_count_to_be_between", **sizes),
                expect("table_row_count_to_equal", value=draw(st.integers(0, 9))),
                expect("table_column_count_to_equal", value=6),
                expect("table_columns_to_match_set", column_set=list("ijxst")),
                expect("table_columns_to_match_ordered_list", column_list=["id", *"ijxst"]),
                expect("column_to_exist", column=draw(st.sampled_from("iy"))),
                expect(
                    "column_values_to_be_of_type", column=anything, type_=draw(st.sampled_from(["int64", "float64"]))
                ),
                expect("column_values_to_be_in_type_list", column=anything, type_list=["int64", "str", "object"]),
                expect(
                    "column_kl_divergence_to_be_less_than",
                    column="t",
                    partition_object={"values": ["a", "b"], "weights": [0.5, 0.5]},
                    threshold=0.1,
                ),
            ]
        )
    )


class TestTranslation:
    """Polars and pandas must answer alike."""

    @settings(max_examples=40, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(some_tables(), st.lists(some_expectations(), min_size=20, max_size=40))
    def test_gives_the_answers_of_pandas(self, table: pa.Table, asked: list[dict[str, Any]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "examples.parquet"
            pq.write_table(table, path, row_group_size=4)
            translated, reference = both(path, asked)
        for written, one, other in zip(asked, translated, reference, strict=True):
            if one is not None:
                assert comparable(one) == comparable(other), (written, table.to_pydict())

    @pytest.mark.parametrize("pattern", PATTERNS[:13])
    def test_takes_plain_patterns(self, pattern: str) -> None:
        assert as_rust(pattern) is not None

    @pytest.mark.parametrize(
        "pattern",
        [*PATTERNS[13:], "(", "a**", "[[:alpha:]]", "[a&&b]", r"\p{L}", "a{,3}", "^$|", r"\Z", "x{1000}", "^*"],
    )
    def test_leaves_others_alone(self, pattern: str) -> None:
        assert as_rust(pattern) is None

    @given(st.text(r"ab01^$.*+?{},|()[]\-d", max_size=8), WORDS)
    def test_a_pattern_finds_what_it_finds_in_python(self, pattern: str, text: str) -> None:
        rust = as_rust(pattern)
        if rust is not None:
            assert pl.Series([text]).str.contains(rust).item() == bool(re.search(pattern, text))

    def test_reads_only_what_it_needs(self, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "examples.parquet"
        pq.write_table(small(i=[1, 2, 3], s=["a", "b", "c"]), path)
        monkeypatch.setattr(Pass, "make", lambda footer, plans: Pass(footer, asked(plans)))
        suite = write(
            expect("column_values_to_be_between", column="i", min_value=1, max_value=3),
            expect("column_values_to_not_be_null", column="s"),
            expect("table_row_count_to_equal", value=3),
        )
        assert failed(run_suite(path, suite, None)) == []

    def test_says_what_it_could_not_translate(self, write: Write) -> None:
        suite = write(
            expect("column_values_to_be_between", column="a", min_value=0),
            expect("column_value_z_scores_to_be_less_than", column="a", threshold=3, double_sided=True),
            expect(
                "column_values_to_be_between", column="a", min_value=2, row_condition="a>1", condition_parser="pandas"
            ),
        )
        results = run(small(a=[1, 2]), suite, None)
        assert [result.engine for result in results[:3]] == ["polars", "pandas", "pandas"]
        assert failed(results) == []

    def test_the_shipped_suites_need_no_pandas(self) -> None:
        results = [*run(digits(), DIGITS, None), *run(verses(), VERSES, None)]
        assert {result.engine for result in results} == {"polars"}


def asked(plans: Any) -> dict[str, Any]:
    """Demand that plans need no pass."""
    assert not [name for plan in plans for name in plan.figures]
    return {}


def both(path: Path, asked: list[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    gx, footer = expectations._great_expectations(), Footer.read(path)
    built = [expectations._construct(each) for each in asked]
    kept = [place for place, (_, faults) in enumerate(built) if not faults]
    with expectations._quiet():
        translated = expectations._answers(gx, [built[place][0] for place in kept], footer)
        reference = expectations._by_pandas(gx, footer, asked, kept)
    answers: list[Any] = [None] * len(asked)
    others: list[Any] = [None] * len(asked)
    for place, one, other in zip(kept, translated, reference, strict=True):
        answers[place], others[place] = one, other
    return answers, others


def comparable(answer: Any) -> dict[str, Any]:
    """Return what an answer says, without what Great Expectations leaves to the order of a Python set."""
    expectations._tidy(answer)
    found = answer.to_json_dict()
    result = {key: value for key, value in found["result"].items() if key != "partial_unexpected_counts"}
    for key in ("partial_missing_list", "partial_unexpected_list"):
        if key in result and "element_count" not in result:
            result[key] = sorted(result[key], key=str)
    return {"success": found["success"], "raised": found["exception_info"]["raised_exception"]} | {
        key: near(value) for key, value in result.items()
    }


def near(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [near(each) for each in value]
    if isinstance(value, dict):
        return {key: near(each) for key, each in value.items()}
    return float(f"{value:.9g}") + 0.0 if isinstance(value, float) else value
