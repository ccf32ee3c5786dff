"""Where a project keeps what is neither data nor result."""

from pathlib import Path

STATE = ".sluiceway"
_PARAMS = "params.yaml"
_DVC_EXPERIMENTS = (".dvc", "tmp", "exps")


def home(root: Path) -> Path:
    """Return the folder that outlives experiments: the root, unless DVC runs a copy of it (``dvc exp run --temp``)."""
    parts = root.parts
    for start in range(len(parts) - len(_DVC_EXPERIMENTS)):
        if parts[start : start + len(_DVC_EXPERIMENTS)] == _DVC_EXPERIMENTS:
            return Path(*parts[:start])
    return root


def fetched(raw: Path) -> Path:
    """Return the folder for what was fetched from elsewhere: in the project of a raw folder, else beside that."""
    raw = raw.absolute()
    root = next((folder for folder in raw.parents if (folder / _PARAMS).is_file()), raw.parent)
    return home(root) / STATE / "fetched"
