"""The trial of ``evaluate``: where a use case has a world, the model and the baselines do their work in it."""

from functools import partial
from typing import TYPE_CHECKING, Any

from sluiceway.stages.examples import accepted_examples
from sluiceway.usecases.base import Contenders, Outcomes, Tried
from sluiceway.usecases.pipeline import Pipeline

if TYPE_CHECKING:
    from sluiceway.evaluation.scores import Score
    from sluiceway.usecases.saved import LoadedModel


def try_learners(pipeline: Pipeline, loaded: "LoadedModel") -> Tried | None:
    """Let the model and every baseline do the same episodes; None where there is no world, or none is wanted."""
    if pipeline.trial is None:
        return None
    return pipeline.trial.run(
        Contenders(
            model=loaded.model,
            encoding=loaded.encoding,
            regressor=partial(_fit_regressor, pipeline),
            data=pipeline.params.data,
            settings=pipeline.params.evaluate,
        )
    )


def episodes(pipeline: Pipeline, tried: Tried | None) -> dict[str, Outcomes]:
    """Return what came of the trial by learner, the model first; nothing where there was none."""
    return {pipeline.params.model.name: tried.model, **tried.baselines} if tried else {}


def score_episodes(pipeline: Pipeline, tried: Tried | None) -> "dict[str, dict[str, Score]]":
    """Compute the trial's metrics with their intervals, by learner; nothing where there was none."""
    from sluiceway.evaluation.scores import score

    settings, metrics = pipeline.params.evaluate, pipeline.trial.metrics if pipeline.trial else ()
    return {
        name: score(outcomes, metrics, settings.resamples, settings.seed)
        for name, outcomes in episodes(pipeline, tried).items()
    }


def _fit_regressor(pipeline: Pipeline) -> Any:
    """Fit the classical learner as it answered in ``validate``. Cheap, and no fitted estimator has to be stored."""
    import polars as pl

    from sluiceway.data.learning.learner import fit_regressor
    from sluiceway.data.sketches import Sketches

    sketches = Sketches.read(pipeline.validated / "sketches.parquet")
    table = pl.from_arrow(accepted_examples(pipeline).take(sketches.rows))
    assert isinstance(table, pl.DataFrame)  # noqa: S101
    return fit_regressor(sketches, table, pipeline.usecase.estimator)
