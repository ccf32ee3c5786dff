"""Near copies: planted ones are found, whatever was done to them, and clean data has none."""

import io
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from material import material_of
from sluiceway.checks.base import Material
from sluiceway.checks.copies import near_copies, whole_count
from sluiceway.checks.near_copies import LEAST_JACCARD, alike_signatures, alike_vectors
from sluiceway.config import DataGateParams
from sluiceway.data.measuring.minhash import signature
from sluiceway.data.sketches import Sketches
from sluiceway.data.table import schema, write_table
from sluiceway.data.texts import parts
from sluiceway.usecases.image.senses import fingerprint
from support import image_bytes

ACROSS, INSIDE = "near_copies_across_splits", "near_copies_inside_splits"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def digits():
    from PIL import Image
    from sklearn.datasets import load_digits

    small = np.minimum(load_digits().images * 16, 255).astype(np.uint8)
    return [np.asarray(Image.fromarray(each).resize((28, 28), Image.Resampling.BICUBIC)) for each in small]


@pytest.fixture(scope="module")
def prints(digits):
    return np.stack([fingerprint(image_bytes(each), None) for each in digits])


def material(tmp_path, splits, checksums=None, total=None, **sketches):
    """Return what a check is given: the first rows were sketched, of ``total``."""
    count = len(splits)
    total = total or count
    checksums = [*(checksums or map(str, range(count))), *(f"more {row}" for row in range(total - count))]
    rows = [
        {"id": f"e{row}", "split": splits[row % count], "source": f"e{row}", "checksum": checksum}
        for row, checksum in enumerate(checksums)
    ]
    columns = schema({})
    write_table(pa.Table.from_pylist(rows, columns), columns, tmp_path / "examples.parquet")
    arrays = {"features": None, "signatures": None} | sketches
    return Material(
        examples=tmp_path / "examples.parquet",
        quarantine=tmp_path / "none.parquet",
        target="none",
        measures={},
        limits=DataGateParams(),
        sketches=Sketches(np.arange(count), **arrays),
    )


def findings(found):
    return {each.check.name: each for each in near_copies(found)}


def jpeg(pixels, quality):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def resized(pixels, side):
    from PIL import Image

    return image_bytes(np.asarray(Image.fromarray(pixels).resize((side, side))))


CHANGES = {
    "jpeg 95": lambda pixels, rng: jpeg(pixels, 95),
    "jpeg 60": lambda pixels, rng: jpeg(pixels, 60),
    "noise": lambda pixels, rng: image_bytes(np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)),
    "darker": lambda pixels, rng: image_bytes((pixels * 0.8).astype(np.uint8)),
    "brighter": lambda pixels, rng: image_bytes(np.clip(pixels * 1.1, 0, 255).astype(np.uint8)),
    "larger": lambda pixels, rng: resized(pixels, 64),
    "smaller": lambda pixels, rng: resized(pixels, 20),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_images_are_near_copies(digits, prints, rng, change):
    chosen = rng.choice(len(digits), 30, replace=False)
    copies = [fingerprint(CHANGES[change](digits[place], rng), None) for place in chosen]
    vectors = np.concatenate([prints, copies])
    found = alike_vectors(vectors, np.arange(len(vectors)))
    planted = {(int(place), len(prints) + number) for number, place in enumerate(chosen)}
    named = set(zip(found.one.tolist(), found.other.tolist(), strict=True))
    assert len(named & planted) >= 0.9 * len(planted)
    assert len(named - planted) <= 3


def test_a_moved_image_is_a_near_copy(digits, rng):
    """Each inside a frame, so that nothing is lost at the edge."""
    framed = [np.pad(each, 4) for each in digits]
    chosen = rng.choice(len(digits), 30, replace=False)
    moved = [np.roll(framed[place], (1, 2), (0, 1)) for place in chosen]
    vectors = np.stack([fingerprint(image_bytes(each), None) for each in (*framed, *moved)])
    found = alike_vectors(vectors, np.arange(len(vectors)))
    planted = {(int(place), len(framed) + number) for number, place in enumerate(chosen)}
    assert len(planted & set(zip(found.one.tolist(), found.other.tolist(), strict=True))) >= 27


