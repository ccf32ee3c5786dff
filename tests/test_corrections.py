"""Corrections: read as they were written, and refused with the line when they cannot be meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluiceway.data.corrections import Correction, read_corrections, write_corrections
from sluiceway.errors import ConfigError

HEAD = "id,checksum,target,note\n"


def read(folder, text):
    path = folder / "digits.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_corrections(path)


def test_no_file_no_corrections(tmp_path):
    assert read_corrections(tmp_path / "digits.csv") == {}


def test_an_empty_target_leaves_the_example_out(tmp_path):
    found = read(tmp_path, HEAD + "7/1.png,ABCD,9,\n7/2.png,ef,,torn\n7/3.png,aa, ,\n\n")
    assert found == {
        "7/1.png": Correction("7/1.png", "abcd", "9", ""),
        "7/2.png": Correction("7/2.png", "ef", None, "torn"),
        "7/3.png": Correction("7/3.png", "aa", None, ""),
    }


def test_what_spreadsheets_write_is_read(tmp_path):
    text = '\ufeffnote,id,target,checksum,looked_at\r\n"a, b",x,7,aa,yes\r\n'
    assert read(tmp_path, text) == {"x": Correction("x", "aa", "7", "a, b")}


@pytest.mark.parametrize(
    ("text", "line", "about"),
    [
        ("", 1, "lacks the column id"),
        ("id;checksum;target;note\nx;a;b;c\n", 1, "lacks the column id; found id;checksum"),
        ("id,checksum,note\nx,a,\n", 1, "lacks the column target"),
        (HEAD + "x,a,7,\ny,b,7,\nx,a,8,\n", 4, "x was corrected in line 2 too"),
        (HEAD + "x,a,7,\n,b,7,\n", 3, "has no id"),
        (HEAD + "x,,7,\n", 2, "has no checksum"),
        (HEAD + "x,a,7,looks, well\n", 2, "another number of fields"),
        (HEAD + "x,a,7\n", 2, "another number of fields"),
        (HEAD + 'x,a,7,"torn" paper\n', 2, "expected after"),
        (HEAD.encode() + b"x,a,7,\ny,a,\xe9,\n", 3, "is not UTF-8"),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_line(tmp_path, text, line, about):
    with pytest.raises(ConfigError, match=about) as caught:
        read(tmp_path, text)
    assert f"digits.csv, line {line}:" in caught.value.message
    assert caught.value.hint


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)


@given(corrections=st.dictionaries(TEXTS, st.tuples(st.none() | TEXTS, TEXTS.map(str.strip)), max_size=8))
def test_what_was_written_is_read(corrections, tmp_path_factory):
    path = tmp_path_factory.mktemp("c") / "x.csv"
    expected = {name: Correction(name, "ab12", target, note) for name, (target, note) in corrections.items()}
    write_corrections(expected.values(), path)
    assert read_corrections(path) == expected
    content = path.read_bytes()
    write_corrections(reversed(expected.values()), path)
    assert path.read_bytes() == content
