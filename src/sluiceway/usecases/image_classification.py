"""Image classification: a folder per class, a residual network, HOG with a support vector machine beside it.

Shapes: B images, C channels, H height, W width, K classes, N test images.
"""

import html
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from sluiceway.config import DataParams, ModelParams, Section
from sluiceway.data.sources import files_below
from sluiceway.data.table import BadExample, Example, Measures, SplitName
from sluiceway.errors import DataError, UnknownLayout
from sluiceway.usecases.base import (
    Batch,
    Encoding,
    Evidence,
    Item,
    Loaded,
    Metric,
    Outcomes,
    Panel,
    Reader,
    Serving,
    UseCase,
)

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
_LAYOUT = "a folder per class with images in it: data/raw/<pipeline>/<class>/<image>.png"


class ImageData(DataParams):
    """Images in a folder per class; the folder's name is the class."""


class ImageEncoding(Section):
    """Images of one size, as bytes."""

    size: int = Field(32, ge=4)
    """Pixels per side of the square that images are resized to."""
    channels: Literal[1, 3] = 3
    """1: grey, 3: colour."""


class ResidualParams(ModelParams):
    """A compact residual network."""

    name: Literal["residual"] = "residual"
    """Which architecture."""
    stem: int = Field(32, ge=1)
    """Channels after the first convolution, which halves the image."""
    widths: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [32, 64], min_length=1)
    """Channels of each stage; every stage but the first halves the image again."""
    depths: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [1, 2], min_length=1)
    """Residual blocks of each stage."""
    groups: int = Field(8, ge=1)
    """Groups of the group norms; ``stem`` and ``widths`` are multiples of it, or below it."""

    @model_validator(mode="after")
    def _can_be_built(self) -> "ResidualParams":
        if len(self.widths) != len(self.depths):
            raise ValueError(f"widths name {len(self.widths)} stages and depths {len(self.depths)}: give one of each")
        odd = [width for width in (self.stem, *self.widths) if width % min(self.groups, width)]
        if odd:
            raise ValueError(f"{odd[0]} channels do not divide by groups {self.groups}: use a multiple of it")
        return self


class ImageObjective(Section):
    """Cross entropy, and random affine maps of the training images."""

    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of the target's probability that is spread over all classes."""
    shift: float = Field(0.08, ge=0)
    """Largest shift, as a share of the image's side."""
    rotate: float = Field(12.0, ge=0)
    """Largest rotation, in degrees."""
    scale: float = Field(0.12, ge=0)
    """Largest change of size, as a share, each axis for itself."""
    shear: float = Field(0.2, ge=0)
    """Largest shear."""
    mirror: bool = False
    """Whether images are mirrored at random: right for things, wrong for letters and digits."""


# Raw data to the example table.


def read(raw: Path, data: ImageData) -> Iterator[Example]:
    """List images by class folder. The id is the path: ``7/00012.png``."""
    files = files_below(raw, SUFFIXES)
    if not files:
        kinds = Counter(path.suffix.lower() or "no suffix" for path in raw.rglob("*") if path.is_file())
        found = ", ".join(f"{count} x {suffix}" for suffix, count in kinds.most_common(3))
        raise UnknownLayout(f"no images below {raw}: found {found}", hint=f"expected {_LAYOUT}")
    loose = [path.name for path in files if path.parent == raw]
    if loose:
        raise UnknownLayout(
            f"{len(loose)} images lie in {raw} itself, so their class is not known: {loose[0]} ...",
            hint=f"expected {_LAYOUT}",
        )
    for path in files:
        name = path.relative_to(raw).as_posix()
        yield Example(id=name, source=name, target=path.relative_to(raw).parts[0])


def measure(payload: bytes, data: ImageData) -> Measures:
    """Decode an image and measure size, brightness and contrast, the last two in 0..1."""
    image = _open(payload)
    pixels = np.asarray(image.convert("L"), np.float32) / 255
    contrast = float(pixels.std())
    if pixels.min() == pixels.max():  # a deviation of equal pixels need not be exactly 0
        raise BadExample("blank", f"every pixel is {pixels.flat[0]:.2f}")
    return {
        "width": image.width,
        "height": image.height,
        "channels": len(image.getbands()),
        "brightness": round(float(pixels.mean()), 6),
        "contrast": round(contrast, 6),
    }


