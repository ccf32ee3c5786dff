"""Image classification, function by function: against numpy, torch and scikit-learn, with broken files."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import cross_entropy

from sluiceway.config import Split
from sluiceway.data.outcomes import accuracy, macro_f1
from sluiceway.data.table import BadExample, Example
from sluiceway.errors import DataError, NoRawData, UnknownLayout
from sluiceway.usecases.base import Evidence, Loaded
from sluiceway.usecases.image import FAMILY
from sluiceway.usecases.image.examples import measure
from sluiceway.usecases.image.learning import augment
from sluiceway.usecases.image.params import ImageData, ImageEncoding, ResidualParams
from support import answers_of, image_bytes, loaded, reader_of

USECASE = FAMILY.targets["class"]
ImageObjective = USECASE.objective
read, fit, encode, build, losses = USECASE.read, USECASE.fit, USECASE.encode, USECASE.build, USECASE.losses
predict, baselines, show, serving = USECASE.predict, USECASE.baselines, USECASE.show, USECASE.serving
DATA = ImageData()
STILL = ImageObjective(label_smoothing=0.0, shift=0.0, rotate=0.0, scale=0.0, shear=0.0)


def picture(seed=0, shape=(9, 7), channels=None):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, shape if channels is None else (*shape, channels), dtype=np.uint8)


def labelled(count=20, classes=("b", "a"), channels=None):
    """Make examples of the classes in turn."""
    return [
        Loaded(
            Example(id=f"e{n}", source="x", target=classes[n % len(classes)]),
            image_bytes(picture(n, (8, 8), channels)),
            n,
        )
        for n in range(count)
    ]


# Reading


def test_classes_are_folders_and_ids_are_paths(digits_folder, tmp_path):
    examples = list(read(digits_folder(tmp_path, 3), DATA))
    assert len(examples) == 30
    assert [example.id for example in examples] == sorted(example.id for example in examples)
    assert all(example.id == example.source and example.target == example.id[0] for example in examples)
    assert {(example.group, example.split) for example in examples} == {(None, None)}
    assert measure((tmp_path / examples[0].source).read_bytes(), DATA)["width"] == 8


def test_images_may_lie_deeper_than_their_class(tmp_path):
    (tmp_path / "cat" / "tabby").mkdir(parents=True)
    (tmp_path / "cat" / "tabby" / "1.png").write_bytes(b"x")
    (example,) = read(tmp_path, DATA)
    assert (example.id, example.target) == ("cat/tabby/1.png", "cat")


def test_images_without_a_class_folder_are_named(tmp_path):
    (tmp_path / "cat").mkdir()
    for name in ("1.png", "2.png", "cat/3.png"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UnknownLayout, match=r"2 images lie in .* itself.*: 1.png") as caught:
        list(read(tmp_path, DATA))
    assert "a folder per class" in caught.value.hint


def test_files_that_are_no_images_are_counted(tmp_path):
    for name in ("a.csv", "b.csv", "README"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UnknownLayout, match=r"no images below .*: found 2 x \.csv, 1 x no suffix"):
        list(read(tmp_path, DATA))


def test_an_empty_folder_is_no_raw_data(tmp_path):
    with pytest.raises(NoRawData):
        list(read(tmp_path, DATA))


# Measuring


@settings(max_examples=30)
@given(seed=st.integers(0, 999), height=st.integers(1, 30), width=st.integers(2, 30))
def test_measures_are_numpys(seed, height, width):
    pixels = picture(seed, (height, width))
    pixels[0, :2] = 3, 200
    payload = image_bytes(pixels)
    found = measure(payload, DATA)
    assert found == {
        "bytes": len(payload),
        "format": "PNG",
        "width": width,
        "height": height,
        "channels": 1,
        "brightness": pytest.approx(pixels.mean() / 255, abs=1e-5),
        "contrast": pytest.approx(pixels.std() / 255, abs=1e-5),
    }
    assert set(found) == set(USECASE.measures)


@pytest.mark.parametrize("channels", [3, 4])
def test_channels_are_counted(channels):
    assert measure(image_bytes(picture(channels=channels)), DATA)["channels"] == channels


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (28, 28), (33, 57)])
def test_a_blank_image_is_bad_in_every_shade(size):
    for shade in range(256):
        with pytest.raises(BadExample, match=r"^blank: "):
            measure(image_bytes(np.full(size, shade, np.uint8)), DATA)


@pytest.mark.parametrize("payload", [b"hello", b"\x89PNG\r\n\x1a\n", b"\x00" * 100, b"<html></html>"])
def test_what_is_no_image_is_bad(payload):
    with pytest.raises(BadExample, match=r"^unreadable: "):
        measure(payload, DATA)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"])
def test_half_an_image_is_bad(kind):
    payload = image_bytes(picture(1, (64, 64), 3), kind)
    assert measure(payload, DATA)["width"] == 64
    with pytest.raises(BadExample, match=r"^(truncated|unreadable): "):
        measure(payload[: len(payload) // 2], DATA)


@settings(max_examples=400)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"]),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
    head=st.booleans(),
    cut=st.floats(0, 1),
)
@pytest.mark.filterwarnings("ignore")
def test_a_broken_image_is_bad_or_read_but_never_a_crash(kind, edits, head, cut):
    payload = bytearray(FUZZED[kind])
    for place, value in edits:  # half of the edits go to the first bytes, where the formats keep their structure
        payload[int(place * (min(120, len(payload)) if head else len(payload)) * 0.999)] = value
    payload = payload[: max(1, round(len(payload) * cut))] if cut < 0.5 else payload
    try:
        found = measure(bytes(payload), DATA)
    except BadExample:
        return
    assert 0 <= found["brightness"] <= 1
    assert 0 < found["contrast"] <= 1


FUZZED = {kind: image_bytes(picture(2, (12, 10), 3), kind) for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")}


# Encoding


@pytest.mark.parametrize("channels", [1, 3])
def test_fit_finds_classes_and_pixel_statistics(channels):
    examples = labelled(channels=3 if channels == 3 else None)
    found = fit(iter(examples), ImageEncoding(size=8, channels=channels))
    stack = np.stack([np.asarray(Image.open(io.BytesIO(each.payload))).reshape(8, 8, channels) for each in examples])
    assert (found["classes"], found["size"], found["channels"]) == (["a", "b"], 8, channels)
    assert found["mean"] == pytest.approx(stack.mean((0, 1, 2)) / 255, abs=1e-5)
    assert found["std"] == pytest.approx(stack.std((0, 1, 2)) / 255, abs=1e-5)


@pytest.mark.parametrize("examples", [[], labelled(classes=("a",))])
def test_one_class_is_nothing_to_classify(examples):
    with pytest.raises(DataError, match=f"needs two classes, found {len(examples[:1])}"):
        fit(iter(examples), ImageEncoding(size=8))


@pytest.mark.parametrize("channels", [1, 3])
def test_encode_gives_the_pixels_and_the_class(channels):
    examples = labelled(channels=3)
    encoding = fit(iter(examples), ImageEncoding(size=8, channels=channels))
    items = list(encode(iter(examples), encoding, "train"))
    assert [item.row for item in items] == list(range(20))
    assert [int(item.arrays["target"]) for item in items] == [1, 0] * 10
    for item, example in zip(items, examples, strict=True):
        mode = "L" if channels == 1 else "RGB"
        reference = np.asarray(Image.open(io.BytesIO(example.payload)).convert(mode)).reshape(8, 8, channels)
        assert item.arrays["image"].dtype == np.uint8
        assert np.array_equal(item.arrays["image"], reference.transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(4, 4), (100, 30), (8, 9)])
@pytest.mark.parametrize("kind", ["L", "RGB", "RGBA", "P", "LA", "1", "CMYK", "I;16"])
def test_images_of_every_size_and_mode_become_one_shape(shape, kind):
    file = io.BytesIO()
    base = Image.fromarray(picture(1, shape))
    base = base.convert("I").convert("I;16") if kind == "I;16" else base.convert(kind)
    base.save(file, "TIFF")
    encoding = {"classes": ["a", "b"], "size": 16, "channels": 3}
    (item,) = encode(loaded([file.getvalue()], "a"), encoding, "train")
    assert (item.arrays["image"].shape, item.arrays["image"].dtype) == ((3, 16, 16), np.uint8)


def test_a_class_that_training_never_saw_is_named():
    with pytest.raises(DataError, match=r"class 'emu' of e0 does not occur in the training split"):
        list(encode(loaded([image_bytes(picture())], "emu"), {"classes": ["a"], "size": 8, "channels": 1}, "test"))


# Losses and augmentation


class Fixed(torch.nn.Module):
    """Answers the same logits to everything."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, batch):
        return self.logits


