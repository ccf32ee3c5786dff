"""Stage ``sample``: real data for a built-in pipeline."""

import shutil

from sluiceway.errors import unknown
from sluiceway.stages.frame import done, stage
from sluiceway.usecases.pipeline import Pipeline


def sample(pipeline: Pipeline) -> None:
    """Fetch the pipeline's sample and lay it out in ``data/raw/<pipeline>/``.

    Raises:
        UnknownName: there is no sample for this pipeline.
        FetchError: the registry did not give the pinned file; what was there before stays.
    """
    from sluiceway.data.samples import SAMPLES

    if pipeline.name not in SAMPLES:
        raise unknown("sample", pipeline.name, SAMPLES)
    with stage("sample", pipeline) as clock:
        chosen = SAMPLES[pipeline.name]
        with clock("data"):
            # Beside its place first: what cannot be fetched must not take away what is there.
            fresh = pipeline.raw.with_name(f".{pipeline.name}.fetched")
            shutil.rmtree(fresh, ignore_errors=True)
            try:
                chosen.lay_out(fresh)
                shutil.rmtree(pipeline.raw, ignore_errors=True)
                fresh.replace(pipeline.raw)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
        count = sum(path.is_file() for path in pipeline.raw.rglob("*"))
        folder = pipeline.raw.relative_to(pipeline.root)
        done("sample", pipeline, clock, f"{count:,} files in {folder} [dim]- {chosen.summary}[/]")
