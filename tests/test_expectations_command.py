"""``sluiceway expectations``: a suite is suggested, reviewed and checked without the rest of the pipeline."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from projects import DIGITS_PARAMS
from sluiceway import cli
from sluiceway.data.contract.expectations import read_suite
from sluiceway.errors import ConfigError, GateClosed, NoRawData, UnknownLayout, UsageError
from sluiceway.stages import expectations
from sluiceway.usecases.pipeline import Pipeline


@pytest.fixture(scope="module")
def template(tmp_path_factory, digits_folder) -> Path:
    """A project as its user has it at first: raw digits and parameters, no suite, nothing validated."""
    root = tmp_path_factory.mktemp("first-time")
    code = "src/sluiceway/usecases/image"
    (root / "params.yaml").write_text(f"pipelines:\n  digits: {{code: {code}}}\nsamples: []\n", encoding="utf-8")
    (root / "pipelines" / "digits").mkdir(parents=True)
    (root / "pipelines" / "digits" / "params.yaml").write_text(DIGITS_PARAMS, encoding="utf-8")
    digits_folder(root / "data" / "raw" / "digits", 12)
    (root / "data" / "raw" / "digits" / "3" / "bad.png").write_bytes(b"no image")
    return root


@pytest.fixture
def first(template, tmp_path) -> Pipeline:
    """The pipeline of a user who has raw data alone."""
    shutil.copytree(template, tmp_path / "project")
    return Pipeline.load("digits", tmp_path / "project")


@pytest.fixture
def validated(tmp_path) -> Pipeline:
    """A small validated table, with two odd examples."""
    usecase = SimpleNamespace(target="class", measures={"width": "integer", "brightness": "number"})
    made = Pipeline(root=tmp_path, name="pets", code="", params=None, usecase=usecase)
    made.validated.mkdir(parents=True)
    rows = 200
    table = pl.DataFrame(
        {
            "id": [f"[red]{row}.png" for row in range(rows)],
            "split": [("train", "train", "validation", "test")[row % 4] for row in range(rows)],
            "group": pl.Series([None] * rows, dtype=pl.String),
            "time": pl.Series([None] * rows, dtype=pl.Float64),
            "target": [("cat", "dog")[row % 2] for row in range(rows)],
            "checksum": [f"{row:032x}" for row in range(rows)],
            "width": [28] * rows,
            "brightness": [0.1 + 0.002 * row for row in range(rows)],
        }
    )
    table.write_parquet(made.validated / "examples.parquet")
    return made


def alter(pipeline: Pipeline, **columns: pl.Expr) -> None:
    path = pipeline.validated / "examples.parquet"
    pl.read_parquet(path).with_columns(**columns).write_parquet(path)


def beside(pipeline: Pipeline) -> Path:
    return pipeline.expectations.with_name("expectations.suggested.json")


class TestSuggest:
    def test_a_first_time_user_gets_a_suite_that_the_data_meets(self, first, capsys):
        before = sorted(path.relative_to(first.root) for path in first.root.rglob("*"))
        expectations.suggest(first)
        said = capsys.readouterr().out
        assert "120 examples accepted, 1 quarantined (not validated yet, nothing is kept)" in said
        assert "-> pipelines/digits/expectations.json" in said
        assert "edit or delete it in\n  pipelines/digits/expectations.json" in said
        assert said.rstrip().endswith("sluiceway expectations check digits")
        after = sorted(path.relative_to(first.root) for path in first.root.rglob("*"))
        assert after == sorted([*before, Path("pipelines/digits/expectations.json")])
        widths = [each for each in read_suite(first.expectations) if each["kwargs"].get("column") == "width"]
        assert widths[1]["kwargs"] == {"column": "width", "min_value": 8, "max_value": 8}
        assert widths[1]["notes"] == "Always 8."
        expectations.check(first)
        assert "0 warn, 0 failed" in capsys.readouterr().out

    def test_the_same_data_gives_the_same_bytes(self, first):
        expectations.suggest(first)
        once = first.expectations.read_bytes()
        with expectations._table(first) as table:
            first.validated.mkdir(parents=True)
            shutil.copy(table, first.validated)
        shutil.rmtree(first.raw)  # it is not looked at where there is a validated table
        expectations.suggest(first, force=True)
        assert first.expectations.read_bytes() == once

    def test_corrected_labels_count(self, first):
        first.corrections.parent.mkdir(parents=True)
        with expectations._table(first) as table:
            row = pl.read_parquet(table).row(0, named=True)
        correction = f"id,checksum,target,note\n{row['id']},{row['checksum']},ten,\n"
        first.corrections.write_text(correction, encoding="utf-8")
        expectations.suggest(first)
        assert '"ten"' in first.expectations.read_text(encoding="utf-8")

    def test_a_suite_that_is_there_is_left_as_it_is(self, validated, capsys):
        expectations.suggest(validated)
        edited = validated.expectations.read_text(encoding="utf-8").replace('"min_value": 28', '"min_value": 20')
        validated.expectations.write_text(edited, encoding="utf-8")
        expectations.suggest(validated)
        assert validated.expectations.read_text(encoding="utf-8") == edited
        assert '"min_value": 28' in beside(validated).read_text(encoding="utf-8")
        said = capsys.readouterr().out
        assert "pipelines/pets/expectations.json is there and was left as it is" in said
        assert "sluiceway expectations suggest pets --force" in said
        expectations.suggest(validated, force=True)
        assert validated.expectations.read_bytes() == beside(validated).read_bytes()

    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            ("", False),
            ("{}", False),
            ('{"expectations": []}', False),
            ('{"name": ', True),
            ("[1]", True),
            ("\n", False),
        ],
    )
    def test_only_a_file_without_work_in_it_is_replaced(self, validated, text, kept):
        validated.expectations.parent.mkdir(parents=True)
        validated.expectations.write_text(text, encoding="utf-8")
        expectations.suggest(validated)
        assert (validated.expectations.read_text(encoding="utf-8") == text) == kept
        assert beside(validated).exists() == kept

    def test_it_is_written_as_people_write_it(self, validated):
        alter(validated, target=pl.lit("Käfer"))
        expectations.suggest(validated)
        text = validated.expectations.read_text(encoding="utf-8")
        assert '      "kwargs": {"column": "width", "min_value": 28, "max_value": 28},\n' in text
        assert '"value_set": ["Käfer"]' in text
        document = json.loads(text)
        assert list(document) == ["name", "expectations", "notes"]
        assert expectations.render(document) == text

    def test_without_any_data_the_reader_says_so(self, first):
        images = sorted(first.raw.rglob("*.png"))
        for path in images:
            path.rename(path.with_suffix(".dat"))
        with pytest.raises(UnknownLayout, match="no images below"):
            expectations.suggest(first)
        shutil.rmtree(first.raw)
        with pytest.raises(NoRawData, match="does not exist"):
            expectations.suggest(first)
        assert not first.expectations.exists()


class TestCheck:
    def test_what_is_not_met_closes_and_is_shown(self, validated, capsys):
        expectations.suggest(validated)
        row = pl.int_range(pl.len())
        alter(
            validated,
            width=pl.when(row >= 195).then(32).otherwise("width"),
            target=pl.when(row == 7).then(pl.lit("[b]emu")).otherwise("target"),
        )
        with pytest.raises(GateClosed, match="2 critical expectations failed, on target, width") as caught:
            expectations.check(validated)
        assert caught.value.exit_code == 1
        assert "pipelines/pets/expectations.json" in caught.value.hint
        said = capsys.readouterr().out
        failed = [line.split(maxsplit=1)[1] for line in said.splitlines() if line.startswith("failed")]
        assert len(failed) == 2
        assert "5 of 200 offend" in failed[1]
        assert "[red]195.png" in said
        assert "[red]198.png" not in said
        assert "0 warn, 2 failed <- pipelines/pets/expectations.json" in said

    def test_a_warning_closes_nothing(self, validated, capsys):
        expectations.suggest(validated)
        alter(validated, brightness=pl.col("brightness") * 0.6 + 0.2)
        document = json.loads(validated.expectations.read_text(encoding="utf-8"))
        mean = [each for each in document["expectations"] if "mean" in each["type"]]
        mean[0]["kwargs"] |= {"min_value": 0.7, "max_value": 0.9}
        validated.expectations.write_text(json.dumps(document), encoding="utf-8")
        expectations.check(validated)
        said = capsys.readouterr().out
        assert "warns   mean to be between" in said
        assert "1 warn, 0 failed" in said

    def test_how_many_may_offend_is_shown(self, validated, capsys):
        entry = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "width", "max_value": 30}}
        entry["kwargs"]["mostly"] = 0.9
        validated.expectations.parent.mkdir(parents=True)
        validated.expectations.write_text(json.dumps({"name": "pets", "expectations": [entry]}), encoding="utf-8")
        expectations.check(validated)
        said = capsys.readouterr().out
        assert "at most 30, for 90 %" in said
        assert len(said.splitlines()) == 3  # what is always expected goes without saying

    def test_what_is_always_expected_is_shown_when_it_failed(self, validated, capsys):
        expectations.suggest(validated)
        kept = [each for each in read_suite(validated.expectations) if "not_be_null" not in each["type"]]
        validated.expectations.write_text(json.dumps({"name": "pets", "expectations": kept}), encoding="utf-8")
        alter(validated, brightness=pl.lit(None, dtype=pl.Float64))
        with pytest.raises(GateClosed, match="on brightness"):
            expectations.check(validated)
        assert "proportion of non null values" in " ".join(capsys.readouterr().out.split())

    def test_without_a_suite_it_says_how_to_get_one(self, validated):
        with pytest.raises(UsageError, match=r"pipelines/pets/expectations\.json does not exist") as caught:
            expectations.check(validated)
        assert caught.value.hint == "sluiceway expectations suggest pets"

    def test_a_fault_in_the_suite_is_told_before_the_long_work(self, first, monkeypatch):
        def never(*arguments, **options):
            raise AssertionError("measured")

        monkeypatch.setattr("sluiceway.data.measuring.measure_all.measure_all", never)
        entry = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "widht"}}
        first.expectations.write_text(json.dumps({"name": "x", "expectations": [entry]}), encoding="utf-8")
        with pytest.raises(ConfigError, match="did you mean 'width'"):
            expectations.check(first)


class TestCommandLine:
    def run(self, monkeypatch, root: Path, *arguments: str) -> int:
        monkeypatch.chdir(root)
        monkeypatch.setattr(sys, "argv", ["sluiceway", "expectations", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return int(left.value.code or 0)

    def test_exit_codes(self, first, monkeypatch, capsys):
        assert self.run(monkeypatch, first.root, "check", "digits") == 2
        assert self.run(monkeypatch, first.root, "suggest", "digits") == 0
        assert self.run(monkeypatch, first.root, "check", "digits") == 0
        for path in sorted((first.raw / "7").iterdir()):
            path.unlink()
        capsys.readouterr()
        assert self.run(monkeypatch, first.root, "check", "digits") == 1
        error = capsys.readouterr().err
        assert error.startswith("error: 1 critical expectation failed, on target\n  try: mend the data")
        assert self.run(monkeypatch, first.root, "suggest", "digits", "--force") == 0
        assert self.run(monkeypatch, first.root, "check", "digits") == 0

    def test_nothing_heavy_is_loaded_beforehand(self, tmp_path):
        code = "import sys, sluiceway.stages.expectations; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert not {"polars", "great_expectations", "pandas", "torch"} & set(done.stdout.split())
