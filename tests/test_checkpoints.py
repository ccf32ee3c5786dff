"""Checkpoints: whole or absent; a broken one is set aside and the one before it is taken."""

import json
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway.training.checkpoints import Checkpoint, commit, newest

FILES = ("tensors.safetensors", "state.json", "manifest.json")


def checkpoint(step):
    generator = torch.Generator().manual_seed(step)
    tensors = {
        "weight": torch.randn(5, 3, generator=generator),
        "half": torch.randn(4, generator=generator).bfloat16(),
        "count": torch.tensor(step),
    }
    return Checkpoint(step, tensors, {"best": step / 7, "history": [1, 2, None], "name": "é"})


def assert_same(found, wanted):
    assert found is not None
    assert (found.step, dict(found.state)) == (wanted.step, dict(wanted.state))
    assert sorted(found.tensors) == sorted(wanted.tensors)
    for name, tensor in wanted.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor)


def steps(folder):
    return sorted(path.name for path in folder.glob("step-*"))


def test_what_was_committed_comes_back(tmp_path):
    place = commit(tmp_path / "deep" / "folder", checkpoint(1200))
    assert place.name == "step-00001200"
    assert sorted(path.name for path in place.iterdir()) == sorted(FILES)
    found, warnings = newest(tmp_path / "deep" / "folder")
    assert_same(found, checkpoint(1200))
    assert warnings == []


def test_no_folder_and_an_empty_one_hold_no_checkpoint(tmp_path):
    assert newest(tmp_path / "nothing") == (None, [])
    assert newest(tmp_path) == (None, [])


@pytest.mark.parametrize(("keep", "left"), [(1, [40]), (2, [30, 40]), (9, [10, 20, 30, 40])])
def test_the_newest_are_kept(keep, left, tmp_path):
    for step in (10, 20, 30, 40):
        commit(tmp_path, checkpoint(step), keep=keep)
    assert steps(tmp_path) == [f"step-{step:08d}" for step in left]
    assert_same(newest(tmp_path)[0], checkpoint(40))


def test_two_are_kept_by_default(tmp_path):
    for step in (9, 10, 11):
        commit(tmp_path, checkpoint(step))
    assert steps(tmp_path) == ["step-00000010", "step-00000011"]


def test_the_same_step_may_be_committed_again(tmp_path):
    commit(tmp_path, checkpoint(10))
    again = Checkpoint(10, {"weight": torch.ones(2)}, {})
    commit(tmp_path, again)
    assert_same(newest(tmp_path)[0], again)


def test_tensors_in_any_memory_layout_come_back(tmp_path):
    image = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    transposed = torch.randn(3, 5).T
    wanted = Checkpoint(1, {"image": image, "transposed": transposed, "part": torch.arange(10)[::3]}, {})
    commit(tmp_path, wanted)
    assert_same(newest(tmp_path)[0], wanted)


def test_equal_checkpoints_are_equal_bytes(tmp_path):
    one, other = commit(tmp_path / "one", checkpoint(3)), commit(tmp_path / "other", checkpoint(3))
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes()


# Faults


def two(folder):
    commit(folder, checkpoint(10))
    return commit(folder, checkpoint(20))


def assert_set_aside(folder):
    found, warnings = newest(folder)
    assert_same(found, checkpoint(10))
    assert len(warnings) == 1
    assert "checkpoint step-00000020 is broken" in warnings[0]
    assert steps(folder) == ["step-00000010"]
    (aside,) = folder.glob("broken-step-00000020*")
    assert aside.name in warnings[0]
    assert newest(folder)[1] == []  # it is said once


@settings(max_examples=120)
@given(name=st.sampled_from(FILES), offset=st.integers(0, 10**6), mask=st.integers(1, 255))
def test_an_altered_byte_anywhere_sets_the_checkpoint_aside(name, offset, mask, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    path = two(folder) / name
    before = path.read_bytes()
    content = bytearray(before)
    content[offset % len(content)] ^= mask
    path.write_bytes(content)
    if name == "manifest.json" and _means_the_same(before, content):
        assert_same(newest(folder)[0], checkpoint(20))  # white space for white space
    else:
        assert_set_aside(folder)


def _means_the_same(before, after):
    try:
        return json.loads(before) == json.loads(after)
    except ValueError:
        return False


@settings(max_examples=60)
@given(name=st.sampled_from(FILES), length=st.integers(0, 10**6))
def test_a_file_cut_anywhere_sets_the_checkpoint_aside(name, length, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    path = two(folder) / name
    os.truncate(path, length % path.stat().st_size)
    assert_set_aside(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_sets_the_checkpoint_aside(name, tmp_path):
    (two(tmp_path) / name).unlink()
    assert_set_aside(tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", '"x"', '{"state.json": 1}', ""])
def test_a_manifest_that_is_none_sets_the_checkpoint_aside(text, tmp_path):
    (two(tmp_path) / "manifest.json").write_text(text)
    assert_set_aside(tmp_path)


def test_all_broken_means_from_the_start_with_a_warning_for_each(tmp_path):
    two(tmp_path)
    for place in tmp_path.glob("step-*"):
        (place / "state.json").write_text("{}")
    found, warnings = newest(tmp_path)
    assert found is None
    assert [warning.split()[1] for warning in warnings] == ["step-00000020", "step-00000010"]


def test_the_same_step_may_break_twice(tmp_path):
    for _ in range(3):
        (two(tmp_path) / "state.json").write_text("{}")
        found, warnings = newest(tmp_path)
        assert_same(found, checkpoint(10))
        assert len(warnings) == 1
    assert len(list(tmp_path.glob("broken-*"))) == 3


def test_a_draft_left_by_a_crash_is_no_checkpoint(tmp_path):
    commit(tmp_path, checkpoint(10))
    draft = tmp_path / f".draft-00000020-{os.getpid()}"
    draft.mkdir()
    (draft / "tensors.safetensors").write_bytes(b"half")
    found, warnings = newest(tmp_path)
    assert_same(found, checkpoint(10))
    assert warnings == []
    commit(tmp_path, checkpoint(20))  # the same process and step: the draft is in the way
    assert_same(newest(tmp_path)[0], checkpoint(20))
    assert sorted(path.name for path in (tmp_path / "step-00000020").iterdir()) == sorted(FILES)


@pytest.mark.parametrize("last", ["save_file", "rename"])
def test_a_crash_while_committing_leaves_the_last_one_whole(last, tmp_path, monkeypatch):
    commit(tmp_path, checkpoint(10))

    def crash(*arguments, **named):
        raise KeyboardInterrupt

    target = "safetensors.torch.save_file" if last == "save_file" else "pathlib.Path.rename"
    with monkeypatch.context() as patch:
        patch.setattr(target, crash)
        with pytest.raises(KeyboardInterrupt):
            commit(tmp_path, checkpoint(20))
    found, warnings = newest(tmp_path)
    assert_same(found, checkpoint(10))
    assert warnings == []
    commit(tmp_path, checkpoint(20))
    assert_same(newest(tmp_path)[0], checkpoint(20))


def test_nothing_is_unpickled(tmp_path):
    place = commit(tmp_path, checkpoint(10))
    for path in place.iterdir():
        assert path.read_bytes()[:2] not in (b"PK", b"\x80\x02", b"\x80\x04")
