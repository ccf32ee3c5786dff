"""How old the champion is, by a real registry: what ``triggers.champion_days`` of a job asks."""

import time
from pathlib import Path

import pytest

from projects import DIGITS_PARAMS
from sluiceway.stages.job_results import Results
from sluiceway.tracking.registry import CHAMPION
from sluiceway.tracking.store import client

DAY = 86400


def test_the_age_is_that_of_the_version_that_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    (tmp_path / "params.yaml").write_text("pipelines: {digits: {code: src/sluiceway/usecases/image}}\n")
    (tmp_path / "pipelines" / "digits").mkdir(parents=True)
    params = DIGITS_PARAMS.replace("register: {}", "register: {name: reader}")
    (tmp_path / "pipelines" / "digits" / "params.yaml").write_text(params)
    results, store = Results(tmp_path, "digits"), client(tmp_path)
    assert results.champion_days() is None
    store.create_registered_model("reader")
    assert results.champion_days() is None
    first, second = (store.create_model_version("reader", f"file://{tmp_path}/model") for _ in range(2))
    assert results.champion_days() is None
    store.set_registered_model_alias("reader", CHAMPION, first.version)
    for days in (0, 10):
        later = time.time() + days * DAY
        monkeypatch.setattr("sluiceway.stages.job_results.time.time", lambda later=later: later)
        age = results.champion_days()
        assert age is not None
        assert age * DAY == pytest.approx(later - first.creation_timestamp / 1000)
    store.set_registered_model_alias("reader", CHAMPION, second.version)
    age = results.champion_days()
    assert age is not None
    assert age * DAY == pytest.approx(later - second.creation_timestamp / 1000)
    store.delete_registered_model_alias("reader", CHAMPION)
    assert results.champion_days() is None