@pytest.mark.parametrize("training", [True, False])
def test_losses_are_torchs_per_image(training):
    logits, target = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 0, 1])
    model = Fixed(logits).train(training)
    found = losses(model, {"image": torch.zeros(6), "target": target}, ImageObjective(label_smoothing=0.2))
    expected = cross_entropy(logits, target, label_smoothing=0.2 if training else 0.0, reduction="none")
    torch.testing.assert_close(found["loss"], expected)
    assert found["accuracy"].tolist() == (logits.argmax(1) == target).float().tolist()
    assert found["loss"].shape == (6,)


def middle(count, **changed):
    """Dice that change nothing, but for the columns given."""
    dice = torch.full((count, USECASE.draws), 0.5)
    for column, value in changed.items():
        dice[:, {"angle": 0, "scale_x": 1, "scale_y": 2, "shear": 3, "x": 4, "y": 5, "mirror": 6}[column]] = value
    return dice


def batch_of(count=3, size=8, channels=2):
    generator = torch.Generator().manual_seed(1)
    return {
        "image": torch.randint(0, 256, (count, channels, size, size), generator=generator, dtype=torch.uint8),
        "target": torch.arange(count),
    }


@pytest.mark.parametrize("size", [4, 7, 8, 28])
def test_no_strength_and_no_chance_change_nothing(size):
    batch = batch_of(size=size)
    random = torch.rand(3, USECASE.draws, generator=torch.Generator().manual_seed(2))
    for dice, objective in ((random, STILL), (middle(3), ImageObjective())):
        found = augment(batch, dice, objective)
        torch.testing.assert_close(found["image"], batch["image"].float() / 255, rtol=0, atol=2e-5)
        assert torch.equal(found["target"], batch["target"])


