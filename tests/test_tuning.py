"""The search for better parameters: what is drawn, decided and refused, and a search that is killed and goes on."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from clusters import ray_cluster
from jobs import job_of
from projects import ROOT, Project, assert_friendly, runs_of
from sluiceway.config import TRACKED, Domain, Train, Tune
from sluiceway.errors import LaunchError, NoRoom
from sluiceway.evaluation.search_page import SearchResult, Tried, headline, search_page
from sluiceway.stages.tune_edit import difference, edited
from sluiceway.tracking.lineage import shards_are_older
from sluiceway.training import driver
from sluiceway.training.job import Places, seal
from sluiceway.training.plan import plan
from sluiceway.training.search import better, points, rung, score, search, shares, value_at
from sluiceway.training.spool import Spool
from sluiceway.training.trials import Record, Trial
from sluiceway.usecases.pipeline import Pipeline

SPACE = {
    "train.lr": {"loguniform": [1e-4, 1e-1]},
    "train.weight_decay": {"uniform": [0.0, 0.5]},
    "model.stem": {"randint": [4, 6]},
    "model.widths": {"choice": [[8, 16], [16, 32]]},
}


# What is drawn and decided, by pure functions.


def test_more_trials_go_on_with_the_values_of_fewer() -> None:
    few, many = (Tune.model_validate({"space": SPACE, "trials": trials}) for trials in (10, 40))
    assert list(points(many))[:9] == list(points(few))
    assert list(points(few)) != list(points(few.model_copy(update={"seed": 1})))


def test_every_part_of_a_space_is_tried() -> None:
    drawn = list(points(Tune.model_validate({"space": SPACE, "trials": 65})))
    rates = [values["train.lr"] for values in drawn]
    for least in (1e-4, 1e-3, 1e-2):  # each order of magnitude about as often: random points miss this
        assert sum(least <= rate < 10 * least for rate in rates) == pytest.approx(64 / 3, abs=3)
    assert {values["model.stem"] for values in drawn} == {4, 5, 6}
    assert {tuple(values["model.widths"]) for values in drawn} == {(8, 16), (16, 32)}
    assert list(drawn[0]) == list(SPACE)


@given(st.floats(0, 1, exclude_max=True), st.sampled_from(list(SPACE)))
def test_a_value_is_always_one_of_its_domain(u: float, name: str) -> None:
    domain = Domain.model_validate(SPACE[name])
    value = value_at(domain, u)
    if domain.choice is not None:
        assert value in domain.choice
    else:
        least, most = domain.ends or (0, 0)
        assert least <= value <= most


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        ({}, "give one of"),
        ({"uniform": [0.0, 1.0], "choice": [1]}, "give one of"),
        ({"uniform": [1.0, 1.0]}, "not less"),
        ({"loguniform": [0.0, 1.0]}, "above 0"),
    ],
)
def test_a_domain_that_means_nothing_is_refused(domain: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Domain.model_validate(domain)


def test_decisions_fall_on_validations_and_the_last_is_the_end() -> None:
    planned = plan(Train(epochs=30, global_batch=10), 100)
    found = shares(planned, grace=0.1, reduction=3)
    assert [rung(planned, share) for share in found] == [40, 100, 300]
    assert shares(plan(Train(epochs=1, global_batch=10), 100), grace=0.1, reduction=3) == (1.0,)
    paused = planned.until(100)
    assert paused.boundaries[-1] == paused.pause == 100
    assert paused.rate(50, Train()) == planned.rate(50, Train())  # the schedule is that of the whole training
    assert planned.until(300) == planned


def test_what_a_trial_is_worth_follows_which_weights_are_kept() -> None:
    lowest, highest = Tune(), Tune(best="highest")
    assert score(lowest, [3.0, 1.0, 2.0], keep="best") == 1.0
    assert score(highest, [3.0, 1.0, 2.0], keep="best") == 3.0
    assert score(lowest, [3.0, 1.0, 2.0], keep="last") == 2.0
    assert better(lowest, 1.0, 2.0)
    assert better(highest, 2.0, 1.0)


def test_no_stage_reads_the_search() -> None:
    assert not any(section.startswith("tune") for section in TRACKED)
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    assert "- tune" not in text
    assert Tune().space == {}


TEXT = """\
# of mine
train:
  lr: 0.01  # was 0.02
  name: 'quoted'
