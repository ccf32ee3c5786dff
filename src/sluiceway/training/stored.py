"""Tensors on the disk, in one file or in parts, read when they are asked for, and by rows."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Rows = Mapping[str, tuple[int, int]]
"""By the name of a tensor in a part: the first of its rows, and how many the whole has."""

_ROWS = "rows"


class Stored(Mapping[str, "Tensor"]):
    """The tensors of a checkpoint on the disk, read when they are asked for.

    Args:
        files: safetensors; those that are parts say which rows they have.

    Raises:
        ValueError: the parts do not make a whole.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        from safetensors import safe_open

        self._files: list[Any] = [safe_open(path, framework="pt") for path in files]
        self._pieces: dict[str, list[tuple[int, int, Any]]] = {}
        wholes: dict[str, int] = {}
        for file in self._files:
            rows = rows_in(file.metadata())
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                shape = file.get_slice(name).get_shape()
                first, wholes[name] = rows.get(name, (0, shape[0] if shape else 1))
                self._pieces.setdefault(name, []).append((first, shape[0] if shape else 1, file))
        for name, pieces in self._pieces.items():
            pieces.sort(key=lambda piece: piece[:2])
            check_whole(name, [(first, count) for first, count, _ in pieces], wholes[name])

    def __getitem__(self, name: str) -> "Tensor":
        import torch

        pieces = self._pieces[name]
        if len(pieces) == 1:
            return pieces[0][2].get_tensor(name).clone()  # type: ignore[no-any-return]
        return torch.cat([file.get_tensor(name) for _, _, file in pieces])

    def __iter__(self) -> Iterator[str]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of the whole."""
        pieces = self._pieces[name]
        _, _, file = pieces[0]
        _, *others = file.get_slice(name).get_shape() or [0]
        last, count, _ = pieces[-1]
        return (last + count, *others) if file.get_slice(name).get_shape() else ()

    def rows(self, name: str, start: int, stop: int) -> "Tensor":
        """Read some rows of the whole: [stop - start, ...]."""
        import torch

        found = [
            file.get_slice(name)[max(0, start - first) : min(count, stop - first)]
            for first, count, file in self._pieces[name]
            if first < stop and start < first + count
        ]
        return torch.cat(found) if found else self._pieces[name][0][2].get_slice(name)[0:0].clone()

    def close(self) -> None:
        """Let go of the files: deleted ones take room until then."""
        self._files, self._pieces = [], {}


def metadata_of(rows: Rows | None) -> dict[str, str] | None:
    """Return what a file of safetensors says beside its tensors."""
    return None if rows is None else {_ROWS: json.dumps(rows, sort_keys=True)}


def rows_in(metadata: Mapping[str, str] | None) -> Rows:
    """Read what :func:`metadata_of` has written."""
    rows: Rows = json.loads((metadata or {}).get(_ROWS, "{}"))
    return rows


def check_whole(name: str, pieces: Sequence[tuple[int, int]], whole: int) -> None:
    """Refuse pieces that have not each row once.

    Args:
        name: of the tensor.
        pieces: the first row of each, and how many it has, in the order of rows.
        whole: how many rows there are.

    Raises:
        ValueError: some are missing, or there twice.
    """
    ends = [first + count for first, count in pieces]
    if [first for first, _ in pieces] != [0, *ends[:-1]] or ends[-1] != whole:
        raise ValueError(f"the parts of {name} do not make a whole")