def strong(**strength):
    return ImageObjective.model_validate({**STILL.model_dump(), **strength})


@pytest.mark.parametrize(
    ("dice", "objective", "reference"),
    [
        ({"mirror": 0.2}, strong(mirror=True), lambda image: image.flip(-1)),
        ({"mirror": 0.7}, strong(mirror=True), lambda image: image),
        ({"mirror": 0.2}, STILL, lambda image: image),
        ({"angle": 1.0}, strong(rotate=90.0), lambda image: image.rot90(1, (-2, -1))),
        ({"angle": 0.0}, strong(rotate=90.0), lambda image: image.rot90(-1, (-2, -1))),
        ({"angle": 1.0}, strong(rotate=180.0), lambda image: image.rot90(2, (-2, -1))),
        ({"x": 1.0}, strong(shift=0.25), lambda image: torch.nn.functional.pad(image[..., 2:], (0, 2))),
        ({"y": 0.0}, strong(shift=0.25), lambda image: torch.nn.functional.pad(image[..., :-2, :], (0, 0, 2, 0))),
    ],
)
def test_maps_are_those_of_whole_pixels(dice, objective, reference):
    batch = batch_of()
    found = augment(batch, middle(3, **dice), objective)["image"]
    torch.testing.assert_close(found, reference(batch["image"].float() / 255), rtol=0, atol=5e-5)


@pytest.mark.parametrize("seed", range(5))
def test_a_map_is_a_rotation_of_a_shear_of_a_scaling(seed):
    """Against SciPy's interpolation, with the matrix put together from its three parts."""
    from scipy.ndimage import affine_transform

    batch, objective = batch_of(1, size=11, channels=1), ImageObjective(rotate=40, scale=0.3, shear=0.5, shift=0.1)
    dice = torch.rand(1, USECASE.draws, generator=torch.Generator().manual_seed(seed))
    turn, wide, high, shear, x, y = (2 * dice[0, :6] - 1).double().tolist()
    angle = np.deg2rad(40 * turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = rotation @ np.array([[1, 0.5 * shear], [0, 1]]) @ np.diag(np.exp([0.3 * wide, 0.3 * high]))
    matrix = matrix[::-1, ::-1]  # (x, y) to (row, column)
    offset = 5 - matrix @ [5, 5] + 11 * 0.1 * np.array([y, x])
    pixels = batch["image"][0, 0].numpy() / 255
    expected = affine_transform(pixels, matrix, offset, order=1, mode="grid-constant")
    assert augment(batch, dice, objective)["image"][0, 0].numpy() == pytest.approx(expected, abs=1e-4)


def test_a_scale_zooms_by_its_share():
    pixels = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    pixels[..., 8:24, 8:24] = 255
    for dice, width, height in (({"scale_x": 1.0}, 8, 16), ({"scale_y": 0.0}, 16, 32)):
        found = augment({"image": pixels}, middle(1, **dice), strong(scale=float(np.log(2))))["image"][0, 0]
        assert float(found.amax(0).sum()) == pytest.approx(width, abs=1.1)
        assert float(found.amax(1).sum()) == pytest.approx(height, abs=1.1)


@settings(max_examples=25)
@given(seed=st.integers(0, 999))
def test_each_image_has_its_own_dice(seed):
    batch, dice = batch_of(5), torch.rand(5, USECASE.draws, generator=torch.Generator().manual_seed(seed))
    objective = ImageObjective(mirror=True)
    found = augment(batch, dice, objective)["image"]
    alone = [augment({"image": batch["image"][[n]]}, dice[[n]], objective)["image"] for n in range(5)]
    torch.testing.assert_close(found, torch.cat(alone), rtol=0, atol=1e-5)
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-5
    assert not torch.allclose(found, batch["image"].float() / 255, atol=1e-2)


# Scores


@settings(max_examples=100)
@given(pairs=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=50))
@pytest.mark.filterwarnings("ignore")
def test_scores_are_sklearns(pairs):
    from sklearn.metrics import accuracy_score, f1_score

    target, predicted = (np.array(side, np.int64) for side in zip(*pairs, strict=True))
    outcomes = {"target": target, "predicted": predicted, "correct": (target == predicted).astype(float)}
    assert accuracy(outcomes) == pytest.approx(accuracy_score(target, predicted))
    assert macro_f1(outcomes) == pytest.approx(f1_score(target, predicted, average="macro", zero_division=0))


