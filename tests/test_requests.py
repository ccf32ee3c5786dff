"""What a served model is asked wrongly: it is refused in words that name the column, the row and the way out."""

import io
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from PIL import Image

from sluiceway.data.table import BadExample
from sluiceway.errors import RequestError
from sluiceway.tracking.requests import answered, rows_of
from sluiceway.tracking.serving import ServedModel
from sluiceway.usecases import find
from sluiceway.usecases.base import Serving
from sluiceway.usecases.saved import LoadedModel


def png():
    file = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(file, "png")
    return file.getvalue()


def served(tmp_path, usecase="image"):
    """A network with random weights that answers images, or steers by them."""
    found = find(usecase, tmp_path, {"image": "class", "driving": "number"}[usecase])
    if usecase == "image":
        encoding = {"classes": ["a", "b"], "size": 8, "channels": 1, "mean": [0.5], "std": [0.2]}
        architecture = found.models[0](stem=8, widths=[8, 8], depths=[1, 1])
    else:
        encoding = {
            "height": 42,
            "width": 48,
            "top": 0.0,
            "bottom": 0.0,
            "mean": [0.5] * 3,
            "std": [0.2] * 3,
            "steering_std": 0.3,
        }
        architecture = found.models[0](channels=[8, 8], kernels=[5, 5], strides=[2, 2], hidden=[10])
    return ServedModel(LoadedModel(found, found.build(architecture, encoding).eval(), encoding, architecture))


def refused(model, frame):
    with pytest.raises(MlflowException) as caught:
        model.predict(frame)
    assert caught.value.get_http_status_code() == 400
    return caught.value.message


@pytest.mark.parametrize("usecase", ["image", "driving"])
def test_an_image_is_answered_and_what_is_none_is_refused(tmp_path, usecase):
    model = served(tmp_path, usecase)
    assert len(model.predict(pd.DataFrame({"image": [png(), bytearray(png()), memoryview(png())]}))) == 3
    assert len(model.predict(pd.DataFrame({"image": []}))) == 0
    for bad, words in (
        ("seven.png", "'image' of row 1 is str 'seven.png', where the column takes the bytes of a file"),
        (None, "'image' of row 1 is nothing"),
        (math.nan, "'image' of row 1 is nothing"),
        (np.zeros((8, 8)), "'image' of row 1 is ndarray"),
        (7, "'image' of row 1 is int 7"),
        (b"", "row 1: unreadable: not an image"),
        (b"GIF89a nothing", "row 1: "),
        (png()[:50], "row 1: truncated"),
    ):
        said = refused(model, pd.DataFrame({"image": pd.Series([png(), bad], dtype=object)}))
        assert words in said
        assert "\n  try: " in said
    assert 'open(path, "rb").read()' in refused(model, pd.DataFrame({"image": ["seven.png"]}))


def test_columns_and_tables_are_named(tmp_path):
    model = served(tmp_path)
    said = refused(model, pd.DataFrame({"images": [png()]}))
    assert "has the column 'image' (the bytes of a file), and this one has 'images'" in said
    assert "did you mean 'images'?" in said
    assert "and this one has none" in refused(model, pd.DataFrame())
    assert "this is a list" in refused(model, [png()])
    assert "this is a dict" in refused(model, {"image": [png()]})
    assert len(model.predict(pd.DataFrame({"more": [1], "image": [png()]}))) == 1  # what is not asked for is let be


KINDS = ("binary", "string", "double", "long", "boolean")
GOOD = {
    "binary": [b"", b"x", bytearray(b"x")],
    "string": ["", "ä水🙂"],
    "double": [1, 1.5, np.float32(2), np.int64(3), -math.inf],
    "long": [1, np.int16(3)],
    "boolean": [True, np.bool_(False)],
}


def one(kind, value):
    serving = Serving(inputs={"x": kind}, outputs={}, params={}, example=None, answer=None)
    (row,) = rows_of(pd.DataFrame({"x": pd.Series([value], dtype=object)}), serving)
    return row["x"]


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_a_kind_are_taken_and_others_are_not(kind):
    for value in GOOD[kind]:
        assert one(kind, value) == value
    for other in set(KINDS) - {kind}:
        for value in GOOD[other]:
            if kind == "double" and other == "long":
                continue
            if kind == "long" and isinstance(value, int | np.integer) and not isinstance(value, bool):
                continue
            with pytest.raises(RequestError, match="'x' of row 0 is"):
                one(kind, value)
    for nothing in (None, math.nan, pd.NA, pd.NaT):
        with pytest.raises(RequestError, match="is nothing, where"):
            one(kind, nothing)


def test_half_of_a_character_is_no_text():
    with pytest.raises(RequestError, match="where the column takes text"):
        one("string", "\ud83d")


@given(numbers=st.lists(st.integers(0, 9), min_size=1, max_size=9))
def test_the_first_row_that_is_refused_is_named(numbers):
    def answer(rows):
        if any(row["x"] == 0 for row in rows):
            raise BadExample("nought", "is nought")
        return rows

    rows = [{"x": number} for number in numbers]
    if 0 not in numbers:
        assert answered(answer, rows) == rows
        return
    with pytest.raises(RequestError) as caught:
        answered(answer, rows)
    assert caught.value.message == f"row {numbers.index(0)}: nought: is nought"
    assert "base64" in caught.value.hint


def test_what_only_fails_together_is_told_without_a_row():
    def answer(rows):
        if len(rows) > 1:
            raise BadExample("many", "too many")
        return rows

    with pytest.raises(RequestError, match=r"^many: too many$"):
        answered(answer, [{}, {}])
