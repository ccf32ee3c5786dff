"""Small files: whole or not at all."""

import errno
from pathlib import Path

import pytest

from sluiceway.data import documents
from sluiceway.data.corrections import Correction, read_corrections, write_corrections
from sluiceway.data.documents import read_json, write_json, write_whole
from sluiceway.data.settled import read_settled, write_settled


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every text end after its first half, as on a disk without room."""
    write = Path.write_text

    def half(self: Path, text: str, **options: str) -> int:
        write(self, text[: len(text) // 2], **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(documents.Path, "write_text", half)


def test_what_was_written_is_read_and_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    write_json(one, {"b": 1, "a": "Zoë"})
    write_json(other, {"a": "Zoë", "b": 1})
    assert read_json(one) == {"a": "Zoë", "b": 1}
    assert one.read_bytes() == other.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.json", "other.json"]


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("old", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "kept").read_text(encoding="utf-8") == "old"
    assert (tmp_path / "link").read_text(encoding="utf-8") == "new"


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "a new text")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_corrections_and_sides_survive_a_full_disk(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    corrections, sides = tmp_path / "pets.csv", tmp_path / "sides.csv"
    write_corrections([Correction("a", "ab12", "cat"), Correction("b", "cd34", None)], corrections)
    write_settled({"ab12": "test"}, sides)
    request.getfixturevalue("full_disk")
    with pytest.raises(OSError, match="No space left"):
        write_corrections([Correction("c", "ef56", "dog")], corrections)
    with pytest.raises(OSError, match="No space left"):
        write_settled({"ab12": "test", "cd34": "train"}, sides)
    assert sorted(read_corrections(corrections)) == ["a", "b"]
    assert read_settled(sides) == {"ab12": "test"}
