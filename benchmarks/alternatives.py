"""What the alternatives catch of the faults that the data gate was proved on: the same data, their stock suites.

    python benchmarks/data_gate.py --keep TRIALS | tee ours.jsonl         # leaves the faulty data sets
    python benchmarks/alternatives.py --recipes                           # how the alternatives are installed
    python benchmarks/alternatives.py TRIALS --ours ours.jsonl --write

Every alternative runs in a process of its own interpreter; one that is missing is skipped with the reason. What each
said lies beside the data in ``TRIALS/*/said-*.json`` and is not asked again without --fresh: a run can be cut off.

Each gets what it is made for, and the clean data of the pipeline to learn from:

- the table: one row per raw example with what was measured of it. What Sluiceway set aside is in it as a plain reader
  would have it: measured where the file opens, empty where it does not;
- the features, the out-of-fold probabilities and the labels that Sluiceway's own checks get;
- the images themselves.
"""

import argparse
import contextlib
import io
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatch
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "alternatives.md"
VENVS = Path(tempfile.gettempdir()) / "sluiceway-alternatives"
IDENTITY = ("id", "source", "checksum")
ERRORS = 3.0
"""Standard errors by which a share must exceed that of the clean data, to be news."""
SHOWN = 2
"""Findings that a cell tells."""


# What the alternatives are given.


@dataclass(frozen=True)
class Trial:
    """A data set that ``data_gate.py --keep`` left."""

    folder: Path

    @cached_property
    def truth(self) -> dict[str, Any]:
        """What was done to it: pipeline, fault, rate, touched."""
        return dict(json.loads((self.folder / "truth.json").read_text(encoding="utf-8")))

    @cached_property
    def table(self) -> pd.DataFrame:
        """Every raw example."""
        return pd.read_parquet(self.folder / "table.parquet")

    @cached_property
    def accepted(self) -> pd.DataFrame:
        """The examples that have features and probabilities."""
        rows = pd.read_parquet(self.folder / "sketches.parquet", columns=["row"])["row"]
        return pd.read_parquet(self.folder / "examples.parquet").iloc[rows].reset_index(drop=True)

    @cached_property
    def features(self) -> np.ndarray:
        """By accepted example: [M, F]."""
        column = pd.read_parquet(self.folder / "sketches.parquet", columns=["features"])["features"]
        return np.stack([np.frombuffer(each, np.float32) for each in column]).astype(np.float64)

    @cached_property
    def probabilities(self) -> pd.DataFrame | None:
        """By accepted example and class, out of fold: [M, K]."""
        answers = pd.read_parquet(self.folder / "answers.parquet")
        columns = {name: name.removeprefix("p:") for name in answers if name.startswith("p:")}
        return answers[list(columns)].rename(columns=columns) if columns else None

    def images(self) -> Iterator[tuple[str, str, Any]]:
        """Yield (id, class, image) of each file that opens."""
        from PIL import Image

        with zipfile.ZipFile(self.folder / "raw.zip") as raw:
            for name in sorted(raw.namelist()):
                if not name.endswith("/"):
                    with contextlib.suppress(OSError, ValueError, SyntaxError):
                        image = Image.open(io.BytesIO(raw.read(name)))
                        image.load()
                        yield name, name.split("/")[-2], image

    def prepare(self) -> None:
        """Make the table: what was set aside is measured again, by a plain reader."""
        if _up_to_date(self.folder / "table.parquet", self.folder):
            return
        accepted = pd.read_parquet(self.folder / "examples.parquet")
        aside = pd.read_parquet(self.folder / "quarantine.parquet").drop(columns="reason")
        with zipfile.ZipFile(self.folder / "raw.zip") as raw:
            for row in aside.index:
                name, _, part = str(aside.at[row, "source"]).partition("#bytes=")
                payload = raw.read(name)
                if part:
                    start, end = map(int, part.split("-"))
                    payload = payload[start:end]
                for column, value in _measured(self.truth["pipeline"], payload).items():
                    aside.at[row, column] = value
        whole = pd.concat([accepted, aside], ignore_index=True) if len(aside) else accepted
        # A type is lost where a value is, and nowhere else.
        whole = whole.astype({name: kind for name, kind in accepted.dtypes.items() if whole[name].notna().all()})
        whole.to_parquet(self.folder / "table.parquet")


def _up_to_date(made: Path, *folders: Path) -> bool:
    """Whether a file was made after the data sets that it is made from."""
    return made.exists() and all(made.stat().st_mtime >= (f / "truth.json").stat().st_mtime for f in folders)


def _measured(pipeline: str, payload: bytes) -> dict[str, Any]:
    """Measure as anybody would; nothing where the file does not open."""
    if pipeline == "verses":
        try:
            text = payload.decode("utf-8")
        except UnicodeDecodeError:
            return {}
        words = text.split()
        letters = sum(character.isalpha() for character in text) / max(1, len(text))
        longest = max(map(len, words), default=0)
        return {
            "characters": len(text),
            "bytes": len(payload),
            "words": len(words),
            "letters": letters,
            "longest_word": longest,
        }
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(payload))
        pixels = np.asarray(image.convert("L"), np.float32) / 255
    except (OSError, ValueError, SyntaxError):
        return {}
    sizes = {"width": image.width, "height": image.height, "channels": len(image.getbands())}
    look = {"brightness": float(pixels.mean()), "contrast": float(pixels.std())}
    return {"bytes": len(payload), "format": image.format, **sizes, **look}


# What they answer.