def test_different_digits_are_no_copies(prints):
    assert len(alike_vectors(prints, np.arange(len(prints))).one) <= 2


@pytest.mark.parametrize("dimensions", [1, 2, 5, 20, 100])
@pytest.mark.parametrize("count", [30, 300, 3_000])
def test_chance_makes_few_copies_in_any_dimension(rng, dimensions, count):
    for vectors in (rng.random((count, dimensions)), rng.normal(size=(count, dimensions))):
        found = alike_vectors(vectors.astype(np.float32), np.arange(count))
        assert len(found.one) <= max(2, 0.005 * count)


@pytest.mark.parametrize("copies", [2, 10, 37, 60, 150])
def test_many_copies_of_one_thing_do_not_hide_each_other(rng, copies):
    base = rng.normal(size=(1_000, 20)).astype(np.float32)
    same = base[0] + rng.normal(0, 0.01, (copies, 20)).astype(np.float32)
    vectors = np.concatenate([base, same])
    found = alike_vectors(vectors, np.arange(len(vectors)))
    assert set(range(1_000, len(vectors))) <= set(found.one.tolist()) | set(found.other.tolist())


def test_equal_contents_are_not_near_copies(rng):
    base = rng.normal(size=(500, 20)).astype(np.float32)
    vectors = np.concatenate([base, base[:50]])
    assert len(alike_vectors(vectors, np.arange(550)).one) == 50
    assert len(alike_vectors(vectors, np.concatenate([np.arange(500), np.arange(50)])).one) == 0


def texts(rng, count, words=120):
    vocabulary = np.array([f"w{number}" for number in range(3_000)])
    return [" ".join(rng.choice(vocabulary, words)) for _ in range(count)]


def signatures(contents):
    return np.stack([signature(parts(each.encode(), None)) for each in contents])


TEXT_CHANGES = {
    "case": lambda text: text.upper(),
    "punctuation": lambda text: text.replace(" ", ", "),
    "cut": lambda text: text[: int(0.9 * len(text))],
    "appended": lambda text: f"{text} and so on and so forth to the very end of it",
    "words": lambda text: " ".join("x" if at % 40 == 0 else word for at, word in enumerate(text.split())),
}


@pytest.mark.parametrize("change", TEXT_CHANGES)
def test_changed_texts_are_near_copies(rng, change):
    known = texts(rng, 400)
    found = alike_signatures(signatures([*known, *map(TEXT_CHANGES[change], known[:40])]), np.arange(440))
    assert list(zip(found.one.tolist(), found.other.tolist(), strict=True)) == [(at, 400 + at) for at in range(40)]
    assert (found.alike >= LEAST_JACCARD).all()


