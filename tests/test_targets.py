"""What a family offers: one loss, head and set of measures for each target, held against scikit-learn and torch."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from torch.nn.functional import binary_cross_entropy_with_logits

from projects import ALL_STAGES, make_project, suite
from sluiceway.config import Split, parse
from sluiceway.data.labels import joined, parted
from sluiceway.data.table import BadExample, Example
from sluiceway.errors import ConfigError, DataError, UnknownLayout
from sluiceway.evaluation.parity import parity
from sluiceway.evaluation.plots import parity_figure
from sluiceway.usecases import find, targets_of
from sluiceway.usecases.base import Evidence, Loaded
from sluiceway.usecases.image import FAMILY
from sluiceway.usecases.image.params import ImageData, ImageEncoding, ResidualParams
from sluiceway.usecases.targets import labels, numbers
from sluiceway.usecases.text_generation import USECASE as TEXT
from support import answers_of, image_bytes, listed, reader_of

LABELS, NUMBER = FAMILY.targets["classes"], FAMILY.targets["number"]
DATA = ImageData()


def stroke(angle: float, seed: int = 0, size: int = 16) -> bytes:
    """A line through the middle, turned by an angle in degrees, with some grain."""
    image = Image.new("L", (size * 4, size * 4))
    reach = size * 1.6 * np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    middle = np.array([size * 2, size * 2])
    ImageDraw.Draw(image).line([*(middle - reach), *(middle + reach)], fill=255, width=8)
    grain = np.random.default_rng(seed).integers(0, 30, (size, size))
    return image_bytes(np.minimum(np.asarray(image.resize((size, size)), int) + grain, 255).astype(np.uint8))


def items(payloads, targets):
    return [
        Loaded(Example(id=f"e{n}", source="x", target=each), payload, n)
        for n, (payload, each) in enumerate(zip(payloads, targets, strict=True))
    ]


# Which target


def test_a_family_learns_what_target_says_and_a_class_by_default(tmp_path):
    assert find("image", tmp_path) is FAMILY.targets["class"]
    assert find("image", tmp_path, "number") is NUMBER
    assert list(targets_of("speech", tmp_path)) == ["class", "classes", "number", "text"]
    assert targets_of("text_generation", tmp_path) == {"none": TEXT}


@pytest.mark.parametrize(
    ("usecase", "target", "hint"),
    [
        ("image", "text", "class or classes or number"),
        ("image", "numbr", "did you mean"),
        ("recommendation", "class", "text"),
    ],
)
def test_an_unknown_target_is_told_with_what_there_is(tmp_path, usecase, target, hint):
    with pytest.raises(ConfigError, match=f"'{usecase}' does not learn '{target}'") as caught:
        find(usecase, tmp_path, target)
    assert hint in f"{caught.value.message} {caught.value.hint}"


def test_dvc_watches_the_target_so_it_must_stand_in_the_file(tmp_path):
    with pytest.raises(ConfigError, match="target: is missing; DVC watches it, so write at least target: number"):
        parse(NUMBER.params, {"usecase": "image"}, tmp_path, ("target",))


def test_targets_share_the_contents_options_and_have_their_own_loss():
    options = {name: set(case.objective.model_fields) for name, case in FAMILY.targets.items()}
    assert options["class"] - options["number"] == {"label_smoothing"}
    assert options["number"] - options["class"] == {"huber"}
    assert all(case.target == name and case.measures == LABELS.measures for name, case in FAMILY.targets.items())


# How they lie


def write(path, payload):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(payload)


def test_labels_are_folder_names_put_together_or_a_column(tmp_path):
    for name in ("dog|cat/1.png", "cat/2.png"):
        write(tmp_path / "folders" / name, b"x")
    found = list(listed(LABELS, tmp_path / "folders", DATA))
    assert {each.id: each.target for each in found} == {"cat/2.png": "cat", "dog|cat/1.png": "cat|dog"}
    for name in ("1.png", "2.png", "3.png", "4.png"):
        write(tmp_path / "list" / name, b"x")
    rows = [("1.png", "dog | cat"), ("2.png", '["b, c", "a"]'), ("3.png", ""), ("4.png", "cat|cat")]
    lines = ["file_name,labels", *(f'{name},"{value.replace(chr(34), chr(34) * 2)}"' for name, value in rows)]
    (tmp_path / "list" / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    assert [each.target for each in listed(LABELS, tmp_path / "list", DATA)] == ["cat|dog", "a|b, c", "", "cat"]


def test_a_list_of_json_lines_holds_numbers_and_groups(tmp_path):
    rows = [{"file_name": f"a/{n}.png", "angle": n * 1.5, "patient": "p1"} for n in range(3)]
    for row in rows:
        write(tmp_path / row["file_name"], b"x")
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(UnknownLayout, match="no column number or value: found file_name, angle, patient"):
        list(listed(NUMBER, tmp_path, DATA))
    found = list(listed(NUMBER, tmp_path, ImageData(label="angle", group_column="patient")))
    assert [(float(each.target), each.group) for each in found] == [(0.0, "p1"), (1.5, "p1"), (3.0, "p1")]


@given(st.lists(st.text(st.characters(exclude_characters="|[", exclude_categories=["C", "Z"]), min_size=1), max_size=5))
def test_labels_survive_being_written(names):
    assert parted(joined(names)) == tuple(sorted(set(names)))
    assert joined(parted(joined(names))) == joined(names)
    assert joined(parted(json.dumps(names))) == joined(names)


# Labels


def outcomes_of(target, probabilities):
    return labels.label_outcomes(np.asarray(target, bool), np.asarray(probabilities, float))


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 40), kinds=st.integers(2, 5), coarse=st.booleans())
@pytest.mark.filterwarnings("ignore")
def test_measures_of_labels_are_sklearns(seed, count, kinds, coarse):
    from sklearn.metrics import accuracy_score, average_precision_score, f1_score

    rng = np.random.default_rng(seed)
    target = rng.random((count, kinds)) < 0.4
    probabilities = np.clip(rng.normal(0.4, 0.3, (count, kinds)) + 0.2 * target, 0, 1)
    if coarse:  # ties
        probabilities = np.round(probabilities, 1)
    found, said = outcomes_of(target, probabilities), probabilities >= 0.5
    occurs = target.any(0)
    if (target | said).any():
        expected = f1_score(target, said, average="micro", zero_division=0)
        assert labels.micro_f1(found) == pytest.approx(expected)
        used = (target | said).any(0)
        expected = f1_score(target[:, used], said[:, used], average="macro", zero_division=0)
        if used.sum() > 1:
            assert labels.macro_f1(found) == pytest.approx(expected)
    if occurs.any():
        each = [average_precision_score(target[:, k], probabilities[:, k]) for k in np.flatnonzero(occurs)]
        assert labels.mean_average_precision(found) == pytest.approx(np.mean(each))
    assert labels.subset_accuracy(found) == pytest.approx(accuracy_score(target, said))


def test_the_loss_of_labels_is_torchs():
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    target = (torch.rand(5, 3, generator=torch.Generator().manual_seed(1)) < 0.5).to(torch.uint8)
    found = labels.losses(logits, {"target": target}, labels.LabelsObjective(label_smoothing=0.2), False)
    expected = binary_cross_entropy_with_logits(logits, target.float(), reduction="none").mean(1)
    torch.testing.assert_close(found["loss"], expected)
    smoothed = labels.losses(logits, {"target": target}, labels.LabelsObjective(label_smoothing=0.2), True)
    expected = binary_cross_entropy_with_logits(logits, target.float() * 0.8 + 0.1, reduction="none").mean(1)
    torch.testing.assert_close(smoothed["loss"], expected)


def test_labels_of_the_test_split_that_training_never_saw_are_named():
    examples = items([stroke(0)] * 2, ["a|b", ""])
    encoding = LABELS.fit(iter(examples), ImageEncoding(size=16, channels=1))
    assert encoding["labels"] == ["a", "b"]
    assert [each.arrays["target"].tolist() for each in LABELS.encode(iter(examples), encoding, "train")] == [
        [1, 1],
        [0, 0],
    ]
    with pytest.raises(DataError, match="label 'c' of e0 does not occur"):
        list(LABELS.encode(items([stroke(0)], ["a|c"]), encoding, "test"))
    with pytest.raises(BadExample, match="no_target"):
        LABELS.judge(None, {}, DATA)
    LABELS.judge("", {}, DATA)


def test_an_answer_of_labels_names_them_and_their_probabilities():
    encoding = {"labels": ["a", "b"]}
    logits = torch.tensor([[2.0, -2.0], [-1.0, -1.0]])
    first, second = labels.answer(logits, {}, encoding, {"threshold": 0.5})
    assert (first["labels"], second["labels"]) == ("a", "")
    assert first["probabilities"].startswith("a: 0.88")
    assert labels.answer(logits, {}, encoding, {"threshold": 0.1})[1]["labels"] == "a|b"


# Numbers


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=40))
@settings(max_examples=60)
def test_measures_of_numbers_are_sklearns(pairs):
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    target, predicted = np.array(pairs).T
    outcomes = {"target": target, "predicted": predicted}
    assert numbers.mean_absolute_error(outcomes) == pytest.approx(mean_absolute_error(target, predicted), abs=1e-9)
    assert numbers.root_mean_squared_error(outcomes) ** 2 == pytest.approx(
        mean_squared_error(target, predicted), abs=1e-6
    )
    if np.ptp(target) > 1e-3:
        assert numbers.r_squared(outcomes) == pytest.approx(r2_score(target, predicted), abs=1e-6)


@pytest.mark.parametrize("target", [None, "", "seven", "nan", "inf", "1,5"])
def test_what_is_no_number_is_set_aside(target):
    with pytest.raises(BadExample, match=r"^(no|bad)_target: "):
        NUMBER.judge(target, {}, DATA)
    NUMBER.judge(" 1.5e3 ", {}, DATA)


def test_a_network_of_numbers_answers_in_their_unit():
    examples = items([stroke(n) for n in range(4)], ["10", "20", "30", "40"])
    encoding = NUMBER.fit(iter(examples), ImageEncoding(size=16, channels=1))
    assert (encoding["middle"], encoding["spread"]) == (25.0, pytest.approx(np.std([10, 20, 30, 40])))
    (batch,) = [
        {
            name: torch.from_numpy(
                np.stack([each.arrays[name] for each in NUMBER.encode(iter(examples), encoding, "test")])
            )
            for name in ("image", "target", "standard")
        }
    ]
    model = NUMBER.build(ResidualParams(stem=8, widths=[8], depths=[1]), encoding).eval()
    with torch.inference_mode():
        outcomes = NUMBER.predict(model, batch, encoding)
        (answer, *_) = NUMBER.serving.answer(model, encoding, NUMBER.serving.example([examples[0].payload]), {})
        losses = NUMBER.losses(model, batch, NUMBER.objective())
    assert outcomes["predicted"].tolist() == [25.0] * 4  # a head begins without an opinion: the mean
    assert answer == {"number": 25.0}
    assert losses["absolute_error"].tolist() == pytest.approx(
        (abs(outcomes["target"] - 25) / encoding["spread"]).tolist()
    )
    assert losses["loss"].shape == (4,)


def test_numbers_that_do_not_vary_cannot_be_learned():
    with pytest.raises(DataError, match="do not vary"):
        NUMBER.fit(iter(items([stroke(0)] * 3, ["5"] * 3)), ImageEncoding(size=16, channels=1))


def test_baselines_of_numbers_are_the_mean_and_what_gradients_tell(tmp_path):
    angles = np.random.default_rng(0).uniform(20, 160, 160).round(1)
    rows = ["file_name,number"]
    for n, angle in enumerate(angles):
        write(tmp_path / f"{n:03d}.png", stroke(angle, n))
        rows.append(f"{n:03d}.png,{angle}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows), encoding="utf-8")
    reader = reader_of(tmp_path, listed(NUMBER, tmp_path, DATA), Split(test=0.3))
    encoding = NUMBER.fit(reader("train"), ImageEncoding(size=16, channels=1))
    found = NUMBER.baselines(reader, DATA, encoding, answers_of(NUMBER, reader, DATA))
    assert list(found) == ["mean", "HOG + regression"]
    assert numbers.mean_absolute_error(found["mean"]) > 25
    assert numbers.mean_absolute_error(found["HOG + regression"]) < 10
    outcomes = found["HOG + regression"]
    evidence = Evidence(torch.nn.Identity(), encoding, outcomes, lambda row: stroke(0))
    (panel,) = NUMBER.show(evidence)
    assert panel.html.count("<figure>") == 12
    drawn = parity(outcomes)
    assert drawn is not None
    assert drawn.typical < 8
    assert "<svg" in parity_figure(drawn)
    assert parity({"target": np.zeros(3, int), "predicted": np.zeros(3, int)}) is None


def test_baselines_of_labels_are_their_shares_and_what_gradients_tell(tmp_path):
    rng = np.random.default_rng(1)
    for n in range(160):
        has = {name for name in ("flat", "steep") if rng.random() < 0.5}
        flat, steep = (np.asarray(Image.open(io.BytesIO(stroke(angle, n))), int) for angle in (0, 90))
        pixels = np.maximum(flat * ("flat" in has), steep * ("steep" in has)) + rng.integers(0, 30, (16, 16))
        write(tmp_path / (joined(has) or "none") / f"{n}.png", image_bytes(np.minimum(pixels, 255).astype(np.uint8)))
    lines = [
        f"{path.relative_to(tmp_path)},{path.parent.name.replace('none', '')}"
        for path in sorted(tmp_path.rglob("*.png"))
    ]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,labels", *lines]), encoding="utf-8")
    reader = reader_of(tmp_path, listed(LABELS, tmp_path, DATA), Split(test=0.3))
    encoding = LABELS.fit(reader("train"), ImageEncoding(size=16, channels=1))
    found = LABELS.baselines(reader, DATA, encoding, answers_of(LABELS, reader, DATA))
    assert list(found) == ["share of each label", "HOG + SVM"]
    assert labels.macro_f1(found["HOG + SVM"]) > 0.95
    assert labels.mean_average_precision(found["share of each label"]) < 0.7
    panels = LABELS.show(Evidence(torch.nn.Identity(), encoding, found["share of each label"], lambda row: stroke(0)))
    assert [panel.title for panel in panels] == ["Labels", "Mistakes"]
    assert "flat" in panels[0].html


# Whole pipelines


PARAMS = """\
usecase: image
target: {target}
data: {{split: {{validation: 0.15, test: 0.25}}}}
encode: {{size: 16, channels: 1}}
model: {{name: residual, stem: 16, widths: [16, 32], depths: [1, 1]}}
objective: {{rotate: 0, shear: 0, shift: 0.03, scale: 0.03}}
gates:
  data: {{min_examples: 300, max_strangers: 0.05, max_label_errors: 0.1}}
  cost: {{}}
  model: {{minimum: {minimum}}}
