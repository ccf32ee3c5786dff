"""Where pretrained weights come from: a folder, or a commit on the hub. Safetensors and JSON are read, nothing else."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluiceway.errors import ConfigError

_READ = ("*.json", "*.safetensors")
_UNSAFE = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_CONVERT = (
    "convert it once where you trust it: `AutoModel.from_pretrained(folder).save_pretrained(other)` of transformers "
    "writes safetensors; choose the Auto class of the task"
)


@dataclass(frozen=True, slots=True)
class Source:
    """Pretrained weights on this machine."""

    name: str
    """As the parameters name it."""
    folder: Path
    digest: str
    """SHA-256 over names and contents of what is read."""
    pinned: bool
    """Whether the parameters say which weights these are."""

    def config(self) -> dict[str, Any]:
        """Return what ``config.json`` says."""
        return _json(self.folder / "config.json")

    def preprocessing(self) -> dict[str, Any]:
        """Return what ``preprocessor_config.json`` says; nothing where there is none."""
        path = self.folder / "preprocessor_config.json"
        return _json(path) if path.exists() else {}


def source_of(pretrained: str, revision: str | None) -> Source:
    """Find pretrained weights; those on the hub are fetched, or taken from where the hub's library keeps them.

    Raises:
        ConfigError: they are not there, not safe to read, or not those that ``revision`` names.
    """
    folder = Path(pretrained)
    if folder.is_dir():
        _refuse_unsafe(folder, pretrained)
        digest = digest_of(folder)
        if revision is not None and revision != digest:
            raise ConfigError(
                f"model.pretrained: {pretrained} has SHA-256 {digest}, and model.revision says {revision}",
                hint=f"put the other weights back, or write revision: {digest}",
            )
        return Source(pretrained, folder, digest, pinned=revision is not None)
    if folder.is_absolute() or not _NAME.fullmatch(pretrained):
        raise ConfigError(
            f"model.pretrained: {pretrained} is no folder, and no name on the hub",
            hint="give a folder with config.json and model.safetensors, or owner/name with the commit as revision",
        )
    if revision is None or not _COMMIT.fullmatch(revision):
        said = "no revision" if revision is None else f"revision {revision!r}"
        raise ConfigError(
            f"model.pretrained: there is no folder {pretrained}, and as a name on the hub it has {said}",
            hint="give as revision the commit, 40 hexadecimal digits, that the hub shows: a branch or tag may move",
        )
    folder = _fetched(pretrained, revision)
    _refuse_unsafe(folder, f"{pretrained}, commit {revision[:8]},")
    return Source(pretrained, folder, digest_of(folder), pinned=True)


def digest_of(folder: Path) -> str:
    """Return the SHA-256 over names and contents of the files that are read."""
    total = hashlib.sha256()
    for path in sorted({path for pattern in _READ for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            total.update(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n".encode())
    return total.hexdigest()


def _refuse_unsafe(folder: Path, name: str) -> None:
    if not (folder / "config.json").exists():
        raise ConfigError(f"model.pretrained: {name} has no config.json", hint="is it the right folder?")
    if any((folder / weights).exists() for weights in _WEIGHTS):
        return
    other = sorted(path.name for pattern in _UNSAFE for path in folder.glob(pattern))
    if other:
        raise ConfigError(
            f"model.pretrained: {name} has {other[0]} and no model.safetensors: reading a pickle runs what is in it",
            hint=_CONVERT,
        )
    raise ConfigError(f"model.pretrained: {name} has no model.safetensors", hint="is it the right folder?")


def _fetched(name: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    what = f"model.pretrained: {name}, commit {revision[:8]},"
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_READ)))
    except GatedRepoError:
        raise ConfigError(f"{what} is behind a gate", hint="ask for access on the hub, then `hf auth login`") from None
    except RepositoryNotFoundError:
        raise ConfigError(
            f"{what} is not on the hub, or is private", hint="mend the name, or `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise ConfigError(f"{what} is no commit of it", hint="copy the commit from the hub") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ConfigError(
            f"{what} is not on this machine, and the hub cannot be reached ({type(error).__name__})",
            hint=f"once where there is a network: `hf download {name} --revision {revision}`; or give a local folder",
        ) from None


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}", hint="fetch it anew") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds no JSON object", hint="fetch it anew")
    return document
