"""A DVC remote that takes nothing is told before anything is trained for it: tried for real, without a trace."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sluiceway.launch import remote_try
from sluiceway.launch.remote import TRY, Answer, answer_of
from slurm import free_ports
from team import BUCKET, KEY, KEY_ID, Store
from team import missing as no_store
from teams import Kept, keep_quick

pytestmark = pytest.mark.slow


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return keep_quick(tmp_path)


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    if reason := no_store():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory() as folder:
        made = Store(Path(folder), free_ports(1)[0])
        made.start()
        yield made
        made.stop()


def refused(kept: Kept, **env: str) -> str:
    """Run the job, which must end before it trains, and return what it said."""
    said = kept.job(check=1, **env)
    assert not (kept.project.root.parent / "train.count").exists(), said
    assert kept.last()["event"] == "failed"
    assert "takes nothing" in kept.last()["sentence"], said
    return said


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_folder_that_cannot_be_one_is_told_before_training(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where a folder should be")
    said = refused(kept)
    assert f"DVC's remote store ({tmp_path / 'store'}) takes nothing: NotADirectoryError" in said
    assert "sluiceway doctor" in said


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Mount a folder onto itself, without the right to write that root would have."""
    folder.mkdir(exist_ok=True)
    for command in (["mount", "--bind"], ["mount", "-o", "remount,bind,ro"]):
        done = subprocess.run([*command, folder, folder], capture_output=True, text=True, check=False)
        if done.returncode:
            subprocess.run(["umount", folder], capture_output=True, check=False)
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_remote_that_can_only_be_read_is_told_before_training(kept: Kept, tmp_path: Path) -> None:
    assert kept.last_event() == "promoted"
    before = files(tmp_path / "store")
    assert before
    assert not [path for path in before if path.name.startswith(".sluiceway")]
    (tmp_path / "train.count").unlink()
    (kept.origin / "told.txt").write_text("good again\n", encoding="utf-8")
    with read_only(tmp_path / "store"):
        assert "Read-only file system" in refused(kept)
        (kept.origin / "told.txt").write_text("good\n", encoding="utf-8")
        assert kept.last_event() == "unchanged"  # nothing would be pushed, and nothing is asked
    assert files(tmp_path / "store") == before


def in_store(kept: Kept, store: Store, url: str) -> None:
    kept.project.run("dvc", "remote", "modify", "store", "url", url)
    kept.project.run("dvc", "remote", "modify", "store", "endpointurl", store.endpoint)
    kept.push("another remote")


def test_a_store_that_refuses_is_told_before_training(kept: Kept, store: Store) -> None:
    in_store(kept, store, f"s3://{BUCKET}/dvc")
    right = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": KEY}
    wrong = "not-the-secret-of-the-store"
    said = refused(kept, **{**right, "AWS_SECRET_ACCESS_KEY": wrong})
    assert f"DVC's remote store (s3://{BUCKET}/dvc) takes nothing" in said
    assert wrong not in said
    kept.project.run("dvc", "remote", "modify", "--local", "store", "secret_access_key", wrong)
    kept.project.run("dvc", "remote", "modify", "--local", "store", "access_key_id", KEY_ID)
    said = refused(kept, **right)
    assert wrong not in said
    kept.project.run("dvc", "remote", "modify", "--local", "store", "secret_access_key", KEY)
    assert kept.last_event() == "promoted"
    assert files(store.bucket)
    assert not [path for path in files(store.bucket) if path.name.startswith(".sluiceway")]


def test_a_bucket_that_is_not_there_is_told_before_training(kept: Kept, store: Store) -> None:
    in_store(kept, store, "s3://teem/dvc")
    said = refused(kept, AWS_ACCESS_KEY_ID=KEY_ID, AWS_SECRET_ACCESS_KEY=KEY)
    assert "DVC's remote store (s3://teem/dvc) takes nothing" in said
    assert not (store.folder / "objects" / "teem").exists()


class Keeps:
    """A file system that lets nothing be removed, or spoils what it is given."""

    def __init__(self, spoils: bool) -> None:
        self.spoils = spoils
        self.names: list[str] = []

    def join(self, *parts: str) -> str:
        return "/".join(parts)

    def makedirs(self, folder: str, exist_ok: bool) -> None: ...

    def put_file(self, path: str, name: str) -> None:
        self.names.append(name)
        self.content = b"" if self.spoils else Path(path).read_bytes()

    def cat_file(self, name: str) -> bytes:
        return self.content

    def remove(self, name: str) -> None:
        raise PermissionError("nobody may remove anything here")


class Remote:
    worktree = False

    def __init__(self, fs: Keeps) -> None:
        self.fs, self.path, self.odb = fs, "there", self


@pytest.mark.parametrize("spoils", [False, True])
def test_a_store_that_lets_nothing_be_removed_is_one_and_one_that_spoils_is_none(spoils: bool) -> None:
    fs = Keeps(spoils)
    said = [remote_try._put(Remote(fs)) for _ in range(2)]
    assert [each["left"] for each in said] == fs.names
    assert len(set(fs.names)) == 2  # no file is written over
    assert [("error" in each) for each in said] == [spoils] * 2


def test_what_a_remote_holds_secret_is_never_said() -> None:
    options = {"sas_token": "sv=2024&sig=verysecret", "connection_string": "Key=topsecret", "url": "azure://a/b"}
    text = "GET https://me:pass@host/b?sv=2024&sig=verysecret\n refused Key=topsecret, sv=2024&sig=verysecret"
    clean = remote_try._clean(text, options)
    assert clean == "GET https://host/b refused ***, ***"


def test_an_answer_is_the_last_line(kept: Kept) -> None:
    said = subprocess.run(TRY, cwd=kept.project.root, capture_output=True, text=True, check=True).stdout
    assert answer_of(said) == Answer("store", str(kept.project.root.parent / "store"))
    assert answer_of("a warning\n\n" + json.dumps({"name": None})).name is None
