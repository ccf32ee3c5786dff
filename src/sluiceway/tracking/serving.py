"""How a registered model answers. MLflow loads this module by name from the model's own ``code`` folder.

Nothing here or below imports MLflow or a training library, and nothing unpickles: weights are safetensors, the rest
is JSON, and the folder is held against its SHA-256 manifest before it is used.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.usecases.saved import LoadedModel, load

if TYPE_CHECKING:
    from pandas import DataFrame


class ServedModel:
    """A model that answers data frames.

    Args:
        loaded: the model with its use case and encoding.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded

    def predict(self, frame: "DataFrame", params: Mapping[str, Any] | None = None) -> "DataFrame":
        """Answer one request.

        Args:
            frame: one row per question, with the columns of the use case's ``serving.inputs``.
            params: values for ``serving.params`` that differ from the defaults.

        Returns:
            One row per question, with the columns of ``serving.outputs``.
        """
        import torch
        from pandas import DataFrame

        serving = self._loaded.usecase.serving
        rows = frame[list(serving.inputs)].to_dict(orient="records")
        answers: list[dict[str, Any]] = []
        if rows:
            with torch.inference_mode():
                answers = serving.answer(
                    self._loaded.model, self._loaded.encoding, rows, {**serving.params, **(params or {})}
                )
        return DataFrame(answers, index=frame.index, columns=list(serving.outputs))


def _load_pyfunc(path: str) -> ServedModel:
    """Load a model folder; MLflow calls this, with ``<model directory>/data/<pipeline>``.

    Raises:
        ModelError: the folder is incomplete or was altered.
    """
    folder = Path(path)
    # A use case of a user's own comes from the model's code, not from whatever folder the server was started in.
    return ServedModel(load(folder, folder.parent.parent / "code"))