def _open(payload: bytes) -> "Image":
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(payload))
        image.load()
    except UnidentifiedImageError:
        raise BadExample("unreadable", f"not an image; it begins with {payload[:8]!r}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadExample("unreadable", str(error)) from None
    return image


def expectations() -> list[dict[str, Any]]:
    """Expect sizes and channels to be there; what they are is each data set's own."""
    return [
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "target"}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "width", "min_value": 4}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "height", "min_value": 4}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "channels", "value_set": [1, 3, 4]}},
    ]


# The example table to shards.


def fit(training: Iterable[Loaded], params: ImageEncoding) -> Encoding:
    """Find the classes, and the mean and deviation of each channel over the training images."""
    classes: set[str] = set()
    total = np.zeros((2, params.channels))
    count = 0
    for loaded in training:
        classes.add(str(loaded.example.target))
        pixels = _pixels(loaded.payload, params.size, params.channels) / 255.0  # [C, H, W]
        total += pixels.sum((1, 2)), (pixels**2).sum((1, 2))
        count += params.size**2
    if len(classes) < 2:
        raise DataError(f"classification needs two classes, found {len(classes)}: {sorted(classes)}", hint=_LAYOUT)
    mean = total[0] / count
    std = np.sqrt(np.maximum(total[1] / count - mean**2, 1e-6))
    return {
        "classes": sorted(classes),
        "size": params.size,
        "channels": params.channels,
        "mean": [round(float(value), 6) for value in mean],
        "std": [round(float(value), 6) for value in std],
    }


def encode(examples: Iterable[Loaded], encoding: Encoding, split: SplitName) -> Iterator[Item]:
    """Give each image as uint8 [C, H, W], and its class's number."""
    numbers = {name: number for number, name in enumerate(encoding["classes"])}
    for loaded in examples:
        target = loaded.example.target
        if target not in numbers:
            raise DataError(
                f"class {target!r} of {loaded.example.id} does not occur in the training split",
                hint="give more examples of it, or take it out",
            )
        image = _pixels(loaded.payload, encoding["size"], encoding["channels"])
        yield Item(loaded.row, {"image": image, "target": np.asarray(numbers[target], np.int64)})


def _pixels(payload: bytes, size: int, channels: int) -> npt.NDArray[np.uint8]:
    """Decode and resize to uint8 [C, size, size]."""
    image = _open(payload).convert("L" if channels == 1 else "RGB")
    if image.size != (size, size):
        image = image.resize((size, size))
    pixels = np.asarray(image, np.uint8)
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


# Shards to a model.


def build(params: ResidualParams, encoding: Encoding) -> "nn.Module":
    """Make the untrained network."""
    from sluiceway.models.residual import ResidualNet

    return ResidualNet(
        channels=encoding["channels"],
        classes=len(encoding["classes"]),
        stem=params.stem,
        widths=params.widths,
        depths=params.depths,
        groups=params.groups,
        mean=encoding["mean"],
        std=encoding["std"],
    )


def losses(model: "nn.Module", batch: Batch, objective: ImageObjective) -> dict[str, "Tensor"]:
    """Return cross entropy in nats and accuracy, per image [B]."""
    from torch.nn.functional import cross_entropy

    logits = model(batch["image"])  # [B, K]
    smoothing = objective.label_smoothing if model.training else 0.0
    loss = cross_entropy(logits, batch["target"], label_smoothing=smoothing, reduction="none")
    return {"loss": loss, "accuracy": (logits.argmax(1) == batch["target"]).float()}


_DRAWS = 7


