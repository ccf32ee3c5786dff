"""How a registered model answers. MLflow loads this module by name from the model's own ``code`` folder.

Nothing here or below imports MLflow or a training library, and nothing unpickles: weights are safetensors, the rest
is JSON, and the folder is held against its SHA-256 manifest before it is used. Only a request that is refused takes
MLflow's own exception, which its server answers with status 400 and the words of it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluiceway.errors import RequestError
from sluiceway.tracking.requests import Row, answered, rows_of
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

        Raises:
            MlflowException: the request cannot be answered; it says what was found where, and what is wanted.
        """
        from pandas import DataFrame

        try:
            rows = rows_of(frame, self._loaded.usecase.serving)
            answers = answered(lambda some: self._answer(some, params or {}), rows) if rows else []
        except RequestError as error:
            from mlflow.exceptions import MlflowException

            raise MlflowException.invalid_parameter_value(f"{error.message}\n  try: {error.hint}") from error
        return DataFrame(answers, index=frame.index, columns=list(self._loaded.usecase.serving.outputs))

    def _answer(self, rows: list[Row], params: Mapping[str, Any]) -> list[Row]:
        import torch

        serving = self._loaded.usecase.serving
        with torch.inference_mode():
            return serving.answer(self._loaded.model, self._loaded.encoding, rows, {**serving.params, **params})


def _load_pyfunc(path: str) -> ServedModel:
    """Load a model folder; MLflow calls this, with ``<model directory>/data/<pipeline>``.

    Raises:
        ModelError: the folder is incomplete or was altered.
    """
    folder = Path(path)
    # A use case of a user's own comes from the model's code, not from whatever folder the server was started in.
    return ServedModel(load(folder, folder.parent.parent / "code"))