@dataclass(frozen=True)
class Finding:
    """Something that an alternative complains of."""

    topic: str
    """``range``, ``set``, ``null``, ``label``, ``outlier``, ``drift`` ..."""
    on: str = ""
    """Column, kind of image fault or split."""
    said: str = ""
    share: float | None = None
    """Of the examples, where it flags examples and leaves the judgement to the user; None: it failed its own test."""
    ids: tuple[str, ...] = ()
    """The flagged ones."""
    test: str = ""
    """Which of its tests, where several tell the same."""

    @property
    def name(self) -> str:
        """What ``RIGHT`` is matched with."""
        return f"{self.topic}:{self.on}"


Judge = Callable[[Trial, Trial], list[Finding]]
"""(data set, clean data to learn from) -> what it complains of."""


def named_columns(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the columns of numbers and those of few words, without the empty ones."""
    filled = [name for name in table if name not in IDENTITY and table[name].notna().any()]
    numbers = [name for name in filled if pd.api.types.is_numeric_dtype(table[name]) and name != "time"]
    return numbers, [name for name in filled if name not in (*numbers, "time") and table[name].nunique() <= 50]


# Great Expectations: what a user would write of the clean table.


def learned_suite(clean: pd.DataFrame) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (topic, expectation, arguments) learned from clean data."""
    numbers, words = named_columns(clean)
    rows = len(clean)
    suite: list[tuple[str, str, dict[str, Any]]] = [
        ("rows", "ExpectTableRowCountToBeBetween", {"min_value": int(0.8 * rows), "max_value": int(1.2 * rows)}),
        ("columns", "ExpectTableColumnsToMatchSet", {"column_set": list(clean.columns)}),
    ]
    for name in clean:
        column, on = clean[name], {"column": name}
        if column.isna().all():
            continue
        if column.notna().all():
            suite.append(("null", "ExpectColumnValuesToNotBeNull", on))
        if column.is_unique:
            suite.append(("unique", "ExpectColumnValuesToBeUnique", on))
        if name in numbers:
            low, high, mean = column.min().item(), column.max().item(), float(column.mean())
            margin = 0.1 * abs(mean)
            suite += [
                ("type", "ExpectColumnValuesToBeOfType", {**on, "type_": str(column.dtype)}),
                ("range", "ExpectColumnValuesToBeBetween", {**on, "min_value": low, "max_value": high}),
                ("mean", "ExpectColumnMeanToBeBetween", {**on, "min_value": mean - margin, "max_value": mean + margin}),
            ]
        if name in words:
            shares = column.value_counts(normalize=True)
            known = {"values": list(map(str, shares.index)), "weights": [float(each) for each in shares]}
            suite += [
                ("set", "ExpectColumnValuesToBeInSet", {**on, "value_set": known["values"]}),
                ("set", "ExpectColumnDistinctValuesToContainSet", {**on, "value_set": known["values"]}),
                ("shares", "ExpectColumnKLDivergenceToBeLessThan", {**on, "partition_object": known, "threshold": 0.1}),
            ]
    return suite


def great_expectations(trial: Trial, clean: Trial) -> list[Finding]:
    """Judge the table by expectations learned from the clean one."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("trial").add_dataframe_asset("table")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": trial.table})
    found = []
    for topic, expectation, arguments in learned_suite(clean.table):
        result = batch.validate(getattr(gx.expectations, expectation)(**arguments))
        if not result.success:
            raised = result.exception_info.get("exception_message")
            seen = result.result.get("unexpected_count", result.result.get("observed_value", raised))
            found.append(Finding(topic, arguments.get("column", ""), f"{seen}"[:60]))
    return found


# cleanlab Datalab: all its default issues, with features, probabilities, labels and images.


def datalab(trial: Trial, clean: Trial) -> list[Finding]:
    """Flag examples; there is no such thing as failing, so the share is compared with that of the clean data."""
    from cleanlab import Datalab

    examples, columns = trial.accepted, trial.probabilities
    data = {"id": list(examples["id"])}
    known: dict[str, Any] = {}
    if columns is not None:
        data["label"] = [str(each) for each in examples["target"]]
        order = sorted(set(data["label"]))  # as Datalab has them
        chances = columns.reindex(columns=order, fill_value=0.0).to_numpy()
        known["pred_probs"] = chances / np.maximum(chances.sum(1, keepdims=True), 1e-12)
    lab = Datalab(data, label_name="label" if "label" in data else None, verbosity=0)
    lab.find_issues(features=trial.features, **known)
    found = list(_flagged(lab, data["id"], ""))
    if trial.truth["pipeline"] == "digits":
        found += _look(trial)
    return found


def _look(trial: Trial) -> Iterator[Finding]:
    """Ask for the faults of images."""
    from cleanlab import Datalab
    from datasets import Dataset, Features, Image, Value

    ids, labels, images = zip(*trial.images(), strict=True)
    layout = Features({"image": Image(), "label": Value("string")})
    data = Dataset.from_dict({"image": list(images), "label": list(labels)}, features=layout)
    lab = Datalab(data, label_name="label", image_key="image", verbosity=0)
    lab.find_issues()
    yield from _flagged(lab, ids, "image")
    with contextlib.suppress(ValueError):  # it has none where all images are alike
        info = lab.get_info("spurious_correlations")
        for _, row in info["correlations_df"].iterrows():
            if row["score"] < info["threshold"]:
                yield Finding("correlation", str(row["property"]), f"score {row['score']:.2f}")


def _flagged(lab: Any, ids: Sequence[str], topic: str) -> Iterator[Finding]:
    issues = lab.get_issues()
    for kind in lab.get_issue_summary()["issue_type"]:  # without what it holds for normal here, since it is so common
        flags = issues[f"is_{kind}_issue"].fillna(False).to_numpy(bool)
        named = tuple(np.array(ids, dtype=object)[flags])
        place = (topic, kind) if topic else (kind, "")
        yield Finding(*place, share=float(flags.mean()), ids=named)


# Evidently: drift and summary of the table against the clean one, and drift of the features.

EVIDENTLY_TOPICS = {
    "MissingValueCount": "null",
    "DatasetMissingValueCount": "null",
    "MinValue": "range",
    "MaxValue": "range",
    "MeanValue": "mean",
    "StdValue": "mean",
    "QuantileValue": "mean",
    "ValueDrift": "drift",
    "DriftedColumnsCount": "drift",
    "RowCount": "rows",
    "DuplicatedRowCount": "duplicates",
    "UniqueValueCount": "shares",
    "InListValueCount": "set",
}


def evidently(trial: Trial, clean: Trial) -> list[Finding]:
    """Run the presets with the tests that they bring, the clean data as the reference."""
    os.environ["DO_NOT_TRACK"] = "1"
    from evidently import DataDefinition, Dataset, Report
    from evidently.legacy.metrics.data_drift.embedding_drift_methods import model
    from evidently.presets import DataDriftPreset, DataSummaryPreset

    numbers, words = named_columns(clean.table)
    columns = DataDefinition(numerical_columns=numbers, categorical_columns=words)
    current, reference = (
        Dataset.from_pandas(each.table[numbers + words], data_definition=columns) for each in (trial, clean)
    )
    snapshot = Report([DataDriftPreset(), DataSummaryPreset()], include_tests=True).run(current, reference)
    found = []
    for test in snapshot.dict()["tests"]:
        if str(test["status"]).rpartition(".")[2] in ("FAIL", "ERROR"):
            asked = test["metric_config"]["params"]
            kind = asked["type"].rpartition(":")[2]
            found.append(Finding(EVIDENTLY_TOPICS.get(kind, kind), asked.get("column") or "", test["description"][:90]))
    # The metric's own default; the metric itself also draws a t-SNE, which takes minutes.
    score, drifted, _ = model(bootstrap=False)(pd.DataFrame(trial.features), pd.DataFrame(clean.features))
    return found + ([Finding("drift", "features", f"ROC AUC {score:.2f}")] if drifted else [])


# Deepchecks: the suites for the integrity of data, and for new data against old.

DEEPCHECKS_TOPICS = {
    "IsSingleValue": "range",
    "MixedNulls": "null",
    "PercentOfNulls": "null",
    "MixedDataTypes": "type",
    "SpecialCharacters": "set",
    "StringMismatch": "set",
    "StringMismatchComparison": "set",
    "StringLengthOutOfBounds": "range",
    "DataDuplicates": "duplicates",
    "ConflictingLabels": "conflict",
    "FeatureLabelCorrelation": "correlation",
    "FeatureLabelCorrelationChange": "correlation",
    "PropertyLabelCorrelation": "correlation",
    "PropertyLabelCorrelationChange": "correlation",
    "IdentifierLabelCorrelation": "correlation",
    "DatasetsSizeComparison": "rows",
    "NewLabelTrainTest": "set",
    "NewLabels": "set",
    "NewCategoryTrainTest": "set",
    "DateTrainTestLeakageDuplicates": "leak",
    "DateTrainTestLeakageOverlap": "leak",
    "IndexTrainTestLeakage": "leak",
    "TrainTestSamplesMix": "leak",
    "FeatureDrift": "drift",
    "MultivariateDrift": "drift",
    "ImagePropertyDrift": "drift",
    "LabelDrift": "shares",
}
DEEPCHECKS_ROLES = {"label": "target", "index_name": "group", "datetime_name": "time"}
DEEPCHECKS_PLACES = {
    "DateTrainTestLeakageDuplicates": "time",
    "DateTrainTestLeakageOverlap": "time",
    "IndexTrainTestLeakage": "group",
    "TrainTestSamplesMix": "copies",
    "LabelDrift": "target",
    "NewLabelTrainTest": "target",
    "NewLabels": "target",
    "MultivariateDrift": "table",
}


def deepchecks(trial: Trial, clean: Trial) -> list[Finding]:
    """Ask the table for its integrity, its splits for leaks, and it against the clean one for drift."""
    from deepchecks.tabular import Dataset
    from deepchecks.tabular.checks import OutlierSampleDetection
    from deepchecks.tabular.suites import data_integrity, train_test_validation

    numbers, words = named_columns(clean.table)
    features = [name for name in numbers + words if name not in ("split", "target", "group")]

    def data_sets(*tables: pd.DataFrame) -> list[Any]:
        known = {name for name in ("target", "group", "time") if all(table[name].notna().all() for table in tables)}
        roles = {role: name for role, name in DEEPCHECKS_ROLES.items() if name in known}
        kind = {"label_type": "multiclass"} if "target" in known else {}
        words_of = [name for name in features if name in words]
        kept = [table[[*features, *roles.values()]].reset_index(drop=True) for table in tables]
        return [Dataset(table, cat_features=words_of, **roles, **kind) for table in kept]

    integrity = data_integrity()
    # It gives no verdict, and takes as long as all others together.
    for at in [at for at, check in integrity.checks.items() if isinstance(check, OutlierSampleDetection)]:
        integrity.remove(at)
    sides = [trial.table[trial.table["split"] == side] for side in ("train", "test")]
    return [
        *_not_passed(integrity.run(*data_sets(trial.table)), "", features),
        *_not_passed(train_test_validation().run(*data_sets(clean.table, trial.table)), "then and now", features),
        *_not_passed(train_test_validation().run(*data_sets(*sides)), "train and test", features),
    ]


def deepchecks_vision(trial: Trial, clean: Trial) -> list[Finding]:
    """Ask the images for odd ones, and them against the clean ones for drift."""
    _import_torchvision()
    from deepchecks.vision import VisionData
    from deepchecks.vision.suites import data_integrity, train_test_validation

    names = sorted({label for each in (trial, clean) for _, label, _ in each.images()})

    class Batches:
        def __init__(self, data: Trial) -> None:
            self.data = list(data.images())

        def __iter__(self) -> Iterator[dict[str, Any]]:
            for start in range(0, len(self.data), 500):
                ids, labels, images = zip(*self.data[start : start + 500], strict=True)
                pixels = [np.asarray(image.convert("RGB")) for image in images]
                numbers = [names.index(label) for label in labels]
                yield {"images": pixels, "labels": numbers, "image_identifiers": list(ids)}

    now, then = (
        VisionData(Batches(each), task_type="classification", reshuffle_data=False, label_map=dict(enumerate(names)))
        for each in (trial, clean)
    )
    integrity = data_integrity().run(now)
    found = _not_passed(integrity, "", [])
    for result in integrity.results:
        if type(getattr(result, "check", None)).__name__ == "ImagePropertyOutliers" and hasattr(result, "value"):
            for name, each in result.value.items():
                if isinstance(each, dict):
                    ids = tuple(map(str, each["outliers_identifiers"]))
                    found.append(Finding("outlier", name, share=len(ids) / max(1, len(now.batch_loader.data)), ids=ids))
    return found + _not_passed(train_test_validation().run(then, now), "then and now", [])


def _import_torchvision() -> None:
    """Import it although its compiled part belongs to another build of torch: only its ``VisionDataset`` is needed."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)


_KEPT: list[Any] = []


def _not_passed(result: Any, what: str, features: Sequence[str]) -> list[Finding]:
    """Turn failed and warning conditions into findings, one per column that they name."""
    found = []
    for each in result.results:
        kind = type(getattr(each, "check", None)).__name__
        for condition in getattr(each, "conditions_results", ()):
            if condition.category.value in ("PASS", "ERROR"):
                continue
            told = [name for name in features if re.search(rf"\b{name}\b", condition.details)]
            for on in told or [DEEPCHECKS_PLACES.get(kind, "")]:
                said = f"{kind}, {what}: {condition.details}" if what else f"{kind}: {condition.details}"
                found.append(Finding(DEEPCHECKS_TOPICS.get(kind, kind), on, said[:120], test=f"{kind} {what}"))
    return found


# Who they are.


@dataclass(frozen=True)
class Alternative:
    """One of those compared."""

    title: str
    judge: Judge
    packages: tuple[str, ...]
    """Whose versions are told."""
    venv: str = ""
    """Folder of its environment; empty: this project's own."""
    recipe: tuple[str, ...] = ()
    """Arguments of ``pip install``, call by call."""
    pipelines: tuple[str, ...] = ("digits", "verses")
    learns: bool = True
    """Whether it is shown the clean data: what does not learn is asked once."""


_OLD = (
    '"scikit-learn==1.5.2" "category-encoders==2.6.4" "pandas<2.2" "numpy<2" "scipy<1.13" "pyarrow<20" "setuptools<81"'
)
_DEEPCHECKS = (f'"deepchecks[vision]==0.19.1" "torch==2.13.*" {_OLD}', '--no-deps "torchvision==0.28.*"')
ALTERNATIVES = {
    "gx": Alternative("Great Expectations", great_expectations, ("great_expectations", "pandas")),
    "datalab": Alternative(
        "Datalab",
        datalab,
        ("cleanlab", "cleanvision", "datasets"),
        "datalab",
        ('"cleanlab[datalab,image]==2.9.0" pyarrow',),
        learns=False,
    ),
    "evidently": Alternative(
        "Evidently", evidently, ("evidently", "pandas"), "evidently", ('"evidently==0.7.23" "pandas<3" pyarrow',)
    ),
    "deepchecks": Alternative(
        "Deepchecks, table", deepchecks, ("deepchecks", "scikit-learn", "pandas"), "deepchecks", _DEEPCHECKS
    ),
    "vision": Alternative(
        "Deepchecks, images", deepchecks_vision, ("deepchecks", "torch"), "deepchecks", _DEEPCHECKS, ("digits",)
    ),
}


def recipes() -> str:
    """How the environments are made."""
    lines = []
    for venv, recipe in {each.venv: each.recipe for each in ALTERNATIVES.values() if each.venv}.items():
        folder = VENVS / venv
        lines += [f"python3.11 -m venv {folder}", *(f"{folder}/bin/pip install {each}" for each in recipe)]
    return "\n".join(lines)


# Running them: the part that runs in their own environments, and the part that starts it.


@dataclass(frozen=True)
class Job:
    """One question to one alternative."""

    trial: str
    clean: str

    def answer(self, alternative: str) -> Path:
        """Where the answer lies."""
        against = f"-against-{Path(self.clean).name}" if ALTERNATIVES[alternative].learns else ""
        return Path(self.trial) / f"said-{alternative}{against}.json"

    def answered(self, alternative: str) -> bool:
        """Whether it was answered, of the data as it is now."""
        return _up_to_date(self.answer(alternative), Path(self.trial), Path(self.clean))


def work(name: str, jobs: Sequence[Job]) -> None:
    """Answer jobs. An alternative that breaks on a data set is told so, and goes on with the next one."""
    warnings.filterwarnings("ignore")
    alternative = ALTERNATIVES[name]
    versions = {}
    for package in alternative.packages:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    for number, job in enumerate(jobs, 1):
        began = time.monotonic()
        answer: dict[str, Any] = {"versions": versions, "findings": [], "error": ""}
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                found = alternative.judge(Trial(Path(job.trial)), Trial(Path(job.clean)))
            answer["findings"] = [asdict(each) for each in found]
        except Exception as error:  # noqa: BLE001
            answer["error"] = f"{type(error).__name__}: {error}"[:300]
            traceback.print_exc()
        answer["seconds"] = time.monotonic() - began
        job.answer(name).write_text(json.dumps(answer), encoding="utf-8")
        print(
            f"{name} {number}/{len(jobs)} {Path(job.trial).name} {answer['seconds']:.0f} s", file=sys.stderr, flush=True
        )


def ask(name: str, python: Path, jobs: Sequence[Job], fresh: bool) -> str:
    """Have an alternative answer what it has not answered yet; return why it cannot."""
    waiting = [job for job in jobs if fresh or not job.answered(name)]
    if not waiting:
        return ""
    if not python.exists():
        return f"there is no {python}: see --recipes"
    probe = "import " + {"gx": "great_expectations", "datalab": "cleanlab", "vision": "deepchecks"}.get(name, name)
    tried = subprocess.run([python, "-W", "ignore", "-c", probe], capture_output=True, text=True)
    if tried.returncode:
        return tried.stderr.strip().splitlines()[-1][:300]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([asdict(job) for job in waiting], file)
        file.flush()
        done = subprocess.run([python, "-W", "ignore", __file__, "--work", name, "--jobs", file.name])
    return "" if done.returncode == 0 else f"its process ended with {done.returncode}"


# Judging what they said.

MEASURED = ("range:*", "mean:*", "drift:*")
ODD = (*MEASURED, "outlier:*", "image:*", "type:*", "set:format")
UNREADABLE = ("null:*", "type:*", "duplicates:*", "conflict:*")  # the empty rows are alike
CLASSES = ("set:target", "shares:target", "drift:target", "class_imbalance:*")
COPIES = ("unique:checksum", "duplicates:*", "near_duplicate:*", "leak:copies")
CHANGED = (*MEASURED, "image:dark", "image:blurry", "image:low_information")
RIGHT: dict[str, tuple[str, ...]] = {
    "truncated files": UNREADABLE,
    "empty files": UNREADABLE,
    "text named .png": UNREADABLE,
    "blank images": (*UNREADABLE, *ODD),
    "another size": ODD,
    "another aspect": ODD,
    "colour among grey": ODD,
    "inverted": ODD,
    "noise for images": ODD,
    "photographs": ODD,
    "an unknown class": CLASSES,
    "a class is missing": CLASSES,
    "one class is rare": CLASSES,
    "too few": ("rows:*",),
    "labels flipped": ("label:*",),
    "labels flipped 4-9": ("label:*",),
    "labels shuffled": ("label:*", "correlation:*"),
    "exact copies": COPIES,
    "copies of another class": (*COPIES, "conflict:*", "label:*"),
    "near copies: noise": COPIES,
    "near copies: JPEG": COPIES,
    "near copies: contrast": COPIES,
    "near copies: shifted": COPIES,
    "near copies: words": COPIES,
    "near copies: case": COPIES,
    "near copies: cut": COPIES,
    "copies across a given split": COPIES,
    "writers on all sides": ("leak:group",),
    "learned from the future": ("leak:time",),
    "a mark on one class": ("correlation:*",),
    "one class is JPEG": ("correlation:*", "set:format", "outlier:*"),
    "all dimmer than before": CHANGED,
    "all blurred": CHANGED,
    "a third is dimmer": CHANGED,
    "half in capitals": CHANGED,
    "cut to a third": CHANGED,
    "other class shares": CLASSES,
    "names re-used": ("leak:ids",),
    "known images relabelled": ("label:*",),
    "half is gone": ("rows:*",),
    "not UTF-8": (*UNREADABLE, *ODD),
    "zero bytes": (*UNREADABLE, *ODD),
    "mojibake": (*UNREADABLE, *ODD),
    "one letter only": (*UNREADABLE, *ODD),
}
"""Findings that name a fault rightly, by its name; of other faults, single odd examples, those of ``ODD``. They are
wider than what ``faults.py`` accepts from Sluiceway: any measured property that gives an odd image away will do."""


@dataclass(frozen=True)
class Said:
    """What an alternative said of one data set."""

    findings: tuple[Finding, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0

    @classmethod
    def read(cls, path: Path) -> "Said | None":
        """Read an answer; None: it was not asked."""
        if not path.exists():
            return None
        said = json.loads(path.read_text(encoding="utf-8"))
        findings = tuple(Finding(**{**each, "ids": tuple(each["ids"])}) for each in said["findings"])
        return cls(findings, said["versions"], said["error"], said["seconds"])


def news(said: Said, before: Said, examples: int) -> list[Finding]:
    """Return what is not said of the clean data, too: tests that passed there, shares that clearly exceed theirs."""
    known = {(each.name, each.test): each for each in before.findings}
    fresh = []
    for each in said.findings:
        old = known.get((each.name, each.test))
        if each.share is None:
            fresh += [each] if old is None else []
            continue
        share = old.share if old and old.share is not None else 0.0
        error = math.sqrt(max(share, 1 / examples) * (1 - share) / examples)
        if each.share > share + ERRORS * error:
            fresh.append(replace(each, said=f"{100 * each.share:.2g} %, clean {100 * share:.2g} %"))
    return fresh


@dataclass(frozen=True)
class Reading:
    """What a fault was found by."""

    right: tuple[Finding, ...] = ()
    other: tuple[Finding, ...] = ()
    recall: float | None = None
    """Of the touched examples, by the right findings that name examples."""
    precision: float | None = None
    """Of the examples that those name."""
    error: str = ""

    @property
    def caught(self) -> bool:
        """Some news names the fault rightly."""
        return bool(self.right)

    @property
    def cell(self) -> str:
        """For the table."""
        if self.error:
            return "broke"
        told = _told(self.right or self.other)
        if self.recall is not None:
            told += f", recall {self.recall:.2f}"
        return f"yes: {told}" if self.caught else f"no ({told})" if told else "no"


def _told(findings: Sequence[Finding]) -> str:
    names = list(dict.fromkeys(each.name.rstrip(":") for each in findings))
    more = f" +{len(names) - SHOWN}" if len(names) > SHOWN else ""
    shares = [each.said for each in findings[:1] if each.share is not None]
    return ", ".join(names[:SHOWN]) + more + "".join(f" ({each})" for each in shares)


def read_fault(trial: Trial, said: Said, before: Said) -> Reading:
    """Decide whether a fault was found, and for the right reason."""
    if said.error or before.error:
        return Reading(error=said.error or before.error)
    patterns = RIGHT.get(trial.truth["fault"], ODD)
    fresh = news(said, before, len(trial.table))
    right = tuple(each for each in fresh if any(fnmatch(each.name, pattern) for pattern in patterns))
    touched = set(trial.truth["touched"])
    named = set().union(*(each.ids for each in right)) if right else set()
    others = tuple(each for each in fresh if each not in right)
    if not (named and touched):
        return Reading(right, others)
    hits = len(named & touched)
    return Reading(right, others, hits / len(touched), hits / len(named))


# The report.


@dataclass(frozen=True)
class Row:
    """A fault, and what each made of it."""

    trial: Trial
    kind: str
    ours: dict[str, Any] | None
    readings: dict[str, Reading]

    @property
    def key(self) -> tuple[str, str, float]:
        """Pipeline, fault, rate."""
        return self.trial.truth["pipeline"], self.trial.truth["fault"], float(self.trial.truth["rate"])

    def whole(self, names: Iterable[str]) -> bool:
        """Whether all who could be asked have answered."""
        return all(n in self.readings for n in names if self.key[0] in ALTERNATIVES[n].pipelines)

    def __str__(self) -> str:
        pipeline, fault, rate = self.key
        return f"{pipeline}, {fault}" + ("" if rate == 1 else f", {100 * rate:g} %")


def read_ours(path: Path | None) -> tuple[dict[tuple[str, str, float], dict[str, Any]], list[dict[str, Any]]]:
    """Read what ``data_gate.py`` printed: faults by pipeline, name and rate, and clean resamples."""
    lines = path.read_text(encoding="utf-8").splitlines() if path else []
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    faults = {(each["pipeline"], each["fault"], float(each["rate"])): each for each in entries if "fault" in each}
    return faults, [each for each in entries if "fault" not in each]


def collect(
    trials: Sequence[Trial], names: Iterable[str], ours: dict[tuple[str, str, float], dict[str, Any]]
) -> list[Row]:
    """Read what everybody said of the faulty data sets."""
    sys.path.insert(0, str(Path(__file__).parent))
    from faults import FAULTS

    order = {(p, f.name): (number, f.kind) for p, faults in FAULTS.items() for number, f in enumerate(faults)}
    rows = []
    for trial in trials:
        pipeline, fault, rate = (trial.truth[key] for key in ("pipeline", "fault", "rate"))
        clean = trial.folder.parent / f"{pipeline}-clean"
        readings = {}
        for name in names:
            said, before = (Said.read(Job(str(f), str(clean)).answer(name)) for f in (trial.folder, clean))
            if said and before:
                readings[name] = read_fault(trial, said, before)
        rows.append(
            Row(trial, order.get((pipeline, fault), (0, ""))[1], ours.get((pipeline, fault, float(rate))), readings)
        )
    return sorted(rows, key=lambda row: (row.key[0], order.get(row.key[:2], (999, ""))[0], row.key[2]))


def alarms(trials: Sequence[Trial], reference: Trial | None, name: str) -> tuple[int, int, Counter[str]]:
    """Count clean resamples with news against other clean data, and by what. Of fewer rows they are meant to be."""
    sounded, asked, by = 0, 0, Counter[str]()
    for trial in trials:
        against = reference or Trial(trial.folder.parent / f"{trial.truth['pipeline']}-clean")
        said, before = (Said.read(Job(str(t.folder), str(against.folder)).answer(name)) for t in (trial, against))
        if said and before and not said.error and not before.error:
            fresh = [each.name.rstrip(":") for each in news(said, before, len(trial.table)) if each.topic != "rows"]
            sounded, asked = sounded + bool(fresh), asked + 1
            by.update(set(fresh))
    return sounded, asked, by


SIZES = ("row_count", "enough_examples", "examples_kept", "sum_to_be_between", "class_sizes")
"""Sluiceway's checks of how much there is."""


def report(rows: list[Row], trials: Sequence[Trial], clean: list[dict[str, Any]], missing: dict[str, str]) -> str:
    """The tables for the docs."""
    names = [name for name in ALTERNATIVES if any(name in row.readings for row in rows)]
    titles = [ALTERNATIVES[name].title for name in names]
    lines = [INTRODUCTION, "", machine(), "", *versions_told(trials, names), ""]
    lines += [f"Not run: {ALTERNATIVES[name].title}: {reason}" for name, reason in missing.items()]
    lines += ["", f"| pipeline | fault | rate | Sluiceway | {' | '.join(titles)} |", "|---" * (4 + len(names)) + "|"]
    for row in rows:
        pipeline, fault, rate = row.key
        cells = [row.readings[name].cell if name in row.readings else "-" for name in names]
        share = "" if rate == 1 else f"{100 * rate:g} %"
        lines.append(f"| {pipeline} | {fault} | {share} | {_ours_cell(row.ours)} | {' | '.join(cells)} |")
    lines += ["", "## Shares caught for the right reason", "", *shares(rows, names)]
    lines += ["", "## Where an alternative catches what Sluiceway does not", "", *losses(rows, names)]
    lines += ["", "## Where an alternative names more of the bad examples than Sluiceway", "", *lesser(rows, names)]
    lines += ["", "## False alarms on clean resamples", "", *false_alarms(trials, names, clean)]
    return "\n".join(lines) + "\n"


INTRODUCTION = f"""\
# The data gate and the alternatives

Made by `python benchmarks/alternatives.py TRIALS --ours ours.jsonl --write` from the faulty data sets that
`python benchmarks/data_gate.py --keep TRIALS` left: every cell of a row is about the same files.

*yes*: it sounds an alarm that it does not sound on the clean data, for a reason that names the fault. *no (...)*: an
alarm for another reason. The reasons accepted from the alternatives are wider than those accepted from Sluiceway.
Who flags examples and leaves the judgement to the user sounds an alarm when the flagged share exceeds that of the
clean data by more than {ERRORS:g} standard errors; *recall* is the share of the touched examples among the flagged.

- **Great Expectations** on pandas: nulls, uniqueness, types, ranges (minimum to maximum), means (within 10 %), sets,
  shares of values, row count (within 20 %), all learned from the clean table.
- **Datalab** (cleanlab): default issue types, with the features, out-of-fold probabilities and labels that
  Sluiceway's checks get; for digits also with the images.
- **Evidently**: `DataDriftPreset` and `DataSummaryPreset` with the tests they bring, the clean table as reference,
  and the default method of `EmbeddingsDriftMetric` on the features.
- **Deepchecks, table**: suites `data_integrity` and `train_test_validation`, the latter between the clean table and
  this one and between its own splits; group and time declared where the data has them. `OutlierSampleDetection` is
  left out: in the suite it has no condition, so gives no verdict.
- **Deepchecks, images**: the two suites of the same names for images. `ImagePropertyOutliers` has no condition, so
  its flagged share is judged like Datalab's.

What Sluiceway set aside is in their table as a plain reader would have it: empty where the file does not open. Such
files never reach those that take features or images."""


def _ours_cell(ours: dict[str, Any] | None) -> str:
    if ours is None:
        return "-"
    recall = f", recall {ours['recall']:.2f}" if ours.get("recall") is not None else ""
    by = [
        each.removeprefix("expect_column_").replace("values_to_be_between", "range") for each in ours["by"].split(", ")
    ]
    more = f" +{len(by) - SHOWN}" if len(by) > SHOWN else ""
    return f"yes: {', '.join(by[:SHOWN])}{more}{recall}" if ours["noticed"] else "**no**"


def shares(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Tell how many faults each caught, by kind."""
    lines = ["| | Sluiceway | " + " | ".join(ALTERNATIVES[name].title for name in names) + " |"]
    lines += ["|---" * (2 + len(names)) + "|"]
    groups = {f"{pipeline}, {kind}": None for pipeline in ("digits", "verses") for kind in KINDS}
    chosen = {name: [row for row in rows if f"{row.key[0]}, {row.kind}" == name] for name in groups}
    for title, some in {**chosen, "**all**": list(rows)}.items():
        if some:
            ours = [row.ours["noticed"] for row in some if row.ours]
            theirs = [[row.readings[name].caught for row in some if name in row.readings] for name in names]
            told = [f"{sum(each)} of {len(each)}" if each else "-" for each in (ours, *theirs)]
            lines.append(f"| {title} | {' | '.join(told)} |")
    return lines


KINDS = ("contract", "example", "data set", "past")


def losses(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """List what somebody else found and we did not, and the reverse."""
    compared = [row for row in rows if row.ours and row.whole(names)]
    found = {str(row): [ALTERNATIVES[n].title for n, each in row.readings.items() if each.caught] for row in rows}
    lost = [row for row in rows if row.ours and not row.ours["noticed"] and found[str(row)]]
    alone = [row for row in compared if row.ours and row.ours["noticed"] and not found[str(row)]]
    missed = [row for row in compared if row.ours and not row.ours["noticed"] and not found[str(row)]]
    return [
        *([f"- {row}: {', '.join(found[str(row)])}" for row in lost] or ["Nowhere."]),
        "",
        f"Caught by Sluiceway and by none of them: {len(alone)} of the {len(compared)} that all were asked of.",
        *(["", *(f"- {row}" for row in alone)] if alone else []),
        "",
        f"Caught by nobody: {len(missed)}.",
        *(["", *(f"- {row}" for row in missed)] if missed else []),
    ]


def lesser(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """List where we name fewer of the touched examples, with what it costs in precision."""
    lines = []
    for row in rows:
        own = row.ours["recall"] if row.ours else None
        for name, each in row.readings.items():
            if name in names and own is not None and each.recall is not None and each.recall > own + 0.005:
                ours = row.ours["precision"] if row.ours else None
                precision = "-" if ours is None else f"{ours:.2f}"
                lines.append(
                    f"- {row}: {ALTERNATIVES[name].title} recall {each.recall:.2f}, precision {each.precision:.2f}; "
                    f"Sluiceway recall {own:.2f}, precision {precision}"
                )
    return lines or ["Nowhere."]


def false_alarms(trials: Sequence[Trial], names: Sequence[str], clean: list[dict[str, Any]]) -> list[str]:
    """Tell the alarms on clean data."""
    lines = [
        "Resamples of 80 % of the clean data. *Against the whole*: learned from the data that they are a part of.",
        "*Against another resample*: learned from the first resample, as from other days. Alarms about the number of",
        "rows count for nobody: these have fewer. Sluiceway's are those of `data_gate.py`, every other",
        "one against a registered version that is another resample; refusals and warnings both count.",
        "",
        "| | against the whole | against another resample | by |",
        "|---|---|---|---|",
    ]
    if clean:
        by = [[n for n in (*each["closed_by"], *each["warnings"]) if not any(s in n for s in SIZES)] for each in clean]
        told = ", ".join(
            f"{name} {count}" for name, count in Counter(n for each in by for n in set(each)).most_common(4)
        )
        lines.append(f"| Sluiceway | {sum(map(bool, by))} of {len(by)} (both) | | {told} |")
    resamples = [trial for trial in trials if "-resample-" in trial.folder.name]
    for name in names:
        whole = alarms(resamples, None, name)
        again = [0, 0]
        by_name = whole[2].copy()
        for pipeline in ALTERNATIVES[name].pipelines:
            own = [trial for trial in resamples if trial.truth["pipeline"] == pipeline]
            if len(own) > 1:
                sounded, asked, by_more = alarms(own[1:], own[0], name)
                again = [again[0] + sounded, again[1] + asked]
                by_name.update(by_more)
        told = ", ".join(f"{each} {count}" for each, count in by_name.most_common(4))
        lines.append(f"| {ALTERNATIVES[name].title} | {whole[0]} of {whole[1]} | {again[0]} of {again[1]} | {told} |")
    return lines


def versions_told(trials: Sequence[Trial], names: Sequence[str]) -> list[str]:
    """Tell versions and the time taken, from the answers."""
    lines = []
    for name in names:
        pattern = f"said-{name}[.-]*json"
        answers = [said for trial in trials for path in trial.folder.glob(pattern) if (said := Said.read(path))]
        seconds = sorted(each.seconds for each in answers)
        broke = Counter(each.error for each in answers if each.error)
        told = ", ".join(f"{package} {number}" for package, number in answers[-1].versions.items())
        lines.append(f"- {ALTERNATIVES[name].title}: {told}; median {seconds[len(seconds) // 2]:.0f} s per data set.")
        lines += [f"  - broke on {count}: `{error}`" for error, count in broke.items()]
    return lines


def machine() -> str:
    """Where it ran."""
    from spine import machine as told

    return f"Machine: {told()}."


# From the command line.


def jobs_of(trials: Sequence[Trial], alternative: Alternative) -> list[Job]:
    """List the questions: all data against the clean data, and resamples against the first of them."""
    jobs = []
    for pipeline in alternative.pipelines:
        own = [trial for trial in trials if trial.truth["pipeline"] == pipeline]
        clean = next((trial for trial in own if trial.folder.name == f"{pipeline}-clean"), None)
        if clean is None:
            continue
        # The clean data first: without an answer on it, no other can be read.
        ordered = [clean, *(trial for trial in own if trial is not clean)]
        jobs += [Job(str(trial.folder), str(clean.folder)) for trial in ordered]
        resamples = [trial for trial in own if "-resample-" in trial.folder.name]
        jobs += [Job(str(trial.folder), str(resamples[0].folder)) for trial in resamples if alternative.learns]
    return jobs


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", type=Path, nargs="?", help="what data_gate.py --keep left")
    parser.add_argument("--ours", type=Path, help="what data_gate.py printed")
    parser.add_argument("--only", default="", help=f"alternatives, with commas: {', '.join(ALTERNATIVES)}")
    for venv in dict.fromkeys(each.venv for each in ALTERNATIVES.values()):
        default = VENVS / venv / "bin" / "python" if venv else Path(sys.executable)
        parser.add_argument(f"--{venv or 'gx'}-python", type=Path, default=default, help="its interpreter")
    parser.add_argument("--recipes", action="store_true", help="print how the interpreters are made")
    parser.add_argument("--fresh", action="store_true", help="ask again what was answered before")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--work", choices=ALTERNATIVES, help=argparse.SUPPRESS)
    parser.add_argument("--jobs", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if not (chosen.recipes or chosen.work or chosen.trials):
        parser.error("TRIALS: the folder that data_gate.py --keep left")
    return chosen


def main() -> None:
    """Ask everybody, and print the table."""
    chosen = arguments()
    if chosen.recipes:
        print(recipes())
        return
    if chosen.work:
        work(chosen.work, [Job(**each) for each in json.loads(chosen.jobs.read_text(encoding="utf-8"))])
        return
    trials = [Trial(path.parent) for path in sorted(chosen.trials.resolve().glob("*/truth.json"))]
    for trial in trials:
        trial.prepare()
    names = chosen.only.split(",") if chosen.only else list(ALTERNATIVES)
    missing = {}
    for name in names:
        alternative = ALTERNATIVES[name]
        python = getattr(chosen, f"{alternative.venv or 'gx'}_python")
        if reason := ask(name, python, jobs_of(trials, alternative), chosen.fresh):
            missing[name] = reason
            print(f"{alternative.title} is left out: {reason}", file=sys.stderr)
    ours, clean = read_ours(chosen.ours)
    faulty = [trial for trial in trials if trial.truth["fault"] != "clean"]
    text = report(collect(faulty, names, ours), trials, clean, missing)
    print(text)
    if chosen.write:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