model: {name: residual, stem: 8}  # small
list:
  - 1
  - 2
"""


def test_an_edit_changes_its_lines_and_no_other() -> None:
    after = edited(TEXT, {"train.lr": 0.003, "model.stem": 4, "train.warmup": 0.1})
    changed = set(after.splitlines()) - set(TEXT.splitlines())
    assert changed == {"  lr: 0.003 # was 0.02", "model: {name: residual, stem: 4}  # small", "  warmup: 0.1"}
    assert set(TEXT.splitlines()) - set(after.splitlines()) == {
        "  lr: 0.01  # was 0.02",
        "model: {name: residual, stem: 8}  # small",
    }
    lines = difference(TEXT, after, Path("params.yaml")).splitlines()
    assert "-  lr: 0.01  # was 0.02" in lines
    assert "+  lr: 0.003 # was 0.02" in lines


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").glob("*/params.yaml")), ids=lambda path: path.parent.name)
def test_an_edit_of_a_shipped_pipeline_leaves_the_rest(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    after = edited(text, {"train.lr": 0.00123})
    assert len(set(after.splitlines()) - set(text.splitlines())) == 1
    assert YAML(typ="safe").load(after)["train"]["lr"] == 0.00123


def tried(number: int, end: str, value: float) -> Tried:
    values = {"train.lr": 10.0**-number, "model.name": f"<b>{number}</b>"}
    return Tried(number, values, end, "", value, [(0.5, value + 1), (1.0, value)], 0.5, 10.0)


def test_the_page_marks_the_winner_and_escapes_what_it_shows() -> None:
    trials = [tried(0, "finished", 2.0), tried(1, "finished", 1.0), tried(2, "pruned", 3.0), tried(3, "", float("nan"))]
    result = SearchResult(
        pipeline="digits",
        metric="loss",
        lowest=True,
        trials=trials,
        winner=trials[1],
        logarithmic=frozenset({"train.lr"}),
        currency="USD",
        budget="1 hour",
        diff="-a\n+b<i>",
        next="sluiceway tune digits --apply",
    )
    page = search_page(result)
    assert headline(result) == "loss 1 with trial 1, 2 as it is now"
    assert [each.number for each in result.ranked] == [1, 0, 2, 3]
    assert result.cost("pruned") == 0.5
    assert page.count("<svg") == 3
    assert "winner" in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page
    assert page == search_page(result)


def test_a_record_that_was_altered_is_not_believed(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.write(Record({"train.lr": 0.1}, "abc", rungs=[float("nan"), 0.5]))
    path = tmp_path / "record.json"
    assert (trial.read() or Record({}, "")).rungs[1] == 0.5
    good = path.read_bytes()
    path.write_bytes(good.replace(b"0.5", b"0.1"))
    assert (trial.read() or Record({}, "")).rungs[1] == 0.5  # there is a copy
    assert [said.partition(" is broken")[0] for said in trial.mended()] == ["record.json"]
    assert path.read_bytes() == good
    for name in ("record.json", "record.copy.json"):
        (tmp_path / name).write_bytes(good.replace(b"0.5", b"0.1"))
    assert trial.read() is None
    assert all("nothing else is known" in said for said in trial.mended())
    assert trial.mended() == []


def test_what_was_decided_last_holds_when_a_process_died_between_a_record_and_its_copy(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.write(Record({}, "abc"))
    stale = (tmp_path / "record.copy.json").read_bytes()
    trial.write(Record({}, "abc", end="pruned"))
    (tmp_path / "record.copy.json").write_bytes(stale)
    trial.job.mkdir()  # nor had it removed that
    (tmp_path / ".record.json.77").write_text("half", encoding="utf-8")
    assert trial.mended() == []
    (tmp_path / "record.json").write_bytes(b"")
    assert (trial.read() or Record({}, "")).end == "pruned"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["record.copy.json", "record.json"]


def test_a_trial_of_which_nothing_is_known_goes_on_from_its_checkpoints(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    places = Places(trial.job)
    (places.checkpoints / "step-00000010").mkdir(parents=True)
    seal(places.next_attempt(), {"seconds": 5.0, "workers": 1})
    (tmp_path / "record.json").write_text("{", encoding="utf-8")
    trial.mended()
    candidate = SimpleNamespace(values={"train.lr": 0.1}, job=SimpleNamespace(subject="abc"))
    assert trial.begin(candidate) == Record({"train.lr": 0.1}, "abc")  # type: ignore[arg-type]
    assert trial.now().seconds == 5.0
    assert (places.checkpoints / "step-00000010").exists()


def test_tune_finds_its_scratch_empty_and_leaves_none(tmp_path: Path) -> None:
    from sluiceway.training.tuning import _scratch

    (tmp_path / "scratch" / "of a killed search").mkdir(parents=True)
    with _scratch(tmp_path) as scratch:
        assert list(scratch.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_trial_that_ends_while_others_add_up_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial(tmp_path)
    trial.job.mkdir()
    places = Places(trial.job)
    seal(places.next_attempt(), {"seconds": 5.0, "workers": 2})
    trial.write(Record({}, "abc"))
    listed = Places.attempts

    def then_it_ends(self: Places) -> list[Path]:
        found = listed(self)
        monkeypatch.setattr(Places, "attempts", listed)
        trial.end("pruned")
        return found

    monkeypatch.setattr(Places, "attempts", then_it_ends)
    now = trial.now()
    assert (now.end, now.seconds, now.device_seconds) == ("pruned", 5.0, 10.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["record.copy.json", "record.json"]


def trainable(trial: Trial, rungs: list[int]) -> Any:
    """Make Tune's part of a trial, without Tune."""
    from sluiceway.training.tuning import _Trainable

    made = _Trainable.__new__(_Trainable)
    made._trial, made._number, made._rungs, made._next = trial, 7, rungs, 0
    made._tune = Tune.model_validate({"space": SPACE, "reduction": 2})
    return made


