"""Faults that are put into real data, for ``benchmarks/data_gate.py``.

A fault changes a raw folder in place, as bad luck would, and tells which examples it touched and by what name the gate
ought to know it. Rates are shares of the examples.
"""

import base64
import codecs
import contextlib
import csv
import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from sluiceway.usecases.text_generation.layouts import read
from sluiceway.usecases.text_generation.params import TextData
from sluiceway.usecases.translation.examples import read as read_translations
from sluiceway.usecases.translation.params import PairData

Kind = Literal["contract", "example", "data set", "past"]
Inject = Callable[[Path, float, np.random.Generator], set[str]]


@dataclass(frozen=True)
class Fault:
    """One way in which data goes bad."""

    name: str
    kind: Kind
    reasons: tuple[str, ...]
    """Checks, or reasons of the quarantine, that name this fault rightly."""
    inject: Inject
    rates: tuple[float, ...] = (1.0,)
    options: dict[str, Any] = field(default_factory=dict)
    """Parameters that are set for it, by dotted name: what the data's owner would have declared."""
    named: bool = True
    """Whether single examples are to blame, so that precision and recall can be counted."""


# Images: a folder per class.


def images(raw: Path) -> list[Path]:
    """All images, in order of their path."""
    return sorted(path for path in raw.rglob("*") if path.is_file())


def some(paths: Sequence[Path], rate: float, rng: np.random.Generator) -> list[Path]:
    """A random share of the files, at least one."""
    chosen = rng.choice(len(paths), max(1, round(rate * len(paths))), replace=False)
    return [paths[at] for at in sorted(chosen)]


def each(change: Callable[[Path, np.random.Generator], None]) -> Inject:
    """Change each of a random share of the images in place."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        chosen = some(images(raw), rate, rng)
        for path in chosen:
            change(path, rng)
        return {path.relative_to(raw).as_posix() for path in chosen}

    return inject


def pixels(change: Callable[[Image.Image, np.random.Generator], Image.Image]) -> Callable[..., None]:
    """Make a change of a file from a change of its image."""

    def rewrite(path: Path, rng: np.random.Generator) -> None:
        image = Image.open(io.BytesIO(path.read_bytes()))
        image.load()
        change(image, rng).save(path)

    return rewrite


def _truncate(path: Path, rng: np.random.Generator) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * rng.uniform(0.3, 0.9))])


def _noise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (image.height, image.width), dtype=np.uint8))


def _photo(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    from skimage import data

    photo = (data.camera, data.coins, data.page, data.brick, data.grass)[int(rng.integers(5))]()
    side = int(rng.integers(64, min(200, *photo.shape[:2])))
    x, y = (int(rng.integers(0, edge - side)) for edge in (photo.shape[1], photo.shape[0]))
    crop = Image.fromarray(photo[y : y + side, x : x + side])
    return crop.convert("L").resize(image.size)


def _invert(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return Image.fromarray(255 - np.asarray(image))


def _shift(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return Image.fromarray(np.roll(np.asarray(image), tuple(rng.choice([(0, 1), (1, 0), (0, -1), (-1, 0)])), (0, 1)))


def _grainy(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    grey = np.asarray(image, np.float32) + rng.normal(0, 6, (image.height, image.width))
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


def _compressed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(60, 95)))
    return Image.open(io.BytesIO(file.getvalue())).convert(image.mode)


def _brighter(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(float(rng.choice([0.8, 0.85, 1.15, 1.2])))


def move(path: Path, folder: Path, mark: str) -> Path:
    """Move a file to another class, under a name that is free."""
    folder.mkdir(exist_ok=True)
    return path.rename(folder / f"{path.stem}-{mark}{path.suffix}")


def flip(pairs: dict[str, str] | None = None) -> Inject:
    """Give a random share of the images another class: any, or that of the pair."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        classes = sorted(path.name for path in raw.iterdir())
        pool = [path for path in images(raw) if pairs is None or path.parent.name in pairs]
        moved = set()
        for path in some(pool, rate, rng):
            own = path.parent.name
            other = pairs[own] if pairs else str(rng.choice([name for name in classes if name != own]))
            moved.add(move(path, raw / other, "m").relative_to(raw).as_posix())
        return moved

    return inject