def augment(batch: Batch, dice: "Tensor", objective: ImageObjective) -> Batch:
    """Map each image by a random affine transformation.

    Args:
        batch: images as uint8 [B, C, H, W].
        dice: uniform numbers [B, 7]: rotation, two scales, shear, two shifts, mirror.
        objective: how far each may go.

    Returns:
        The batch with images as float in 0..1.
    """
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    images = batch["image"].float() / 255
    angle, scale_x, scale_y, shear, shift_x, shift_y = (dice[:, :6] * 2 - 1).unbind(1)  # each [B], in -1..1
    angle = torch.deg2rad(angle * objective.rotate)
    scale_x, scale_y = torch.exp(scale_x * objective.scale), torch.exp(scale_y * objective.scale)
    if objective.mirror:
        scale_x = torch.where(dice[:, 6] < 0.5, -scale_x, scale_x)
    cos, sin, shear = angle.cos(), angle.sin(), shear * objective.shear
    # Rows of the map from output to input coordinates, both in -1..1: a shift by the whole side would be 2.
    first = torch.stack([cos * scale_x, (shear * cos - sin) * scale_y, shift_x * objective.shift * 2], 1)
    second = torch.stack([sin * scale_x, (shear * sin + cos) * scale_y, shift_y * objective.shift * 2], 1)
    grid = affine_grid(torch.stack([first, second], 1), list(images.shape), align_corners=False)  # [B, H, W, 2]
    moved = grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return {**batch, "image": moved}


# A model to its scores.


def predict(model: "nn.Module", batch: Batch, encoding: Encoding) -> Outcomes:
    """Answer a batch: target, prediction, confidence and whether it was right, each [B]."""
    probabilities = model(batch["image"]).softmax(1)
    confidence, prediction = probabilities.max(1)
    return _outcomes(batch["target"].numpy(), prediction.numpy(), confidence.numpy())


def _outcomes(target: npt.NDArray[Any], prediction: npt.NDArray[Any], confidence: npt.NDArray[Any]) -> Outcomes:
    return {
        "target": target.astype(np.int64),
        "predicted": prediction.astype(np.int64),
        "confidence": confidence.astype(np.float64),
        "correct": (target == prediction).astype(np.float64),
    }


def accuracy(outcomes: Outcomes) -> float:
    """Share of right answers."""
    return float(outcomes["correct"].mean())


def macro_f1(outcomes: Outcomes) -> float:
    """Mean over classes of the harmonic mean of precision and recall; a class counts if it occurs."""
    target, prediction = outcomes["target"], outcomes["predicted"]
    classes = int(max(target.max(), prediction.max())) + 1
    table = np.bincount(target * classes + prediction, minlength=classes**2).reshape(classes, classes)
    hits, of_target, of_prediction = np.diag(table), table.sum(1), table.sum(0)
    occurs = (of_target + of_prediction) > 0
    return float((2 * hits[occurs] / (of_target + of_prediction)[occurs]).mean())


METRICS = (
    Metric("accuracy", "Accuracy", higher_is_better=True, compute=accuracy, percent=True),
    Metric("macro_f1", "Macro F1", higher_is_better=True, compute=macro_f1, percent=True),
)


def baselines(reader: Reader, data: ImageData, encoding: Encoding) -> Mapping[str, Outcomes]:
    """Answer the test split with the commonest class, and with HOG features and a support vector machine."""
    from sklearn.svm import SVC

    train_features, train_targets, _ = _features(reader("train"), encoding)
    test_features, test_targets, rows = _features(reader("test"), encoding)
    commonest = int(np.bincount(train_targets).argmax())
    share = float((train_targets == commonest).mean())
    machine = SVC(C=10.0).fit(train_features, train_targets)
    margins = machine.decision_function(test_features)  # [N, K], or [N] for two classes
    answers = machine.classes_[margins.argmax(1) if margins.ndim > 1 else (margins > 0).astype(int)]
    constant = _outcomes(test_targets, np.full_like(test_targets, commonest), np.full(len(test_targets), share))
    classical = _outcomes(test_targets, answers, _softmax(margins))
    return {"commonest class": {**constant, "row": rows}, "HOG + SVM": {**classical, "row": rows}}