def test_whoever_died_between_a_score_and_its_decision_leaves_that_to_be_decided(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.write(Record({}, "abc", rungs=[0.5, 0.4]))
    checkpoints = Places(trial.job).checkpoints
    (checkpoints / "step-00000020").mkdir(parents=True)
    replayed = trainable(trial, [10, 20, 40])
    assert [replayed.step()["recalled"] for _ in range(2)] == [True, False]
    (checkpoints / "step-00000025").mkdir()  # it went on: that is what was decided
    replayed = trainable(trial, [10, 20, 40])
    assert [replayed.step()["recalled"] for _ in range(2)] == [True, True]
    trial.end("pruned")
    replayed = trainable(trial, [10, 20, 40])
    assert [(said["recalled"], said["done"]) for said in (replayed.step(), replayed.step())] == [
        (True, False),
        (True, True),
    ]


def test_a_decision_that_nobody_wrote_down_is_that_of_an_undisturbed_search(tmp_path: Path) -> None:
    from sluiceway.training.halving import Halving

    settings = Tune.model_validate({"space": SPACE, "reduction": 2})

    def trial(name: str) -> SimpleNamespace:
        Trial(tmp_path / name).begin(SimpleNamespace(values={}, job=SimpleNamespace(subject=name)))  # type: ignore[arg-type]
        config = {"task": json.dumps({"folder": str(tmp_path / name)})}
        return SimpleNamespace(trial_id=name, config=config)

    for recalled, decision, end in ((False, "STOP", "pruned"), (True, "CONTINUE", "")):
        halving, good, bad = Halving(settings, 2), trial(f"good-{recalled}"), trial(f"bad-{recalled}")
        for each, value in ((good, 0.1), (bad, 0.9)):
            halving.on_trial_add(None, each)
            said = halving.on_trial_result(None, each, {"share": 1, "score": value, "recalled": recalled})
        assert said == decision
        assert (Trial(tmp_path / f"bad-{recalled}").read() or Record({}, "")).end == end


def test_a_trial_that_is_killed_while_it_writes_its_last_score_is_not_paid_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sluiceway.training import tuning

    trial = Trial(tmp_path)
    trial.write(Record({}, "abc", rungs=[0.5]))
    spool = Spool(Places(trial.job).metrics, 0)
    for step in (10, 20):
        spool.add(step, {"validation/loss": 5.0 / step})
    spool.close()
    one = trainable(trial, [10, 20])
    one._job = SimpleNamespace(subject="abc", params={"train": {"keep": "best"}, "gates": {}}, plan=Unpaused())
    one._limits = lambda: {}
    monkeypatch.setattr(tuning, "replace", lambda job, **_: job)
    monkeypatch.setattr(tuning.memory, "run", lambda *_: SimpleNamespace(result={"steps": 20}))
    written: list[Record] = []
    write = Trial.write

    def then_it_is_killed(self: Trial, record: Record) -> Record:
        written.append(write(self, record))
        raise KeyboardInterrupt

    monkeypatch.setattr(Trial, "write", then_it_is_killed)
    with pytest.raises(KeyboardInterrupt):
        one._train(1)
    known = trial.read() or Record({}, "")
    assert (known.end, known.rungs) == ("finished", [0.5, 0.25])


def test_a_trial_whose_process_is_lost_again_and_again_has_failed_unless_it_comes_further(tmp_path: Path) -> None:
    from sluiceway.training.halving import Told

    changed: list[int] = []
    said: list[str] = []
    told = Told(changed.append, said.append)
    for number, steps, end in ((0, (0, 0), "failed"), (1, (20, 20), "failed"), (2, (20, 40), ""), (3, (0, 20), "")):
        trial = Trial(tmp_path / str(number))
        trial.begin(SimpleNamespace(values={}, job=SimpleNamespace(subject="abc")))  # type: ignore[arg-type]
        task = json.dumps({"number": number, "folder": str(trial.folder)})
        lost = SimpleNamespace(config={"task": task})
        for step, hear in zip(steps, (told.on_trial_recover, told.on_trial_error), strict=True):
            if step:
                (Places(trial.job).checkpoints / f"step-{step:08d}").mkdir(parents=True, exist_ok=True)
            hear(0, [], lost)
        record = trial.read() or Record({}, "")
        assert (record.end, record.why) == (end, "its process was lost again and again")
    assert changed == [0, 1, 2, 3]
    assert said[1] == "the process of trial 1 was killed or lost with its node; the trial goes on"


def test_a_search_whose_cluster_is_gone_ends_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tune would wait for ever."""
    from sluiceway.training.halving import Told

    nodes = [True]
    told = Told(lambda _: None, lambda _: None, lambda: bool(nodes))
    monkeypatch.setattr(Told, "LOOK", 0.0)
    told.on_step_begin(0, [])
    nodes.clear()
    with pytest.raises(LaunchError, match="processes with which Ray runs trials on this machine are gone"):
        told.on_step_begin(1, [])
    monkeypatch.setattr(Told, "LOOK", 3600.0)
    told.on_step_begin(2, [])


class Unpaused:
    """A plan that is not to be paused."""

    def until(self, stop: int) -> "Unpaused":
        return self


@pytest.mark.parametrize(("worlds", "threads", "there"), [((2,), 2, 1), ((3, 4), 1, 2), ((1,), 3, 0)])
def test_a_search_that_can_never_have_room_says_so_at_once(
    worlds: tuple[int, ...], threads: int, there: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sluiceway.training import tuning

    monkeypatch.setattr(tuning, "totals", lambda: {"this machine": {"CPU": 2.0, "memory": 1e9}})
    job = SimpleNamespace(worlds=worlds, hardware=SimpleNamespace(accelerator="cpu"))
    with pytest.raises(NoRoom, match=f"room for {there} of at least {worlds[0]} workers that need {{'CPU': {threads}"):
        tuning._refuse_without_room(job, threads)  # type: ignore[arg-type]
    job.worlds = (1, *worlds)
    tuning._refuse_without_room(job, 2)  # type: ignore[arg-type]
    # Where a cluster may grow, or others leave it, a trial that waited in vain has not failed.
    assert issubclass(NoRoom, tuning._OUTSIDE)


# With a project's shards.


@pytest.mark.slow
def test_what_cannot_be_searched_is_refused_before_anything_starts(project: Project) -> None:
    def tune(space: dict[str, object]) -> subprocess.CompletedProcess[str]:
        project.set("digits", "tune", {"space": space})
        return project.run("sluiceway", "tune", "digits", check=False)

    assert_friendly(tune({}), 1, "tune.space is empty")
    space = {
        "data.group": {"choice": ["a(b)"]},
        "encode.size": {"choice": [4]},
        "train.seed": {"randint": [0, 9]},
        "train.workers": {"choice": [1, 2]},
        "train.lr": {"choice": [0.1, -1.0]},
        "train.rate": {"uniform": [0.0, 1.0]},
    }
    done = tune(space)
    assert_friendly(done, 1, "6 faults in tune.space", "data.group", "encode.size", "same seed", "changes no result")
    assert "train.lr = -1.0" in done.stdout
    assert "train.lr = 0.1" not in done.stdout
    assert "no such option" in done.stdout
    assert not (project.root / ".sluiceway" / "digits" / "tuning").exists()


def records(project: Project) -> dict[Path, Record]:
    folders = (project.root / ".sluiceway" / "digits" / "tuning").glob("*/trials/*")
    return {folder: record for folder in folders if (record := Trial(folder).read())}


def start_and_kill(project: Project) -> Path:
    """Kill a search when one trial has ended and another one has a checkpoint, and return the folder of that one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sluiceway", "tune", "digits"],
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None:
        known = records(project)
        begun = [folder for folder in known if list(folder.glob("job/checkpoints/step-*")) and not known[folder].end]
        if begun and any(record.end for record in known.values()):
            process.kill()
            process.wait()
            return begun[0]
        time.sleep(0.02)
    raise AssertionError(f"the search ended with {process.returncode} before it could be killed")


@pytest.mark.slow
def test_a_search_without_room_ends_with_a_word(project: Project) -> None:
    project.set("digits", "train.workers", 2)
    project.set("digits", "train.cpus_per_worker", 4096)
    project.set("digits", "tune", {"space": {"train.lr": {"choice": [0.02]}}, "trials": 2})
    done = project.run("sluiceway", "tune", "digits", check=False)
    assert_friendly(
        done, 1, "there is room for 0 of at least 2 workers", "lower train.workers or train.cpus_per_worker"
    )
    assert {record.end for record in records(project).values()} == {""}


@pytest.mark.slow
def test_shards_of_older_data_are_not_searched_on(project: Project) -> None:
    project.set("digits", "tune", {"space": {"train.lr": {"choice": [0.01]}}, "trials": 1})
    table = project.root / "data" / "validated" / "digits" / "examples.parquet"
    assert not shards_are_older(Pipeline.load("digits", project.root))
    table.unlink()
    pq.write_table(pq.read_table(project.root / "data" / "validated" / "verses" / "examples.parquet"), table)
    done = project.run("sluiceway", "tune", "digits", check=False)
    assert_friendly(done, 2, "the shards of digits are of older data", "dvc repro preprocess@digits")


@pytest.mark.slow
def test_a_killed_search_goes_on_exactly_and_ends_with_better_parameters(project: Project) -> None:
    space = {"train.lr": {"choice": [0.01, 0.03, 1e12]}}
    project.set("digits", "train.lr", 0.001)
    project.set("digits", "tune", {"space": space, "trials": 6, "grace": 0.5, "reduction": 2})
    project.commit()
    interrupted = start_and_kill(project)
    before = {folder: record for folder, record in records(project).items() if record.end}
    found = search(Pipeline.load("digits", project.root))
    whole = {each.job.subject: each for each in found.candidates}

    done = project.run("sluiceway", "tune", "digits", "--apply")
    after = records(project)
    for folder, record in before.items():
        # Not repeated, and nothing more is counted.
        assert replace(after[folder], run_id="") == replace(record, run_id="")
    ends = {record.values["train.lr"]: record.end for record in after.values()}
    assert ends[0.001] == "finished"
    assert ends[1e12] == "failed"
    assert "pruned" in ends.values() or list(ends.values()).count("finished") == 3
    assert not list(project.root.glob(".sluiceway/digits/tuning/*/trials/*/job"))  # nothing but what is known stays

    job = replace(whole[interrupted.name].job, folder=str(project.root / "undisturbed"))
    undisturbed = driver.run(job, lambda _: None).curve
    expected = [point.metrics for point in undisturbed if "validation/loss" in point.metrics]
    got = [point.metrics for point in after[interrupted].points]
    assert got == expected[: len(got)]
    assert got

    result = project.json("reports/digits/tune/search.json")
    (winner,) = [trial for trial in result["trials"] if trial["number"] == result["winner"]]  # type: ignore[attr-defined]
    assert winner["score"] == min(t["score"] for t in result["trials"] if t["end"] == "finished")  # type: ignore[attr-defined]
    params = YAML(typ="safe").load(project.root / "pipelines" / "digits" / "params.yaml")
    assert params["train"]["lr"] == winner["values"]["train.lr"] != 0.001
    assert f"+  lr: {params['train']['lr']}" in done.stdout
    assert "dvc repro register@digits" in done.stdout

    runs = runs_of(project, "digits")
    (parent,) = [run for run in runs if "sluiceway.tuning" in run]
    children = [run for run in runs if run.get("mlflow.parentRunId") == parent["id"]]
    assert parent["status"] == "FINISHED"
    assert sorted(run["sluiceway.tuning.end"] for run in children) == sorted(ends.values())
    assert {run["status"] for run in children if run["sluiceway.tuning.end"] == "failed"} == {"FAILED"}

    # What won is now as it is: the same search, of which nothing is left to do.
    again = project.run("sluiceway", "tune", "digits", "--apply").stdout
    assert "The parameters as they are were the best" in again
    assert len(runs_of(project, "digits")) == len(runs)
    # Where the budget is spent, nothing more begins, and nothing is lost.
    project.set("digits", "tune.seed", 1)
    project.set("digits", "tune.max_hours", 1e-6)
    poor = project.run("sluiceway", "tune", "digits").stdout
    assert "No trial is finished" in poor
    assert "the budget of 1e-06 hours" in poor


@pytest.mark.slow
def test_trials_of_two_workers_run_on_the_nodes_of_a_cluster(project: Project, tmp_path: Path) -> None:
    """A head without CPUs and two nodes with one each: a trial takes both nodes, and the next one has to wait."""
    for option, value in {"workers": 2, "cpus_per_worker": 1, "epochs": 1, "lr": 0.001}.items():
        project.set("digits", f"train.{option}", value)
    project.set("digits", "tune", {"space": {"train.lr": {"choice": [0.002]}}, "trials": 2, "parallel": 2})
    project.commit()
    with ray_cluster(tmp_path, cpus=0, jobs=False) as cluster:
        for _ in range(2):
            cluster.add()
        project.run("sluiceway", "tune", "digits", RAY_ADDRESS=cluster.gcs, **cluster.token)
    found = {record.values["train.lr"]: record for record in records(project).values()}
    assert sorted(found) == [0.001, 0.002]
    assert {record.end for record in found.values()} <= {"finished", "pruned"}
    for rate, record in found.items():
        assert record.device_seconds == pytest.approx(2 * record.seconds)
        alone = driver.run(job_of(project, tmp_path / str(rate), lr=rate, workers=1), lambda _: None)
        expected = [point.metrics["validation/loss"] for point in alone.curve if "validation/loss" in point.metrics]
        reached = [point.metrics["validation/loss"] for point in record.points]
        assert reached == pytest.approx(expected[: len(reached)], rel=1e-3)
        assert reached