def shuffle_labels(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """Give every image the class of another."""
    paths = images(raw)
    classes = [path.parent.name for path in paths]
    for path, name in zip(paths, rng.permutation(classes), strict=True):
        move(path, raw / str(name), "s")
    return set()


def keep(rate_of: Callable[[Path, float], float]) -> Inject:
    """Delete images: of each, keep it by chance with this probability."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        for path in images(raw):
            if rng.random() >= rate_of(path, rate):
                path.unlink()
        for folder in [path for path in raw.iterdir() if not any(path.iterdir())]:
            folder.rmdir()
        return set()

    return inject


def copies(change: Callable[..., None] | None, *, other_class: bool = False) -> Inject:
    """Add copies of a random share of the images, as they are or changed a little."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        classes = sorted(path.name for path in raw.iterdir())
        made = set()
        for path in some(images(raw), rate, rng):
            folder = path.parent
            if other_class:
                folder = raw / str(rng.choice([name for name in classes if name != path.parent.name]))
            copy = folder / f"{path.stem}-copy{path.suffix}"
            copy.write_bytes(path.read_bytes())
            if change:
                change(copy, rng)
            made.add(copy.relative_to(raw).as_posix())
        return made

    return inject


def into_split_folders(raw: Path, side_of: Callable[[Path], str]) -> None:
    """Lay images out as ``<side>/<class>/<image>``."""
    for path in images(raw):
        folder = raw / side_of(path) / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
    for folder in [path for path in raw.iterdir() if path.is_dir() and not any(path.iterdir())]:
        folder.rmdir()


def group_leak(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """Split by chance what came from 50 writers, so that writers are on all sides. The data was split by hand."""
    for number, path in enumerate(images(raw)):
        path.rename(path.with_name(f"w{number % 50:02d}-{path.name}"))
    into_split_folders(raw, lambda path: str(rng.choice(["train", "validation", "test"], p=[0.7, 0.1, 0.2])))
    return set()


def copies_across(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """A split by hand in which some test images also lie in the training folder."""
    into_split_folders(raw, lambda path: str(rng.choice(["train", "validation", "test"], p=[0.7, 0.1, 0.2])))
    test = images(raw / "test")
    for path in some(test, rate, rng):
        (raw / "train" / path.parent.name / f"x{path.name}").write_bytes(path.read_bytes())
    return set()


def dated(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """Images of a year, split by chance although time matters."""
    for path in images(raw):
        path.rename(path.with_name(f"2025-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}_{path.name}"))
    return set()


def of_class(name: str, change: Callable[..., None]) -> Inject:
    """Change every image of one class: what is left to learn is the change."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        for path in images(raw / name):
            change(path, rng)
        return set()

    return inject


def _marked(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    grey = np.asarray(image).copy()
    grey[:6, -6:] = [[255 * ((x + y) % 2) for x in range(6)] for y in range(6)]
    return Image.fromarray(grey)


def _as_jpeg(path: Path, rng: np.random.Generator) -> None:
    Image.open(io.BytesIO(path.read_bytes())).save(path, "JPEG", quality=95)


def swap_ids(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """Let a random share of the names mean another image of the same class."""
    chosen = some(images(raw), rate, rng)
    for one, other in zip(chosen[::2], chosen[1::2], strict=False):
        if one.parent == other.parent:
            first, second = one.read_bytes(), other.read_bytes()
            one.write_bytes(second)
            other.write_bytes(first)
    return set()


def resized(side: int) -> Callable[[Image.Image, np.random.Generator], Image.Image]:
    """Another size."""
    return lambda image, rng: image.resize((side, side))


def _dim(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(0.5)


def _blur(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(2))


BAD_FILE = ("unreadable", "truncated", "empty", "quarantined_share")
SIZE = ("outliers", "expect_column_values_to_be_between:width", "expect_column_values_to_be_between:height")
COLOUR = ("outliers", "expect_column_values_to_be_in_set:channels", "expect_column_values_to_be_between:channels")
LOOK = (
    "outliers",
    "strangers",
    "expect_column_values_to_be_between:brightness",
    "expect_column_values_to_be_between:contrast",
    "expect_column_mean_to_be_between:brightness",
)
CLASSES = (
    "class_sizes",
    "classes_in_every_split",
    "expect_column_values_to_be_in_set:target",
    "expect_column_distinct_values_to_contain_set:target",
    "expect_column_distinct_values_to_be_in_set:target",
)
CONTRADICTED = ("copies_agree_on_class",)
NEAR = ("near_copies_across_splits", "near_copies_inside_splits")

IMAGE_FAULTS = (
    Fault("truncated files", "example", BAD_FILE, each(_truncate), (0.01, 0.05)),
    Fault("empty files", "example", BAD_FILE, each(lambda path, rng: path.write_bytes(b"") and None), (0.01, 0.05)),
    Fault(
        "text named .png",
        "example",
        BAD_FILE,
        each(lambda path, rng: path.write_bytes(b"<html>404 Not Found</html>") and None),
        (0.01, 0.05),
    ),
    Fault(
        "blank images",
        "example",
        ("blank", "quarantined_share"),
        each(pixels(lambda image, rng: Image.new("L", image.size, int(rng.integers(256))))),
        (0.01, 0.05),
    ),
    Fault("another size", "contract", SIZE, each(pixels(resized(64))), (0.01, 0.05)),
    Fault("another aspect", "contract", SIZE, each(pixels(lambda image, rng: image.resize((28, 14)))), (0.01,)),
    Fault("colour among grey", "contract", COLOUR, each(pixels(lambda image, rng: image.convert("RGB"))), (0.01, 0.05)),
    Fault("inverted", "example", LOOK, each(pixels(_invert)), (0.01, 0.05)),
    Fault("noise for images", "example", LOOK, each(pixels(_noise)), (0.01, 0.05)),
    Fault("photographs", "example", LOOK, each(pixels(_photo)), (0.01, 0.05)),
    Fault("an unknown class", "contract", CLASSES, lambda raw, rate, rng: _strays(raw, rate, rng), (0.01,)),
    Fault(
        "a class is missing",
        "data set",
        CLASSES,
        keep(lambda path, rate: float(path.parent.name != "6")),
        named=False,
    ),
    Fault(
        "one class is rare",
        "data set",
        ("class_balance", "class_sizes"),
        keep(lambda path, rate: 0.04 if path.parent.name == "6" else 1.0),
        named=False,
    ),
    Fault("too few", "data set", ("enough_examples", "class_sizes"), keep(lambda path, rate: 0.05), named=False),
    Fault("labels flipped", "data set", ("label_errors",), flip(), (0.01, 0.02, 0.05, 0.1)),
    Fault("labels flipped 4-9", "data set", ("label_errors",), flip({"4": "9", "9": "4"}), (0.1,)),
    Fault(
        "labels shuffled",
        "data set",
        ("target_depends_on_content", "label_errors"),
        shuffle_labels,
        named=False,
    ),
    Fault("exact copies", "data set", ("copies_inside_splits",), copies(None), (0.1,)),
    Fault("copies of another class", "data set", CONTRADICTED, copies(None, other_class=True), (0.01, 0.05)),
    Fault("near copies: noise", "data set", NEAR, copies(pixels(_grainy)), (0.02, 0.1)),
    Fault("near copies: JPEG", "data set", NEAR, copies(pixels(_compressed)), (0.02, 0.1)),
    Fault("near copies: contrast", "data set", NEAR, copies(pixels(_brighter)), (0.02, 0.1)),
    Fault("near copies: shifted", "data set", NEAR, copies(pixels(_shift)), (0.02, 0.1)),
    Fault(
        "copies across a given split", "data set", ("copies_across_splits",), copies_across, (0.01, 0.05), named=False
    ),
    Fault(
        "writers on all sides",
        "data set",
        ("group_on_one_side",),
        group_leak,
        options={"data.group": r"/(w\d+)-"},
        named=False,
    ),
    Fault(
        "learned from the future",
        "data set",
        ("time_overlap",),
        dated,
        options={"data.time": r"/(\d{4}-\d\d-\d\d)_"},
        named=False,
    ),
    Fault("a mark on one class", "data set", ("shortcuts",), of_class("3", pixels(_marked)), named=False),
    Fault("one class is JPEG", "data set", ("shortcuts", "outliers"), of_class("3", _as_jpeg), named=False),
    Fault(
        "all dimmer than before", "past", ("drift_of_measures", "drift_of_contents"), each(pixels(_dim)), named=False
    ),
    Fault("all blurred", "past", ("drift_of_measures", "drift_of_contents"), each(pixels(_blur)), named=False),
    Fault(
        "a third is dimmer",
        "past",
        ("drift_of_measures", "drift_of_contents"),
        each(pixels(_dim)),
        (0.33,),
        named=False,
    ),
    Fault(
        "other class shares",
        "past",
        ("drift_of_classes",),
        keep(lambda path, rate: 1.0 if path.parent.name in "01" else 0.35),
        named=False,
    ),
    Fault("names re-used", "past", ("ids_mean_the_same",), swap_ids, (0.2,), named=False),
    Fault("known images relabelled", "past", ("labels_as_before", "label_errors"), flip(), (0.02,)),
    Fault("half is gone", "past", ("examples_kept",), keep(lambda path, rate: 0.5), named=False),
)


def _strays(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    return {move(path, raw / "x", "m").relative_to(raw).as_posix() for path in some(images(raw), rate, rng)}


# Text: files of passages with blank lines between them.

Passages = dict[str, list[str]]


def read_passages(raw: Path) -> Passages:
    """The passages of each file."""
    files = sorted(path for path in raw.rglob("*.txt"))
    texts = {path.relative_to(raw).as_posix(): path.read_text(encoding="utf-8") for path in files}
    return {name: [part for part in text.split("\n\n") if part.strip()] for name, text in texts.items()}


def write_passages(raw: Path, passages: Passages) -> None:
    """Write files back."""
    for name, parts in passages.items():
        (raw / name).write_bytes("\n\n".join(parts).encode("utf-8", "surrogateescape"))


def ids_of(raw: Path, places: set[tuple[str, int]]) -> set[str]:
    """Ids of passages, by file and number."""
    by_file: dict[str, list[str]] = {}
    for example in read(raw, TextData()):
        by_file.setdefault(example.id.partition("#")[0], []).append(example.id)
    return {by_file[name][number] for name, number in places}


def texts(change: Callable[[str, np.random.Generator], str]) -> Inject:
    """Change each of a random share of the passages in place."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        passages = read_passages(raw)
        places = [(name, number) for name, parts in passages.items() for number in range(len(parts))]
        chosen = rng.choice(len(places), max(1, round(rate * len(places))), replace=False)
        touched: set[tuple[str, int]] = set()
        for name, number in (places[at] for at in sorted(chosen)):
            passages[name][number] = change(passages[name][number], rng).replace("\n\n", "\n")
            touched.add((name, number))
        write_passages(raw, passages)
        return ids_of(raw, touched)

    return inject


def text_copies(change: Callable[[str, np.random.Generator], str]) -> Inject:
    """Add changed copies of a random share of the passages, in a file of their own."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        passages = read_passages(raw)
        parts = [part for each in passages.values() for part in each]
        chosen = rng.choice(len(parts), max(1, round(rate * len(parts))), replace=False)
        made = [change(parts[at], rng) for at in chosen]
        write_passages(raw, {"99-more.txt": made})
        return ids_of(raw, {("99-more.txt", number) for number in range(len(made))})

    return inject


SPANISH = (
    "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y "
    "conciencia, deben comportarse fraternalmente los unos con los otros.",
    "Toda persona tiene todos los derechos y libertades proclamados en esta Declaración, sin distinción alguna de "
    "raza, color, sexo, idioma, religión, opinión política o de cualquier otra índole.",
    "Todo individuo tiene derecho a la vida, a la libertad y a la seguridad de su persona.",
    "Nadie estará sometido a esclavitud ni a servidumbre; la esclavitud y la trata de esclavos están prohibidas en "
    "todas sus formas.",
    "Nadie será sometido a torturas ni a penas o tratos crueles, inhumanos o degradantes.",
)
GERMAN = (
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und "
    "sollen einander im Geist der Brüderlichkeit begegnen.",
    "Jeder hat Anspruch auf die in dieser Erklärung verkündeten Rechte und Freiheiten ohne irgendeinen Unterschied.",
    "Jeder hat das Recht auf Leben, Freiheit und Sicherheit der Person.",
    "Niemand darf in Sklaverei oder Leibeigenschaft gehalten werden; Sklaverei und Sklavenhandel sind verboten.",
    "Niemand darf der Folter oder grausamer, unmenschlicher oder erniedrigender Behandlung unterworfen werden.",
)
_CYRILLIC = str.maketrans("abcdefghijklmnoprstuvyz", "абцдефгхийклмнопрстувыз")


def in_language(sentences: Sequence[str]) -> Callable[[str, np.random.Generator], str]:
    """About as long a text in another language."""

    def change(text: str, rng: np.random.Generator) -> str:
        said: list[str] = []
        while sum(map(len, said)) < min(len(text), 2_000):
            said += [sentences[at] for at in rng.permutation(len(sentences))]
        return " ".join(said)

    return change


def _scrambled(text: str, rng: np.random.Generator) -> str:
    return "".join(np.array(list(text))[rng.permutation(len(text))].tolist())


def _garbled(text: str, rng: np.random.Generator) -> str:
    accented = text.replace("e", "é").replace("a", "à")
    return accented.encode().decode("latin-1")


def _broken_bytes(text: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(0, max(1, len(text) // 2)))
    return text[:at] + b"\xff\xfe\xe9".decode("utf-8", "surrogateescape") + text[at:]


def _html(text: str, rng: np.random.Generator) -> str:
    words = text.split()[:300]
    return "".join(f'<td class="c{at % 7}"><span id="w{at}">{word}</span></td>' for at, word in enumerate(words))


def _few_words_changed(text: str, rng: np.random.Generator) -> str:
    words = text.split(" ")
    for at in rng.choice(len(words), max(1, len(words) // 50), replace=False):
        words[at] = "yea"
    return " ".join(words)


ODD_TEXT = (
    "strangers",
    "outliers",
    "expect_column_values_to_be_between:letters",
    "expect_column_values_to_be_between:longest_word",
    "expect_column_values_to_be_between:words",
    "expect_column_values_to_be_between:characters",
    "expect_column_values_to_be_between:bytes",
)
TEXT_FAULTS = (
    Fault("not UTF-8", "example", ("unreadable", "quarantined_share"), texts(_broken_bytes), (0.01, 0.05)),
    Fault("zero bytes", "example", ("unreadable", "quarantined_share"), texts(lambda t, r: "\x00" + t), (0.01, 0.05)),
    Fault("mojibake", "example", ("mojibake", "quarantined_share"), texts(_garbled), (0.01, 0.05)),
    Fault(
        "one letter only", "example", ("constant", "quarantined_share"), texts(lambda t, r: "a" * len(t)), (0.01, 0.05)
    ),
    Fault("Spanish among English", "example", ODD_TEXT, texts(in_language(SPANISH)), (0.01, 0.05)),
    Fault("German among English", "example", ODD_TEXT, texts(in_language(GERMAN)), (0.01, 0.05)),
    Fault(
        "another script",
        "example",
        ODD_TEXT,
        texts(lambda t, r: t.lower().translate(_CYRILLIC)),
        (0.01, 0.05),
    ),
    Fault("letters scrambled", "example", ODD_TEXT, texts(_scrambled), (0.01, 0.05)),
    Fault("ROT13", "example", ODD_TEXT, texts(lambda t, r: codecs.encode(t, "rot13")), (0.01, 0.05)),
    Fault(
        "base64",
        "example",
        ODD_TEXT,
        texts(lambda t, r: base64.b64encode(t.encode()).decode()),
        (0.01, 0.05),
    ),
    Fault("HTML", "example", ODD_TEXT, texts(_html), (0.01, 0.05)),
    Fault("one sentence repeated", "example", ODD_TEXT, texts(lambda t, r: (t[:60] + " ") * 40), (0.01, 0.05)),
    Fault("very long", "example", ODD_TEXT, texts(lambda t, r: t * 60), (0.01,)),
    Fault("one word", "example", ODD_TEXT, texts(lambda t, r: t.split()[0]), (0.01, 0.05)),
    Fault("exact copies", "data set", ("copies_inside_splits",), text_copies(lambda t, r: t), (0.1,)),
    Fault("near copies: words", "data set", NEAR, text_copies(_few_words_changed), (0.02, 0.1)),
    Fault("near copies: case", "data set", NEAR, text_copies(lambda t, r: t.upper()), (0.02, 0.1)),
    Fault("near copies: cut", "data set", NEAR, text_copies(lambda t, r: t[: int(len(t) * 0.9)]), (0.02, 0.1)),
    Fault(
        "too few",
        "data set",
        ("enough_examples", "expect_table_row_count_to_be_between"),
        lambda raw, rate, rng: _drop(raw, 0.8, rng),
        named=False,
    ),
    Fault(
        "half in capitals",
        "past",
        ("drift_of_measures", "drift_of_contents"),
        texts(lambda t, r: t.upper()),
        (0.5,),
        named=False,
    ),
    Fault(
        "cut to a third",
        "past",
        ("drift_of_measures", "drift_of_contents"),
        texts(lambda t, r: t[: len(t) // 3]),
        named=False,
    ),
    Fault("half is gone", "past", ("examples_kept",), lambda raw, rate, rng: _drop(raw, 0.5, rng), named=False),
)


def _drop(raw: Path, share: float, rng: np.random.Generator) -> set[str]:
    passages = read_passages(raw)
    for name, parts in passages.items():
        kept = [part for part in parts if rng.random() >= share]
        (raw / name).write_text("\n\n".join(kept or parts[:1]), encoding="utf-8")
    return set()


# Sounds: a folder per class.

Wave = np.ndarray[Any, np.dtype[np.float64]]
_SOUND = {".ogg": ("OGG", "VORBIS"), ".wav": ("WAV", "PCM_16"), ".mp3": ("MP3", "MPEG_LAYER_III")}


def sounds(change: Callable[[Wave, int, np.random.Generator], tuple[Wave, int]]) -> Callable[..., None]:
    """Make a change of a file from a change of its wave [N, C] and sampling rate."""

    def rewrite(path: Path, rng: np.random.Generator) -> None:
        import soundfile

        samples, rate = soundfile.read(path, always_2d=True)
        if not len(samples):  # some sounds of the packages are empty
            return
        wave, rate = change(samples, rate, rng)
        kind, subtype = _SOUND[path.suffix]
        soundfile.write(path, wave, rate, format=kind, subtype=subtype)

    return rewrite


def wave(change: Callable[[Wave, np.random.Generator], Wave]) -> Callable[..., None]:
    """Make a change of a file from a change of its wave; the sampling rate stays."""
    return sounds(lambda samples, rate, rng: (change(samples, rng), rate))


def _faster(samples: Wave, factor: float) -> Wave:
    """Play faster: by 2 an octave higher, in half the time."""
    places = np.arange(0, len(samples) - 1, factor)
    return np.stack([np.interp(places, np.arange(len(samples)), each) for each in samples.T], 1)


def at_rate(rate: int) -> Callable[..., None]:
    """Bring to another sampling rate."""
    return sounds(lambda samples, old, rng: (_faster(samples, old / rate), rate))


def _noise_as_loud(samples: Wave, rng: np.random.Generator) -> Wave:
    return rng.normal(0, samples.std(), samples.shape)


def _music(samples: Wave, rng: np.random.Generator) -> Wave:
    time = np.arange(len(samples))[:, None] / 44_100
    chord = [np.sin(2 * np.pi * hertz * time) for hertz in rng.choice([262, 330, 392, 523, 659, 784, 1047], 3)]
    return 0.15 * np.sum(chord, 0)


def _hissing(samples: Wave, rng: np.random.Generator) -> Wave:
    return samples + rng.normal(0, 0.03 * samples.std(), samples.shape)


def _moved(samples: Wave, rng: np.random.Generator) -> Wave:
    before, after = (np.zeros((int(rng.integers(200, 2_000)), samples.shape[1])) for _ in range(2))
    return np.concatenate([before, samples, after])


def _beeping(samples: Wave, rng: np.random.Generator) -> Wave:
    time = np.arange(min(len(samples), 2_000))[:, None] / 44_100
    changed = samples.copy()
    changed[: len(time)] += 0.1 * np.sin(2 * np.pi * 5_000 * time)
    return changed


def _again_as(suffix: str) -> Callable[..., None]:
    """Store in another format, with the losses of that."""

    def change(path: Path, rng: np.random.Generator) -> None:
        import soundfile

        samples, rate = soundfile.read(path, always_2d=True)
        kind, subtype = _SOUND[suffix]
        soundfile.write(path.with_suffix(suffix), samples, rate, format=kind, subtype=subtype)
        path.unlink()

    return change


def recoded(suffix: str) -> Inject:
    """Add copies of a random share of the sounds in another format."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        made = set()
        for path in some(images(raw), rate, rng):
            copy = path.with_name(f"{path.stem}-copy{path.suffix}")
            copy.write_bytes(path.read_bytes())
            _again_as(suffix)(copy, rng)
            made.add(copy.with_suffix(suffix).relative_to(raw).as_posix())
        return made

    return inject


def syllables_on_all_sides(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """Split by chance, though a syllable in another tone is no new syllable. The data was split by hand."""
    into_split_folders(raw, lambda path: str(rng.choice(["train", "validation", "test"], p=[0.7, 0.1, 0.2])))
    return set()


RATE = ("outliers", "expect_column_values_to_be_between:sample_rate")
STEREO = ("outliers", "expect_column_values_to_be_between:channels")
LEVEL = ("outliers", "expect_column_values_to_be_between:loudness", "expect_column_mean_to_be_between:loudness")
ODD_SOUND = ("strangers", "outliers", *LEVEL)
SOUND_DRIFT = ("drift_of_measures", "drift_of_contents")

AUDIO_FAULTS = (
    Fault("truncated files", "example", BAD_FILE, each(_truncate), (0.01, 0.05)),
    Fault("empty files", "example", BAD_FILE, each(lambda path, rng: path.write_bytes(b"") and None), (0.01, 0.05)),
    Fault(
        "text named .ogg",
        "example",
        BAD_FILE,
        each(lambda path, rng: path.write_bytes(b"<html>404 Not Found</html>") and None),
        (0.01, 0.05),
    ),
    Fault("silent", "example", ("silent", "quarantined_share"), each(wave(lambda w, r: 0 * w)), (0.01, 0.05)),
    Fault(
        "clipped",
        "example",
        ("clipped", "quarantined_share", "expect_column_values_to_be_between:clipped", *LEVEL),
        each(lambda path, rng: _clip(path)),
        (0.01, 0.05),
    ),
    Fault("16 kHz among 44.1", "contract", RATE, each(at_rate(16_000)), (0.01, 0.05)),
    Fault("48 kHz among 44.1", "contract", RATE, each(at_rate(48_000)), (0.01, 0.05)),
    Fault(
        "the wrong rate in the header",
        "example",
        (*RATE, *ODD_SOUND, "expect_column_values_to_be_between:seconds"),
        each(sounds(lambda w, rate, rng: (w, 16_000))),
        (0.01, 0.05),
    ),
    Fault("stereo among mono", "contract", STEREO, each(wave(lambda w, r: np.repeat(w, 2, 1))), (0.01, 0.05)),
    Fault("far too quiet", "example", LEVEL, each(wave(lambda w, r: 0.03 * w)), (0.01, 0.05)),
    Fault("noise for speech", "example", ODD_SOUND, each(wave(_noise_as_loud)), (0.01, 0.05)),
    Fault("music for speech", "example", ODD_SOUND, each(wave(_music)), (0.01, 0.05)),
    Fault("an unknown class", "contract", CLASSES, lambda raw, rate, rng: _strays(raw, rate, rng), (0.01,)),
    Fault(
        "a class is missing",
        "data set",
        CLASSES,
        keep(lambda path, rate: float(path.parent.name != "3")),
        named=False,
    ),
    Fault("too few", "data set", ("enough_examples", "class_sizes"), keep(lambda path, rate: 0.1), named=False),
    Fault("labels flipped", "data set", ("label_errors",), flip(), (0.02, 0.05, 0.1)),
    Fault("labels flipped 2-3", "data set", ("label_errors",), flip({"2": "3", "3": "2"}), (0.1,)),
    Fault("labels shuffled", "data set", ("target_depends_on_content", "label_errors"), shuffle_labels, named=False),
    Fault(
        "exact copies",
        "data set",
        ("copies_inside_splits", "copies_across_splits"),  # a copy has a name, and so a group and a side, of its own
        copies(None),
        (0.1,),
    ),
    Fault("copies of another class", "data set", CONTRADICTED, copies(None, other_class=True), (0.01, 0.05)),
    Fault("near copies: gain", "data set", NEAR, copies(wave(lambda w, r: r.uniform(0.4, 0.9) * w)), (0.02, 0.1)),
    Fault("near copies: noise", "data set", NEAR, copies(wave(_hissing)), (0.02, 0.1)),
    Fault("near copies: shifted", "data set", NEAR, copies(wave(_moved)), (0.02, 0.1)),
    Fault("near copies: MP3", "data set", NEAR, recoded(".mp3"), (0.02, 0.1)),
    Fault(
        "copies across a given split", "data set", ("copies_across_splits",), copies_across, (0.01, 0.05), named=False
    ),
    Fault(
        "syllables on all sides",
        "data set",
        ("group_on_one_side",),
        syllables_on_all_sides,
        options={"data.group": r"/([^/]+)\.ogg$"},
        named=False,
    ),
    Fault("a beep on one class", "data set", ("shortcuts",), of_class("3", wave(_beeping)), named=False),
    Fault("one class is WAV", "data set", ("shortcuts", "outliers"), of_class("3", _again_as(".wav")), named=False),
    Fault("a higher voice", "past", SOUND_DRIFT, each(wave(lambda w, r: _faster(w, 1.3))), named=False),
    Fault(
        "a third is a higher voice", "past", SOUND_DRIFT, each(wave(lambda w, r: _faster(w, 1.3))), (0.33,), named=False
    ),
    Fault("all quieter than before", "past", SOUND_DRIFT, each(wave(lambda w, r: 0.5 * w)), named=False),
    Fault("known sounds relabelled", "past", ("labels_as_before", "label_errors"), flip(), (0.02,)),
    Fault("half is gone", "past", ("examples_kept",), keep(lambda path, rate: 0.5), named=False),
)


def _clip(path: Path) -> None:
    """Too loud for 16 bits. Stored as WAV: a lossy format would smooth the edges."""
    import soundfile

    samples, rate = soundfile.read(path, always_2d=True)
    file = io.BytesIO()
    soundfile.write(file, np.clip(12 * samples, -1, 1), rate, format="WAV", subtype="PCM_16")
    path.write_bytes(file.getvalue())


# Interactions: a line of a table each, user, item, rating and time.

Line = list[str]
Rewrite = Callable[[Line, np.random.Generator], Line]
_TABLE, _CATALOGUE = "ml-100k.inter", "ml-100k.item"
_FIRST_LINE = 2
"""Number of the first line behind the header."""


def read_lines(raw: Path) -> tuple[str, list[Line]]:
    """The header and the lines of the table, in fields."""
    header, *lines = (raw / _TABLE).read_text(encoding="utf-8").splitlines()
    return header, [line.split("\t") for line in lines]


def write_lines(raw: Path, header: str, lines: Sequence[Line], name: str = _TABLE) -> None:
    """Write a table."""
    text = "\n".join([header, *("\t".join(line) for line in lines)]) + "\n"
    (raw / name).parent.mkdir(parents=True, exist_ok=True)
    (raw / name).write_bytes(text.encode("utf-8", "surrogateescape"))


def pair(line: Line) -> str:
    """The id of an interaction."""
    return f"{line[0]}/{line[1]}"


def interactions(change: Rewrite, *, bad: bool) -> Inject:
    """Change each of a random share of the lines; bad ones are known by their place."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        header, lines = read_lines(raw)
        chosen = rng.choice(len(lines), max(1, round(rate * len(lines))), replace=False).tolist()
        for at in chosen:
            lines[at] = change(list(lines[at]), rng)
        write_lines(raw, header, lines)
        return {f"{_TABLE}:{at + _FIRST_LINE}" if bad else pair(lines[at]) for at in chosen}

    return inject


def at_field(place: int, change: Callable[[str, np.random.Generator], str]) -> Rewrite:
    """Change one field of a line."""

    def rewrite(line: Line, rng: np.random.Generator) -> Line:
        line[place] = change(line[place], rng)
        return line

    return rewrite


def _cut(line: Line, rng: np.random.Generator) -> Line:
    text = "\t".join(line)
    return [text[: int(rng.integers(1, len(text) - 2))]]


def of_users(change: Callable[[list[Line], str, np.random.Generator], list[Line]], *, adds: bool = True) -> Inject:
    """For a random share of the users, add lines to the table, or change their own."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        header, lines = read_lines(raw)
        users = sorted({line[0] for line in lines})
        chosen = rng.choice(users, max(1, round(rate * len(users))), replace=False).tolist()
        own = {user: [list(line) for line in lines if line[0] == user] for user in chosen}
        made = [line for number, user in enumerate(chosen) for line in change(own[user], f"9{number:04d}", rng)]
        kept = lines if adds else [line for line in lines if line[0] not in own]
        write_lines(raw, header, [*kept, *made])
        return {pair(line) for line in made}

    return inject


def bots(spread: float) -> Callable[[list[Line], str, np.random.Generator], list[Line]]:
    """Somebody who rates 200 films, one in about ten seconds."""

    def make(lines: list[Line], name: str, rng: np.random.Generator) -> list[Line]:
        films = rng.choice(np.arange(1, 1683), 200, replace=False)
        times = float(lines[0][3]) + np.cumsum(10 + rng.uniform(-spread, spread, 200))
        return [
            [name, str(film), str(rng.integers(1, 6)), f"{time:.0f}"] for film, time in zip(films, times, strict=True)
        ]

    return make


def twice(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """Let some people rate a film once more."""
    header, lines = read_lines(raw)
    chosen = rng.choice(len(lines), round(rate * len(lines)), replace=False)
    more = [[*lines[at][:2], str(rng.integers(1, 6)), str(int(lines[at][3]) + 60)] for at in chosen]
    write_lines(raw, header, [*lines, *more])
    return {pair(line) for line in more}


def shuffled(place: int) -> Inject:
    """Deal one field out anew."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        header, lines = read_lines(raw)
        for line, value in zip(lines, rng.permutation([line[place] for line in lines]), strict=True):
            line[place] = str(value)
        write_lines(raw, header, lines)
        return set()

    return inject


def keep_users(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """Leave a share of the users."""
    header, lines = read_lines(raw)
    gone = {user for user in sorted({line[0] for line in lines}) if rng.random() >= rate}
    write_lines(raw, header, [line for line in lines if line[0] not in gone])
    return set()


def titles_dealt_anew(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """Let the catalogue's numbers mean other films."""
    header, *lines = (raw / _CATALOGUE).read_text(encoding="utf-8").splitlines()
    fields = [line.split("\t") for line in lines]
    for line, title in zip(fields, rng.permutation([line[1] for line in fields]), strict=True):
        line[1] = str(title)
    write_lines(raw, header, fields, _CATALOGUE)
    return set()


def split_by_chance(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """A split by hand without regard to time."""
    header, lines = read_lines(raw)
    sides = rng.choice(["train", "validation", "test"], len(lines), p=[0.8, 0.1, 0.1])
    (raw / _TABLE).unlink()
    for side in ("train", "validation", "test"):
        write_lines(
            raw, header, [line for line, own in zip(lines, sides, strict=True) if own == side], f"{side}/a.inter"
        )
    return set()


ASIDE = ("quarantined_share",)
ODD_USER = ("odd_groups",)
OTHER_FILM = (
    "expect_column_values_to_not_match_regex:target",
    "expect_column_unique_value_count_to_be_between:target",
)
INTERACTION_FAULTS = (
    Fault(
        "cut lines",
        "example",
        ("missing_field", "bad_time", "impossible_time", *ASIDE),
        interactions(_cut, bad=True),
        (0.01, 0.05),
    ),
    Fault(
        "not UTF-8",
        "example",
        ("unreadable", *ASIDE),
        interactions(at_field(1, lambda text, rng: text + "\udcff"), bad=True),
        (0.01, 0.05),
    ),
    Fault(
        "impossible ratings",
        "example",
        ("impossible_rating", *ASIDE),
        interactions(at_field(2, lambda text, rng: str(rng.choice([-1, 0, 6, 10, 99]))), bad=True),
        (0.01, 0.05),
    ),
    Fault(
        "ratings that are none",
        "example",
        ("bad_rating", *ASIDE),
        interactions(at_field(2, lambda text, rng: str(rng.choice(["NaN", "null", "N/A", "five"]))), bad=True),
        (0.01,),
    ),
    Fault(
        "milliseconds",
        "example",
        ("impossible_time", *ASIDE),
        interactions(at_field(3, lambda text, rng: text + "000"), bad=True),
        (0.01, 0.05),
    ),
    Fault(
        "times in the future",
        "example",
        ("impossible_time", *ASIDE),
        interactions(at_field(3, lambda text, rng: str(int(text) + 10**9)), bad=True),
        (0.01,),
    ),
    Fault("pairs twice", "data set", ("repeated_id", *ASIDE), twice, (0.02, 0.1)),
    Fault(
        "films out of the catalogue",
        "contract",
        OTHER_FILM,
        interactions(at_field(1, lambda text, rng: str(int(text) + 5000)), bad=False),
        (0.01, 0.05),
        named=False,  # an expectation names a few only
    ),
    Fault("bots, every ten seconds", "data set", ODD_USER, of_users(bots(0.0)), (0.01, 0.05)),
    Fault("bots, about every ten seconds", "data set", ODD_USER, of_users(bots(2.0)), (0.01, 0.05)),
    Fault(
        "users who only say five",
        "data set",
        ODD_USER,
        of_users(lambda lines, name, rng: [[*line[:2], "5", line[3]] for line in lines], adds=False),
        (0.02, 0.05),
    ),
    Fault(
        "users under new names",
        "data set",
        ("copied_groups",),
        of_users(lambda lines, name, rng: [[name, *line[1:]] for line in lines]),
        (0.02, 0.05),
    ),
    Fault(
        "users under new names, a day later",
        "data set",
        ("copied_groups",),
        of_users(lambda lines, name, rng: [[name, *line[1:3], str(int(line[3]) + 86_400)] for line in lines]),
        (0.05,),
    ),
    Fault("split without regard to time", "data set", ("time_overlap",), split_by_chance, named=False),
    Fault("too few", "data set", ("enough_examples",), lambda raw, rate, rng: keep_users(raw, 0.05, rng), named=False),
    Fault("times shuffled", "past", ("ids_mean_the_same",), shuffled(3), named=False),
    Fault(
        "film numbers shifted",
        "past",
        ("examples_kept",),
        interactions(at_field(1, lambda text, rng: str(int(text) + 1)), bad=False),
        named=False,
    ),
    Fault("titles dealt anew", "past", ("labels_as_before",), titles_dealt_anew, named=False),
    Fault(
        "ratings upside down",
        "past",
        ("drift_of_measures", "ids_mean_the_same"),
        interactions(at_field(2, lambda text, rng: str(6 - int(text))), bad=False),
        named=False,
    ),
    Fault(
        "ratings of ten",
        "contract",
        ("impossible_rating", *ASIDE),
        interactions(at_field(2, lambda text, rng: str(2 * int(text))), bad=False),
        named=False,
    ),
    Fault(
        "half of the users are gone",
        "past",
        ("examples_kept",),
        lambda raw, rate, rng: keep_users(raw, 0.5, rng),
        named=False,
    ),
)


# Drives: a folder per drive with Udacity's driving_log.csv and IMG/.

_LOG = "driving_log.csv"
_STEERING = 3
"""Column of the log."""
Log = list[list[str]]
"""Lines of a log, without its header."""


def logs(raw: Path) -> list[Path]:
    """All logs, in order of their path."""
    return sorted(raw.rglob(_LOG))


def read_log(path: Path) -> tuple[list[str], Log]:
    """Return a log's header and lines."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    return header, lines


def write_log(path: Path, header: list[str], lines: Log) -> None:
    """Write a log."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *lines])


def frame_of(raw: Path, log: Path, line: list[str]) -> str:
    """Return the id of a line's frame."""
    return (log.parent.relative_to(raw) / line[0]).as_posix()


def frames(change: Callable[[Path, np.random.Generator], None]) -> Inject:
    """Change each of a random share of the frames in place."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        chosen = some([path for path in images(raw) if path.suffix == ".png"], rate, rng)
        for path in chosen:
            change(path, rng)
        return {path.relative_to(raw).as_posix() for path in chosen}

    return inject


def steering(change: Callable[[str, np.random.Generator], str]) -> Inject:
    """Change the steering of a random share of the lines."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        touched = set()
        for log in logs(raw):
            header, lines = read_log(log)
            for at in rng.choice(len(lines), max(1, round(rate * len(lines))), replace=False).tolist():
                lines[at][_STEERING] = change(lines[at][_STEERING], rng)
                touched.add(frame_of(raw, log, lines[at]))
            write_log(log, header, lines)
        return touched

    return inject


def drives(change: Callable[[list[float], np.random.Generator], list[float]]) -> Inject:
    """Change the steering of a random share of the drives as a whole."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        touched = set()
        for log in some(logs(raw), rate, rng):
            header, lines = read_log(log)
            changed = change([float(line[_STEERING]) for line in lines], rng)
            for line, value in zip(lines, changed, strict=True):
                line[_STEERING] = f"{value:.6f}"
                touched.add(frame_of(raw, log, line))
            write_log(log, header, lines)
        return touched

    return inject


def lagged(count: int) -> Callable[[list[float], np.random.Generator], list[float]]:
    """Steering that comes some frames after what it belongs to; before it where negative."""
    return lambda values, rng: list(np.roll(values, count))


def _stuck(values: list[float], rng: np.random.Generator) -> list[float]:
    """A sensor that hangs for a third of the drive."""
    start = int(rng.integers(0, len(values) * 2 // 3))
    end = start + len(values) // 3
    return [*values[:start], *[values[start]] * (end - start), *values[end:]]


def _frozen(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """A camera that hangs for forty frames, in a share of the drives."""
    touched = set()
    for log in some(logs(raw), rate, rng):
        _, lines = read_log(log)
        start = int(rng.integers(0, len(lines) - 40))
        content = (log.parent / lines[start][0]).read_bytes()
        for line in lines[start + 1 : start + 40]:
            (log.parent / line[0]).write_bytes(content)
            touched.add(frame_of(raw, log, line))
    return touched


def _other_camera(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """A share of the drives is seen by a camera with another lens and other colours."""
    touched = set()
    for log in some(logs(raw), rate, rng):
        for path in sorted((log.parent / "IMG").iterdir()):
            image = Image.open(path).convert("RGB")
            near = image.crop((16, 14, image.width - 16, image.height - 14)).resize(image.size)
            ImageEnhance.Color(ImageEnhance.Brightness(near).enhance(0.6)).enhance(0.4).save(path)
            touched.add(path.relative_to(raw).as_posix())
    return touched


def drives_by_hand(raw: Path, rng: np.random.Generator) -> None:
    """Lay drives out as ``<side>/<drive>/``."""
    for number, log in enumerate(logs(raw)):
        side = ("test", "train", "train", "validation", "train")[number % 5]
        (raw / side).mkdir(exist_ok=True)
        log.parent.rename(raw / side / log.parent.name)


def _drive_on_both_sides(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """A split by hand in which half of one drive was put to each side; the log says which drive it was."""
    drives_by_hand(raw, rng)
    for log in logs(raw):
        header, lines = read_log(log)
        write_log(log, [*header, "drive"], [[*line, log.parent.name] for line in lines])
    known = logs(raw / "train")[0]
    header, lines = read_log(known)
    half = len(lines) // 2
    folder = raw / "test" / known.parent.name
    (folder / "IMG").mkdir(parents=True)
    for line in lines[half:]:
        (known.parent / line[0]).rename(folder / line[0])
    write_log(known, header, lines[:half])
    write_log(folder / _LOG, header, lines[half:])
    return set()


def _frames_on_both_sides(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """A split by hand in which some test frames, a little brighter, are also learned from."""
    drives_by_hand(raw, rng)
    target = logs(raw / "train")[0]
    header, lines = read_log(target)
    for log in logs(raw / "test"):
        for line in read_log(log)[1]:
            if rng.random() < rate:
                name = f"IMG/{log.parent.name}_{Path(line[0]).name}"
                image = Image.open(log.parent / line[0])
                ImageEnhance.Brightness(image).enhance(1.1).save(target.parent / name)
                lines.append([name, *line[1:]])
    write_log(target, header, lines)
    return set()


def keep_drives(raw: Path, share: float, rng: np.random.Generator) -> set[str]:
    """Leave a random share of the drives."""
    found = logs(raw)
    kept = {found[at] for at in rng.choice(len(found), round(share * len(found)), replace=False).tolist()}
    for log in found:
        if log not in kept:
            shutil.rmtree(log.parent)
    return set()


SERIES = ("target_in_step", "target_varies", "target_sign")
STEERING = ("no_steering", "impossible_steering", "quarantined_share")
OTHER_LOOK = (*LOOK, "odd_groups", "groups_of_one_kind", "drift_of_measures", "drift_of_contents")

DRIVING_FAULTS = (
    Fault("truncated frames", "example", BAD_FILE, frames(_truncate), (0.01, 0.05)),
    Fault("empty frames", "example", BAD_FILE, frames(lambda path, rng: path.write_bytes(b"") and None), (0.01, 0.05)),
    Fault("lost frames", "example", BAD_FILE, frames(lambda path, rng: path.unlink()), (0.01, 0.05)),
    Fault(
        "blank frames",
        "example",
        ("blank", "quarantined_share"),
        frames(pixels(lambda image, rng: Image.new("RGB", image.size))),
        (0.01, 0.05),
    ),
    Fault(
        "photographs among frames",
        "example",
        OTHER_LOOK,
        frames(pixels(lambda image, rng: _photo(image, rng).convert("RGB"))),
        (0.01, 0.05),
    ),
    Fault(
        "blurred frames",
        "example",
        (*OTHER_LOOK, "expect_column_values_to_be_between:sharpness"),
        frames(pixels(_blur)),
        (0.01, 0.05),
    ),
    Fault("NaN for steering", "example", STEERING, steering(lambda text, rng: "nan"), (0.01, 0.05)),
    Fault("no steering", "example", STEERING, steering(lambda text, rng: ""), (0.01, 0.05)),
    Fault(
        "steering in degrees",
        "contract",
        STEERING,
        drives(lambda values, rng: [25 * each for each in values]),
        (0.05, 1.0),
    ),
    Fault("steering stuck", "data set", SERIES, drives(_stuck), (0.2, 0.5), named=False),
    Fault("steering 4 frames late", "data set", SERIES, drives(lagged(4)), named=False),
    Fault("steering 10 frames late", "data set", SERIES, drives(lagged(10)), named=False),
    Fault("steering 6 frames early", "data set", SERIES, drives(lagged(-6)), named=False),
    Fault(
        "steering mirrored",
        "data set",
        SERIES,
        drives(lambda values, rng: [-each for each in values]),
        (0.1, 0.3),
        named=False,
    ),
    Fault(
        "steering shuffled",
        "data set",
        ("target_depends_on_content",),
        drives(lambda values, rng: rng.permutation(values).tolist()),
        named=False,
    ),
    Fault("a camera that hangs", "data set", ("copies_inside_splits",), _frozen, (0.5,), named=False),
    Fault("one drive on both sides", "data set", ("group_on_one_side",), _drive_on_both_sides, named=False),
    Fault("frames on both sides", "data set", NEAR, _frames_on_both_sides, (0.05, 0.2), named=False),
    Fault("another camera", "data set", OTHER_LOOK, _other_camera, (0.05, 0.2), named=False),
    Fault(
        "too few",
        "data set",
        ("enough_examples", "expect_table_row_count_to_be_between"),
        lambda raw, rate, rng: keep_drives(raw, 0.3, rng),
        named=False,
    ),
    Fault("another camera than before", "past", OTHER_LOOK, _other_camera, named=False),
    Fault("all darker than before", "past", OTHER_LOOK, frames(pixels(_dim)), named=False),
    Fault(
        "known drives mirrored",
        "past",
        ("labels_as_before", *SERIES),
        drives(lambda values, rng: [-each for each in values]),
        (0.05,),
        named=False,
    ),
    Fault("half is gone", "past", ("examples_kept",), lambda raw, rate, rng: keep_drives(raw, 0.6, rng), named=False),
)


# Pairs of sentences: two aligned text files.

Pairs = dict[str, list[tuple[str, str]]]
_SIDES = (".en", ".es")


def read_pairs(raw: Path) -> Pairs:
    """The pairs of each two files."""
    found = {}
    for path in sorted(raw.glob(f"*{_SIDES[0]}")):
        lines = [path.with_suffix(end).read_text("utf-8", "surrogateescape").split("\n")[:-1] for end in _SIDES]
        found[path.stem] = list(zip(*lines, strict=True))
    return found


def write_pairs(raw: Path, pairs: Pairs) -> None:
    """Write files back."""
    for name, found in pairs.items():
        for place, end in enumerate(_SIDES):
            text = "".join(f"{pair[place]}\n" for pair in found)
            (raw / f"{name}{end}").write_bytes(text.encode("utf-8", "surrogateescape"))


def pair_ids(raw: Path, places: set[tuple[str, int]]) -> set[str]:
    """Ids of pairs, by file and number: the reader lists files in their order, and lines in theirs."""
    ids = iter([example.id for example in read_translations(raw, PairData())])
    return {
        name
        for stem, found in read_pairs(raw).items()
        for at, name in zip(range(len(found)), ids, strict=False)
        if (stem, at) in places
    }


def pairs_changed(change: Callable[[str, str, np.random.Generator], tuple[str, str]]) -> Inject:
    """Change each of a random share of the pairs in place."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        pairs = read_pairs(raw)
        places = [(name, number) for name, found in pairs.items() for number in range(len(found))]
        chosen = rng.choice(len(places), max(1, round(rate * len(places))), replace=False)
        touched = {places[at] for at in chosen}
        for name, number in sorted(touched):
            pairs[name][number] = change(*pairs[name][number], rng)
        write_pairs(raw, pairs)
        return pair_ids(raw, touched)

    return inject


def of_target(change: Callable[[str, np.random.Generator], str]) -> Inject:
    """Change the target of a random share of the pairs."""
    return pairs_changed(lambda source, target, rng: (source, change(target, rng)))


def of_source(change: Callable[[str, np.random.Generator], str]) -> Inject:
    """Change the source of a random share of the pairs."""
    return pairs_changed(lambda source, target, rng: (change(source, rng), target))


def lines_shifted(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """A line of the target is lost in some files, so that all behind it are one too early."""
    pairs = read_pairs(raw)
    wanted = rate * sum(map(len, pairs.values()))
    touched: set[tuple[str, int]] = set()
    for name in rng.permutation(sorted(pairs)).tolist():
        if len(touched) >= wanted:
            break
        first = int(rng.integers(0, 1 + len(pairs[name]) // 4))
        first = max(first, len(pairs[name]) - max(2, round(wanted - len(touched))))
        sources, targets = map(list, zip(*pairs[name], strict=True))
        pairs[name] = list(zip(sources, [*targets[:first], *targets[first + 1 :], ""], strict=True))
        touched |= {(name, number) for number in range(first, len(sources) - 1)}
    write_pairs(raw, pairs)
    return pair_ids(raw, touched)


def targets_dealt_anew(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """A random share of the targets is dealt out among their sources."""
    pairs = read_pairs(raw)
    places = [(name, number) for name, found in pairs.items() for number in range(len(found))]
    chosen = [places[at] for at in rng.choice(len(places), round(rate * len(places)), replace=False)]
    targets = [pairs[name][number][1] for name, number in chosen]
    for (name, number), target in zip(chosen, [*targets[1:], *targets[:1]], strict=True):
        pairs[name][number] = (pairs[name][number][0], target)
    write_pairs(raw, pairs)
    return pair_ids(raw, set(chosen))


def pair_copies(change: Callable[[str, np.random.Generator], str]) -> Inject:
    """Add changed copies of a random share of the pairs, in files of their own."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        pairs = read_pairs(raw)
        every = [pair for found in pairs.values() for pair in found]
        chosen = rng.choice(len(every), max(1, round(rate * len(every))), replace=False)
        pairs["99-more"] = [(change(every[at][0], rng), change(every[at][1], rng)) for at in chosen]
        write_pairs(raw, pairs)
        return pair_ids(raw, {("99-more", number) for number in range(len(chosen))})

    return inject


def drop_pairs(raw: Path, share: float, rng: np.random.Generator) -> set[str]:
    """Leave out a random share of the pairs."""
    pairs = read_pairs(raw)
    write_pairs(raw, {name: [pair for pair in found if rng.random() >= share] for name, found in pairs.items()})
    return set()


def exchanged(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """All sources are targets, and all targets sources."""
    pairs = read_pairs(raw)
    write_pairs(raw, {name: [(two, one) for one, two in found] for name, found in pairs.items()})
    return set()


_PAIR_BAD = ("unreadable", "quarantined_share")
_NO_PAIR = ("label_errors", "strangers", "unequal_lengths")
_SENTENCE = "Y aconteció que después de estas cosas hubo paz en toda la tierra."
_ACCENTS = ("expect_column_values_to_be_between:source_accents",)
TEXT_PAIR_FAULTS = (
    Fault("lines shifted", "data set", ("label_errors",), lines_shifted, (0.02, 0.05)),
    Fault(
        "all lines shifted",
        "data set",
        ("target_depends_on_content", "label_errors"),
        lines_shifted,
        named=False,
    ),
    Fault("targets dealt anew", "data set", ("label_errors",), targets_dealt_anew, (0.02, 0.05)),
    Fault("one target for many", "data set", _NO_PAIR, of_target(lambda t, r: _SENTENCE), (0.02, 0.05)),
    Fault("sides exchanged", "data set", (*_NO_PAIR, *_ACCENTS), pairs_changed(lambda s, t, r: (t, s)), (0.02, 0.05)),
    Fault(
        "all sides exchanged",
        "contract",
        ("expect_column_mean_to_be_between:source_accents", "expect_column_mean_to_be_between:target_accents"),
        exchanged,
        named=False,
    ),
    Fault(
        "not translated",
        "example",
        ("not_translated", "quarantined_share"),
        pairs_changed(lambda s, t, r: (s, s)),
        (0.01, 0.05),
    ),
    Fault("German target", "example", _NO_PAIR, of_target(in_language(GERMAN)), (0.01, 0.05)),
    Fault("German source", "example", _NO_PAIR, of_source(in_language(GERMAN)), (0.01, 0.05)),
    Fault(
        "another script",
        "example",
        ("wrong_script", "quarantined_share"),
        of_target(lambda t, r: t.lower().translate(_CYRILLIC)),
        (0.01, 0.05),
    ),
    Fault(
        "target cut to a third",
        "example",
        ("unequal_lengths", "quarantined_share"),
        of_target(lambda t, r: t[: len(t) // 3]),
        (0.01, 0.05),
    ),
    Fault("target missing", "example", ("empty_side", "quarantined_share"), of_target(lambda t, r: ""), (0.01, 0.05)),
    Fault("source missing", "example", ("empty_side", "quarantined_share"), of_source(lambda t, r: ""), (0.01, 0.05)),
    Fault("not UTF-8", "example", _PAIR_BAD, of_target(_broken_bytes), (0.01, 0.05)),
    Fault("zero bytes", "example", _PAIR_BAD, of_source(lambda t, r: f"\x00{t}"), (0.01, 0.05)),
    Fault("mojibake", "example", ("mojibake", "quarantined_share"), of_target(_garbled), (0.01, 0.05)),
    Fault(
        "very long",
        "example",
        ("too_long", "unequal_lengths", "quarantined_share"),
        pairs_changed(lambda s, t, r: (s * 60, t * 60)),
        (0.01,),
    ),
    Fault("exact copies", "data set", ("repeated_id", "quarantined_share"), pair_copies(lambda t, r: t), (0.1,)),
    Fault("near copies: words", "data set", NEAR, pair_copies(_few_words_changed), (0.02, 0.1)),
    Fault("near copies: case", "data set", NEAR, pair_copies(lambda t, r: t.upper()), (0.02, 0.1)),
    Fault(
        "too few",
        "data set",
        ("enough_examples", "expect_table_row_count_to_be_between"),
        lambda raw, rate, rng: drop_pairs(raw, 0.8, rng),
        named=False,
    ),
    Fault(
        "targets in capitals",
        "past",
        ("drift_of_measures", "drift_of_contents", "label_errors"),
        of_target(lambda t, r: t.upper().replace(" ", "  ")),
        (0.5,),
        named=False,
    ),
    Fault("half is gone", "past", ("examples_kept",), lambda raw, rate, rng: drop_pairs(raw, 0.5, rng), named=False),
)


# Sounds with texts: metadata.csv beside them.

_LIST = "metadata.csv"


def read_texts(raw: Path) -> list[list[str]]:
    """Header and lines of the list."""
    with (raw / _LIST).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def write_texts(raw: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write the list."""
    with (raw / _LIST).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def of_texts(change: Callable[[str, np.random.Generator], str]) -> Inject:
    """Change the texts of a random share of the sounds."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        header, *rows = read_texts(raw)
        chosen = rng.choice(len(rows), max(1, round(rate * len(rows))), replace=False).tolist()
        for at in chosen:
            rows[at][1] = change(rows[at][1], rng)
        write_texts(raw, [header, *rows])
        return {rows[at][0] for at in chosen}

    return inject


def of_spoken(change: Callable[..., None]) -> Inject:
    """Change a random share of the sounds, and none of their texts."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        chosen = some(sorted(raw.rglob("*.ogg")), rate, rng)
        for path in chosen:
            change(path, rng)
        return {path.relative_to(raw).as_posix() for path in chosen}

    return inject


def texts_shuffled(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """Deal all texts anew, as when a list was sorted by one column alone."""
    header, *rows = read_texts(raw)
    texts = [rows[at][1] for at in rng.permutation(len(rows))]
    write_texts(raw, [header, *([row[0], text, *row[2:]] for row, text in zip(rows, texts, strict=True))])
    return set()


def again(change: Callable[..., None] | None) -> Inject:
    """Have a share of the sounds once more with their texts, changed or not, in groups of their own."""

    def inject(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
        header, *rows = read_texts(raw)
        made = []
        for at in rng.choice(len(rows), max(1, round(rate * len(rows))), replace=False).tolist():
            source, text, *rest = rows[at]
            name = f"again{at % 20}/{at}.ogg"
            (raw / name).parent.mkdir(exist_ok=True)
            (raw / name).write_bytes((raw / source).read_bytes())
            if change and (raw / name).stat().st_size:
                with contextlib.suppress(Exception):  # some sounds of the package are broken
                    change(raw / name, rng)
            made.append([name, text, *rest])
        write_texts(raw, [header, *rows, *made])
        return set()

    return inject


def texts_kept(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """Leave a share of the sounds and their texts."""
    resample(raw, rate, rng)
    return set()


def sides_by_hand(raw: Path, rate: float, rng: np.random.Generator) -> set[str]:
    """Give every sound a side by lot, as lists of people's own often do: a level is then on all of them."""
    header, *rows = read_texts(raw)
    sides = rng.choice(["train", "validation", "test"], len(rows), p=[0.7, 0.1, 0.2]).tolist()
    write_texts(raw, [[*header, "split"], *([*row, side] for row, side in zip(rows, sides, strict=True))])
    return set()


def _third(samples: Wave, rng: np.random.Generator) -> Wave:
    return samples[: len(samples) // 4]


TEXT_LETTERS = ("mojibake", "markup", "expect_column_values_to_match_regex:target", *ASIDE)
SPEECH_TEXT_FAULTS = (
    Fault("empty texts", "example", ("no_transcript", *ASIDE), of_texts(lambda text, rng: " "), (0.01, 0.05)),
    Fault(
        "texts in another script",
        "example",
        ("wrong_script", *ASIDE),
        of_texts(lambda text, rng: text.lower().translate(_CYRILLIC)),
        (0.01, 0.05),
    ),
    Fault(
        "mojibake",
        "example",
        TEXT_LETTERS,
        of_texts(lambda text, rng: f"{text} één".encode().decode("latin-1")),
        (0.01, 0.05),
    ),
    Fault(
        "texts with what is not said", "example", TEXT_LETTERS, of_texts(lambda text, rng: f"<i>{text}</i>"), (0.01,)
    ),
    Fault("sounds cut off", "example", ("too_fast", *ASIDE), of_spoken(wave(_third)), (0.05,)),
    Fault("truncated files", "example", BAD_FILE, of_spoken(_truncate), (0.01, 0.05)),
    Fault(
        "empty files", "example", BAD_FILE, of_spoken(lambda path, rng: path.write_bytes(b"") and None), (0.02, 0.05)
    ),
    Fault("silent", "example", ("silent", *ASIDE), of_spoken(wave(lambda w, r: 0 * w)), (0.01, 0.05)),
    Fault(
        "clipped",
        "example",
        ("clipped", "quarantined_share", "expect_column_values_to_be_between:clipped", *LEVEL),
        of_spoken(lambda path, rng: _clip(path)),
        (0.01, 0.05),
    ),
    Fault("8 kHz among 22", "contract", RATE, of_spoken(at_rate(8_000)), (0.01, 0.05)),
    Fault(
        "mono among stereo", "contract", STEREO, of_spoken(wave(lambda w, r: w.mean(1, keepdims=True))), (0.01, 0.05)
    ),
    Fault("far too quiet", "example", LEVEL, of_spoken(wave(lambda w, r: 0.03 * w)), (0.01, 0.05)),
    Fault("noise for speech", "example", ODD_SOUND, of_spoken(wave(_noise_as_loud)), (0.01, 0.05)),
    Fault("music for speech", "example", ODD_SOUND, of_spoken(wave(_music)), (0.01, 0.05)),
    Fault(
        "too few",
        "data set",
        ("enough_examples", "expect_table_row_count_to_be_between"),
        texts_kept,
        (0.1,),
        named=False,
    ),
    Fault(
        "texts shuffled",
        "data set",
        ("target_depends_on_content", "too_fast", "too_slow", *ASIDE),
        texts_shuffled,
        named=False,
    ),
    Fault("levels on all sides", "data set", ("group_on_one_side",), sides_by_hand, named=False),
    Fault(
        "sounds under two names",
        "data set",
        ("copies_across_splits", "copies_inside_splits"),
        again(None),
        (0.05,),
        named=False,
    ),
    Fault(
        "near copies: gain", "data set", NEAR, again(wave(lambda w, r: r.uniform(0.4, 0.9) * w)), (0.05,), named=False
    ),
    Fault("near copies: noise", "data set", NEAR, again(wave(_hissing)), (0.05,), named=False),
    Fault(
        "texts read again",
        "data set",
        ("texts_across_splits",),
        again(wave(lambda w, r: _faster(w, 1.25))),
        (0.05,),
        named=False,
    ),
    Fault("all voices higher", "past", SOUND_DRIFT, of_spoken(wave(lambda w, r: _faster(w, 1.3))), named=False),
    Fault("a third is quieter", "past", SOUND_DRIFT, of_spoken(wave(lambda w, r: 0.5 * w)), (0.33,), named=False),
    Fault(
        "known sounds with other texts",
        "past",
        ("labels_as_before",),
        of_texts(lambda text, rng: f"{text} nee"),
        (0.02,),
    ),
    Fault("half is gone", "past", ("examples_kept",), texts_kept, (0.5,), named=False),
)


def resample(raw: Path, share: float, rng: np.random.Generator) -> None:
    """Leave a random share of the examples: another clean data set from the same source."""
    if logs(raw):
        keep_drives(raw, share, rng)
    elif (raw / _LIST).exists():
        header, *rows = read_texts(raw)
        gone = set(rng.permutation(len(rows))[round(share * len(rows)) :].tolist())
        for at in gone:
            (raw / rows[at][0]).unlink()
        write_texts(raw, [header, *(row for at, row in enumerate(rows) if at not in gone)])
    elif (raw / _TABLE).exists():
        keep_users(raw, (1 + share) / 2, rng)  # users are large: of fewer, some resamples have lost too many
    elif any(raw.rglob(f"*{_SIDES[0]}")):
        drop_pairs(raw, 1 - share, rng)
    elif any(raw.rglob("*.txt")):
        _drop(raw, 1 - share, rng)
    else:
        keep(lambda path, rate: share)(raw, 1.0, rng)


FAULTS = {
    "digits": IMAGE_FAULTS,
    "english-spanish": TEXT_PAIR_FAULTS,
    "fillets": SPEECH_TEXT_FAULTS,
    "movielens": INTERACTION_FAULTS,
    "tones": AUDIO_FAULTS,
    "track": DRIVING_FAULTS,
    "verses": TEXT_FAULTS,
}