def test_half_of_a_text_is_no_near_copy(rng):
    known = texts(rng, 200)
    halves = [text[: len(text) // 3] for text in known]
    assert len(alike_signatures(signatures([*known, *halves]), np.arange(400)).one) == 0


def test_contents_of_few_parts_are_not_compared():
    contents = [f"amen amen {number % 3}" for number in range(60)]
    assert len(alike_signatures(signatures(contents), np.arange(60)).one) == 0
    assert len(alike_signatures(np.full((5, 128), np.iinfo(np.uint32).max, np.uint32), np.arange(5)).one) == 0


def test_a_crowd_of_copies_takes_bounded_work(rng):
    (text,) = texts(rng, 1, words=300)
    crowd = signatures([f"{text} {number} {number}" for number in range(3_000)])
    found = alike_signatures(crowd, np.arange(3_000))
    assert len(found.one) < 3_000 * 50
    assert len(set(found.one.tolist()) | set(found.other.tolist())) == 3_000


def test_leaks_close_and_name_what_was_copied(tmp_path, rng):
    base = rng.normal(size=(1_000, 20)).astype(np.float32)
    vectors = np.concatenate([base, base[:10] + 0.001])
    splits = ["train"] * 700 + ["test"] * 310
    found = findings(material(tmp_path, splits, features=vectors))
    check = found[ACROSS].check
    assert (check.passed, check.offenders) == (False, 10)
    assert check.figure == pytest.approx(10 / 310, abs=1e-6)
    assert {(each.id, each.other) for each in found[ACROSS].offenders} == {(f"e{1000 + n}", f"e{n}") for n in range(10)}
    assert found[INSIDE].check.offenders == 0


def test_copies_inside_a_side_only_warn(tmp_path, rng):
    base = rng.normal(size=(200, 20)).astype(np.float32)
    vectors = np.concatenate([base, base[:40] + 0.001])
    found = findings(material(tmp_path, ["train"] * 240, features=vectors))
    assert found[INSIDE].check.offenders == 40
    assert not found[INSIDE].check.passed
    assert not found[INSIDE].check.closes
    assert found[ACROSS].check.passed  # nothing is held out


def test_two_copies_close_nothing_unless_none_may_be(tmp_path, rng):
    base = rng.normal(size=(100, 20)).astype(np.float32)
    found = material(
        tmp_path, ["train"] * 60 + ["test"] * 42, features=np.concatenate([base, base[:2] + 0.001]).astype(np.float32)
    )
    assert findings(found)[ACROSS].check.passed
    strict = replace(found, limits=DataGateParams(max_leaked=0))
    assert not findings(strict)[ACROSS].check.passed


def test_fingerprints_go_before_features_and_signatures_before_both(tmp_path, rng):
    vectors = rng.normal(size=(300, 10)).astype(np.float32)
    copied = np.concatenate([vectors[:290], vectors[:10] + 0.0001]).astype(np.float32)
    splits = ["train"] * 290 + ["test"] * 10
    alone = signatures(texts(rng, 300))

    def leaks(**sketches):
        return findings(material(tmp_path, splits, **sketches))[ACROSS].check.offenders

    assert leaks(features=copied) == 10
    assert leaks(features=copied, fingerprints=vectors) == 0
    assert leaks(features=vectors, fingerprints=copied) == 10
    assert leaks(features=copied, fingerprints=copied, signatures=alone) == 0


def test_a_sample_is_said_to_be_one_and_its_figure_stands_for_the_whole(tmp_path, rng):
    base = rng.normal(size=(500, 20)).astype(np.float32)
    vectors = np.concatenate([base, base[:5] + 0.001])
    splits = ["train"] * 250 + ["test"] * 255
    splits[:5] = ["train"] * 5
    check = findings(material(tmp_path, splits, total=5_050, features=vectors))[ACROSS].check
    assert "sample of 505 of 5,050" in check.message
    assert check.figure == pytest.approx(50 / 255, abs=1e-6)


def test_the_estimate_from_a_sample_is_near_the_truth(rng):
    pairs = 20_000
    for copies, share in ((1, 0.1), (1, 0.5), (8, 0.5)):
        seen = rng.binomial(copies, share, pairs)
        assert whole_count(seen[seen > 0], share) == pytest.approx(pairs, rel=0.05)


@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_small_tables_are_judged_without_a_fault(tmp_path, rng, count):
    if not count:
        empty = material(tmp_path, ["train"], features=np.zeros((1, 3), np.float32))
        assert list(near_copies(empty)) == []
        return
    vectors = rng.normal(size=(count, 8)).astype(np.float32)
    assert all(each.check.passed for each in near_copies(material(tmp_path, ["train"] * count, features=vectors)))


def test_contents_without_sketches_are_not_compared(tmp_path):
    assert list(near_copies(material(tmp_path, ["train"] * 30))) == []


def test_neighbours_in_a_series_are_no_copies_of_each_other(tmp_path, rng):
    base = rng.normal(size=(300, 20)).astype(np.float32)
    vectors = np.concatenate([base, base[:30] + 0.001, base[:10] + 0.002])
    drives = [f"d{at // 30}" for at in range(300)] + ["d0"] * 30 + ["d9"] * 10
    table = {
        "group": drives,
        "time": [float(at) for at in range(340)],
        "split": ["train"] * 270 + ["test"] * 30 + ["train"] * 30 + ["test"] * 10,
    }

    def counts(**columns):
        given = material_of(tmp_path, vectors, ["0"] * 340, columns=table | columns, learn=False)
        found = findings(given)
        return found[INSIDE].check.offenders, found[ACROSS].check.offenders

    assert counts() == (0, 10)  # d0 resembles itself; what d9 has of it was learned from
    assert counts(time=[None] * 340) == (30, 10)
    assert counts(group=[None] * 340) == (30, 10)