def test_predictions_are_the_softmax_of_the_logits():
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    batch = {"image": torch.zeros(2), "target": torch.tensor([0, 1])}
    found = predict(Fixed(logits), batch, {"classes": ["a", "b", "c"]})
    assert found["predicted"].tolist() == [0, 2]
    assert found["correct"].tolist() == [1.0, 0.0]
    assert found["confidence"] == pytest.approx(logits.softmax(1).max(1).values.numpy())
    assert {column.shape for column in found.values()} == {(2,)}


def test_baselines_learn_digits(digits_folder, tmp_path):
    raw = digits_folder(tmp_path, 30)
    reader = reader_of(raw, read(raw, DATA), Split(test=0.3))
    encoding = fit(reader("train"), ImageEncoding(size=28, channels=1))
    found = baselines(reader, DATA, encoding, answers_of(USECASE, reader, DATA))
    test = list(reader("test"))
    assert list(found) == ["commonest class", "HOG + SVM"]
    for outcomes in found.values():
        assert outcomes["row"].tolist() == [each.row for each in test]
        assert [encoding["classes"][number] for number in outcomes["target"]] == [each.example.target for each in test]
        assert ((outcomes["confidence"] > 0) & (outcomes["confidence"] <= 1)).all()
    counts = np.bincount([int(each.example.target) for each in reader("train")])
    assert set(found["commonest class"]["predicted"].tolist()) == {int(counts.argmax())}
    assert accuracy(found["HOG + SVM"]) > 0.8
    assert accuracy(found["commonest class"]) < 0.3


def test_baselines_know_two_classes():
    examples = labelled(40)
    sides = {"train": examples[:30], "test": examples[30:]}

    def reader(split):
        return iter(sides.get(split, []))

    found = baselines(
        reader, DATA, {"classes": ["a", "b"], "size": 8, "channels": 1}, answers_of(USECASE, reader, DATA)
    )
    assert len(found["HOG + SVM"]["row"]) == 10
    assert ((found["HOG + SVM"]["confidence"] >= 0.5) & (found["HOG + SVM"]["confidence"] <= 1)).all()


# Serving and showing


def network(encoding):
    torch.manual_seed(0)
    model = build(ResidualParams(stem=8, widths=[8], depths=[1]), encoding).eval()
    torch.nn.init.normal_(model.head.weight)
    return model


def test_an_answer_is_the_prediction_of_the_pipeline():
    examples = labelled(6)
    encoding = fit(iter(examples), ImageEncoding(size=8, channels=1))
    model = network(encoding)
    items = list(encode(iter(examples), encoding, "test"))
    batch = {name: torch.from_numpy(np.stack([item.arrays[name] for item in items])) for name in ("image", "target")}
    with torch.inference_mode():
        outcomes = predict(model, batch, encoding)
    answers = serving.answer(model, encoding, serving.example([each.payload for each in examples]), {})
    assert [each["label"] for each in answers] == [encoding["classes"][number] for number in outcomes["predicted"]]
    assert [each["probability"] for each in answers] == pytest.approx(outcomes["confidence"].tolist(), abs=1e-5)
    assert set(answers[0]) == set(USECASE.serving.outputs)


def evidence(classes, correct):
    outcomes = {
        "row": np.arange(3),
        "target": np.zeros(3, np.int64),
        "predicted": np.where(correct, 0, 1),
        "confidence": np.array([0.5, 0.9, 0.7]),
        "correct": np.array(correct, float),
    }
    return Evidence(torch.nn.Identity(), {"classes": classes}, outcomes, lambda row: image_bytes(picture(row)))


def test_mistakes_are_shown_surest_first_and_escaped():
    (panel,) = show(evidence(["<b>", '"x"'], [False, True, False]))
    assert panel.html.count("<figure>") == 2
    assert panel.html.index("70% sure") < panel.html.index("50% sure")
    assert "<b>" not in panel.html
    assert "&lt;b&gt; taken for &quot;x&quot;" in panel.html
    assert panel.caption.startswith("2 of 3 test images")


def test_no_mistakes_are_no_panel():
    assert show(evidence(["a", "b"], [True, True, True])) == []