def _features(
    examples: Iterable[Loaded], encoding: Encoding
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Histograms of oriented gradients (Dalal and Triggs, 2005): [N, features], classes [N] and rows [N]."""
    from skimage.feature import hog

    numbers = {name: number for number, name in enumerate(encoding["classes"])}
    cell = max(2, encoding["size"] // 7)
    features, targets, rows = [], [], []
    for loaded in examples:
        image = _pixels(loaded.payload, encoding["size"], 1)[0]
        features.append(hog(image, orientations=9, pixels_per_cell=(cell, cell), cells_per_block=(2, 2)))
        targets.append(numbers[str(loaded.example.target)])
        rows.append(loaded.row)
    return np.asarray(features, np.float32), np.asarray(targets, np.int64), np.asarray(rows, np.int64)


def _softmax(margins: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn margins into something like a confidence: [N] or [N, K] -> [N]."""
    if margins.ndim == 1:  # two classes
        margins = np.stack([-margins, margins], 1)
    powers = np.exp(margins - margins.max(1, keepdims=True))
    return np.asarray(powers.max(1) / powers.sum(1))


def show(evidence: Evidence) -> list[Panel]:
    """Show the surest mistakes."""
    classes, outcomes = evidence.encoding["classes"], evidence.outcomes
    wrong = np.flatnonzero(outcomes["correct"] == 0)
    worst = wrong[np.argsort(-outcomes["confidence"][wrong])][:24]
    figures = []
    for item in worst:
        target, answer = (html.escape(classes[outcomes[name][item]]) for name in ("target", "predicted"))
        said = f"{target} taken for {answer}, {outcomes['confidence'][item]:.0%} sure"
        source = _data_uri(evidence.load(int(outcomes["row"][item])))
        figures.append(f'<figure><img src="{source}" alt="{said}" width="84"><figcaption>{said}</figcaption></figure>')
    caption = f"{len(wrong)} of {len(outcomes['correct'])} test images were answered wrongly; the surest come first."
    return [Panel("Mistakes", caption, f'<div class="gallery">{"".join(figures)}</div>')] if figures else []


def _data_uri(payload: bytes) -> str:
    from base64 import b64encode

    picture = io.BytesIO()
    image = _open(payload).convert("RGB")
    image.thumbnail((168, 168))
    image.save(picture, "PNG")
    return "data:image/png;base64," + b64encode(picture.getvalue()).decode()


# Serving.


def example(payloads: Sequence[bytes]) -> list[dict[str, Any]]:
    """Make request rows from image files."""
    return [{"image": payload} for payload in payloads]


def answer(
    model: "nn.Module", encoding: Encoding, rows: list[dict[str, Any]], params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Classify images given as the bytes of image files."""
    import torch

    pixels = np.stack([_pixels(row["image"], encoding["size"], encoding["channels"]) for row in rows])
    with torch.inference_mode():
        confidence, prediction = model(torch.from_numpy(pixels)).softmax(1).max(1)
    return [
        {"label": encoding["classes"][number], "probability": float(sure)}
        for number, sure in zip(prediction.tolist(), confidence.tolist(), strict=True)
    ]


USECASE = UseCase(
    name="image_classification",
    summary="one class per image: a residual network beside HOG + SVM",
    target="class",
    data=ImageData,
    read=read,
    measures={
        "width": "integer",
        "height": "integer",
        "channels": "integer",
        "brightness": "number",
        "contrast": "number",
    },
    measure=measure,
    expectations=expectations,
    encode_params=ImageEncoding,
    fit=fit,
    encode=encode,
    models=(ResidualParams,),
    build=build,
    objective=ImageObjective,
    losses=losses,
    draws=_DRAWS,
    augment=augment,
    predict=predict,
    metrics=METRICS,
    baselines=baselines,
    show=show,
    serving=Serving(
        inputs={"image": "binary"},
        outputs={"label": "string", "probability": "double"},
        params={},
        packages=("pillow",),
        example=example,
        answer=answer,
    ),
)
