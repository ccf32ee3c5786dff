"""Following a file that grows."""

from pathlib import Path

from sluiceway.data.tail import Tail


def add(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_a_torn_line_waits_until_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    tail = Tail(path)
    assert tail.lines() == []
    add(path, "one\ntw")
    assert tail.lines() == [b"one"]
    assert tail.lines() == []
    add(path, "o")
    assert tail.lines() == []
    assert Tail(path).lines(whole=True) == [b"one", b"two"]
    add(path, "\nthree\n")
    assert tail.lines() == [b"two", b"three"]


def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    add(path, "one\n")
    tail = Tail(path)
    assert tail.lines() == [b"one"]
    path.write_text("two\n", encoding="utf-8")  # the same file, with other bytes where the first line stood
    add(path, "three\n")
    assert tail.lines() == [b"three"]


def test_a_file_that_was_replaced_or_cut_is_read_from_its_beginning(tmp_path: Path) -> None:
    path, draft = tmp_path / "lines", tmp_path / "draft"
    tail = Tail(path)
    add(path, "one\ntwo\n")
    assert tail.lines() == [b"one", b"two"]
    draft.write_text("one\nother\nthree\n", encoding="utf-8")
    draft.replace(path)
    assert tail.lines() == [b"one", b"other", b"three"]
    path.write_text("one\n", encoding="utf-8")
    assert tail.lines() == [b"one"]