train: {{epochs: {epochs}, global_batch: 32, lr: 0.005, schedule: one_cycle}}
evaluate: {{resamples: 200}}
register: {{}}
"""


def two_digits(folder: Path, count: int) -> None:
    """Write pairs of digits side by side, of five kinds: which of them are there?"""
    from sklearn.datasets import load_digits

    digits, rng = load_digits(n_class=5), np.random.default_rng(0)
    lines = ["file_name,labels"]
    for n in range(count):
        pair = rng.integers(len(digits.target), size=2)
        pixels = np.hstack([digits.images[at] for at in pair]) * 15.9
        write(folder / f"{n:04d}.png", image_bytes(np.pad(pixels, ((4, 4), (0, 0))).astype(np.uint8)))
        lines.append(f"{n:04d}.png,{joined(f'digit {digits.target[at]}' for at in pair)}")
    (folder / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")


def turned_digits(folder: Path, count: int) -> None:
    """Write ones that were turned by up to 60 degrees: by how many?"""
    from scipy.ndimage import rotate, zoom
    from sklearn.datasets import load_digits

    digits, rng = load_digits(), np.random.default_rng(0)
    ones = digits.images[digits.target == 1]
    lines = ["file_name,number"]
    for n in range(count):
        angle = round(float(rng.uniform(-60, 60)), 1)
        pixels = rotate(zoom(ones[n % len(ones)], 2, order=1), angle, reshape=False, order=1) * 15.9
        write(folder / f"{n:04d}.png", image_bytes(pixels.clip(0, 255).astype(np.uint8)))
        lines.append(f"{n:04d}.png,{angle}")
    (folder / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.slow
def test_labels_and_numbers_go_through_all_stages(tmp_path):
    contract = suite(("expect_column_values_to_be_unique", {"column": "id"}))
    pipelines = {
        "pairs": ("image", PARAMS.format(target="classes", minimum="{macro_f1: 0.7}", epochs=15), contract),
        "turns": ("image", PARAMS.format(target="number", minimum="{r2: 0.5}", epochs=15), contract),
    }
    project = make_project(tmp_path, pipelines)
    two_digits(tmp_path / "data" / "raw" / "pairs", 600)
    turned_digits(tmp_path / "data" / "raw" / "turns", 600)
    project.run("python", "-c", ALL_STAGES, *pipelines)
    for name, metric, least in (("pairs", "macro_f1", 0.7), ("turns", "r2", 0.5)):
        scores = project.json(f"reports/{name}/evaluation.json")
        assert scores["model"][metric]["value"] > least
        trivial, *_ = [each for learner, each in scores["baselines"].items() if "HOG" not in learner]
        first = next(iter(FAMILY.targets["classes" if name == "pairs" else "number"].metrics))
        assert first.better(scores["model"][first.name]["value"], trivial[first.name]["value"])
        assert any("HOG" in learner for learner in scores["baselines"])
        assert project.json(f"reports/{name}/registration.json")["version"] == 1
    checks = {each["name"] for each in project.json("data/validated/pairs/verdict.json")["checks"]}
    assert checks >= {"class_balance", "label_errors", "target_depends_on_content", "shortcuts"}
    assert "What is answered for what" in (tmp_path / "reports/turns/report.html").read_text(encoding="utf-8")
    assert "Average precision" in (tmp_path / "reports/pairs/report.html").read_text(encoding="utf-8")
